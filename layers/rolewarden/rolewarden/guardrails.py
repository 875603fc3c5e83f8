"""The reader of guardrails.yaml, which returns the rules or the errors of the file.

It reads the file into strings, lists and mappings with the line of each, then validates them into `Rules`. A deployed
function reads the same document as JSON, which `sam build` writes (see layers/guardrails/Makefile), so that it needs no
YAML parser at run time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

from rolewarden.errors import RulesError
from rolewarden.matching import matches, matches_any, matches_name
from rolewarden.model_ids import (
    is_every,
    problem_of_arn,
    problem_of_bedrock_model,
    problem_of_hub,
    problem_of_jumpstart_model,
)
from rolewarden.names import same
from rolewarden.problems import Path_, Problem, problem_at, where_of
from rolewarden.trust import principal_of


class Mode(StrEnum):
    """Whether Rolewarden remediates drift or only reports it."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class SurplusPolicies(StrEnum):
    """What happens to guardrails that a role no longer needs: they stay attached, or a sweep has them detached."""

    KEEP = "keep"
    DETACH = "detach"


class Fallback(StrEnum):
    """What takes the place of guardrails on a role with a full quota: nothing, or a permissions boundary."""

    NONE = "none"
    BOUNDARY = "boundary"


class Hold(StrEnum):
    """The reaction to the first use of a role that may be somebody else's: none, or a hold."""

    NONE = "none"
    SUSPICIOUS = "suspicious"


RuleKind = Literal["deny-all", "deny", "allow"]


class Allowance(StrEnum):
    """Whether a guardrail denies an access path that does not show which model it leads to."""

    DENY = "deny"
    ALLOW = "allow"


class Routes(StrEnum):
    """Which access paths to a model a guardrail closes: all known ones, or only those that Canvas itself uses."""

    ALL = "all"
    CANVAS = "canvas"


class BedrockRule(NamedTuple):
    """The rule of a guardrail for the models of Amazon Bedrock.

    - `patterns`: model IDs with the wildcards `*` and `?`. Empty for "deny-all".
    - `allow_arns`: ARNs that lead to a model without naming it, and that stay usable.
    """

    kind: RuleKind
    patterns: tuple[str, ...] = ()
    customization: Allowance = Allowance.DENY
    indirect: Allowance = Allowance.DENY
    allow_arns: tuple[str, ...] = ()


class JumpStartRule(NamedTuple):
    """The rule of a guardrail for the models of SageMaker JumpStart.

    - `patterns`: as in BedrockRule.
    - `hubs`: names of private hubs whose models stay usable. Only for "deny-all".
    - `data_jobs`: whether the guardrail denies the jobs of serverless customization that prepare data.
    """

    kind: RuleKind
    patterns: tuple[str, ...] = ()
    customization: Allowance = Allowance.DENY
    weights: Allowance = Allowance.ALLOW
    autopilot: Allowance = Allowance.ALLOW
    indirect: Allowance = Allowance.DENY
    data_jobs: Allowance = Allowance.DENY
    hubs: tuple[str, ...] = ()


class AssistantsRule(NamedTuple):
    """The rule of a guardrail for AWS's assistants. They do not show their models, so it denies all of them."""

    kind: Literal["deny-all"] = "deny-all"


class ExemptRole(NamedTuple):
    """The name or pattern of roles without guardrails, and their account. An empty account stands for any account."""

    account: str
    role: str


class Guardrail(NamedTuple):
    """A named set of denies on models.

    - `pass_roles`: patterns of the names of the only roles that a covered role can pass to a service. Empty means that
      the guardrail does not restrict this.
    - `exempt_roles`: the roles of all exemptions and of `never_govern`. A role with the guardrail can neither pass nor
      assume them, because it would get around its denies with them.
    - `fixed_tags`: whether a covered role can change no tag of a domain or user profile, because an assignment of the
      file matches tags.
    - `trusted_taggers`: the principals that can change these tags, even as a covered role.
    - `other_profiles`: whether a covered role can open and start the applications of other user profiles.
    - `shared_spaces`: whether a covered role can work in shared spaces, which run as a role of the domain.
    """

    name: str
    bedrock: BedrockRule | None = None
    jumpstart: JumpStartRule | None = None
    routes: Routes = Routes.ALL
    mode: Mode = Mode.ENFORCE
    assistants: AssistantsRule | None = None
    pass_roles: tuple[str, ...] = ()
    exempt_roles: tuple[ExemptRole, ...] = ()
    fixed_tags: bool = False
    trusted_taggers: tuple[str, ...] = ()
    other_profiles: Allowance = Allowance.ALLOW
    shared_spaces: Allowance = Allowance.ALLOW


class Subject(NamedTuple):
    """A use of a role, with all attributes that an assignment can match.

    An attribute that does not apply is empty: a role that `also_govern` covers has no domain, and the default user of a
    domain has no profile name.
    """

    account: str
    role: str
    domain_id: str = ""
    domain_name: str = ""
    user_profile: str = ""
    tags: Mapping[str, str] = MappingProxyType({})


class Assignment(NamedTuple):
    """The guardrails that matching subjects need.

    A subject matches if it meets one of the patterns of each kind that is not empty, and all `tags`.
    """

    guardrails: tuple[str, ...]
    accounts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    user_profiles: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tags: Mapping[str, str] = MappingProxyType({})

    @property
    def matches_everyone(self) -> bool:
        """Whether every subject matches, so that no assignment below this one is ever used."""
        return not (self.accounts or self.domains or self.user_profiles or self.roles or self.tags)

    def matches(self, subject: Subject) -> bool:
        """Whether this assignment applies to `subject`."""
        return (
            matches_any(self.accounts, subject.account)
            and matches_any(self.domains, subject.domain_id, subject.domain_name)
            and (not self.user_profiles or matches_name(self.user_profiles, subject.user_profile))
            and (not self.roles or matches_name(self.roles, subject.role))
            and all(key in subject.tags and matches(pattern, subject.tags[key]) for key, pattern in self.tags.items())
        )


class Exemption(NamedTuple):
    """A role that needs no guardrail up to and including the day `until` (UTC), and the reason.

    - `role`: the exact name of one role.
    - `account`: the account of the role. Empty for the account of the stack, if the stack covers no other.
    - `domains`, `user_profiles`: patterns of the subjects that can use the role, as in an Assignment. If both are
      empty, the exemption names no subjects.
    """

    role: str
    until: date
    reason: str = ""
    account: str = ""
    domains: tuple[str, ...] = ()
    user_profiles: tuple[str, ...] = ()

    @property
    def names_subjects(self) -> bool:
        """Whether the exemption says which subjects can use the role."""
        return bool(self.domains or self.user_profiles)

    def covers(self, subject: Subject) -> bool:
        """Whether the exemption applies to the use of the role by `subject`. A role without a domain has no user."""
        return not subject.domain_id or (
            matches_any(self.domains, subject.domain_id, subject.domain_name)
            and (not self.user_profiles or matches_name(self.user_profiles, subject.user_profile))
        )


class NeverGoverned(NamedTuple):
    """Roles that get no guardrail, whichever subject names them.

    - `role`: a pattern of the names of roles.
    - `account`: the account of the roles. Empty for the account of the stack, if the stack covers no other.
    """

    role: str
    account: str = ""

    def covers(self, account: str, role: str, *, home: str) -> bool:
        """Whether this entry means a role of `account`. Without an account, it means those of the account `home`."""
        return (self.account or home) == account and matches_name([self.role], role)


class AlsoGovern(NamedTuple):
    """Roles that need guardrails although no domain or user profile uses them.

    - `roles`: patterns of the names of roles.
    - `trusting`: principals whose roles are covered, as `Trust` has them: a role that one of these can assume.
    """

    roles: tuple[str, ...] = ()
    trusting: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.roles or self.trusting)


class Rules(NamedTuple):
    """A valid guardrails.yaml.

    - `trusted_taggers`: the ARNs of the only principals that can set the tags by which assignments match. Empty if the
      file names none.
    """

    guardrails: Mapping[str, Guardrail]
    assignments: tuple[Assignment, ...]
    exemptions: tuple[Exemption, ...] = ()
    also_govern: AlsoGovern = AlsoGovern()
    surplus: SurplusPolicies = SurplusPolicies.KEEP
    fallback: Fallback = Fallback.NONE
    never_govern: tuple[NeverGoverned, ...] = ()
    hold: Hold = Hold.NONE
    trusted_taggers: tuple[str, ...] = ()

    def required(self, subject: Subject) -> tuple[Guardrail, ...]:
        """The guardrails that `subject` needs: those of the first assignment that matches it."""
        number = self.deciding(subject)
        names = self.assignments[number].guardrails if number is not None else ()
        return tuple(self.guardrails[name] for name in names)

    def deciding(self, subject: Subject) -> int | None:
        """The position of the first assignment that matches `subject`, from 0; None if none does."""
        return next((number for number, one in enumerate(self.assignments) if one.matches(subject)), None)

    def exemption(self, account: str, role: str, today: date, *, home: str) -> Exemption | None:
        """The exemption of a role of `account` that applies on the day `today` (UTC); None if no exemption applies.

        An exemption without an account applies in the account `home` only.
        """
        in_force = (e for e in self.exemptions if today <= e.until and (e.account or home) == account)
        return next((e for e in in_force if same(e.role, role)), None)

    def never(self, account: str, role: str, *, home: str) -> NeverGoverned | None:
        """The entry of `never_govern` for a role of `account`; None without one."""
        return next((entry for entry in self.never_govern if entry.covers(account, role, home=home)), None)

    def confirms(self, role: str) -> bool:
        """Whether the file names a role by its exact name, in an assignment or in `also_govern`."""
        named = (*self.also_govern.roles, *(name for one in self.assignments for name in one.roles))
        return any(same(name, role) for name in named if not set(name) & set("*?"))

    def need_accounts(self) -> None:
        """Raise RulesError if an exemption, or an entry of `never_govern`, names no account.

        A stack that covers several accounts needs the account of each.
        """
        for number, entry in enumerate(self.never_govern, start=1):
            if not entry.account:
                raise RulesError(
                    f"guardrails.yaml: never_govern[{number}]: `{entry.role}` names no account, and the stack covers "
                    'an organization: write `account: "111122223333"` with the ID of the role\'s account'
                )
        for number, exemption in enumerate(self.exemptions, start=1):
            if not exemption.account:
                raise RulesError(
                    f"guardrails.yaml: exemptions[{number}]: `{exemption.role}` names no account, and the stack covers "
                    'an organization: write `account: "111122223333"` with the ID of the role\'s account'
                )

    @property
    def enforced_together(self) -> tuple[tuple[str, ...], ...]:
        """The sets of guardrails that an assignment enforces together, each set once, as sorted names."""
        sets = (
            tuple(sorted(name for name in assignment.guardrails if self.guardrails[name].mode is Mode.ENFORCE))
            for assignment in self.assignments
        )
        return tuple(dict.fromkeys(filter(None, sets)))

    @property
    def observes(self) -> bool:
        """Whether every guardrail is in observe mode, so that Rolewarden changes no role."""
        return all(guardrail.mode is Mode.OBSERVE for guardrail in self.guardrails.values())

    @property
    def asks_for_tags(self) -> bool:
        """Whether an assignment matches tags. Otherwise a sweep does not need to list them."""
        return bool(self.tag_keys)

    @property
    def tag_keys(self) -> frozenset[str]:
        """The keys of the tags by which assignments match."""
        return frozenset(key for assignment in self.assignments for key in assignment.tags)


class FileReading(NamedTuple):
    """The result of reading a file.

    - `rules`: None if the file has errors.
    - `lines`: the known lines, by the path of the value in the file. Empty for JSON.
    """

    file: str
    rules: Rules | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    lines: Mapping[Path_, int] = MappingProxyType({})

    def problem(self, path: Path_, message: str) -> Problem:
        """The problem `message` of the value at `path`, with the line of that value."""
        return problem_at(self.file, self.lines, path, message)


def load(path: Path, *, today: date) -> Rules:
    """Load the rules from `path`: a .yaml file, or the .json file that `sam build` writes.

    Raises RulesError with a line for each error.
    """
    reading = read(path, today=today)
    if reading.rules is None:
        raise RulesError("\n".join(str(problem) for problem in reading.errors))
    return reading.rules


def read(path: Path, *, today: date) -> FileReading:
    """Read the file at `path` into rules, errors and warnings. `today` (UTC) decides which exemptions have ended."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return _unread(path.name, 0, f"cannot be read: {error.strerror}; give a file that you can read")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return _unread(path.name, line, "is not UTF-8 text: save the file as UTF-8")
    if path.suffix == ".json":
        return read_json(text, file=path.name, today=today)
    return read_yaml(text, file=path.name, today=today)


def read_json(text: str, *, file: str = "guardrails.json", today: date) -> FileReading:
    """Read a JSON text, in the same way as `read`."""
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        return _unread(file, error.lineno, f"is not valid JSON ({error.msg}): {_BUILD_IT}")
    except RulesError as error:
        return _unread(file, 0, str(error))
    except RecursionError:
        return _unread(file, 0, f"is nested too deep: {_BUILD_IT}")
    except ValueError:  # json raises no other ValueError that is not a JSONDecodeError
        return _unread(file, 0, f"has a number of thousands of digits: {_BUILD_IT}")
    return read_document(document, {}, file=file, today=today)


_BUILD_IT = "let `sam build` write it from guardrails.yaml"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise RulesError(f"the key `{key}` is in one mapping twice: keep one")
        found[key] = value
    return found


def _unread(file: str, line: int, message: str, where: str = "") -> FileReading:
    return FileReading(file, None, (Problem(file, line, where, message),))


def read_yaml(text: str, *, file: str = "guardrails.yaml", today: date) -> FileReading:
    """Read a YAML text, in the same way as `read`."""
    from rolewarden import yamltext  # a function reads JSON, and does not load the parser

    try:
        document, lines = yamltext.parse_yaml(text)
    except yamltext.YamlTextError as error:
        return _unread(file, error.line, str(error), where_of(error.path))
    return read_document(document, lines, file=file, today=today)


_Item = TypeVar("_Item")
_Choice = TypeVar("_Choice", bound=StrEnum)
# These are texts, so that a function compiles only the patterns that its file needs.
_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,99}"
_PRINCIPAL = r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?"
_ROLE = r"[A-Za-z0-9_+=,.@*?-]{1,64}"
_ACCOUNT = r"[0-9]{12}|(?=[0-9]*[*?])[0-9*?]{1,12}"
_ONE_ACCOUNT = r"[0-9]{12}"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NAMES = "a list of guardrails, for example `[no-generative-ai]`, or `[]` if none applies"
_PATTERNS = {
    "accounts": 'a list of account IDs, for example `["012345678901"]`',
    "domains": "a list of patterns of domain names or IDs, for example `[research]`",
    "user_profiles": "a list of patterns of profile names, for example `[intern-*]`",
    "roles": "a list of patterns of role names, for example `[CanvasResearch*]`",
}
_FAMILIES = ("bedrock", "jumpstart", "assistants")
_PLACES = ("other_profiles", "shared_spaces")
"""Options of a guardrail about the places where a user can work as another role."""
_ALL_ASSISTANTS = "an assistant does not show its model: write `assistants: {deny: all}`"
_MODELS = "`{deny: all}`, `{deny: [model, ...]}` or `{allow: [model, ...]}`"
_TAGGER = r"arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/([A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]{1,64}"
_TAGGERS = 'a list of ARNs, for example `["arn:aws:iam::111122223333:role/platform"]`'
_SERVICES = "a list of services or accounts, for example `[sagemaker.amazonaws.com]`"
_ONE_TEXT = "must be one text, in quotes if it is a number"


def read_document(document: Any, lines: Mapping[Path_, int], *, file: str, today: date) -> FileReading:
    """Read parsed YAML or JSON, in the same way as `read`. `lines` maps the path of a value to its line."""
    return _FileReader(lines, file, today).read(document)


class _FileReader:
    def __init__(self, lines: Mapping[Path_, int], file: str, today: date) -> None:
        self.lines = lines
        self.file = file
        self.today = today
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def read(self, document: Any) -> FileReading:
        if document is None:
            self.add_error((), "is empty: write `guardrails:` and `assignments:`")
            return FileReading(self.file, None, tuple(self.errors))
        known = {
            "mode", "guardrails", "assignments", "exemptions", "also_govern", "surplus", "fallback", "never_govern",
            "hold", "trusted_taggers",
        }  # fmt: skip
        if isinstance(document, dict) and document.get("guardrails", {}) is None and document.keys() - known:
            lost = next(key for key in document if key not in known)
            self.add_error(("guardrails",), f"is empty: indent `{lost}` if it belongs below it")
            return FileReading(self.file, None, tuple(self.errors))
        top = self.mapping(
            document,
            (),
            known,
            {
                "guardrails": f"is missing: add {_SOME_GUARDRAILS}",
                "assignments": _CATCH_ALL.format("is missing"),
            },
        )
        mode = self.choice(Mode, "mode", top, (), Mode.ENFORCE)
        guardrails = self.guardrails(top["guardrails"], mode) if "guardrails" in top else {}
        assignments = self.assignments(top["assignments"], guardrails) if "assignments" in top else ()
        exemptions = tuple(self.items(top.get("exemptions"), ("exemptions",), self.exemption))
        also_govern = self.also_govern(top.get("also_govern"))
        surplus = self.choice(SurplusPolicies, "surplus", top, (), SurplusPolicies.KEEP)
        fallback = self.choice(Fallback, "fallback", top, (), Fallback.NONE)
        never = tuple(self.items(top.get("never_govern"), ("never_govern",), self.never_governed))
        hold = self.choice(Hold, "hold", top, (), Hold.NONE)
        taggers = self.trusted_taggers(top["trusted_taggers"], assignments) if "trusted_taggers" in top else ()
        rules = None
        if not self.errors:
            named = [*((one.account, one.role) for one in exemptions), *((one.account, one.role) for one in never)]
            exempt = tuple(sorted({ExemptRole(*one) for one in named}))
            tagged = any(assignment.tags for assignment in assignments)
            guardrails = {
                name: found._replace(exempt_roles=exempt, fixed_tags=tagged, trusted_taggers=taggers)
                for name, found in guardrails.items()
            }
            rules = Rules(guardrails, assignments, exemptions, also_govern, surplus, fallback, never, hold, taggers)
            self.warn_of_unused(rules)
        errors = tuple(sorted(self.errors, key=lambda problem: problem.line))
        return FileReading(self.file, rules, errors, tuple(self.warnings), self.lines)

    def add_error(self, path: Path_, message: str) -> None:
        self.errors.append(self.problem(path, message))

    def problem(self, path: Path_, message: str) -> Problem:
        return problem_at(self.file, self.lines, path, message)

    def guardrails(self, value: Any, mode: Mode) -> dict[str, Guardrail]:
        path: Path_ = ("guardrails",)
        if not value and isinstance(value, dict | None):
            self.add_error(path, f"is empty: indent below it {_SOME_GUARDRAILS}")
            return {}
        if not isinstance(value, dict):
            self.add_error(
                path, "must be a mapping of names to denied models, for example `no-bedrock: {bedrock: {deny: all}}`"
            )
            return {}
        lost = next((key for key in _FAMILIES if key in value), None)
        bare = next((name for name, body in value.items() if body is None), None)
        if lost and bare is not None and lost != bare:
            self.add_error((*path, bare), f"is empty: indent `{lost}` if it belongs below it")
            return {}
        found: dict[str, Guardrail] = {}
        policies: dict[str, str] = {}  # by the lower-case name, because IAM ignores case
        for name, body in value.items():
            if not re.fullmatch(_NAME, name):
                self.add_error(
                    (*path, name),
                    "is not a valid name for a guardrail: start with a letter, then use letters, digits, - and _, "
                    "100 characters at most (it becomes the name of an IAM policy)",
                )
            elif (other := policies.setdefault(name.lower(), name)) != name:
                self.add_error(
                    (*path, name),
                    f"is the same name as `{other}` for IAM: rename one of them, for example to `{name}-b`",
                )
            found[name] = self.guardrail(name, body, (*path, name), mode)
        for lowered, name in policies.items():
            base = policies.get(re.sub(r"-\d+$", "", lowered), name)
            if base != name:
                self.add_error(
                    (*path, name),
                    f"`{base}-<number>` is reserved for further policies of `{base}`: rename it, for example to "
                    f"`{base}-b`",
                )
        return found

    def guardrail(self, name: str, value: Any, path: Path_, mode: Mode) -> Guardrail:
        body = self.mapping(value, path, {*_FAMILIES, "pass_roles", "routes", "mode", *_PLACES})
        denying = {*_FAMILIES, "pass_roles"} & body.keys()
        denying |= {place for place in _PLACES if body.get(place) == Allowance.DENY}
        if not denying and isinstance(value, dict) and body.keys() == value.keys():
            self.add_error(
                path, "denies nothing: add `bedrock: {deny: all}`, `jumpstart: {deny: all}` or lists of models"
            )
        routes = self.choice(Routes, "routes", body, path, Routes.ALL)
        return Guardrail(
            name,
            self.bedrock(body["bedrock"], (*path, "bedrock"), routes) if "bedrock" in body else None,
            self.jumpstart(body["jumpstart"], (*path, "jumpstart"), routes) if "jumpstart" in body else None,
            routes,
            self.choice(Mode, "mode", body, path, mode),
            assistants=self.assistants(body["assistants"], (*path, "assistants")) if "assistants" in body else None,
            pass_roles=self.strings(
                body["pass_roles"], (*path, "pass_roles"), _PATTERNS["roles"], self.check_passed_role
            )
            if "pass_roles" in body
            else (),
            other_profiles=self.choice(Allowance, "other_profiles", body, path, Allowance.ALLOW),
            shared_spaces=self.choice(Allowance, "shared_spaces", body, path, Allowance.ALLOW),
        )

    def assistants(self, value: Any, path: Path_) -> AssistantsRule:
        body = self.mapping(value, path, {"deny"}, {"deny": _ALL_ASSISTANTS})
        if "deny" in body and body["deny"] != "all":
            self.add_error((*path, "deny"), _ALL_ASSISTANTS)
        return AssistantsRule()

    def check_passed_role(self, role: str, path: Path_) -> None:
        self.check_role_name(role, path)
        if set(role) <= set("*?"):
            self.add_error(path, f"`{role}` matches every role, so it restricts nothing: remove `pass_roles`")

    def bedrock(self, value: Any, path: Path_, routes: Routes) -> BedrockRule:
        body = self.family(value, path, {"deny", "allow", "customization", "indirect", "allow_arns"})
        kind, patterns = self.models(body, path, self.checked_by(problem_of_bedrock_model))
        rule = BedrockRule(
            kind,
            patterns,
            self.choice(Allowance, "customization", body, path, Allowance.DENY),
            self.choice(Allowance, "indirect", body, path, Allowance.DENY),
            self.strings(body["allow_arns"], (*path, "allow_arns"), "a list of ARNs") if "allow_arns" in body else (),
        )
        self.warn_of_customization(rule.customization, body, path)
        self.warn_of_routes("indirect", routes, body, path)
        for number, arn in enumerate(rule.allow_arns):
            if problem := problem_of_arn(arn, denies_all=kind == "deny-all"):
                self.add_error((*path, "allow_arns", number), problem)
        return rule

    def jumpstart(self, value: Any, path: Path_, routes: Routes) -> JumpStartRule:
        options = {"customization", "weights", "autopilot", "indirect", "data_jobs", "hubs"}
        body = self.family(value, path, {"deny", "allow", *options})
        kind, patterns = self.models(body, path, self.checked_by(problem_of_jumpstart_model))
        what = "a list of names of private hubs, for example `[approved-models]`"
        rule = JumpStartRule(
            kind,
            patterns,
            self.choice(Allowance, "customization", body, path, Allowance.DENY),
            self.choice(Allowance, "weights", body, path, Allowance.ALLOW),
            self.choice(Allowance, "autopilot", body, path, Allowance.ALLOW),
            self.choice(Allowance, "indirect", body, path, Allowance.DENY),
            self.choice(Allowance, "data_jobs", body, path, Allowance.DENY),
            self.strings(body["hubs"], (*path, "hubs"), what, self.checked_by(problem_of_hub))
            if "hubs" in body
            else (),
        )
        self.warn_of_customization(rule.customization, body, path)
        for key in ("customization", "indirect", "data_jobs"):
            self.warn_of_routes(key, routes, body, path)
        if rule.data_jobs is Allowance.ALLOW and rule.customization is Allowance.ALLOW:
            self.add_error((*path, "data_jobs"), "`customization: allow` already allows these jobs: remove `data_jobs`")
        if rule.hubs and kind != "deny-all":
            self.add_error(
                (*path, "hubs"), "`hubs` is an exception from `deny: all`: write `deny: all`, or remove `hubs`"
            )
        if rule.weights is Allowance.DENY and (kind == "allow" or rule.hubs):
            allowing, others = ("hubs", "of these hubs") if rule.hubs else ("allow", "of the allowed models")
            self.add_error(
                (*path, "weights"),
                f"`weights: deny` with `{allowing}` would also deny the files {others}, because S3 does not know "
                "models: remove it, or list models under `deny`",
            )
        return rule

    def checked_by(self, problem_of: Callable[[str], str]) -> Callable[[str, Path_], None]:
        """A check that adds the problem of a text as an error."""

        def check(text: str, path: Path_) -> None:
            if problem := problem_of(text):
                self.add_error(path, problem)

        return check

    def family(self, value: Any, path: Path_, keys: set[str]) -> dict[str, Any]:
        if value is None or value == {}:
            self.add_error(path, f"is empty: write {_MODELS}")
            return {}
        body = self.mapping(value, path, keys)
        if body and body.keys() == value.keys() and not {"deny", "allow"} & body.keys():
            self.add_error(path, f"names no models: add {_MODELS}")
        return body

    def models(
        self, body: dict[str, Any], path: Path_, pattern: Callable[[str, Path_], None]
    ) -> tuple[RuleKind, tuple[str, ...]]:
        if "deny" in body and "allow" in body:
            self.add_error(path, "has both `deny` and `allow`: keep one (an allow list already denies everything else)")
            return "deny-all", ()
        if not {"deny", "allow"} & body.keys():
            return "deny-all", ()
        kind: RuleKind = "deny" if "deny" in body else "allow"
        listed = body[kind]
        if kind == "deny" and listed == "all":
            return "deny-all", ()

        def check(model: str, place: Path_) -> None:
            if not is_every(model):
                pattern(model, place)
            elif kind == "deny":
                self.add_error(place, f"`{model}` names no model: write `deny: all` to deny every model")
            else:
                self.add_error(place, f"`{model}` allows every model and so denies nothing: remove the whole entry")

        if isinstance(listed, str) and is_every(listed):
            check(listed, (*path, kind))
            return "deny-all", ()
        what = "a list of model IDs, for example `[model, ...]`" + (", or `all`" if kind == "deny" else "")
        return kind, tuple(dict.fromkeys(self.strings(listed, (*path, kind), what, check)))

    def warn_of_customization(self, customization: Allowance, body: dict[str, Any], path: Path_) -> None:
        if customization is Allowance.ALLOW and body.get("deny") == "all":
            self.add_error(
                (*path, "customization"),
                "`customization: allow` contradicts `deny: all`, which denies every use of a model: remove one of them",
            )

    def warn_of_routes(self, key: str, routes: Routes, body: dict[str, Any], path: Path_) -> None:
        if routes is Routes.CANVAS and body.get(key) == Allowance.DENY:
            self.add_error(
                (*path, key),
                f"`{key}: deny` contradicts `routes: canvas`, which closes only access paths that Canvas uses: "
                "remove one of them",
            )

    def assignments(self, value: Any, guardrails: Mapping[str, Guardrail]) -> tuple[Assignment, ...]:
        path: Path_ = ("assignments",)
        if not value and isinstance(value, list | None):
            self.add_error(path, _CATCH_ALL.format("is empty"))
            return ()
        found = tuple(self.items(value, path, lambda item, place: self.assignment(item, place, guardrails)))
        first = next((number for number, one in enumerate(found[:-1]) if one and one.matches_everyone), None)
        # `one` is None if its conditions have an error. Such an assignment may match every subject or not.
        if first is None and found and found[-1] and not found[-1].matches_everyone:
            self.add_error(
                (*path, len(found) - 1), _CATCH_ALL.format("is the last assignment and does not match every subject")
            )
        if first is not None:
            self.add_error(
                (*path, first + 1),
                f"is never used, because assignment {first + 1} matches every subject: move that one to the end",
            )
        return tuple(assignment for assignment in found if assignment)

    def assignment(self, value: Any, path: Path_, guardrails: Mapping[str, Guardrail]) -> Assignment | None:
        before = len(self.errors)
        body = self.mapping(
            value,
            path,
            {"guardrails", "tags", *_PATTERNS},
            {"guardrails": "is missing: name the guardrails of these subjects, for example `guardrails: [no-bedrock]`"},
        )
        checks = {"accounts": self.check_account, "roles": self.check_role_name}
        listed = {
            key: self.strings(body[key], (*path, key), what, checks.get(key))
            for key, what in _PATTERNS.items()
            if key in body
        }
        tags = self.tags(body["tags"], (*path, "tags")) if "tags" in body else {}
        understood = len(self.errors) == before
        names: tuple[str, ...] = ()
        if "guardrails" in body and body["guardrails"] != []:
            names = self.strings(
                body["guardrails"], (*path, "guardrails"), _NAMES,
                lambda name, place: self.check_known(name, place, guardrails),
            )  # fmt: skip
        return Assignment(tuple(dict.fromkeys(names)), tags=tags, **listed) if understood else None

    def check_known(self, name: str, path: Path_, guardrails: Mapping[str, Guardrail]) -> None:
        # If the file has no guardrails, another error says so already.
        if guardrails and name not in guardrails:
            near = get_close_matches(name, guardrails, 1)
            known = f"did you mean `{near[0]}`?" if near else f"write one of: {', '.join(guardrails)}"
            self.add_error(path, f"no guardrail has the name `{name}`: {known}")

    def check_account(self, account: str, path: Path_) -> None:
        if not re.fullmatch(_ACCOUNT, account):
            self.add_error(path, f"`{account}` is not an account ID: write its 12 digits, or a pattern such as `1234*`")

    def check_role_name(self, role: str, path: Path_) -> None:
        if not re.fullmatch(_ROLE, role):
            name = role.rpartition("/")[2]
            form = f"`{name}`, without its ARN or path" if re.fullmatch(_ROLE, name) else "it as `CanvasResearch*`"
            self.add_error(path, f"`{role}` is not a role name: write {form}")

    def tags(self, value: Any, path: Path_) -> dict[str, str]:
        if not isinstance(value, dict) or not value:
            self.add_error(path, "must be a mapping of tags to values, for example `{team: data-science}`")
            return {}
        for key, wanted in value.items():
            if not isinstance(wanted, str):
                self.add_error(
                    (*path, key),
                    f'{_ONE_TEXT}, for example `team: data-science` ("*" for any value, "" for an empty one)',
                )
        return {key: wanted for key, wanted in value.items() if isinstance(wanted, str)}

    def exemption(self, value: Any, path: Path_) -> Exemption:
        body = self.mapping(
            value,
            path,
            {"role", "account", "domains", "user_profiles", "until", "reason"},
            {
                "role": "is missing: name the exempt role, for example `role: CanvasBreakGlass`",
                "until": "is missing: write the last day of the exemption, for example `until: 2027-01-31`",
            },
        )
        role, until, reason = body.get("role"), _date(body.get("until")), body.get("reason")
        if isinstance(role, str):
            self.check_exempt_role(role, (*path, "role"))
        elif "role" in body:
            self.add_error((*path, "role"), "must be the name of one role, for example `role: CanvasBreakGlass`")
        account = body.get("account", "")
        self.check_one_account(body, path)
        if "until" in body and until is None:
            self.add_error(
                (*path, "until"), "is not a date: write the last day of the exemption, for example `until: 2027-01-31`"
            )
        elif until and until < self.today and isinstance(role, str):
            self.warnings.append(
                self.problem(path, f"ended on {until}, so `{role}` needs its guardrails again: remove the exemption")
            )
        if not isinstance(reason, str | None):
            self.add_error((*path, "reason"), f"{_ONE_TEXT}, for example `reason: ticket SEC-123`")
        subjects = {
            key: self.strings(body[key], (*path, key), _PATTERNS[key])
            for key in ("domains", "user_profiles")
            if key in body
        }
        return Exemption(str(role), until or date.min, str(reason or ""), str(account), **subjects)

    def check_exempt_role(self, role: str, path: Path_) -> None:
        if re.fullmatch(_ROLE, role) and set(role) & set("*?"):
            way = "to only report drift, write `mode: observe`" if set(role) == {"*"} else "write one for each role"
            self.add_error(path, f"`{role}` has a wildcard, and an exemption is for one role by its exact name: {way}")
        else:
            self.check_role_name(role, path)

    def never_governed(self, value: Any, path: Path_) -> NeverGoverned:
        missing = "is missing: name the role, for example `role: PaymentsProduction` or `role: payments-*`"
        body = self.mapping(value, path, {"role", "account"}, {"role": missing})
        role, account = body.get("role"), body.get("account", "")
        if isinstance(role, str):
            if set(role) <= set("*?"):
                self.add_error((*path, "role"), f"`{role}` names every role: name those that are never governed")
            else:
                self.check_role_name(role, (*path, "role"))
        elif "role" in body:
            self.add_error((*path, "role"), "must be the name of one role, for example `role: PaymentsProduction`")
        self.check_one_account(body, path)
        return NeverGoverned(str(role), str(account))

    def check_one_account(self, body: Mapping[str, Any], path: Path_) -> None:
        account = body.get("account", "")
        if "account" in body and not (isinstance(account, str) and re.fullmatch(_ONE_ACCOUNT, account)):
            self.add_error(
                (*path, "account"), 'must be the 12 digits of one account, for example `account: "111122223333"`'
            )

    def trusted_taggers(self, value: Any, assignments: Sequence[Assignment]) -> tuple[str, ...]:
        path: Path_ = ("trusted_taggers",)
        found = self.strings(value, path, _TAGGERS, self.check_tagger)
        if found and not any(assignment.tags for assignment in assignments):
            self.add_error(path, "no assignment matches by tags: add one, or remove `trusted_taggers`")
        return tuple(dict.fromkeys(found))

    def check_tagger(self, arn: str, path: Path_) -> None:
        if not re.fullmatch(_TAGGER, arn):
            self.add_error(
                path,
                f"`{arn}` is not the whole ARN of one role or user, with its account and path: write it as "
                "`arn:aws:iam::111122223333:role/platform`, without wildcards and not as the ARN of a session",
            )

    def also_govern(self, value: Any) -> AlsoGovern:
        if value is None:
            return AlsoGovern()
        path: Path_ = ("also_govern",)
        body = self.mapping(value, path, {"roles", "trusting"})
        roles, trusting = (
            self.strings(body[key], (*path, key), what, check) if key in body else ()
            for key, what, check in (
                ("roles", _PATTERNS["roles"], self.check_role_name),
                ("trusting", _SERVICES, self.check_service),
            )
        )
        return AlsoGovern(roles, tuple(map(principal_of, trusting)))

    def check_service(self, principal: str, path: Path_) -> None:
        if not re.fullmatch(f"{_PRINCIPAL}|{_ONE_ACCOUNT}", principal_of(principal)):
            self.add_error(
                path,
                f"`{principal}` is not a service or account: write it as `sagemaker.amazonaws.com`, or as the 12 "
                "digits of the account",
            )

    def choice(self, kinds: type[_Choice], key: str, body: Mapping[str, Any], path: Path_, default: _Choice) -> _Choice:
        value = body.get(key)
        if value is None:
            return default
        if value not in tuple(kinds):
            shown = f"`{value}` is not understood" if isinstance(value, str) else "is not understood"
            known = " or ".join(f"`{kind}`" for kind in kinds)
            self.add_error((*path, key), f"{shown}: write {known}")
            return default
        return kinds(value)

    def warn_of_unused(self, rules: Rules) -> None:
        used = {name for assignment in rules.assignments for name in assignment.guardrails}
        for name in rules.guardrails:
            if name not in used:
                self.warnings.append(
                    self.problem(
                        ("guardrails", name),
                        "is in no assignment, so it is published but attached to no role: add it to an assignment, or "
                        "remove it",
                    )
                )

    def mapping(
        self,
        value: Any,
        path: Path_,
        keys: set[str],
        required: Mapping[str, str] = {},
    ) -> dict[str, Any]:
        """`value` without unknown keys. `required` has the error message for each key that must be present."""
        if not isinstance(value, dict):
            self.add_error(path, f"must be a mapping with {_listed(sorted(keys))}, each as `key: value`")
            return {}
        meant = set()
        for key in value:
            if key not in keys:
                near = get_close_matches(key, keys - value.keys(), 1)
                meant.update(near)
                known = f"did you mean `{near[0]}`?" if near else f"write one of {_listed(sorted(keys))}"
                self.add_error((*path, key), f"unknown key: {known}")
        for key, message in required.items():
            if key not in value and key not in meant:
                self.add_error((*path, key), message)
        return {key: item for key, item in value.items() if key in keys}

    def items(self, value: Any, path: Path_, read: Callable[[Any, Path_], _Item]) -> Iterator[_Item]:
        if value is None:
            return
        if not isinstance(value, list):
            self.add_error(path, "must be a list: write each entry on its own line after `- `")
            return
        for number, item in enumerate(value):
            yield read(item, (*path, number))

    def strings(
        self, value: Any, path: Path_, what: str, check: Callable[[str, Path_], None] | None = None
    ) -> tuple[str, ...]:
        """The texts in the list `value`. `check` gets each of them."""
        if value == []:
            self.add_error(path, f"is empty: write {what}, or remove the key")
            return ()
        if not isinstance(value, list):
            self.add_error(path, f"must be {what}")
            return ()
        for number, item in enumerate(value):
            place = (*path, number)
            if not isinstance(item, str) or not item:
                self.add_error(place, f"{_ONE_TEXT}: write {what}")
            elif item != item.strip():
                self.add_error(place, f"`{item}` begins or ends with a space: write `{item.strip()}`")
            elif check:
                check(item, place)
        return tuple(item for item in value if isinstance(item, str))


_CATCH_ALL = (
    "{}: end with an assignment that matches every subject, for example `- guardrails: [name]` without conditions "
    "(`- guardrails: []` if the other subjects need no guardrail)"
)
_SOME_GUARDRAILS = "at least one guardrail, for example `no-bedrock: {bedrock: {deny: all}}`"


def _date(value: Any) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) and re.fullmatch(_DAY, value) else None
    except ValueError:
        return None


def _listed(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)

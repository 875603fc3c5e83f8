"""The reader of guardrails.yaml, which returns the rules or the errors of the file.

It reads the file into strings, lists and mappings with the line of each, then validates them into `Rules`. A deployed
function reads the same document as JSON, which `sam build` writes (see layers/guardrails/Makefile), so that it needs no
YAML parser at run time.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from rolewarden.errors import RulesError
from rolewarden.families import SOME_GUARDRAILS, read_guardrails
from rolewarden.fields import ONE_TEXT, ROLE_PATTERNS, Fields
from rolewarden.forms import ACCOUNT_ID, ACCOUNT_PATTERN, DAY, PRINCIPAL, ROLE_ID, ROLE_PATTERN
from rolewarden.guardrails import (
    AlsoGovern,
    Assignment,
    Exemption,
    ExemptRole,
    Fallback,
    Guardrail,
    Hold,
    Mode,
    NeverGoverned,
    Rules,
    SurplusPolicies,
)
from rolewarden.plaintext import pasted
from rolewarden.principals import ANY_PRINCIPALS, SOURCE_IDENTITY, add_contradictions, problem_of
from rolewarden.problems import Path_, Problem, Problems, problem_at, where_of
from rolewarden.trust import principal_of

if TYPE_CHECKING:
    from rolewarden.known import KnownModels


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


ShowProgress = Callable[[str, int, int], None]
"""A function that gets a step, the number of its parts that are done, and the number of all its parts."""


def show_nothing(_step: str, _done: int, _total: int) -> None:
    """Ignore the progress."""


def read(
    path: Path, *, today: date, known: KnownModels | None = None, progress: ShowProgress = show_nothing
) -> FileReading:
    """Read the file at `path` into rules, errors and warnings.

    - `today` (UTC): decides which exemptions have ended.
    - `known`: the models from which a message can suggest one.
    - `progress`: gets the number of lines read so far.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return _unread(path.name, 0, f"cannot be read: {error.strerror}; give a file that you can read")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return _unread(path.name, line, "is not UTF-8 text: save the file as UTF-8")
    if path.suffix == ".json":
        return read_json(text, file=path.name, today=today, known=known)
    return read_yaml(text, file=path.name, today=today, known=known, progress=progress)


def read_json(
    text: str, *, file: str = "guardrails.json", today: date, known: KnownModels | None = None
) -> FileReading:
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
    return read_document(document, {}, file=file, today=today, known=known)


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


def read_yaml(
    text: str,
    *,
    file: str = "guardrails.yaml",
    today: date,
    known: KnownModels | None = None,
    progress: ShowProgress = show_nothing,
) -> FileReading:
    """Read a YAML text, in the same way as `read`."""
    from rolewarden import yamltext  # a function reads JSON, and does not load the parser

    try:
        document, lines = yamltext.parse_yaml(text, progress)
    except yamltext.YamlTextError as error:
        return _unread(file, error.line, str(error), where_of(error.path))
    return read_document(document, lines, file=file, today=today, known=known)


_NAMES = "a list of guardrails, for example `[no-generative-ai]`, or `[]` if none applies"
_RECORDED = {"reason": "break-glass access", "ticket": "SEC-123", "approved_by": "security team"}
"""The keys of an exemption that are for people only, each with an example."""

_PATTERNS = {
    "accounts": 'a list of account IDs, for example `["012345678901"]`',
    "domains": "a list of patterns of domain names, or of IDs that begin with d-, for example `[research]`",
    "user_profiles": "a list of patterns of profile names, for example `[intern-*]`",
    "roles": ROLE_PATTERNS,
    "principals": ANY_PRINCIPALS,
    "source_identities": "a list of names of user profiles, for example `[ana, ben]`",
}
_TAGGER = r"arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/([A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]{1,64}"
_TAGGERS = 'a list of ARNs, for example `["arn:aws:iam::111122223333:role/platform"]`'
_SINGLE_TEXTS = ("role", "account", "role_id", "until", "deny", "allow")
"""The keys with one text that is no choice."""

_SERVICES = "a list of services or accounts, for example `[sagemaker.amazonaws.com]`"
_CATCH_ALL = (
    "{}: end with an assignment that matches every subject, for example `- guardrails: [name]` without conditions "
    "(`- guardrails: []` if the other subjects need no guardrail)"
)


def read_document(
    document: Any, lines: Mapping[Path_, int], *, file: str, today: date, known: KnownModels | None = None
) -> FileReading:
    """Read parsed YAML or JSON, in the same way as `read`. `lines` maps the path of a value to its line."""
    return _FileReader(Problems(file, lines, known), today).read(document)


class _FileReader(Fields):
    def __init__(self, problems: Problems, today: date) -> None:
        super().__init__(problems)
        self.today = today
        self.pasted: list[tuple[Path_, Path_, str]] = []
        """The errors that `text_as_meant` finds: the place, the place as it is meant, and the message."""

    def read(self, document: Any) -> FileReading:
        if document is None:
            self.add_error((), "is empty: write `guardrails:` and `assignments:`")
            return self.reading(None)
        known = {
            "mode", "guardrails", "assignments", "exemptions", "also_govern", "surplus", "fallback", "never_govern",
            "hold", "trusted_taggers",
        }  # fmt: skip
        if isinstance(document, dict) and document.get("guardrails", {}) is None and document.keys() - known:
            lost = next(key for key in document if key not in known)
            self.add_error(("guardrails",), f"is empty: indent `{lost}` if it belongs below it")
            return self.reading(None)
        top = self.mapping(
            self.as_meant(document, ()),
            (),
            known,
            {
                "guardrails": f"is missing: add {SOME_GUARDRAILS}",
                "assignments": _CATCH_ALL.format("is missing"),
            },
        )
        mode = self.choice(Mode, "mode", top, (), Mode.ENFORCE)
        guardrails = read_guardrails(top["guardrails"], mode, self.problems) if "guardrails" in top else {}
        assignments = self.assignments(top["assignments"], guardrails) if "assignments" in top else ()
        exemptions = tuple(self.items(top.get("exemptions"), ("exemptions",), self.exemption))
        also_govern = self.also_govern(top.get("also_govern"))
        surplus = self.choice(SurplusPolicies, "surplus", top, (), SurplusPolicies.KEEP)
        fallback = self.choice(Fallback, "fallback", top, (), Fallback.NONE)
        never = tuple(self.items(top.get("never_govern"), ("never_govern",), self.never_governed))
        hold = self.choice(Hold, "hold", top, (), Hold.NONE)
        taggers = self.trusted_taggers(top["trusted_taggers"], assignments) if "trusted_taggers" in top else ()
        self.add_pasted()
        rules = None
        if not self.problems.errors:
            add_contradictions(assignments, exemptions, self.problems)
        if not self.problems.errors:
            named = [*((one.account, one.role) for one in exemptions), *((one.account, one.role) for one in never)]
            exempt = tuple(sorted({ExemptRole(*one) for one in named}))
            tagged = any(assignment.tags for assignment in assignments)
            guardrails = {
                name: found._replace(exempt_roles=exempt, fixed_tags=tagged, trusted_taggers=taggers)
                for name, found in guardrails.items()
            }
            rules = Rules(guardrails, assignments, exemptions, also_govern, surplus, fallback, never, hold, taggers)
            self.warn_of_unused(rules)
        return self.reading(rules)

    def as_meant(self, value: Any, path: Path_) -> Any:
        """`value` without the quotes and dashes of a word processor around its keys and single texts, each an error.

        `Fields` corrects the texts of lists and choices itself. A `reason` is for people and can have any character.
        """
        if isinstance(value, list):
            return [self.as_meant(item, (*path, number)) for number, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        are_tags = path[:1] == ("assignments",) and path[2:] == ("tags",)
        found: dict[str, Any] = {}
        for key, item in value.items():
            place = (*path, key)
            is_text = isinstance(item, str) and (are_tags or key in _SINGLE_TEXTS)
            name = self.text_as_meant(key, place, is_tag=are_tags)
            found[name] = self.text_as_meant(item, place, is_tag=are_tags) if is_text else self.as_meant(item, place)
        return found

    def text_as_meant(self, text: str, place: Path_, *, is_tag: bool) -> str:
        """`text` as its writer meant it, which is an error if it differs. A tag can begin or end with a space."""
        plain, fault = pasted(text)
        if not fault or not plain or (is_tag and _is_tag(text)):
            return text
        meant = (*place[:-1], plain) if place[-1] == text else place
        self.pasted.append((place, meant, f"`{text}` {fault}: write `{plain}`"))
        return plain

    def add_pasted(self) -> None:
        """Add the errors of `text_as_meant`, except for a text that is wrong even as it is meant."""
        wrong = {problem.where for problem in self.problems.errors}
        for place, meant, message in self.pasted:
            if where_of(meant) not in wrong:
                self.add_error(place, message)

    def reading(self, rules: Rules | None) -> FileReading:
        problems = self.problems
        errors = tuple(sorted(problems.errors, key=lambda problem: problem.line))
        return FileReading(problems.file, rules, errors, tuple(problems.warnings), problems.lines)

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
            also = ", or add `roles` or `accounts` to it, because `principals` chooses no subjects"
            self.add_error(
                (*path, first + 1),
                f"is never used, because assignment {first + 1} matches every subject: move that one to the end"
                + (also if (everyone := found[first]) and everyone.principals else ""),
            )
        return tuple(assignment for assignment in found if assignment)

    def assignment(self, value: Any, path: Path_, guardrails: Mapping[str, Guardrail]) -> Assignment | None:
        before = len(self.problems.errors)
        body = self.mapping(
            value,
            path,
            {"guardrails", "tags", *_PATTERNS},
            {"guardrails": "is missing: name the guardrails of these subjects, for example `guardrails: [no-bedrock]`"},
        )
        checks = {
            "accounts": self.check_account,
            "roles": self.check_role_name,
            "principals": self.check_principal,
            "source_identities": self.check_identity,
        }
        listed = {
            key: self.strings(body[key], (*path, key), what, checks.get(key))
            for key, what in _PATTERNS.items()
            if key in body
        }
        tags = self.tags(body["tags"], (*path, "tags")) if "tags" in body else {}
        if "source_identities" in body and "principals" not in body:
            self.add_error(
                (*path, "source_identities"),
                "restricts `principals`, and this assignment has none: add `principals` with the ARN of the domain's "
                "role",
            )
        understood = len(self.problems.errors) == before
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
        if not re.fullmatch(ACCOUNT_PATTERN, account):
            digits = re.sub(r"(?<=[0-9])[- ](?=[0-9])", "", account)
            arn = re.search(r"(?<=:)[0-9]{12}(?=:|$)", account)
            plain = arn[0] if arn else digits
            way = f"`{plain}`" if re.fullmatch(ACCOUNT_ID, plain) else "its 12 digits, or a pattern such as `1234*`"
            self.add_error(path, f"`{account}` is not an account ID: write {way}")

    def check_principal(self, principal: str, path: Path_) -> None:
        if problem := problem_of(principal):
            self.add_error(path, f"`{principal}` {problem}")

    def check_identity(self, name: str, path: Path_) -> None:
        if not re.fullmatch(SOURCE_IDENTITY, name):
            self.add_error(
                path,
                f"`{name}` is not the name of one user profile: write the whole name, as `aws sagemaker "
                "list-user-profiles` shows it, without wildcards",
            )

    def tags(self, value: Any, path: Path_) -> dict[str, str]:
        if not isinstance(value, dict) or not value:
            self.add_error(path, "must be a mapping of tags to values, for example `{team: data-science}`")
            return {}
        for key, wanted in value.items():
            if not isinstance(wanted, str):
                self.add_error(
                    (*path, key),
                    f'{ONE_TEXT}, for example `team: data-science` ("*" for any value, "" for an empty one)',
                )
        return {key: wanted for key, wanted in value.items() if isinstance(wanted, str)}

    def exemption(self, value: Any, path: Path_) -> Exemption:
        body = self.mapping(
            value,
            path,
            {"role", "account", "role_id", "domains", "user_profiles", "until", *_RECORDED},
            {
                "role": "is missing: name the exempt role, for example `role: CanvasBreakGlass`",
                "until": "is missing: write the last day of the exemption, for example `until: 2027-01-31`",
            },
        )
        role, until = body.get("role"), _date(body.get("until"))
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
            self.problems.add_warning(
                path, f"ended on {until}, so `{role}` needs its guardrails again: remove the exemption"
            )
        for key, example in _RECORDED.items():
            if not isinstance(body.get(key), str | None):
                self.add_error((*path, key), f"{ONE_TEXT}, for example `{key}: {example}`")
        role_id = body.get("role_id", "")
        if "role_id" in body and not (isinstance(role_id, str) and re.fullmatch(ROLE_ID, role_id)):
            self.add_error(
                (*path, "role_id"),
                "must be the unique ID of the role, which begins with AROA: run `aws iam get-role --role-name ROLE "
                "--query Role.RoleId`",
            )
        subjects = {
            key: self.strings(body[key], (*path, key), _PATTERNS[key])
            for key in ("domains", "user_profiles")
            if key in body
        }
        recorded = {key: str(body.get(key) or "") for key in _RECORDED}
        return Exemption(
            str(role),
            until or date.min,
            recorded["reason"],
            str(account),
            role_id=str(role_id),
            ticket=recorded["ticket"],
            approved_by=recorded["approved_by"],
            **subjects,
        )

    def check_exempt_role(self, role: str, path: Path_) -> None:
        if re.fullmatch(ROLE_PATTERN, role) and set(role) & set("*?"):
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
        if "account" in body and not (isinstance(account, str) and re.fullmatch(ACCOUNT_ID, account)):
            self.add_error(
                (*path, "account"), 'must be the 12 digits of one account, for example `account: "111122223333"`'
            )

    def trusted_taggers(self, value: Any, assignments: Sequence[Assignment]) -> tuple[str, ...]:
        path: Path_ = ("trusted_taggers",)
        found = self.strings(value, path, _TAGGERS, self.check_tagger)
        # An assignment with an error is not among `assignments`.
        if found and not self.problems.errors and not any(assignment.tags for assignment in assignments):
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
                ("roles", ROLE_PATTERNS, self.check_role_name),
                ("trusting", _SERVICES, self.check_service),
            )
        )
        return AlsoGovern(roles, tuple(map(principal_of, trusting)))

    def check_service(self, principal: str, path: Path_) -> None:
        if not re.fullmatch(f"{PRINCIPAL}|{ACCOUNT_ID}", principal_of(principal)):
            self.add_error(
                path,
                f"`{principal}` is not a service or account: write it as `sagemaker.amazonaws.com`, or as the 12 "
                "digits of the account",
            )

    def warn_of_unused(self, rules: Rules) -> None:
        used = {name for assignment in rules.assignments for name in assignment.guardrails}
        for name in rules.guardrails:
            if name not in used:
                self.problems.add_warning(
                    ("guardrails", name),
                    "is in no assignment, so it is published but attached to no role: add it to an assignment, or "
                    "remove it",
                )


def _is_tag(text: str) -> bool:
    """Whether SageMaker takes `text` as a tag, or a tag can match it as a pattern (botocore, `sagemaker TagValue`)."""
    return all(char in "_.:/=+-@*?" or unicodedata.category(char)[0] in "LNZ" for char in text)


def _date(value: Any) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) and re.fullmatch(DAY, value) else None
    except ValueError:
        return None

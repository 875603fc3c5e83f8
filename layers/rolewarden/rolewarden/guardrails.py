"""guardrails.yaml: what it says, and what is wrong with it.

The file is read into strings, lists and mappings with the line of each, then validated into `Rules`. A deployed
function reads the same thing as JSON (written by `sam build`, see layers/guardrails/Makefile), which needs no YAML
parser at run time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from rolewarden.errors import RulesError


class Mode(StrEnum):
    """What is done about drift: mend it, or only say so."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


RuleKind = Literal["deny-all", "deny", "allow"]


class Door(StrEnum):
    """Whether a guardrail denies a way to models that tells nobody which model it leads to."""

    DENY = "deny"
    ALLOW = "allow"


class Routes(StrEnum):
    """Which routes to a model a guardrail closes: every known one, or those that Canvas itself takes."""

    ALL = "all"
    CANVAS = "canvas"


@dataclass(frozen=True)
class ModelRule:
    """What a guardrail says of one family of models.

    `patterns` are model ids with `*` and `?` as wildcards; empty for "deny-all".
    """

    kind: RuleKind
    patterns: tuple[str, ...] = ()
    customization: Door = Door.DENY


@dataclass(frozen=True)
class BedrockRule(ModelRule):
    """Of the models of Amazon Bedrock; `allow_arns` are ARNs that stand for a model without naming it."""

    indirect: Door = Door.DENY
    allow_arns: tuple[str, ...] = ()


@dataclass(frozen=True)
class JumpStartRule(ModelRule):
    """Of the models of SageMaker JumpStart."""

    weights: Door = Door.ALLOW
    autopilot: Door = Door.ALLOW


@dataclass(frozen=True)
class Guardrail:
    """A named set of denies on models."""

    name: str
    bedrock: BedrockRule | None = None
    jumpstart: JumpStartRule | None = None
    routes: Routes = Routes.ALL
    mode: Mode = Mode.ENFORCE


@dataclass(frozen=True)
class Subject:
    """What a role works for, with everything an assignment can ask about it.

    `domain_name`, `user_profile` and `tags` are empty where they do not apply: a role that is governed by
    `also_govern` has no domain, a domain's default user has no profile name.
    """

    account: str
    role: str
    domain_id: str = ""
    domain_name: str = ""
    user_profile: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """Which guardrails the subjects that match it need. Criteria of one kind are alternatives, kinds add up."""

    guardrails: tuple[str, ...]
    accounts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    user_profiles: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def matches_everyone(self) -> bool:
        """Whether nothing is left for an assignment below it."""
        return not (self.accounts or self.domains or self.user_profiles or self.roles or self.tags)

    def matches(self, subject: Subject) -> bool:
        """Whether `subject` is one of those this assignment is for."""
        return (
            _any(self.accounts, subject.account)
            and _any(self.domains, subject.domain_id, subject.domain_name)
            and _any(self.user_profiles, subject.user_profile)
            and _any(self.roles, subject.role)
            and all(key in subject.tags and matches(pattern, subject.tags[key]) for key, pattern in self.tags.items())
        )


@dataclass(frozen=True)
class Exemption:
    """A role that carries no guardrail up to and including the day `until` (UTC), and why."""

    role: str
    until: date
    reason: str = ""


@dataclass(frozen=True)
class AlsoGovern:
    """Roles that are governed though no domain or user profile names them."""

    roles: tuple[str, ...] = ()
    trusting: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.roles or self.trusting)


@dataclass(frozen=True)
class Rules:
    """A valid guardrails.yaml."""

    guardrails: Mapping[str, Guardrail]
    assignments: tuple[Assignment, ...]
    exemptions: tuple[Exemption, ...] = ()
    also_govern: AlsoGovern = AlsoGovern()

    def required(self, subject: Subject) -> tuple[Guardrail, ...]:
        """The guardrails that `subject` needs: those of the first assignment that matches it."""
        for assignment in self.assignments:
            if assignment.matches(subject):
                return tuple(self.guardrails[name] for name in assignment.guardrails)
        return ()

    def exemption(self, role: str, today: date) -> Exemption | None:
        """The exemption of `role` that is in force on the day `today` (UTC), if there is one."""
        return next((e for e in self.exemptions if matches(e.role, role) and today <= e.until), None)

    @property
    def asks_for_tags(self) -> bool:
        """Whether any assignment reads tags; where none does, nobody needs to list them."""
        return any(assignment.tags for assignment in self.assignments)


def matches(pattern: str, value: str) -> bool:
    """Whether `value` fits `pattern`, in which `*` stands for any text and `?` for one character, as in IAM."""
    return _compiled(pattern).fullmatch(value) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(char) or re.escape(char) for char in pattern), re.DOTALL)


def _any(patterns: tuple[str, ...], *values: str) -> bool:
    return not patterns or any(value and matches(pattern, value) for value in values for pattern in patterns)


Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, with its place in the file and the way out."""

    file: str
    line: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"


@dataclass(frozen=True)
class Reading:
    """What became of a file: rules where it has no errors, and what there is to say about it.

    `lines` maps the path of a value in the file to its line, as far as they are known.
    """

    file: str
    rules: Rules | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    lines: Mapping[Path_, int] = field(default_factory=dict)

    def problem(self, path: Path_, message: str) -> Problem:
        """`message` about the value at `path`, with the line of that value."""
        return _problem(self.file, self.lines, path, message)


def _problem(file: str, lines: Mapping[Path_, int], path: Path_, message: str) -> Problem:
    known = path
    while known and known not in lines:
        known = known[:-1]
    return Problem(file, lines.get(known, 0), _where(path), message)


def load(path: Path, *, today: date) -> Rules:
    """The rules in `path` (.yaml, or .json as `sam build` writes it).

    Raises RulesError with a line for each error.
    """
    reading = read(path, today=today)
    if reading.rules is None:
        raise RulesError("\n".join(str(problem) for problem in reading.errors))
    return reading.rules


def read(path: Path, *, today: date) -> Reading:
    """Everything there is to say about the file at `path`; `today` (UTC) decides which exemptions have ended."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        return Reading(path.name, None, (Problem(path.name, 0, "", f"cannot be read: {why}"),))
    if path.suffix == ".json":
        return read_document(json.loads(text), {}, file=path.name, today=today)
    return read_yaml(text, file=path.name, today=today)


def read_yaml(text: str, *, file: str = "guardrails.yaml", today: date) -> Reading:
    """As `read`, of a YAML text."""
    from rolewarden import yamltext  # only who reads YAML pays for the parser

    try:
        document, lines = yamltext.parse(text)
    except yamltext.YamlTextError as error:
        return Reading(file, None, (Problem(file, error.line, error.where, str(error)),))
    return read_document(document, lines, file=file, today=today)


_Item = TypeVar("_Item")
_Choice = TypeVar("_Choice", bound=StrEnum)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_BEDROCK_PATTERN = re.compile(r"[a-z0-9*?-]+\.[A-Za-z0-9.:*?_-]+")
_JUMPSTART_PATTERN = re.compile(r"[A-Za-z0-9*?._-]+")
_BEDROCK_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:\d{12}:(?P<kind>provisioned-model|custom-model|custom-model-deployment|"
    r"imported-model|application-inference-profile|prompt-router|default-prompt-router|marketplace/model-endpoint)"
    r"/[A-Za-z0-9._:/-]{1,200}"
)
_NAMING_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:(foundation-model/|inference-profile/[a-z-]+\.)(?P<model>.+)"
)
_NAMED_BESIDES = ("application-inference-profile", "prompt-router", "default-prompt-router")
"""A call on one of these is authorized on the models behind it as well."""
_PRINCIPAL = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?")
_ROLE = re.compile(r"[\w+=,.@*?-]{1,64}")
_PROVIDERS = {
    "claude": "anthropic",
    "j2": "ai21",
    "jamba": "ai21",
    "titan": "amazon",
    "nova": "amazon",
    "command": "cohere",
    "embed": "cohere",
    "llama": "meta",
    "mistral": "mistral",
    "mixtral": "mistral",
    "deepseek": "deepseek",
    "stable": "stability",
}
"""Who makes a model whose id is given without its provider; used to word an error, never to decide."""


def read_document(document: Any, lines: Mapping[Path_, int], *, file: str, today: date) -> Reading:
    """As `read`, of parsed YAML or JSON; `lines` maps the path of a value to its line."""
    return _Reader(lines, file, today).read(document)


class _Reader:
    def __init__(self, lines: Mapping[Path_, int], file: str, today: date) -> None:
        self.lines = lines
        self.file = file
        self.today = today
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def read(self, document: Any) -> Reading:
        top = self.mapping(
            document, (), {"mode", "guardrails", "assignments", "exemptions", "also_govern"}, {"guardrails"}
        )
        mode = self.choice(Mode, "mode", top, (), Mode.ENFORCE)
        guardrails = self.guardrails(top.get("guardrails"), mode)
        assignments = self.assignments(top, guardrails)
        exemptions = tuple(self.items(top.get("exemptions"), ("exemptions",), self.exemption))
        also_govern = self.also_govern(top.get("also_govern"))
        rules = None
        if not self.errors:
            rules = Rules(guardrails, assignments, exemptions, also_govern)
            self.warn_of_unused(rules)
        order = {problem: number for number, problem in enumerate(self.errors)}
        errors = tuple(sorted(self.errors, key=lambda problem: (problem.line, order[problem])))
        return Reading(self.file, rules, errors, tuple(self.warnings), self.lines)

    def error(self, path: Path_, message: str) -> None:
        self.errors.append(self.problem(path, message))

    def problem(self, path: Path_, message: str) -> Problem:
        return _problem(self.file, self.lines, path, message)

    def guardrails(self, value: Any, mode: Mode) -> dict[str, Guardrail]:
        path: Path_ = ("guardrails",)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.error(path, "must be a mapping of a name to what is denied, as `no-bedrock: {bedrock: {deny: all}}`")
            return {}
        found = {}
        for name, body in value.items():
            if not _NAME.fullmatch(name):
                self.error(
                    (*path, name),
                    "is no name for a guardrail: start with a letter, then letters, digits, - and _, "
                    "100 characters at most (it becomes the name of an IAM policy)",
                )
            found[name] = self.guardrail(name, body, (*path, name), mode)
        taken = {re.sub(r"-\d+$", "", name) for name in found if re.search(r"-\d+$", name)}
        for name in sorted(taken & found.keys()):
            self.error(
                (*path, name),
                f"`{name}-<number>` is kept for the further policies of `{name}`: rename one of them, as `{name}-b`",
            )
        return found

    def guardrail(self, name: str, value: Any, path: Path_, mode: Mode) -> Guardrail:
        body = self.mapping(value, path, {"bedrock", "jumpstart", "routes", "mode"})
        if not {"bedrock", "jumpstart"} & body.keys() and isinstance(value, dict):
            self.error(path, "denies nothing: add `bedrock: {deny: all}`, `jumpstart: {deny: all}` or lists of models")
        routes = self.choice(Routes, "routes", body, path, Routes.ALL)
        return Guardrail(
            name,
            self.bedrock(body["bedrock"], (*path, "bedrock"), routes) if "bedrock" in body else None,
            self.jumpstart(body["jumpstart"], (*path, "jumpstart"), routes) if "jumpstart" in body else None,
            routes,
            self.choice(Mode, "mode", body, path, mode),
        )

    def bedrock(self, value: Any, path: Path_, routes: Routes) -> BedrockRule:
        body = self.mapping(value, path, {"deny", "allow", "customization", "indirect", "allow_arns"})
        kind, patterns = self.models(value, body, path, self.bedrock_pattern)
        rule = BedrockRule(
            kind,
            patterns,
            self.choice(Door, "customization", body, path, Door.DENY),
            self.choice(Door, "indirect", body, path, Door.DENY),
            self.strings(body["allow_arns"], (*path, "allow_arns"), "a list of ARNs") if "allow_arns" in body else (),
        )
        self.contradiction("customization", rule.customization, kind, body, path)
        self.beyond_canvas("indirect", routes, body, path)
        for number, arn in enumerate(rule.allow_arns):
            self.allowed_arn(arn, kind, (*path, "allow_arns", number))
        return rule

    def jumpstart(self, value: Any, path: Path_, routes: Routes) -> JumpStartRule:
        body = self.mapping(value, path, {"deny", "allow", "customization", "weights", "autopilot"})
        kind, patterns = self.models(value, body, path, self.jumpstart_pattern)
        rule = JumpStartRule(
            kind,
            patterns,
            self.choice(Door, "customization", body, path, Door.DENY),
            self.choice(Door, "weights", body, path, Door.ALLOW),
            self.choice(Door, "autopilot", body, path, Door.ALLOW),
        )
        self.contradiction("customization", rule.customization, kind, body, path)
        self.beyond_canvas("customization", routes, body, path)
        if rule.weights is Door.DENY and kind == "allow":
            self.error(
                (*path, "weights"),
                "`weights: deny` beside `allow` would keep the allowed models from their own files, S3 knows no model: "
                "take it out, or list models under `deny`",
            )
        return rule

    def models(
        self, value: Any, body: dict[str, Any], path: Path_, pattern: Callable[[str, Path_], None]
    ) -> tuple[RuleKind, tuple[str, ...]]:
        if "deny" in body and "allow" in body:
            self.error(path, "has both `deny` and `allow`: keep one (an allow list already denies everything else)")
            return "deny-all", ()
        if not {"deny", "allow"} & body.keys():
            if isinstance(value, dict):
                self.error(
                    path,
                    "names no models: write `{deny: all}`, `{deny: [model, ...]}` or `{allow: [model, ...]}`",
                )
            return "deny-all", ()
        kind: RuleKind = "deny" if "deny" in body else "allow"
        listed = body[kind]
        if listed == "all":
            if kind == "allow":
                self.error((*path, kind), "`allow: all` denies nothing: leave the whole entry out")
            return "deny-all", ()
        models = self.strings(listed, (*path, kind), "a list of model ids" + (", or `all`" if kind == "deny" else ""))
        for number, model in enumerate(models):
            if len(model) > 256:
                self.error((*path, kind, number), "is longer than a model id can be (256 characters)")
            else:
                pattern(model, (*path, kind, number))
        return kind, tuple(dict.fromkeys(models))

    def contradiction(self, key: str, door: Door, kind: RuleKind, body: dict[str, Any], path: Path_) -> None:
        if door is Door.ALLOW and kind == "deny-all" and body.get("deny") == "all":
            self.error((*path, key), f"`{key}: allow` beside `deny: all`: nobody can customize what nobody may use, "
                                     "take one of them out")  # fmt: skip

    def beyond_canvas(self, key: str, routes: Routes, body: dict[str, Any], path: Path_) -> None:
        if routes is Routes.CANVAS and body.get(key) == Door.DENY:
            self.error(
                (*path, key),
                f"`{key}: deny` beside `routes: canvas`, which closes nothing that Canvas does not use: "
                "take one of them out",
            )

    def allowed_arn(self, arn: str, kind: RuleKind, path: Path_) -> None:
        known = _BEDROCK_ARN.fullmatch(arn)
        named = _NAMING_ARN.fullmatch(arn)
        if named:
            self.error(path, f"`{arn}` names its model: write `{named['model']}` under `allow`, not its ARN")
        elif "*" in arn or "?" in arn:
            self.error(path, f"`{arn}` has a wildcard: list each ARN, nobody knows which models others lead to")
        elif not known:
            self.error(
                path,
                f"`{arn}` is no ARN of a model here: write it as "
                "`arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123`",
            )
        elif kind == "deny-all" and known["kind"] in _NAMED_BESIDES:
            self.error(
                path,
                f"`{arn}` would still be denied, its models are asked for too: list them under `allow` "
                "in place of `deny: all`",
            )

    def bedrock_pattern(self, model: str, path: Path_) -> None:
        if model.startswith("arn:"):
            self.error(path, f"`{model}` is an ARN: write the model id alone, as `anthropic.claude-v2*`")
        elif set(model) == {"*"}:
            self.error(path, "`*` is every model: write `deny: all`")
        elif "." not in model:
            family = next((family for family in _PROVIDERS if model.lower().startswith(family)), None)
            form = f"{_PROVIDERS[family]}.{model}" if family else f"provider.{model}"
            form = form if form.endswith("*") else f"{form}*"
            self.error(
                path, f"`{model}` has no provider, so it would match no model: write `{form}`"
                + ("" if family else " (as `anthropic.claude-v2*`)")
            )  # fmt: skip
        elif not _BEDROCK_PATTERN.fullmatch(model):
            self.error(path, f"`{model}` is no Bedrock model id: write it as `anthropic.claude-v2*`")
        elif re.match(r"(us|us-gov|eu|apac|au|ca|jp|global)\.", model):
            self.error(
                path,
                f"`{model}` names an inference profile: write the model, `{model.split('.', 1)[1]}`, "
                "its profiles are covered with it",
            )

    def jumpstart_pattern(self, model: str, path: Path_) -> None:
        if not _JUMPSTART_PATTERN.fullmatch(model):
            self.error(path, f"`{model}` is no JumpStart model id: write it as `huggingface-llm-falcon-*`")

    def assignments(self, top: dict[str, Any], guardrails: Mapping[str, Guardrail]) -> tuple[Assignment, ...]:
        path: Path_ = ("assignments",)
        if "assignments" not in top:
            self.error(path, _CATCH_ALL.format("is missing"))
            return ()
        found = tuple(
            self.items(
                top["assignments"], path, lambda value, place: self.assignment(value, place, guardrails), required=True
            )
        )
        if found and not found[-1].matches_everyone:
            self.error((*path, len(found) - 1), _CATCH_ALL.format("is the last assignment and does not catch everyone"))
        for number, assignment in enumerate(found[:-1]):
            if assignment.matches_everyone:
                self.error((*path, number + 1), f"is never reached: assignment {number + 1} above it catches everyone")
        return found

    def assignment(self, value: Any, path: Path_, guardrails: Mapping[str, Guardrail]) -> Assignment:
        body = self.mapping(
            value, path, {"guardrails", "accounts", "domains", "user_profiles", "roles", "tags"}, {"guardrails"}
        )
        names: tuple[str, ...] = ()
        if "guardrails" in body and body["guardrails"] != []:
            names = self.strings(body["guardrails"], (*path, "guardrails"), "a list of guardrails, or `[]` for none")
        for number, name in enumerate(names):
            if name not in guardrails:
                near = get_close_matches(name, guardrails, 1)
                known = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(guardrails) or 'none'}"
                self.error((*path, "guardrails", number), f"no guardrail is called `{name}`: {known}")
        listed = {
            key: self.strings(body[key], (*path, key), "a list of patterns")
            for key in ("accounts", "domains", "user_profiles", "roles")
            if key in body
        }
        tags = self.tags(body["tags"], (*path, "tags")) if "tags" in body else {}
        return Assignment(tuple(dict.fromkeys(names)), tags=tags, **listed)

    def tags(self, value: Any, path: Path_) -> dict[str, str]:
        if not isinstance(value, dict) or not value:
            self.error(path, "must be a mapping of tag to value, as `{team: data-science}`")
            return {}
        for key, wanted in value.items():
            if not isinstance(wanted, str):
                self.error((*path, key), "must be one value, as `team: data-science` (`*` for any)")
        return {key: wanted for key, wanted in value.items() if isinstance(wanted, str)}

    def exemption(self, value: Any, path: Path_) -> Exemption:
        body = self.mapping(value, path, {"role", "until", "reason"})
        role = body.get("role", "")
        if not isinstance(role, str) or not _ROLE.fullmatch(role):
            self.error(path, "needs `role`, the name (not the ARN) of the exempt role")
            role = ""
        until = _date(body.get("until"))
        if until is None:
            self.error(
                (*path, "until") if "until" in body else path,
                "needs `until`, the last day of the exemption, as `until: 2027-01-31`",
            )
        elif until < self.today:
            self.warnings.append(
                self.problem(path, f"ended on {until}: `{role}` is under guard again, take the exemption out")
            )
        reason = body.get("reason") or ""
        return Exemption(role, until or date.min, reason if isinstance(reason, str) else "")

    def also_govern(self, value: Any) -> AlsoGovern:
        if value is None:
            return AlsoGovern()
        path: Path_ = ("also_govern",)
        body = self.mapping(value, path, {"roles", "trusting"})
        roles = self.strings(body["roles"], (*path, "roles"), "a list of role names") if "roles" in body else ()
        trusting = (
            self.strings(body["trusting"], (*path, "trusting"), "a list of services") if "trusting" in body else ()
        )
        for number, role in enumerate(roles):
            if not _ROLE.fullmatch(role):
                self.error((*path, "roles", number), f"`{role}` is no role name: write the name, not the ARN")
        for number, principal in enumerate(trusting):
            if not _PRINCIPAL.fullmatch(principal):
                self.error(
                    (*path, "trusting", number), f"`{principal}` is no service: write it as `sagemaker.amazonaws.com`"
                )
        return AlsoGovern(roles, trusting)

    def choice(self, kinds: type[_Choice], key: str, body: Mapping[str, Any], path: Path_, default: _Choice) -> _Choice:
        value = body.get(key)
        if value is None:
            return default
        if value not in tuple(kinds):
            known = " or ".join(f"`{kind}`" for kind in kinds)
            self.error((*path, key), f"`{value}` is not understood: write {known}")
            return default
        return kinds(value)

    def warn_of_unused(self, rules: Rules) -> None:
        used = {name for assignment in rules.assignments for name in assignment.guardrails}
        for name in rules.guardrails:
            if name not in used:
                self.warnings.append(
                    self.problem(("guardrails", name), "is in no assignment: it is published and attached to no role")
                )

    def mapping(
        self,
        value: Any,
        path: Path_,
        keys: set[str],
        required: set[str] = frozenset(),  # type: ignore[assignment]
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.error(path, f"must be a mapping with {_listed(sorted(keys))}")
            return {}
        for key in value:
            if key not in keys:
                near = get_close_matches(key, keys, 1)
                known = f"did you mean `{near[0]}`?" if near else f"known here: {_listed(sorted(keys))}"
                self.error((*path, key), f"unknown key: {known}")
        for key in sorted(required - value.keys()):
            self.error((*path, key), "is missing")
        return {key: item for key, item in value.items() if key in keys}

    def items(
        self,
        value: Any,
        path: Path_,
        read: Callable[[Any, Path_], _Item],
        *,
        required: bool = False,
    ) -> Iterator[_Item]:
        if value is None and not required:
            return
        if not isinstance(value, list) or (required and not value):
            self.error(path, "must be a list, each entry after a `-`" + (", with one entry at least" * required))
            return
        for number, item in enumerate(value):
            yield read(item, (*path, number))

    def strings(self, value: Any, path: Path_, what: str) -> tuple[str, ...]:
        if value == []:
            self.error(path, f"is empty: give {what}, or leave the key out")
            return ()
        if not isinstance(value, list):
            self.error(path, f"must be {what}")
            return ()
        for number, item in enumerate(value):
            if not isinstance(item, str) or not item:
                self.error((*path, number), f"must be one text: {what}")
        return tuple(item for item in value if isinstance(item, str) and item)


_CATCH_ALL = (
    "{}: end with one that catches everyone, as `- guardrails: [name]` without conditions "
    "(`- guardrails: []` if the rest shall carry nothing)"
)


def _date(value: Any) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
    except ValueError:
        return None


def _where(path: Iterable[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _listed(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)

"""The difference between two sets of rules, in terms of access and not of text.

Access is what the compiled policies of enforced guardrails leave open (`rolewarden.denials`). "Gained" means that no
deny of the new rules covers a model or an access path any more, and "lost" the reverse. Whether a role can use what it
gains depends on its other policies. `rolewarden diff` prints a difference, and PublishFunction records it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Any, NamedTuple

from rolewarden.denials import THROUGH_PROFILES, Denials, TargetKind, targets_of
from rolewarden.guardrails import Assignment, Exemption, Guardrail, Mode, Rules, SurplusPolicies
from rolewarden.matching import matches
from rolewarden.names import folded
from rolewarden.packing import Statement
from rolewarden.placement import identity
from rolewarden.policies import compile_guardrail

FEW_MODELS = 4
"""The number of models that a line names. The result of `--json` has all of them."""

FEW_PARTS = 3
"""The number of parts of a summary, which is one line."""

MOST_GROUPS = 1000
"""The greatest number of combinations of patterns for which two assignments are compared."""

NO_RULES = Rules({}, (Assignment(()),))
"""The rules before the first publication."""

ALL_GUARDRAILS = "all guardrails"
"""The guardrails of a principal that belongs to no assignment."""

ADDED, REMOVED, CHANGED, RENAMED = "added", "removed", "changed", "renamed"

_WILDCARD = re.compile(r"[*?]")

_ALIKE = 0.5
"""The part of their statements that two guardrails share at least if one takes the place of the other."""

_NOUNS = {TargetKind.BEDROCK: "Bedrock model", TargetKind.JUMPSTART: "JumpStart model"}


def digest_of_rules(document: Any) -> str:
    """The SHA-256 digest, in hexadecimal, of a parsed guardrails.yaml. Comments and layout do not count."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def canonical(document: Any) -> str:
    """A parsed guardrails.yaml as JSON that is the same for each layout of the file."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def criteria(assignment: Assignment) -> str:
    """The criteria of an assignment, in words."""
    kinds = (
        ("account", assignment.accounts),
        ("domain", assignment.domains),
        ("user profile", assignment.user_profiles),
        ("role", assignment.roles),
        ("tag", tuple(f"{key}={value}" for key, value in assignment.tags.items())),
    )
    return ", ".join(f"{kind} {' or '.join(patterns)}" for kind, patterns in kinds if patterns) or "every other subject"


class AccessChange(NamedTuple):
    """The access paths that a change opens and closes.

    - `gained`, `lost`: names by kind: "bedrock" and "jumpstart" for models, "path" for other access paths.
    - `other`: the Sids of statements that differ although no known model or access path does.
    """

    gained: Mapping[str, tuple[str, ...]] = {}
    lost: Mapping[str, tuple[str, ...]] = {}
    other: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.gained or self.lost or self.other)

    def lines(self) -> Iterator[str]:
        """Lines for the models of each family and the access paths: `+` for gained, `-` for lost."""
        for sign, found in (("+", self.gained), ("-", self.lost)):
            for kind, noun in _NOUNS.items():
                if names := found.get(kind, ()):
                    yield f"{sign} {len(names):,} {noun}{'s' * (len(names) != 1)}: {_few(names)}"
            paths = found.get(TargetKind.PATH, ())
            if geographies := [one.removeprefix(THROUGH_PROFILES) for one in paths if one.startswith(THROUGH_PROFILES)]:
                yield f"{sign} {THROUGH_PROFILES}{_few(geographies)}"
            yield from (f"{sign} {path}" for path in paths if not path.startswith(THROUGH_PROFILES))
        if self.other:
            yield f"~ other requests of the statements {_few(self.other)}"

    @property
    def counts(self) -> str:
        """The numbers of models, or else of access paths, in a few words."""
        for noun, kinds in (("model", tuple(_NOUNS)), ("access path", (TargetKind.PATH,))):
            gained, lost = (sum(len(found.get(kind, ())) for kind in kinds) for found in (self.gained, self.lost))
            signed = [f"{sign}{number:,}" for sign, number in (("+", gained), ("-", lost)) if number]
            if signed:
                return f"{' '.join(signed)} {noun}{'s' * (gained + lost != 1)}"
        return "other requests"


class OptionChange(NamedTuple):
    """An option with another value, for example `bedrock.indirect` or `surplus`."""

    option: str
    before: str
    after: str

    @property
    def line(self) -> str:
        """The change in one line."""
        return f"{self.option}: {self.before} -> {self.after}"


class GuardrailChange(NamedTuple):
    """A guardrail that is added, removed, changed or renamed.

    - `renamed_from`: its earlier name; empty if the name is the same.
    - `is_used`: whether an assignment has the guardrail before or after the change.
    - `mode`: its mode, after the change if it is still there.
    - `on_roles`: what happens to the policy of the earlier name on roles; empty if the guardrail keeps its name.
    """

    name: str
    change: str
    renamed_from: str
    is_used: bool
    mode: Mode
    options: tuple[OptionChange, ...]
    access: AccessChange
    on_roles: str = ""

    def lines(self) -> Iterator[str]:
        """A line for the guardrail, and indented lines for its options and its effect."""
        what = f"renamed from {self.renamed_from}" if self.renamed_from else self.change
        notes = [
            *(["no access changes"] if not self.access else []),
            *(["in observe mode"] if self.mode is Mode.OBSERVE else []),
            *(["no assignment has it"] if not self.is_used else []),
        ]
        yield f"guardrail {self.name}: {', '.join((what, *notes))}"
        yield from filter(None, [self.on_roles and f"  {self.on_roles}"])
        yield from (f"  {one.line}" for one in self.options)
        yield from (f"  {line}" for line in self.access.lines())


class AssignmentChange(NamedTuple):
    """Subjects that gain or lose something, because another assignment decides or their assignment has changed.

    - `criteria`: the criteria of the subjects, in words.
    - `before`, `guardrails`: the names of their guardrails before and after the change.
    """

    criteria: str
    before: tuple[str, ...]
    guardrails: tuple[str, ...]
    access: AccessChange

    def lines(self) -> Iterator[str]:
        """A line for the subjects, and indented lines for what they gain and lose."""
        before, after = (", ".join(names) or "no guardrail" for names in (self.before, self.guardrails))
        yield f"assignment ({self.criteria}): {f'{before} -> {after}' if before != after else after}"
        yield from (f"  {line}" for line in self.access.lines())


class ScopeChange(NamedTuple):
    """A change of the roles that get guardrails, or that roles with a guardrail can use.

    - `section`: the key of guardrails.yaml, for example "exemptions", "also_govern" or "principals".
    - `change`: "added", "removed" or "changed". An exemption that has ended counts as removed.
    - `text`: the change in words.
    """

    section: str
    change: str
    what: str
    text: str


class RulesChange(NamedTuple):
    """The difference between two sets of rules.

    `settings` has the options of the whole file: `surplus`, `fallback`, `hold` and `trusted_taggers`.
    """

    guardrails: tuple[GuardrailChange, ...]
    assignments: tuple[AssignmentChange, ...]
    scope: tuple[ScopeChange, ...]
    settings: tuple[OptionChange, ...]

    @property
    def changes_access(self) -> bool:
        """Whether a subject or role gains or loses something. A renamed guardrail alone changes nothing."""
        return bool(self.assignments or self.scope or self.settings)

    def lines(self) -> list[str]:
        """The difference in lines. Indented lines belong to the line above them."""
        nested = (*(one.lines() for one in self.guardrails), *(one.lines() for one in self.assignments))
        scope = (one.text for one in self.scope)
        return [*itertools.chain.from_iterable(nested), *scope, *(one.line for one in self.settings)]

    @property
    def summary(self) -> str:
        """The difference in one line."""
        parts = [f"{one.access.counts} for {one.criteria}" for one in self.assignments]
        parts += [one.text for one in self.scope]
        parts += [one.line for one in self.settings]
        more = [f"{len(parts) - FEW_PARTS:,} more"] if len(parts) > FEW_PARTS else []
        return "; ".join([*parts[:FEW_PARTS], *more]) or "no access changes"


def compare_rules(old: Rules, new: Rules, partition: str, today: date, *, home: str = "") -> RulesChange:
    """Compare two sets of rules on the day `today` (UTC). Raises TooLong if an allow list does not fit a policy.

    `home` is the account of exemptions that name none; empty if it is not known.
    """
    effects = Effects((old, new), partition)
    return RulesChange(
        tuple(_guardrails(effects, old, new)),
        tuple(_assignments(effects, old, new)),
        (*_exemptions(old, new, today, home), *_scopes(old, new), *_principals(old, new)),
        tuple(_changed_options("", old, new, ("surplus", "fallback", "hold", "trusted_taggers"))),
    )


_OF_THE_FILE: Mapping[str, Any] = {"exempt_roles": (), "fixed_tags": False, "trusted_taggers": ()}
"""The fields that each guardrail of a file has because of another key of the file, with the value without that key."""


class Effects:
    """The targets of some rules, and what sets of guardrails deny of them. Each set is evaluated once."""

    def __init__(self, rules: Iterable[Rules], partition: str) -> None:
        rules = tuple(rules)
        self._partition = partition
        self._compiled: dict[Guardrail, dict[str, Statement]] = {}
        self._targets = targets_of(rules, partition)
        self._denied: dict[frozenset[str], frozenset[int]] = {}

    def statements(self, guardrail: Guardrail) -> dict[str, Statement]:
        """The statements of a guardrail by `identity`, in enforce mode or not.

        They are without the statements that each guardrail of a file has because of another key of the file.
        """
        plain = guardrail._replace(**_OF_THE_FILE, mode=Mode.ENFORCE, name="guardrail")
        if plain not in self._compiled:
            policies = compile_guardrail(plain, self._partition)
            found = (statement for policy in policies for statement in policy.document["Statement"])
            self._compiled[plain] = {identity(statement): statement for statement in found}
        return self._compiled[plain]

    def change(self, before: Iterable[Guardrail], after: Iterable[Guardrail]) -> AccessChange:
        """The gains and losses of a subject that has the guardrails `after` instead of `before`."""
        old, new = self._enforced(before), self._enforced(after)
        if old.keys() == new.keys():
            return AccessChange()
        was, now = self._denied_by(old), self._denied_by(new)
        gained, lost = self._named(was - now), self._named(now - was)
        differing = {**old, **new}
        sids = (str(differing[key].get("Sid", "")).rstrip("0123456789") for key in old.keys() ^ new.keys())
        other = () if gained or lost else tuple(sorted(set(sids)))
        return AccessChange(gained, lost, other)

    def _enforced(self, guardrails: Iterable[Guardrail]) -> dict[str, Statement]:
        enforced = (guardrail for guardrail in guardrails if guardrail.mode is Mode.ENFORCE)
        return {key: one for guardrail in enforced for key, one in self.statements(guardrail).items()}

    def _denied_by(self, statements: Mapping[str, Statement]) -> frozenset[int]:
        key = frozenset(statements)
        if key not in self._denied:
            denials = Denials(statements.values())
            self._denied[key] = frozenset(
                number for number, target in enumerate(self._targets) if denials.covers(target)
            )
        return self._denied[key]

    def _named(self, numbers: Iterable[int]) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for target in (self._targets[number] for number in sorted(numbers)):
            found[target.kind.value] = (*found.get(target.kind.value, ()), target.name)
        return found


def _guardrails(effects: Effects, old: Rules, new: Rules) -> Iterator[GuardrailChange]:
    renamed = _renamed(effects, old, new)
    used = {name for rules in (old, new) for one in rules.assignments for name in one.guardrails}
    for name, after in new.guardrails.items():
        earlier = renamed.get(name, name)
        before = old.guardrails.get(earlier)
        access = effects.change([before] if before else [], [after])
        if before is None:
            yield GuardrailChange(name, ADDED, "", name in used, after.mode, (), access)
        elif access or earlier != name or before.mode is not after.mode:
            change = RENAMED if earlier != name else CHANGED
            has_options = access or before.mode is not after.mode
            options = tuple(_guardrail_options(before, after)) if has_options else ()
            is_used = bool({name, earlier} & used)
            on_roles = _on_roles(earlier, new, later=name) if earlier != name else ""
            yield GuardrailChange(name, change, renamed.get(name, ""), is_used, after.mode, options, access, on_roles)
    for name, before in old.guardrails.items():
        if name not in new.guardrails and name not in renamed.values():
            access, on_roles = effects.change([before], []), _on_roles(name, new)
            yield GuardrailChange(name, REMOVED, "", name in used, before.mode, (), access, on_roles)


def _on_roles(earlier: str, new: Rules, *, later: str = "") -> str:
    """The effect on the policies of a guardrail that the rules `new` do not have, or have under the name `later`."""
    first = f"roles get {later} first, and " if later else ""
    if later and new.guardrails[later].mode is Mode.OBSERVE:
        first = f"no role gets {later}, which is in observe mode, and "
    if new.observes:
        return f"{earlier} stays attached, because every guardrail is in observe mode"
    if new.surplus is SurplusPolicies.DETACH:
        return f"{first}{earlier} is detached afterwards" if later else f"{earlier} is detached from its roles"
    both = "; both count against the quota" if later else ""
    return f"{first}{earlier} stays attached until `rolewarden detach` detaches it{both}"


def _renamed(effects: Effects, old: Rules, new: Rules) -> dict[str, str]:
    """The earlier name of each guardrail that took the place of another one, by its new name."""
    left = {name: guardrail for name, guardrail in old.guardrails.items() if name not in new.guardrails}
    pairs: list[tuple[float, str, str]] = []
    for name, guardrail in new.guardrails.items():
        if name not in old.guardrails:
            mine = effects.statements(guardrail).keys()
            for earlier, other in left.items():
                theirs = effects.statements(other).keys()
                pairs.append((len(mine & theirs) / len(mine | theirs), name, earlier))
    found: dict[str, str] = {}
    for alike, name, earlier in sorted(pairs, key=lambda pair: -pair[0]):
        if alike >= _ALIKE and name not in found and earlier not in found.values():
            found[name] = earlier
    return found


def _guardrail_options(before: Guardrail, after: Guardrail) -> Iterator[OptionChange]:
    """The options of a guardrail that have another value. The patterns of models are not among them."""
    for field in Guardrail._fields:
        old, new = getattr(before, field), getattr(after, field)
        if field in {"name", *_OF_THE_FILE} or old == new:
            continue
        if hasattr(old, "kind") and hasattr(new, "kind"):
            yield from _changed_options(field, old, new, [key for key in old._fields if key != "patterns"])
        else:
            yield OptionChange(field, _shown(old), _shown(new))


def _changed_options(place: str, old: Any, new: Any, fields: Iterable[str]) -> Iterator[OptionChange]:
    for field in fields:
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            name = f"{place}.{field}" if place else field
            yield OptionChange(place if field == "kind" else name, _shown(before), _shown(after))


_KINDS = {
    "deny-all": "deny: all",
    "deny": "a deny list",
    "allow": "an allow list",
    "allow-all": "allow: all",
}
"""The kinds of rules, as people read them."""


def _shown(value: Any) -> str:
    """The value of an option, as people read it."""
    if isinstance(value, Enum):
        return str(value.value)
    if hasattr(value, "kind"):
        return _KINDS.get(value.kind, str(value.kind))
    if isinstance(value, str):
        return _KINDS.get(value, value)
    return _few(tuple(map(str, value))) if value else "none"


class _Group(NamedTuple):
    """Subjects that match an assignment of the old rules and one of the new rules.

    Each kind has the patterns that its name must match, all of them. Without a pattern, every name matches.
    """

    accounts: tuple[str, ...]
    domains: tuple[str, ...]
    user_profiles: tuple[str, ...]
    roles: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]


def _assignments(effects: Effects, old: Rules, new: Rules) -> Iterator[AssignmentChange]:
    """The groups of subjects for which another assignment decides, or for which the same one decides otherwise.

    If one assignment decides for a subject by the old rules and another one by the new rules, then both match it. So
    every subject whose access changes is in a group of two such assignments.
    """
    changes: dict[tuple[tuple[str, ...], tuple[str, ...]], AccessChange] = {}
    for place, after in enumerate(new.assignments):
        for earlier, before in enumerate(old.assignments):
            names = before.guardrails, after.guardrails
            if names not in changes:
                changes[names] = effects.change(_guardrails_of(old, before), _guardrails_of(new, after))
            if not (access := changes[names]):
                continue
            found = [
                group
                for group in itertools.islice(_groups(before, after), MOST_GROUPS)
                if _deciding(old, group) == earlier and _deciding(new, group) == place
            ]
            if found:
                yield AssignmentChange(_criteria_of(found), before.guardrails, after.guardrails, access)


def _groups(before: Assignment, after: Assignment) -> Iterator[_Group]:
    tags: dict[str, tuple[str, ...]] = {}
    for one in (before, after):
        for key, pattern in one.tags.items():
            tags[key] = _narrowest(*tags.get(key, ()), pattern)
    if any(not _can_meet(*patterns) for patterns in tags.values() if len(patterns) > 1):
        return
    pairs = tuple((key, pattern) for key, patterns in sorted(tags.items()) for pattern in patterns)
    for account in _meetings(before.accounts, after.accounts):
        for domain in _meetings(before.domains, after.domains, are_domains=True):
            for profile in _meetings(_folded(before.user_profiles), _folded(after.user_profiles)):
                for role in _meetings(_folded(before.roles), _folded(after.roles)):
                    yield _Group(account, domain, profile, role, pairs)


def _meetings(some: Sequence[str], others: Sequence[str], *, are_domains: bool = False) -> Iterator[tuple[str, ...]]:
    """The combinations of a pattern of each list that one name can match."""
    for one in some or ("",):
        for other in others or ("",):
            # A domain has a name and an ID, and a pattern matches one of them.
            may_be_both = are_domains and one.startswith("d-") != other.startswith("d-")
            if one and other and one != other and not may_be_both and not _WILDCARD.search(one + other):
                continue  # two names that differ
            patterns = _narrowest(*filter(None, (one, other)))
            if len(patterns) < 2 or may_be_both or _can_meet(*patterns):
                yield patterns


def _narrowest(*patterns: str) -> tuple[str, ...]:
    """The patterns without those that include another one."""
    distinct = tuple(dict.fromkeys(patterns))
    return tuple(one for one in distinct if not any(other != one and _includes(one, other) for other in distinct))


def _can_meet(one: str, other: str) -> bool:
    """Whether one name may match both patterns. A negative result is certain."""
    if not set(one) & set("*?") or not set(other) & set("*?"):
        return _includes(one, other) or _includes(other, one)
    starts = [re.split(r"[*?]", pattern, maxsplit=1)[0] for pattern in (one, other)]
    ends = [re.split(r"[*?]", pattern)[-1] for pattern in (one, other)]
    begin_alike = starts[0].startswith(starts[1]) or starts[1].startswith(starts[0])
    return begin_alike and (ends[0].endswith(ends[1]) or ends[1].endswith(ends[0]))


def _includes(wide: str, narrow: str) -> bool:
    """Whether a pattern matches every name that another one matches. A positive result is certain."""
    return wide == narrow or (matches(wide, narrow) and not ("?" in wide and "*" in narrow))


def _deciding(rules: Rules, group: _Group) -> int:
    """The number of the first assignment that all subjects of a group match; -1 without one."""
    return next((number for number, one in enumerate(rules.assignments) if _selects(one, group)), -1)


def _selects(assignment: Assignment, group: _Group) -> bool:
    wide = (assignment.accounts, assignment.domains, _folded(assignment.user_profiles), _folded(assignment.roles))
    narrow = (group.accounts, group.domains, group.user_profiles, group.roles)
    return all(
        not patterns or any(_includes(pattern, one) for pattern in patterns for one in ones)
        for patterns, ones in zip(wide, narrow, strict=True)
    ) and all(
        any(key == name and _includes(pattern, value) for name, value in group.tags)
        for key, pattern in assignment.tags.items()
    )


def _criteria_of(groups: Sequence[_Group]) -> str:
    """The criteria of groups that come from the same two assignments, in words."""

    def named(kind: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(" and ".join(found) for group in groups if (found := getattr(group, kind))))

    tags: dict[str, str] = {}
    for key, pattern in groups[0].tags:
        tags[key] = f"{tags[key]} and {pattern}" if key in tags else pattern
    return criteria(Assignment((), named("accounts"), named("domains"), named("user_profiles"), named("roles"), tags))


def _folded(patterns: Iterable[str]) -> tuple[str, ...]:
    """The patterns of names whose case AWS ignores."""
    return tuple(map(folded, patterns))


def _guardrails_of(rules: Rules, assignment: Assignment) -> Sequence[Guardrail]:
    return [rules.guardrails[name] for name in assignment.guardrails]


def _exemptions(old: Rules, new: Rules, today: date, home: str) -> Iterator[ScopeChange]:
    before, after = _in_force(old, today, home), _in_force(new, today, home)
    named = {_key(one, home) for one in new.exemptions}
    for key, one in after.items():
        whose = _role_in_words(one.role, one.account)
        if key not in before:
            text = f"exemption of {whose}: added, until {one.until}{_subjects_in_words(one)}"
            yield ScopeChange("exemptions", ADDED, one.role, text)
        elif (earlier := before[key])._replace(**_FOR_PEOPLE) != one._replace(**_FOR_PEOPLE):
            was, now = (f"until {each.until}{_subjects_in_words(each)}" for each in (earlier, one))
            yield ScopeChange("exemptions", CHANGED, one.role, f"exemption of {whose}: {was} -> {now}")
    for key, one in before.items():
        if key not in after:
            why = "ended" if key in named else "removed"
            text = f"exemption of {_role_in_words(one.role, one.account)}: {why}"
            yield ScopeChange("exemptions", REMOVED, one.role, text)


_FOR_PEOPLE: Mapping[str, Any] = {"reason": "", "ticket": "", "approved_by": "", "account": ""}
"""The fields of an exemption that do not change access."""


def _in_force(rules: Rules, today: date, home: str) -> dict[tuple[str, str], Exemption]:
    found: dict[tuple[str, str], Exemption] = {}
    for one in rules.exemptions:
        if today <= one.until:
            found.setdefault(_key(one, home), one)
    return found


def _key(exemption: Exemption, home: str) -> tuple[str, str]:
    return exemption.account or home, folded(exemption.role)


def _role_in_words(role: str, account: str) -> str:
    return f"role {role}{f' of account {account}' if account else ''}"


def _subjects_in_words(exemption: Exemption) -> str:
    named = [f"domain {' or '.join(exemption.domains)}"] if exemption.domains else []
    named += [f"user profile {' or '.join(exemption.user_profiles)}"] if exemption.user_profiles else []
    of_id = f", only with ID {exemption.role_id}" if exemption.role_id else ""
    return f", for {', '.join(named)}{of_id}" if named else of_id


def _scopes(old: Rules, new: Rules) -> Iterator[ScopeChange]:
    """The changes of `never_govern`, `also_govern`, and of the statements that every guardrail of a file has."""
    for section, before, after, what in (
        ("never_govern", _never(old), _never(new), "no guardrail, as never_govern says"),
        ("also_govern", _also(old), _also(new), "guardrails without a subject, as also_govern says"),
    ):
        for change, names in ((ADDED, after - before), (REMOVED, before - after)):
            for name in sorted(names):
                verb = "now get" if change == ADDED else "no longer get"
                yield ScopeChange(section, change, name, f"{name} {verb} {what}")
    # Before the first publication, no guardrail denied anything.
    protected = [{(one.account, one.role) for one in _exempt_roles(rules)} for rules in (old, new)]
    for change, verb, found in (
        (ADDED, "no longer use", protected[1] - protected[0]),
        (REMOVED, "now use", protected[0] - protected[1]),
    ):
        for account, role in sorted(found):
            text = f"roles with a guardrail can {verb} {_role_in_words(role, account)} (pass or assume it)"
            yield ScopeChange("pass_and_assume", change, role, text)
    fixed = [any(guardrail.fixed_tags for guardrail in rules.guardrails.values()) for rules in (old, new)]
    if fixed[0] != fixed[1]:
        verb, change = ("no longer", ADDED) if fixed[1] else ("now", REMOVED)
        text = f"roles with a guardrail can {verb} change tags of domains and user profiles"
        yield ScopeChange("tags", change, "tags", text)


def _principals(old: Rules, new: Rules) -> Iterator[ScopeChange]:
    """The principals that belong to an assignment with other guardrails under service control policies."""
    before, after = (
        {principal: _under_scps(one) for one in rules.assignments for principal in one.principals}
        for rules in (old, new)
    )
    for principal in sorted({*before, *after}):
        was, now = (found.get(principal, ALL_GUARDRAILS) for found in (before, after))
        change = ADDED if principal not in before else REMOVED if principal not in after else CHANGED
        if was != now or change != CHANGED:
            yield ScopeChange("principals", change, principal, f"principal {principal} under the SCPs: {was} -> {now}")


def _under_scps(assignment: Assignment) -> str:
    """The guardrails of the principals of an assignment, in words."""
    names = ", ".join(assignment.guardrails) or "no guardrail"
    users = ", ".join(assignment.source_identities)
    return f"{names} for the source identities {users}, else {ALL_GUARDRAILS}" if users else names


def _exempt_roles(rules: Rules) -> Sequence[Any]:
    return next((guardrail.exempt_roles for guardrail in rules.guardrails.values()), ())


def _never(rules: Rules) -> set[str]:
    return {f"roles {one.role}{f' of account {one.account}' if one.account else ''}" for one in rules.never_govern}


def _also(rules: Rules) -> set[str]:
    trusting = (f"roles that {principal} can assume" for principal in rules.also_govern.trusting)
    return {*(f"roles {pattern}" for pattern in rules.also_govern.roles), *trusting}


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW_MODELS:,} more" if len(names) > FEW_MODELS else ""
    return ", ".join(names[:FEW_MODELS]) + more

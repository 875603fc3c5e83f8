"""The complete check of a guardrails.yaml before it is deployed.

In addition to the errors of the file itself, it finds guardrails that do not fit into an IAM policy, assignments that
use up a role's quota of attached policies, and model patterns that look like mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rolewarden.guardrails import Allowance, Assignment, Fallback, Guardrail, Mode, Routes, Rules
from rolewarden.guardrails_file import FileReading, ShowProgress, read, show_nothing
from rolewarden.known import KnownModels
from rolewarden.matching import is_of_ids, matches, matches_name, names_ids
from rolewarden.model_ids import ListedModels, ModelNames
from rolewarden.names import among
from rolewarden.policies import BoundaryTooLong, TooLong, compile_boundary, compile_guardrail, fewest_policies
from rolewarden.problems import Problem

ROLE_POLICIES = 10
"""The default quota of managed policies per role (IAM and STS quotas, IAM User Guide)."""

MOST_POLICIES = 20
"""The greatest number of managed policies per role to which AWS raises the quota (AWS re:Post, "How can I increase the
default managed policy or character size limit for an IAM role or user?")."""

_LONGEST_PARTITION = "aws-us-gov"
"""The partition with the longest name. A policy that fits into the size limit there fits in every partition."""


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    - `rules`: None if the file has errors.
    - `policies`: the number of policies that each guardrail compiles to, by its name. Empty if the file has errors.
    - `slots`: the number of policies that each assignment attaches to a role, in the order of the file. Empty if the
      file has errors.
    - `unprevented`: warnings about the service control policies of the file. They are also in `warnings` if an
      assignment names principals.
    """

    rules: Rules | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    policies: Mapping[str, int] = field(default_factory=dict)
    slots: tuple[int, ...] = ()
    unprevented: tuple[Problem, ...] = ()


def check(
    path: Path, *, today: date, known: KnownModels | None = None, progress: ShowProgress = show_nothing
) -> Checked:
    """Read and compile the file at `path`; `today` (UTC) decides which exemptions have ended.

    It raises nothing for the content of the file, and a file that it cannot read becomes one of the errors.
    """
    reading = read(path, today=today, known=known, progress=progress)
    if reading.rules is None:
        return Checked(None, reading.errors, reading.warnings)
    checked = _compiled(reading, reading.rules, progress)
    if checked.rules is None:
        return checked
    unprevented = tuple(_prevention_warnings(reading, reading.rules))
    more = (
        *_slot_warnings(reading, checked.slots),
        *_boundary_warnings(reading, reading.rules),
        *_pattern_warnings(reading, reading.rules, known, progress),
        *_loosening_warnings(reading, reading.rules),
        *_domain_warnings(reading, reading.rules),
        *_exemption_warnings(reading, reading.rules),
        *_place_warnings(reading, reading.rules),
        *_region_warnings(reading, reading.rules),
        *(unprevented if reading.rules.prevents else ()),
    )
    warnings = tuple(sorted((*checked.warnings, *more), key=lambda problem: problem.line))
    return replace(checked, warnings=warnings, unprevented=unprevented)


def _compiled(reading: FileReading, rules: Rules, progress: ShowProgress) -> Checked:
    policies, errors = {}, []
    for number, (name, guardrail) in enumerate(rules.guardrails.items()):
        progress("compiling guardrails", number, len(rules.guardrails))
        # A list of thousands of models is not compiled only to be refused.
        least = fewest_policies(guardrail, _LONGEST_PARTITION)
        try:
            needed = least if least > MOST_POLICIES else len(compile_guardrail(guardrail, _LONGEST_PARTITION))
        except TooLong as error:
            errors.append(reading.problem(error.where, error.reason))
            continue
        policies[name] = needed
        if needed > MOST_POLICIES:
            count = f"at least {needed:,}" if needed == least else f"{needed:,}"
            errors.append(
                reading.problem(
                    ("guardrails", name),
                    f"needs {count} policies, and no role can have more than {MOST_POLICIES}: write families, such as "
                    "`anthropic.claude-*`, or fewer models",
                )
            )
    errors += _reserved(reading, rules)
    errors += [*_slot_errors(reading, rules, policies), *_contradictions(reading, rules)]
    if errors:
        return Checked(None, tuple(errors), reading.warnings)
    slots = tuple(sum(policies[name] for name in assignment.guardrails) for assignment in rules.assignments)
    return Checked(rules, (), reading.warnings, policies, slots)


RESERVED = frozenset({"born", "canary"})
"""Names that a guardrail cannot have, because Rolewarden uses them or will use them for policies of its own."""


def _reserved(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    """An error for each guardrail with a reserved name. IAM does not distinguish names by case."""
    for name in rules.guardrails:
        if among(name, RESERVED):
            yield reading.problem(
                ("guardrails", name), f"is reserved for Rolewarden: rename it, for example to `no-{name}`"
            )


def _slot_errors(reading: FileReading, rules: Rules, policies: Mapping[str, int]) -> Iterator[Problem]:
    """An error for each assignment to guardrails that only together have more policies than a role can have."""
    for number, assignment in enumerate(rules.assignments):
        needed = [policies.get(name, 0) for name in assignment.guardrails]
        if sum(needed) > MOST_POLICIES >= max(needed):
            yield reading.problem(
                ("assignments", number),
                f"takes {sum(needed):,} policies, and no role can have more than {MOST_POLICIES}: use fewer guardrails "
                "or shorter lists",
            )


def _contradictions(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    """An error for each role that `never_govern` covers and that another entry names by its exact name."""
    named = [("`also_govern`", "", name) for name in rules.also_govern.roles]
    for number, one in enumerate(rules.assignments, start=1):
        named += [(f"assignment {number}", account, name) for name in one.roles for account in one.accounts or [""]]
    named += [("an exemption", exemption.account, exemption.role) for exemption in rules.exemptions]
    for number, entry in enumerate(rules.never_govern):
        for place, account, name in named:
            is_exact = not set(name) & set("*?")
            is_there = not (account and entry.account) or matches(account, entry.account)
            if is_exact and is_there and matches_name([entry.role], name):
                yield reading.problem(
                    ("never_govern", number, "role"),
                    f"`{entry.role}` contradicts {place}, which names the role `{name}`: remove one of them",
                )


class Loosening(NamedTuple):
    """An assignment that denies less than the last one, and that callers can get by what they choose.

    - `number`: its position in the file, from 0.
    - `by`: "tags" or "names".
    """

    number: int
    by: str

    @property
    def why(self) -> str:
        """The callers who can get it, and what to do."""
        who = "tag a domain or user profile" if self.by == "tags" else "create a domain, user profile or role"
        add = "`accounts` or `trusted_taggers`" if self.by == "tags" else "`accounts`"
        return (
            f"denies less than the last assignment and matches by {self.by}, so every caller who can {who} can get it: "
            f"add {add}, or write the IDs of domains"
        )


def loosenings(rules: Rules, *, several_accounts: bool) -> Iterator[Loosening]:
    """The assignments that deny less than the last one, to subjects whose names or tags callers choose.

    An assignment with `accounts`, or only for IDs of domains, is left out: no caller chooses these. So is one with tags
    in a file that names the callers who can set them. Names count only with `several_accounts`, because the owner of
    the file names the domains of one account.
    """
    last = [rules.guardrails[name] for name in rules.assignments[-1].guardrails]
    for number, one in enumerate(rules.assignments[:-1]):
        names = not names_ids(one.domains)
        by = "tags" if one.tags else "names" if names and several_accounts else ""
        is_chosen = by and not one.accounts and not (one.tags and rules.trusted_taggers)
        if is_chosen and _denies_less([rules.guardrails[name] for name in one.guardrails], last):
            yield Loosening(number, by)


def _loosening_warnings(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    """A warning for each loosening. Only a file that names accounts is known to be for several of them."""
    for found in loosenings(rules, several_accounts=names_accounts(rules)):
        yield reading.problem(("assignments", found.number), found.why)


def names_accounts(rules: Rules) -> bool:
    """Whether an assignment names accounts, so that the file is for several of them."""
    return any(one.accounts for one in rules.assignments)


def _place_warnings(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    """A warning for each assignment whose users can work as another role that has fewer denies."""
    assigned = [(one, [rules.guardrails[name] for name in one.guardrails]) for one in rules.assignments]
    for number, (one, guardrails) in enumerate(assigned):
        enforced = [guardrail for guardrail in guardrails if guardrail.mode is Mode.ENFORCE]
        looser = [other for other, others in assigned if other is not one and _denies_less(others, guardrails)]
        # Between domains, `rolewarden check` only lists what each guardrail leaves open.
        if (
            any(_is_by_user(each) for each in (one, *looser))
            and looser
            and not any(guardrail.other_profiles is Allowance.DENY for guardrail in enforced)
        ):
            yield reading.problem(
                ("assignments", number),
                "its users can open the applications of user profiles with fewer denies, if they may call "
                "sagemaker:CreatePresignedDomainUrl: add `other_profiles: deny` to one of its guardrails",
            )
        # A shared space has no user profile. So only another assignment than that of its domain can be stricter.
        spaces = _is_by_user(one) and any(not other.user_profiles for other in looser)
        if spaces and not any(guardrail.shared_spaces is Allowance.DENY for guardrail in enforced):
            yield reading.problem(
                ("assignments", number),
                "its users can work in a shared space, which runs as a role of the domain with fewer denies: add "
                "`shared_spaces: deny` to one of its guardrails",
            )


def _is_by_user(assignment: Assignment) -> bool:
    """Whether an assignment can match some user profiles of a domain, and not the others."""
    return bool(assignment.user_profiles or assignment.tags or assignment.roles)


def _domain_warnings(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    """A warning for each pattern of domain IDs that looks like a name."""
    listed = {
        "assignments": [assignment.domains for assignment in rules.assignments],
        "exemptions": [exemption.domains for exemption in rules.exemptions],
    }
    for key, entries in listed.items():
        for number, domains in enumerate(entries):
            for place, domain in enumerate(domains):
                if is_of_ids(domain) and not _IDS.fullmatch(domain):
                    yield reading.problem(
                        (key, number, "domains", place),
                        f"`{domain}` begins as an ID and so matches no name, because a caller can choose a name that "
                        "looks like an ID: write the ID of the domain",
                    )


_IDS = re.compile(r"d-[a-z0-9*?]{1,61}")
"""An ID of a domain, possibly with wildcards, as SageMaker makes them."""


def _exemption_warnings(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    """A warning for each exemption whose subjects a caller can add to, because it names them by name."""
    for number, exemption in enumerate(rules.exemptions):
        if exemption.names_subjects and not names_ids(exemption.domains):
            yield reading.problem(
                ("exemptions", number),
                "names its subjects by names, so a caller who creates a domain or user profile of that name uses the "
                "role until you act on the alert: add `domains` with the IDs of the domains",
            )


def _region_warnings(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    """A warning for each list of regions that a model ID with a geography leaves on `bedrock-mantle`.

    AWS authorizes such a call in the region of the caller only. The option `profiles` denies the IDs of other
    geographies.
    """
    for name, guardrail in rules.guardrails.items():
        rule = guardrail.bedrock
        if rule is None or not rule.regions or rule.profiles or rule.kind == "deny-all":
            continue
        if guardrail.routes is Routes.ALL and not (rule.only_through or rule.require_bedrock_guardrail):
            yield reading.problem(
                ("guardrails", name, "bedrock", "regions"),
                "does not restrict model IDs with a geography on `bedrock-mantle`, such as `us.amazon.nova-pro-v1:0`, "
                "which lead from these regions to others: add `profiles` with the geographies that you allow",
            )


def _denies_less(some: Sequence[Guardrail], others: Sequence[Guardrail]) -> bool:
    """Whether `some` guardrails may deny less than `others`. A guardrail in observe mode denies nothing."""
    some = [guardrail for guardrail in some if guardrail.mode is Mode.ENFORCE]
    others = [guardrail for guardrail in others if guardrail.mode is Mode.ENFORCE and guardrail not in some]
    for family in ("bedrock", "jumpstart", "assistants"):
        wanted = any(getattr(guardrail, family) for guardrail in others)
        rules = [rule for guardrail in some if (rule := getattr(guardrail, family))]
        if wanted and not any(getattr(rule, "kind", "deny-all") == "deny-all" for rule in rules):
            return True
    return False


def _prevention_warnings(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    """A warning for each assignment or exemption to which a service control policy (SCP) gives other rules.

    An SCP sees the ARN of a caller, and no domain, user profile or tag.
    """
    for number, one in enumerate(rules.assignments):
        own = [rules.guardrails[name] for name in one.guardrails]
        if not one.principals and _denies_less(own, list(rules.guardrails.values())):
            yield reading.problem(
                ("assignments", number),
                "has no `principals`, so a service control policy denies its roles all that any guardrail denies: add "
                "`principals` with the ARNs of its roles",
            )
        if one.principals or not (one.user_profiles or one.tags):
            continue
        for place, other in enumerate(rules.assignments):
            if other.source_identities:
                continue  # every other session of these principals is under all guardrails
            looser = other.principals and _denies_less([rules.guardrails[name] for name in other.guardrails], own)
            if looser and _may_meet(one, other):
                yield reading.problem(
                    ("assignments", number),
                    f"denies more than assignment {place + 1}, which has `principals`. A user profile without a role "
                    "of its own works as the role of its domain, and a service control policy then applies assignment "
                    f"{place + 1}: give these user profiles a role of their own, and add it to `principals`",
                )
    for number, exemption in enumerate(rules.exemptions):
        if not exemption.account:
            yield reading.problem(
                ("exemptions", number),
                f"names no account, so a service control policy does not exempt `{exemption.role}`: add `account` with "
                "the 12 digits of the role's account",
            )


def _may_meet(one: Assignment, other: Assignment) -> bool:
    """Whether two assignments may match subjects of the same domain."""
    return all(
        not some or not others or any(matches(a, b) or matches(b, a) for a in some for b in others)
        for some, others in ((one.accounts, other.accounts), (one.domains, other.domains))
    )


def _slot_warnings(reading: FileReading, slots: tuple[int, ...]) -> Iterator[Problem]:
    for number, needed in enumerate(slots):
        if needed >= ROLE_POLICIES - 1:
            yield reading.problem(
                ("assignments", number),
                f"takes {needed} of the {ROLE_POLICIES} policies that a role can have by default, and most roles have "
                "some already: use fewer guardrails or shorter lists, or raise the quota `Managed policies per role`",
            )


def _boundary_warnings(reading: FileReading, rules: Rules) -> Iterator[Problem]:
    if rules.fallback is not Fallback.BOUNDARY:
        return
    for number, assignment in enumerate(rules.assignments):
        guardrails = [rules.guardrails[name] for name in assignment.guardrails]
        try:
            compile_boundary([g for g in guardrails if g.mode is Mode.ENFORCE], _LONGEST_PARTITION)
        except BoundaryTooLong as error:
            yield reading.problem(
                ("assignments", number),
                f"the boundary that replaces its guardrails on a full role {error.reason}, so such a role stays "
                "unenforceable: use fewer guardrails or shorter lists",
            )


def _pattern_warnings(
    reading: FileReading, rules: Rules, known: KnownModels | None, progress: ShowProgress
) -> Iterator[Problem]:
    names = ModelNames(known)
    for name, guardrail in rules.guardrails.items():
        for family, rule in (("bedrock", guardrail.bedrock), ("jumpstart", guardrail.jumpstart)):
            if rule is None or rule.kind == "deny-all":
                continue
            closed = _ClosedModels(rule.patterns, names.bedrock if family == "bedrock" else names.jumpstart)
            for number, pattern in enumerate(rule.patterns):
                if number % 500 == 0:
                    progress(f"comparing {name} with known models", number, len(rule.patterns))
                if warning := _pattern_warning(family, rule.kind, pattern, closed, names):
                    yield reading.problem(("guardrails", name, family, rule.kind, number), warning)


class _ClosedModels:
    """The known models that a list of patterns matches, by pattern."""

    def __init__(self, patterns: Sequence[str], models: ListedModels) -> None:
        self.models = models
        self.by_pattern = {pattern: models.matching(pattern) for pattern in patterns}
        self.all = {model for found in self.by_pattern.values() for model in found}


def _pattern_warning(family: str, kind: str, pattern: str, closed: _ClosedModels, names: ModelNames) -> str | None:
    if names.known and closed.models.ids and not closed.by_pattern[pattern]:
        fault = f"matches no model that was known on {names.known.as_of}"
        found = names.unknown(family, pattern, kind, fault)
        return f"`{pattern}` {fault}: {found.way or 'write a known model ID'}"
    if family == "bedrock" and kind == "deny" and not pattern.endswith("*"):
        longer = [model for model in closed.models.matching(f"{pattern}*") if model not in closed.by_pattern[pattern]]
        if names.every_version(pattern) == pattern:
            return None
        others = [model for model in longer if model not in closed.all]
        if longer and not others:
            return None
        also = f", for example {', '.join(f'`{model}`' for model in others[:3])}" if others else ""
        return f"`{pattern}` does not deny other versions and variants of the model{also}: write `{pattern}*`"
    return None

"""The data of the report: the results of the other commands for one or more accounts, and their sources.

Every figure on the page comes from a `Report`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from rolewarden.guardrails import Exemption, Rules
from rolewarden.policies import Policy
from rolewarden.verdicts import RECOMMENDATIONS, Outcome, Reason, Verdict

from rolewarden_cli.access import AccessMatrix, Row
from rolewarden_cli.actors import LEFT_OUT, without_actors, without_names, without_principals
from rolewarden_cli.console import counted, few
from rolewarden_cli.history import NO_DRIFT, Entry
from rolewarden_cli.natural import natural_key
from rolewarden_cli.organization import UnreachedAccount
from rolewarden_cli.plan import BEDROCK_ROLE, DIRECT_DEPLOYMENT, RETIRED, Plan
from rolewarden_cli.promotion import in_words
from rolewarden_cli.report.comparison import Comparison
from rolewarden_cli.stack import DEPLOY, StackRules
from rolewarden_cli.status import Status


class FindingKind(StrEnum):
    """The kind of a finding that a person has to decide about: a verdict, or another fact.

    `docs/generate.py` puts the text under each value into docs/reference/findings.md.
    """

    DRIFTED = Verdict.DRIFTED.value
    """A required guardrail is not in effect on the role. In observe mode, review the role.
    Otherwise, if the stack is deployed and does not remediate the role within minutes, run `rolewarden sweep`. Without
    a stack, run `rolewarden enforce`."""
    UNENFORCEABLE = Verdict.UNENFORCEABLE.value
    """The role or user profile cannot be protected. The reason has its [recommended action](#reasons)."""
    CONTESTED = "contested"
    """A caller removed the guardrails of the role three times or more within a day. See docs/how-to/runbook.md,
    ContestedAlarm."""
    TAMPERED = "not as published"
    """A policy in IAM differs from guardrails.yaml, is missing, or belongs to no guardrail. If the deployed stack has
    the rules of the file, run `rolewarden sweep`. If it has other or unknown rules, deploy the file. Without a stack,
    run `rolewarden enforce`. For a policy that belongs to no guardrail, run `rolewarden detach`."""
    SURPLUS = "surplus"
    """Roles have policies or boundaries of Rolewarden that they do not need. Run `rolewarden detach`."""
    DOUBTFUL = "exemption in doubt"
    """AWS contradicts an exemption: its role is missing, is newer than the last deployment, or may have a new user."""
    ENDING = "exemption ends"
    """An exemption in guardrails.yaml ends soon. If the role needs it longer, write a later day into the file."""
    OPEN = "switched on"
    """A domain or user profile lets Canvas deploy JumpStart models or use Amazon Bedrock. If this is unintended, turn
    it off in the settings of the domain or user profile."""
    OTHER_ROLE = "other role"
    """The settings of a domain or user profile name a role for EMR, RStudio or another account's models. The role can
    reach a model, and no guardrail applies to it. Cover the role with `also_govern` in guardrails.yaml, or remove it
    from the settings."""
    UNREAD = "not read"
    """The command could not read or evaluate a part of the account. If a permission is missing, give it to the caller.
    Then run `rolewarden report` again."""

    @property
    def is_noted(self) -> bool:
        """Whether the finding is only noted. Otherwise something is broken or unknown, and a person has to act."""
        return self in _NOTED


_NOTED = frozenset({FindingKind.SURPLUS, FindingKind.ENDING, FindingKind.OPEN})


class ResourceKind(StrEnum):
    """The kind of resource that a finding is about, as people read it."""

    ROLE = "role"
    POLICY = "policy"
    DOMAIN = "domain"
    USER_PROFILE = "user profile"
    ACCOUNT = "account"


@dataclass(frozen=True)
class Finding:
    """A finding that a person has to decide about.

    - `resource`, `name`: the role, user profile, domain, policy or account. The name of a user profile has its domain.
    - `account`: the account of the resource.
    - `why`: the reason.
    - `aside`: details for the reader; empty without any.
    """

    resource: ResourceKind
    name: str
    kind: FindingKind
    why: str
    recommendation: str
    aside: str = ""
    account: str = ""

    @property
    def about(self) -> str:
        """The resource in words, such as `role CanvasRosa`."""
        return f"{self.resource} {self.name}"


@dataclass(frozen=True)
class Provenance:
    """The sources of the figures.

    - `caller`: the ARN of the caller. Empty if the report leaves out callers.
    - `place`: "AWS", or the local AWS in words.
    - `digest`: the SHA-256 of `guardrails_file`, in hexadecimal.
    - `history_since`: the beginning of the history.
    - `rules_text`: the content of `guardrails_file`.
    - `rules_digest`: the digest of the rules, which comments and layout do not change. A change of the rules in the
      history has the same digest.
    - `has_actors`: whether the report names callers and approvers.
    - `has_people`: whether it names user profiles. Otherwise it numbers them.
    """

    caller: str
    place: str
    version: str
    guardrails_file: str
    digest: str
    history_since: datetime
    rules_text: str = ""
    rules_digest: str = ""
    has_actors: bool = True
    has_people: bool = True

    def without_actors(self, rules: Rules) -> Provenance:
        """The same sources without the caller, and without principals and approvers in the text of the rules."""
        approvers = (exemption.approved_by for exemption in rules.exemptions)
        text = without_principals(self.rules_text, approvers)
        return replace(self, caller="", rules_text=text, has_actors=False)


@dataclass(frozen=True)
class AttachedScp:
    """A service control policy (SCP) that applies to an account.

    `of_rules`: whether it has only statements that guardrails.yaml compiles to.
    """

    name: str
    of_rules: bool


@dataclass(frozen=True)
class AccountScps:
    """The service control policies of an account, as far as the caller can read them.

    - `scps`: the SCPs that apply to the account, from the root of the organization down.
    - `equals_rules`: whether they have every statement that guardrails.yaml compiles to. None if this is not known, or
      if the file names no principals and so compiles to no SCP.
    - `unread`: why the caller cannot read them; empty if the caller can.
    """

    scps: tuple[AttachedScp, ...] = ()
    equals_rules: bool | None = None
    unread: str = ""


@dataclass(frozen=True)
class Watch:
    """The signs that the deployed stack works, apart from the drills in the history and the sweeps in the status.

    - `alarms`: the states of the alarms that a silent stack raises, by name: HeartbeatAlarm and EventPathsAlarm.
    - `interval`: the parameter SweepInterval; empty if it is not known.
    - `regions`: the regions that the stack covers.
    """

    alarms: tuple[tuple[str, str], ...] = ()
    interval: str = ""
    regions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All data of the page.

    - `rules`, `policies`: the content of guardrails.yaml, and the policies that it compiles to.
    - `accounts`: the accounts that the command read, at least one.
    - `unreached`: the accounts that it could not read.
    - `comparison`: the differences from an earlier report; None without one.
    """

    provenance: Provenance
    rules: Rules
    policies: tuple[Policy, ...]
    accounts: tuple[AccountReport, ...]
    unreached: tuple[UnreachedAccount, ...] = ()
    comparison: Comparison | None = None

    @property
    def at(self) -> datetime:
        """The time at which the command had read the last account."""
        return max(account.access.at for account in self.accounts)

    @property
    def is_of_several(self) -> bool:
        """Whether the report is about more than one account."""
        return len(self.accounts) + len(self.unreached) > 1

    def without_actors(self) -> Report:
        """The same report without callers and approvers, and without the ARNs of principals in messages."""
        exemptions = tuple(
            one._replace(approved_by=LEFT_OUT) if one.approved_by else one for one in self.rules.exemptions
        )
        return replace(
            self,
            provenance=self.provenance.without_actors(self.rules),
            rules=self.rules._replace(exemptions=exemptions),
            accounts=tuple(account.without_actors() for account in self.accounts),
            unreached=tuple(replace(one, why=without_principals(one.why)) for one in self.unreached),
        )

    def without_people(self) -> Report:
        """The same report with a number for each user profile instead of its name.

        A message or the text of the rules that has the name of a user profile loses it. Names of roles stay.
        """
        numbers: dict[tuple[str, str, str], str] = {}
        for account in self.accounts:
            for row in sorted(account.access.rows, key=lambda row: (row.domain_id, natural_key(row.user_profile))):
                if row.user_profile:
                    key = (account.account, row.domain_id, row.user_profile)
                    numbers.setdefault(key, f"person-{len(numbers) + 1}")
        names = {profile for _, _, profile in numbers}
        names |= {shared.user_profile for account in self.accounts for shared in account.plan.shared}
        provenance = replace(
            self.provenance, rules_text=without_names(self.provenance.rules_text, names), has_people=False
        )
        accounts = tuple(account.without_people(numbers, names) for account in self.accounts)
        return replace(self, provenance=provenance, accounts=accounts)

    def findings(self) -> Iterator[Finding]:
        """The findings of all accounts."""
        for account in self.accounts:
            for finding in account.findings():
                yield replace(finding, account=account.account)

    def exemption(self, account: str, role: str) -> Exemption | None:
        """The exemption of a role that has not ended; None without one."""
        return self.rules.exemption(account, role, self.at.date(), home=account)


@dataclass(frozen=True)
class AccountReport:
    """The data of one account.

    - `history`: all entries of the history in the period of the report, newest first.
    - `status`, `watch`: None if no stack is deployed.
    """

    plan: Plan
    access: AccessMatrix
    history: tuple[Entry, ...] = ()
    status: Status | None = None
    watch: Watch | None = None
    prevention: AccountScps = AccountScps()

    @property
    def account(self) -> str:
        """The ID of the account."""
        return self.access.account

    @property
    def drift(self) -> tuple[Entry, ...]:
        """The history without drills, deployments and changes of the rules."""
        return tuple(entry for entry in self.history if entry.kind not in NO_DRIFT)

    def without_actors(self) -> AccountReport:
        """The same data without callers, and without the ARNs of roles, users and sessions in messages."""

        def lines(texts: Iterable[str]) -> tuple[str, ...]:
            return tuple(map(without_principals, texts))

        plan, status = self.plan, self.status
        roles = tuple(
            replace(role, outcome=role.outcome._replace(message=without_principals(role.outcome.message)))
            for role in plan.roles
        )
        doubts = tuple(replace(doubt, message=without_principals(doubt.message)) for doubt in plan.doubts)
        return replace(
            self,
            plan=replace(plan, roles=roles, doubts=doubts, unread=lines(plan.unread)),
            access=replace(self.access, unread=lines(self.access.unread)),
            history=tuple(map(without_actors, self.history)),
            prevention=replace(self.prevention, unread=without_principals(self.prevention.unread)),
            status=status
            and replace(
                status,
                contested=tuple(replace(role, actors=()) for role in status.contested),
                unenforceable=tuple(map(without_actors, status.unenforceable)),
            ),
        )

    def without_people(self, numbers: Mapping[tuple[str, str, str], str], names: Collection[str]) -> AccountReport:
        """The same data with the `numbers` of user profiles, by account, domain ID and name, and without `names`."""

        def text(value: str) -> str:
            return without_names(value, names)

        def number(domain_id: str, profile: str) -> str:
            return profile and numbers.get((self.account, domain_id, profile), LEFT_OUT)

        def numbered(row: Row) -> Row:
            """The row with its number, also as the source identity of its sessions."""
            name = number(row.domain_id, row.user_profile)
            return replace(row, user_profile=name, source_identity=row.source_identity and name)

        plan, rows = self.plan, [(row, numbered(row)) for row in self.access.rows]
        return replace(
            self,
            plan=replace(
                plan,
                roles=tuple(
                    replace(one, outcome=one.outcome._replace(message=text(one.outcome.message))) for one in plan.roles
                ),
                shared=tuple(replace(one, user_profile=number(one.domain_id, one.user_profile)) for one in plan.shared),
                switches=tuple(
                    replace(one, user_profile=number(one.domain_id, one.user_profile)) for one in plan.switches
                ),
                named=tuple(replace(one, subjects=tuple(map(text, one.subjects))) for one in plan.named),
                doubts=tuple(replace(one, message=text(one.message)) for one in plan.doubts),
                unread=tuple(map(text, plan.unread)),
                outside=tuple(map(text, plan.outside)),
            ),
            access=replace(
                self.access,
                rows=tuple(new for _, new in rows),
                decisions={
                    new: self.access.decisions[old]
                    for row, numbered_row in rows
                    for old, new in ((row.session, numbered_row.session), (row.bedrock_role, row.bedrock_role))
                    if old
                },
                unread=tuple(map(text, self.access.unread)),
            ),
            history=tuple(
                replace(
                    entry,
                    about=text(entry.about),
                    message=text(entry.message),
                    changes=tuple(map(text, entry.changes)),
                )
                for entry in self.history
            ),
        )

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """The verdict on each role, by name: unenforceable if it cannot be protected, else the current verdict."""
        return {
            outcome.role: Verdict.UNENFORCEABLE if outcome.verdict is Verdict.UNENFORCEABLE else outcome.before
            for outcome in (planned.outcome for planned in self.plan.roles)
        }

    def verdict(self, row: Row) -> Verdict:
        """The verdict on the role of a row. If it has two roles, the worse of their verdicts."""
        found = [self.verdicts.get(role, Verdict.OUT_OF_SCOPE) for role in (row.role, row.bedrock_role) if role]
        return max(found, key=WORST.index)

    def findings(self) -> Iterator[Finding]:
        """The findings of the plan, the status and the access matrix."""
        yield from findings_of_plan(self.plan)
        for role in self.status.contested if self.status else ():
            callers = ", ".join(map(short_actor, role.actors))
            why = f"callers removed its guardrails {role.times} times since {role.since:%Y-%m-%d %H:%M} UTC"
            action = "ask the callers to stop, or exempt the role in guardrails.yaml"
            by = callers and f"by {callers}"
            yield Finding(ResourceKind.ROLE, role.role, FindingKind.CONTESTED, why, action, by)
        yield from self._other_roles()
        for line in dict.fromkeys(self.access.unread):
            if line not in self.plan.unread:
                yield _unread(self.account, line)

    @property
    def observing(self) -> str:
        """The figures of observe mode as a sentence; empty if no guardrail is in observe mode."""
        if not self.plan.promotions:
            return ""
        found = self.plan.promotions[-1]
        change, lost = len(found.would_change), len(found.could_not)
        text = f"In enforce mode, {counted(change, 'role')} would change, and {lost:,} could not be protected."
        events = self.status.since_observing if self.status else None
        return f"{text} {in_words(events)}." if events else text

    def _other_roles(self) -> Iterator[Finding]:
        """The roles that no guardrail covers although a setting names them and they can reach a model."""
        rows: dict[str, list[Row]] = {}
        for row in self.access.rows:
            if not row.is_subject and self.verdict(row) is Verdict.OUT_OF_SCOPE:
                rows.setdefault(row.role, []).append(row)
        for role, named in rows.items():
            if reached := sum(cell.allowed for cell in self.access.cells(named[0])):
                why = f"it can reach {reached:,} of {len(self.access.models):,} models, and no guardrail applies to it"
                recommendation = (
                    f"cover it with `also_govern: {{roles: [{role}]}}` in guardrails.yaml and assign a guardrail "
                    "to it, or remove it from the settings"
                )
                aside = f"named by {', '.join(row.label for row in named)}"
                yield Finding(ResourceKind.ROLE, role, FindingKind.OTHER_ROLE, why, recommendation, aside)


def findings_of_plan(plan: Plan) -> Iterator[Finding]:
    """The findings that a plan leads to."""
    could_not = plan.promotions[-1].could_not if plan.promotions else {}
    for planned in plan.roles:
        if planned.outcome.before is Verdict.DRIFTED or planned.outcome.verdict is Verdict.UNENFORCEABLE:
            yield _of_role(planned.outcome, could_not, deployed=plan.deployed)
    for policy in plan.changed_policies:
        why = _POLICY_CHANGES.get(policy.change, policy.change)
        action = _recommendation_of(plan, policy.change)
        yield Finding(ResourceKind.POLICY, policy.name, FindingKind.TAMPERED, why, action)
    if roles := [role.outcome.role for role in plan.with_surplus]:
        number = counted(len(roles), "role has", "roles have")
        why = f"{number} policies or boundaries of Rolewarden that they do not need"
        names, action = few(roles), "run `rolewarden detach`"
        yield Finding(ResourceKind.ACCOUNT, plan.account, FindingKind.SURPLUS, why, action, names)
    for shared in (one for one in plan.shared if one.guardrails):
        name = f"{shared.domain_name or shared.domain_id}/{shared.user_profile}"
        aside = f"needs {', '.join(shared.guardrails)}, uses role {shared.role}: {shared.why}"
        why, kind = Reason.SHARES_ROLE.value, FindingKind.UNENFORCEABLE
        yield Finding(ResourceKind.USER_PROFILE, name, kind, why, shared.recommendation, aside)
    for ending in plan.exemptions:
        why = f"exempt until {ending.until}, {ending.days_left} days left: {ending.reason}"
        action = "if the role needs it longer, write a later day into guardrails.yaml"
        yield Finding(ResourceKind.ROLE, ending.role, FindingKind.ENDING, why, action, ", ".join(ending.roles))
    for doubt in plan.doubts:
        kind = FindingKind.DOUBTFUL
        yield Finding(ResourceKind.ROLE, doubt.role, kind, doubt.message, doubt.recommendation, doubt.reason)
    for switch in plan.switches:
        name = "/".join(filter(None, (switch.domain_name or switch.domain_id, switch.user_profile)))
        aside = f"as role {switch.role}" if switch.role else ""
        resource = ResourceKind.USER_PROFILE if switch.user_profile else ResourceKind.DOMAIN
        why = _SWITCHES[switch.switch]
        yield Finding(resource, name, FindingKind.OPEN, why, _TURN_OFF.format(resource), aside)
    for line in dict.fromkeys(plan.unread):
        yield _unread(plan.account, line)


def _unread(account: str, line: str) -> Finding:
    return Finding(ResourceKind.ACCOUNT, account, FindingKind.UNREAD, line, _READ_AGAIN)


def _recommendation_of(plan: Plan, change: str) -> str:
    if plan.stack is StackRules.OTHER:
        return f"run `{DEPLOY}`: the deployed stack has other rules than this file"
    if plan.stack is StackRules.UNKNOWN:
        return f"run `{DEPLOY}`: the rules of the stack that covers this account are not known"
    if change == RETIRED:
        return "run `rolewarden detach`"
    return "run `rolewarden sweep`" if plan.stack is StackRules.SAME else "run `rolewarden enforce`"


WORST = (Verdict.COMPLIANT, Verdict.EXEMPT, Verdict.OUT_OF_SCOPE, Verdict.UNENFORCEABLE, Verdict.DRIFTED)
"""Verdicts, the worst last: a subject is compliant only if each of its roles is."""

_POLICY_CHANGES = {
    "created": "the policy does not exist in IAM",
    "replaced": "the policy in IAM differs from guardrails.yaml",
    "retired": "the policy belongs to no guardrail in guardrails.yaml",
}
_SWITCHES = {
    DIRECT_DEPLOYMENT: "Canvas can deploy JumpStart models",
    BEDROCK_ROLE: "Canvas can use Amazon Bedrock",
}
_TURN_OFF = "if this is unintended, turn it off in the settings of the {}; otherwise no action is needed"
_READ_AGAIN = "if a permission is missing, give it to the caller; then run `rolewarden report` again"
_OBSERVED = (
    "review the role; to let Rolewarden attach the policy, write `mode: enforce` into the guardrail instead of "
    "`mode: observe`, and deploy"
)


def _of_role(outcome: Outcome, could_not: Mapping[str, str], *, deployed: bool) -> Finding:
    lacks = f"lacks {', '.join(outcome.missing)}" if outcome.missing else ""
    if outcome.verdict is Verdict.UNENFORCEABLE:
        why = ": ".join(filter(None, (outcome.reason, outcome.message)))
        recommendation = RECOMMENDATIONS.get(outcome.reason, "") if outcome.reason else ""
        return Finding(ResourceKind.ROLE, outcome.role, FindingKind.UNENFORCEABLE, why, recommendation, lacks)
    if outcome.remediation == "observed":
        why = could_not.get(outcome.role, "")
        lacks = "; ".join(filter(None, (lacks, f"could not be protected in enforce mode: {why}" if why else "")))
        recommendation = f"{RECOMMENDATIONS.get(why, '')}, before you enforce the guardrail" if why else _OBSERVED
    elif deployed:
        recommendation = "if the stack does not remediate the role within minutes, run `rolewarden sweep`"
    else:
        recommendation = "run `rolewarden enforce`"
    why = "a required guardrail is not in effect"
    return Finding(ResourceKind.ROLE, outcome.role, FindingKind.DRIFTED, why, recommendation, lacks)


def short_actor(actor: str) -> str:
    """The caller without its account: the last part of the ARN, after the role for a session."""
    if not actor.startswith("arn:"):
        return actor or "not known"
    parts = actor.split(":", 5)[-1].split("/")
    return "/".join(parts[1:]) if parts[0] == "assumed-role" else parts[-1]

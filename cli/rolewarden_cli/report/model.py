"""What the report shows: what the commands beside it have found, and where that comes from.

Every figure on the page is counted from a `Report` and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from rolewarden.policies import Policy
from rolewarden.verdicts import RECOMMENDATIONS, Outcome, Reason, Verdict

from rolewarden_cli.access import AccessMatrix, Row
from rolewarden_cli.history import Entry
from rolewarden_cli.plan import BEDROCK_ROLE, DIRECT_DEPLOYMENT, RETIRED, Plan
from rolewarden_cli.stack import DEPLOY
from rolewarden_cli.status import Status


class FindingKind(StrEnum):
    """What a person has to decide about: a verdict, or a fact next to the verdicts.

    `docs/generate.py` puts the text under each value into docs/reference/findings.md.
    """

    DRIFTED = Verdict.DRIFTED.value
    """A required guardrail is not in effect on the role. If the stack is deployed and does not remediate the role
    within minutes, run `rolewarden sweep`. Without a stack, run `rolewarden enforce`."""
    UNENFORCEABLE = Verdict.UNENFORCEABLE.value
    """The role or user profile cannot be protected. The reason has its [recommended action](#reasons)."""
    CONTESTED = "contested"
    """A caller removed the guardrails of the role three times or more within a day. See docs/how-to/runbook.md,
    ContestedAlarm."""
    TAMPERED = "not as published"
    """A policy in IAM differs from guardrails.yaml. Deploy the stack again, or run `rolewarden enforce`."""
    SURPLUS = "surplus"
    """Roles have policies or boundaries of Rolewarden that they do not need. Run `rolewarden detach`."""
    ENDING = "exemption ends"
    """An exemption in guardrails.yaml ends soon. If the role needs it longer, write a later day into the file."""
    OPEN = "switched on"
    """A domain or user profile lets Canvas deploy JumpStart models or use Amazon Bedrock. If this is unintended, turn
    it off in the settings of the domain or user profile."""
    UNREAD = "not read"
    """AWS did not let the caller read a part of the account. Give the caller permission to read it, and run
    `rolewarden report` again."""


@dataclass(frozen=True)
class Finding:
    """Something that a person has to see to: about whom, why, and the recommendation."""

    about: str
    kind: FindingKind
    why: str
    recommendation: str
    aside: str = ""


@dataclass(frozen=True)
class Provenance:
    """Where the figures come from.

    `digest` is SHA-256, in hexadecimal, over `guardrails_file` as it was read; `version` is rolewarden's. `place` is
    AWS, or which local AWS. `history_since` is how far back the history was read.
    """

    caller: str
    place: str
    version: str
    guardrails_file: str
    digest: str
    history_since: datetime


@dataclass(frozen=True)
class Report:
    """All of it. `policies` are those that guardrails.yaml compiles to; `status` is None where nothing is deployed."""

    provenance: Provenance
    plan: Plan
    access: AccessMatrix
    history: tuple[Entry, ...]
    policies: tuple[Policy, ...]
    status: Status | None = None

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """What is the case with each role, by name: unenforceable where it could not be mended either."""
        return {
            outcome.role: Verdict.UNENFORCEABLE if outcome.verdict is Verdict.UNENFORCEABLE else outcome.before
            for outcome in (planned.outcome for planned in self.plan.roles)
        }

    def verdict(self, row: Row) -> Verdict:
        """What is the case with the role of a row; of its two roles, the one that is worse off."""
        found = [self.verdicts.get(role, Verdict.OUT_OF_SCOPE) for role in (row.role, row.bedrock_role) if role]
        return max(found, key=WORST.index)

    def findings(self) -> Iterator[Finding]:
        """What there is to see to."""
        for planned in self.plan.roles:
            if planned.outcome.before is Verdict.DRIFTED or planned.outcome.verdict is Verdict.UNENFORCEABLE:
                yield _of_role(planned.outcome, deployed=self.plan.deployed)
        for policy in self.plan.changed_policies:
            what = _POLICY_CHANGES.get(policy.change, policy.change)
            yield Finding(f"policy {policy.name}", FindingKind.TAMPERED, what, self._recommendation_of(policy.change))
        if roles := [role.outcome.role for role in self.plan.with_surplus]:
            more = f" and {len(roles) - FEW_ROLES:,} more" if len(roles) > FEW_ROLES else ""
            number = "1 role has" if len(roles) == 1 else f"{len(roles):,} roles have"
            why = f"{number} policies or boundaries of Rolewarden that they do not need"
            aside = ", ".join(roles[:FEW_ROLES]) + more
            yield Finding(f"account {self.plan.account}", FindingKind.SURPLUS, why, "`rolewarden detach`", aside)
        for role in self.status.contested if self.status else ():
            who = ", ".join(map(short_actor, role.actors))
            why = f"its guardrails were taken off {role.times} times since {role.since:%Y-%m-%d %H:%M} UTC"
            recommendation = "find what detaches it, or exempt the role in guardrails.yaml"
            yield Finding(f"role {role.role}", FindingKind.CONTESTED, why, recommendation, f"by {who}")
        for shared in self.plan.shared:
            about = f"user profile {shared.domain_name or shared.domain_id}/{shared.user_profile}"
            aside = f"needs {', '.join(shared.guardrails)}, runs as {shared.role}"
            yield Finding(about, FindingKind.UNENFORCEABLE, Reason.SHARES_ROLE.value, shared.recommendation, aside)
        for ending in self.plan.exemptions:
            why = f"exempt until {ending.until}, {ending.days_left} days left: {ending.reason}"
            recommendation = "nothing, or write a later day into guardrails.yaml"
            yield Finding(f"role {ending.pattern}", FindingKind.ENDING, why, recommendation, ", ".join(ending.roles))
        for switch in self.plan.switches:
            about = "/".join(filter(None, (switch.domain_name or switch.domain_id, switch.user_profile)))
            aside = f"as role {switch.role}" if switch.role else ""
            kind = "user profile" if switch.user_profile else "domain"
            yield Finding(f"{kind} {about}", FindingKind.OPEN, _SWITCHES[switch.switch], _SWITCHED, aside)
        for line in dict.fromkeys((*self.plan.unread, *self.access.unread)):
            yield Finding(
                "what could not be read", FindingKind.UNREAD, line, "let the caller read it, then report again"
            )

    def _recommendation_of(self, change: str) -> str:
        if self.plan.stack.may_undo:
            return f"`{DEPLOY}`, because the deployed stack does not run the rules of this file"
        return "`rolewarden detach`" if change == RETIRED else "deploy the stack again, or `rolewarden enforce`"


FEW_ROLES = 6
"""Names of roles that a finding about surplus policies gives."""

WORST = (Verdict.COMPLIANT, Verdict.EXEMPT, Verdict.OUT_OF_SCOPE, Verdict.UNENFORCEABLE, Verdict.DRIFTED)
"""Verdicts, the one that matters most last: a subject is compliant where each of its roles is."""

_POLICY_CHANGES = {
    "created": "guardrails.yaml has it and IAM does not",
    "replaced": "IAM says something else than guardrails.yaml",
    "retired": "IAM has it and guardrails.yaml does not",
}
_SWITCHES = {
    DIRECT_DEPLOYMENT: "Canvas may deploy JumpStart models by itself",
    BEDROCK_ROLE: "Canvas works with Amazon Bedrock",
}
_SWITCHED = "nothing, where this is meant; else switch it off in its settings"


def _of_role(outcome: Outcome, *, deployed: bool) -> Finding:
    lacks = f"lacks {', '.join(outcome.missing)}" if outcome.missing else ""
    if outcome.verdict is Verdict.UNENFORCEABLE:
        why = ": ".join(filter(None, (outcome.reason, outcome.message)))
        recommendation = RECOMMENDATIONS.get(outcome.reason, "") if outcome.reason else ""
        return Finding(f"role {outcome.role}", FindingKind.UNENFORCEABLE, why, recommendation, lacks)
    recommendation = (
        "`rolewarden sweep`, if it is not remediated within minutes" if deployed else "`rolewarden enforce`"
    )
    return Finding(
        f"role {outcome.role}", FindingKind.DRIFTED, "a required guardrail is not in force", recommendation, lacks
    )


def short_actor(actor: str) -> str:
    """Who it was, without the account: an ARN's last part, and the role of a session."""
    if not actor.startswith("arn:"):
        return actor or "not known"
    parts = actor.split(":", 5)[-1].split("/")
    return "/".join(parts[1:]) if parts[0] == "assumed-role" else parts[-1]

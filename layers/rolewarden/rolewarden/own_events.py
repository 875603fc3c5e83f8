"""The events that Rolewarden puts on the default bus, a class for each detail type.

`docs/generate.py` makes docs/reference/events.schema.json and the field tables of docs/reference/events.md from these
classes. It reads the text under each field from the source. Python drops these texts when it compiles the module, so
they add nothing to a cold start. The classes are not dataclasses, which would compile methods for each class at a cold
start. mypy checks them as if they were (PEP 681).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, dataclass_transform

from rolewarden.canary import DrillKind
from rolewarden.origin import Cause, Trigger
from rolewarden.verdicts import (
    CREATED,
    RECOMMENDATIONS,
    REPLACED,
    SOME_SUBJECTS,
    UNCHANGED,
    UNDONE,
    Outcome,
    Remediation,
    Verdict,
)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class OwnEvent:
    """An event from source `rolewarden`.

    The fields of a class are those of the event's `detail`. A field is required if it has no default and is not
    optional. A dictionary in `Annotated` holds further keywords of JSON Schema.
    """

    detail_type: ClassVar[str]

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    @cached_property
    def detail(self) -> dict[str, Any]:
        """The event's `detail` in plain values, without fields that are equal to their default, or None without one.

        It is made only once, because the log, the bus and the history each need it.
        """
        return {name: _plain(value) for name, value in vars(self).items() if value != getattr(type(self), name, None)}


def _plain(value: Any) -> Any:
    match value:
        case Cause():
            return value.as_dict()
        case Actor():
            return {key: one for key, one in value._asdict().items() if key != "person" or one}
        case Enum():
            return value.value
        case Mapping():
            return dict(value)
        case tuple():
            return [_plain(item) for item in value]
    return value


class CausedEvent(OwnEvent):
    """An event about one account that has a cause."""

    account: Annotated[str, {"pattern": r"^[0-9]{12}$"}]
    """The ID of the AWS account that the event is about."""
    cause: Cause
    """The call that led to the event, with its time, caller and address. Sweeps, checks, deployments and forged
    requests have only `event_name`."""


class RoleOutcome(CausedEvent):
    """The outcome of an evaluation, as events, logs and results of functions have it."""

    role: str
    """The name of the IAM role."""
    before: Verdict | None
    """The verdict on the role before Rolewarden changed anything."""
    verdict: Verdict | None
    """The verdict on the role after the evaluation."""
    remediation: Remediation
    """The action of Rolewarden: it attached policies, set a fallback boundary, only observed, or did nothing."""
    required: tuple[str, ...] = ()
    """The names of all guardrail policies that the role needs."""
    missing: tuple[str, ...] = ()
    """The names of the required policies that the role lacked."""
    attached: tuple[str, ...] = ()
    """The names of the policies that Rolewarden attached."""
    boundary: str = ""
    """The ARN of the role's permissions boundary, if it takes the place of guardrails or blocks a fallback boundary."""
    boundary_removed: str = ""
    """The ARN of the fallback boundary that Rolewarden removed."""
    attached_policies: tuple[str, ...] = ()
    """The ARNs of all attached policies, if the role lacks a guardrail because it is at its quota or because every
    guardrail that it lacks is in observe mode."""
    subjects: Annotated[tuple[str, ...], {"maxItems": SOME_SUBJECTS}] = ()
    """The subjects that use the role, 50 at most: domains, user profiles, or `also_govern`."""
    more_subjects: int = 0
    """The number of further subjects that use the role."""
    reason: str = ""
    """The reason why Rolewarden cannot remediate the role, or another explanation of the verdict."""
    message: str = ""
    """The call that failed with the error message from AWS, or another explanation of the verdict."""
    recommendation: str = ""
    """The recommended action."""
    correlation_id: str = ""
    """The ID at the end of the user agent of each call to IAM that the remediation made."""
    seconds_since_event: int | None = None
    """The seconds from the call in `cause` to the remediation."""

    @classmethod
    def of(cls, outcome: Outcome, seconds_since_event: int | None = None) -> Self:
        """Make the event from `outcome`.

        `seconds_since_event` is None if Rolewarden did nothing or the time of the call is unknown.
        """
        return cls(
            account=outcome.account,
            role=outcome.role,
            before=outcome.before,
            verdict=outcome.verdict,
            remediation=outcome.remediation,
            required=outcome.required,
            missing=outcome.missing,
            attached=outcome.attached,
            boundary=outcome.boundary,
            boundary_removed=outcome.boundary_removed,
            attached_policies=outcome.attached_policies,
            subjects=outcome.subjects[:SOME_SUBJECTS],
            more_subjects=max(0, len(outcome.subjects) - SOME_SUBJECTS),
            reason=outcome.reason.value if outcome.reason else "",
            message=outcome.message,
            recommendation=RECOMMENDATIONS.get(outcome.reason, "") if outcome.reason else "",
            cause=outcome.cause,
            correlation_id=outcome.correlation_id if outcome.has_written else "",
            seconds_since_event=seconds_since_event,
        )


class RoleRemediated(RoleOutcome):
    """Rolewarden attached the policies that a role lacked, set a fallback boundary, or removed one.

    A backfilled event has neither `before` nor `verdict`. It names the policy of `boundary` instead of giving its ARN,
    and its `boundary_removed` is "not known".
    """

    detail_type = "Role Remediated"

    backfilled: Literal[True] | None = None
    """The audit found the remediation in CloudTrail, because the history had no row about it."""


class RoleFinding(RoleOutcome):
    """Rolewarden did not remediate a role, or could not do so completely.

    If `verdict` is `compliant`, the role is protected and has a fallback boundary that Rolewarden could not remove.
    """

    detail_type = "Role Finding"

    before: Verdict
    """The verdict on the role before Rolewarden changed anything."""
    verdict: Verdict
    """The verdict on the role after the evaluation."""


class SubjectFinding(CausedEvent):
    """Rolewarden cannot read something that an event names, or a user profile shares its domain's role and needs more.

    `domain`, `user_profile`, `role` and `policy` say what the finding is about.
    """

    detail_type = "Subject Finding"

    domain: str = ""
    """The ID of the SageMaker domain, or `*` for all domains of a region."""
    user_profile: str = ""
    """The name of the user profile."""
    role: str = ""
    """The name of the IAM role."""
    policy: str = ""
    """The name of the guardrail policy."""
    missing: tuple[str, ...] = ()
    """The names of the guardrail policies that the user profile needs and the domain's role lacks."""
    verdict: Literal[Verdict.UNENFORCEABLE]
    """The verdict on the user profile, domain, role or policy."""
    reason: str
    """The reason why Rolewarden cannot enforce the guardrails."""
    message: str = ""
    """The call that failed, and the error message."""
    recommendation: str
    """The recommended action."""


class AccountFinding(CausedEvent):
    """Rolewarden cannot protect an account, or one region of it.

    For example, Rolewarden cannot enter the account, receives no events from it, or no longer covers it. AWS may also
    refuse a call that concerns the whole account. The finding `forged request` means that a caller invoked a function
    with a custom-resource request that CloudFormation did not send.
    """

    detail_type = "Account Finding"

    verdict: Literal[Verdict.UNENFORCEABLE]
    """The verdict on the account."""
    reason: str
    """The reason why Rolewarden cannot enforce the guardrails."""
    message: str
    """The call, function or link of the event path that failed, and the error message."""
    recommendation: str
    """The recommended action."""


class FindingResolved(CausedEvent):
    """A sweep found that a reported finding no longer applies."""

    detail_type = "Finding Resolved"

    finding: str
    """A role or policy, a domain ID (with a slash and a user profile), or `account/` and the start of the message."""
    was: str
    """The content of the resolved finding: the verdict or reason, and the policies or the call."""


class Actor(NamedTuple):
    """A caller that removed guardrails from a contested role."""

    actor: str
    """The caller, without the name of its session. Empty if only queue messages name callers."""
    source_address: str
    """The address that the calls came from."""
    user_agent: str
    """The tool that made the calls."""
    times: int
    """The number of times that the caller removed a guardrail."""
    person: str = ""
    """The person or program that used a shared role, as in the cause."""


class RoleContested(CausedEvent):
    """A caller repeatedly removes guardrails from a role.

    Rolewarden reports a contested role once, and again only after a day without such a removal.
    """

    detail_type = "Role Contested"

    role: str
    """The name of the IAM role."""
    required: tuple[str, ...] = ()
    """The names of all guardrail policies that the role needs."""
    attached: tuple[str, ...] = ()
    """The names of the policies that Rolewarden attached the last time."""
    subjects: Annotated[tuple[str, ...], {"maxItems": SOME_SUBJECTS}] = ()
    """The subjects that use the role, 50 at most: domains, user profiles, or `also_govern`."""
    remediations: int
    """The number of removals within a day that Rolewarden remediated."""
    since: str
    """The time of the first of these remediations, ISO 8601 UTC."""
    actors: Annotated[tuple[Actor, ...], {"minItems": 1}]
    """The callers, those with the most removals first."""


class SurplusDetached(CausedEvent):
    """Rolewarden detached guardrails that a role no longer needs, or that it loses because the stack is deleted."""

    detail_type = "Surplus Detached"

    role: str
    """The name of the IAM role."""
    detached: Annotated[tuple[str, ...], {"minItems": 1}]
    """The names of the policies that Rolewarden detached, or of the fallback boundary that it removed."""
    correlation_id: str = ""
    """The ID at the end of the user agent of each call to IAM that detached a policy."""
    boundary_removed: str = ""
    """The text "not known", if the audit found that Rolewarden also removed a fallback boundary."""
    backfilled: Literal[True] | None = None
    """The audit found the detachment in CloudTrail, because the history had no row about it."""


class PolicyRestored(CausedEvent):
    """A caller edited or deleted a guardrail's policy, and it has the text in guardrails.yaml again.

    Rolewarden restored it, or the caller did so before Rolewarden read it.
    """

    detail_type = "Policy Restored"

    policy: str
    """The name of the guardrail policy."""
    remediation: Annotated[str, {"enum": [CREATED, REPLACED, UNDONE]}]
    """Whether Rolewarden created the policy again or replaced its text, or found it restored (`undone`)."""
    correlation_id: str = ""
    """The ID at the end of the user agent of each call to IAM that restored the policy."""
    backfilled: Literal[True] | None = None
    """The audit found the restoration in CloudTrail, because the history had no row about it."""


class CanaryRestored(CausedEvent):
    """Rolewarden attached the canary's policy again without a drill that had detached it.

    A caller detached it, or a sweep found that no event led to its attachment. It never counts as drift.
    """

    detail_type = "Canary Restored"

    role: str
    """The name of the canary role."""
    attached: tuple[str, ...]
    """The name of the canary's policy."""
    correlation_id: str
    """The ID at the end of the user agent of the call to IAM that attached the policy."""


class DrillMeasured(CausedEvent):
    """EnforceFunction heard a drill of Rolewarden. It never counts as drift."""

    detail_type = "Drill Measured"

    drill: Annotated[str, {"enum": [kind.value for kind in DrillKind]}]
    """The call of the drill: a pulse sets a tag of the canary to its own value, a full drill detaches its policy."""
    region: str
    """The region whose events the drill sent along the event path."""
    nonce: str
    """The ID at the end of the user agent of the drill's call."""
    milliseconds: int
    """The milliseconds from the call to the start of EnforceFunction."""
    delivery_milliseconds: int | None = None
    """The part of `milliseconds` until the event bus received the event, with the forwarding of a forwarded event."""
    start_milliseconds: int | None = None
    """The rest of `milliseconds`: EventBridge's delivery, and the start of EnforceFunction."""
    remediation_milliseconds: int | None = None
    """The milliseconds from the start of EnforceFunction until the canary's policy was attached again."""
    attached: tuple[str, ...] = ()
    """The name of the canary's policy, if a full drill had detached it and EnforceFunction attached it again."""
    correlation_id: str = ""
    """The ID at the end of the user agent of the call to IAM that attached the policy."""
    message: str = ""
    """The reason why EnforceFunction did not attach the policy again."""


class GuardrailsPublished(CausedEvent):
    """PublishFunction compared guardrail policies in IAM with guardrails.yaml and wrote those that differed.

    A sweep follows.
    """

    detail_type = "Guardrails Published"

    policies: Mapping[str, Annotated[str, {"enum": [CREATED, REPLACED, UNCHANGED]}]]
    """For each policy name, whether Rolewarden created or replaced the policy or left it unchanged."""
    trigger: Trigger
    """The trigger of the publication."""
    correlation_id: str = ""
    """The ID at the end of the user agent of each call of a deployment to IAM. Only rows of the history have it."""


class RulesChanged(CausedEvent):
    """A deployment published other rules than the one before it.

    `cause` names the call that began the deployment, and its caller. If CloudTrail does not show the call yet, `cause`
    has only the name `Deployment`. Rolewarden then sends a second event with the same `digest` and the caller, and
    without the changes.
    """

    detail_type = "Rules Changed"

    digest: str
    """The SHA-256 digest of the deployed rules, as `rolewarden diff` prints it."""
    earlier_digest: str = ""
    """The digest of the rules of the deployment before it. Empty for the first deployment."""
    summary: str
    """The change in one line."""
    changes: tuple[str, ...] = ()
    """The lines of `rolewarden diff`: what the new rules change in terms of access. A line begins with spaces if it
    belongs to the line before it."""
    more_changes: int = 0
    """The number of further lines."""
    unverified: str = ""
    """The reason why `changes` may be wrong: the table has other earlier rules than the stack's output says."""


class SweepCompleted(OwnEvent):
    """A sweep evaluated every subject and role of an account."""

    detail_type = "Sweep Completed"

    account: Annotated[str, {"pattern": r"^[0-9]{12}$"}]
    """The ID of the AWS account that the sweep evaluated."""
    regions: tuple[str, ...]
    """The regions in which the sweep listed SageMaker domains."""
    subjects: int
    """The number of subjects."""
    roles: int
    """The number of roles of the account that subjects of any account use, or that `also_govern` covers. Exempt roles
    count, too."""
    unprotected: int
    """The number of roles that the sweep sent to ReconcileFunction because they may lack a guardrail."""
    exempt: int
    """The number of exempt roles."""
    surplus: int
    """The number of roles that have guardrails attached that they do not need."""
    seconds: int
    """The duration of the sweep in seconds."""


class SweepRequested(OwnEvent):
    """A request for a sweep.

    SweepFunction starts a sweep when it receives this event, and PublishFunction checks the guardrail policies in IAM.
    """

    detail_type = "Sweep Requested"

    by: str = ""
    """The name of the command or program that requests the sweep."""


OWN_EVENTS: tuple[type[OwnEvent], ...] = (
    RoleRemediated,
    RoleFinding,
    SubjectFinding,
    AccountFinding,
    FindingResolved,
    RoleContested,
    SurplusDetached,
    PolicyRestored,
    CanaryRestored,
    DrillMeasured,
    GuardrailsPublished,
    RulesChanged,
    SweepCompleted,
    SweepRequested,
)
"""The classes of all detail types, in the order of docs/reference/events.md."""

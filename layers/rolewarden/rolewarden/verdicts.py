"""The words of a verdict: what is the case, what was done about it, and why it could not be done."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from rolewarden.origin import Cause, Origin


class Verdict(StrEnum):
    """Whether a role has the guardrails that it needs."""

    COMPLIANT = "compliant"
    DRIFTED = "drifted"
    EXEMPT = "exempt"
    OUT_OF_SCOPE = "out_of_scope"
    UNENFORCEABLE = "unenforceable"


class Remediation(StrEnum):
    """What Rolewarden did about a role."""

    ATTACHED = "attached"
    BOUNDED = "bounded"
    OBSERVED = "observed"
    NONE = "none"


class Reason(StrEnum):
    """Why a role is unenforceable, or what else explains a verdict.

    `docs/generate.py` puts the text under each value into docs/reference/findings.md, next to its recommended action.
    """

    QUOTA = "quota full"
    """An IAM quota is full, usually that for managed policies per role. See docs/how-to/unprotected-role.md, Free a
    slot."""
    PROTECTED = "protected role"
    """AWS owns the role and rejects changes to it."""
    OTHER_ACCOUNT = "other account"
    """The role and the subject that uses it belong to different accounts."""
    NOT_ENTERED = "account cannot be entered"
    """Rolewarden cannot assume its role in the account. See docs/how-to/runbook.md, Account Finding."""
    LEFT = "account no longer covered"
    """The StackSet has no stack in the account any more. See docs/how-to/runbook.md, Account Finding."""
    UNHEARD = "events do not arrive"
    """A link between the account's events and Rolewarden is broken. See docs/how-to/runbook.md, Account Finding."""
    POLICY_MISSING = "policy missing"
    """The guardrail's policy does not exist in IAM, or cannot be attached."""
    ACCESS_DENIED = "access denied"
    """AWS denied a call that Rolewarden made. The message names the call and the service."""
    NAME_TAKEN = "name taken"
    """The account has a policy with the guardrail's name outside the path `/rolewarden/`."""
    SHARES_ROLE = "shares its domain's role"
    """The user profile uses its domain's execution role and needs guardrails that the role does not have."""
    UNREACHABLE = "SageMaker cannot be reached"
    """Rolewarden cannot connect to the SageMaker endpoint of a Region."""
    REFUSED = "refused"
    """AWS rejected a call for a reason that Rolewarden does not know."""
    FORGED = "forged request"
    """A caller invoked the function named in the message with a custom-resource request that CloudFormation did not
    send. The function rejected the request and removed no guardrail."""
    ROLE_GONE = "role does not exist"
    """The role was deleted, or IAM does not show it yet. If it is created again, Rolewarden evaluates it."""


RECOMMENDATIONS: dict[str, str] = {
    Reason.QUOTA: "detach a policy the role does not need, raise the quota for managed policies per role, or set "
    "`fallback: boundary` in guardrails.yaml",
    Reason.PROTECTED: "AWS owns this role, and nobody can attach policies to it: give the domain or "
    "user profile a role of your own",
    Reason.OTHER_ACCOUNT: "use a role of the same account, or cover the role in its own account: deploy Rolewarden "
    "there with `also_govern`",
    Reason.NOT_ENTERED: "let the StackSet create Rolewarden's stack in the account again, or exempt Rolewarden's "
    "roles from the SCP that denies sts:AssumeRole",
    Reason.LEFT: "if the account must stay covered, move it back into one of the stack's organizational units, or add "
    "its stack instance to the StackSet again; until then Rolewarden does not remediate its roles",
    Reason.UNHEARD: "repair the link that the message names (docs/how-to/runbook.md, Account Finding), then run "
    "`rolewarden doctor`",
    Reason.POLICY_MISSING: "wait for the next scheduled check, which creates the guardrail's policy again, or invoke "
    "PublishFunction now",
    Reason.ACCESS_DENIED: "an SCP, a boundary or a missing permission stops Rolewarden: allow its role the call that "
    "the message names",
    Reason.NAME_TAKEN: "rename the guardrail in guardrails.yaml, or delete the policy of that name",
    Reason.SHARES_ROLE: "give the user profile an execution role of its own, or assign by domain",
    Reason.UNREACHABLE: "take the region out of the parameter Regions if SageMaker is not offered there, or repair the "
    "network path to its endpoint",
    Reason.FORGED: "find the caller in CloudTrail's data events of Lambda (Invoke of this function), then leave "
    "lambda:InvokeFunction to deployers and administrators only",
    Reason.REFUSED: "fix the cause that the message names, with the call and the answer of AWS; the next sweep tries "
    "again",
}
"""The recommended action for each reason that needs one."""


CREATED, REPLACED, UNCHANGED = "created", "replaced", "unchanged"
"""What became of a guardrail's policy in IAM."""


SOME_SUBJECTS = 50
"""As many subjects are named on the record; a role may work for thousands, and an event holds 256 KiB."""


class Outcome(NamedTuple):
    """What `reconcile` found for a role and what it did.

    `before` is the verdict on the role as it was met, `verdict` the one it is left with. `required`, `missing` and
    `attached` are names of guardrail policies: all that the role needs, those of them that it lacked, and those that
    were put back. `boundary` is the ARN of the permissions boundary that the role is left with, where it stands in for
    guardrails or is in the way of one that would; `boundary_removed` of one of Rolewarden's that was taken off as no
    longer needed. `attached_policies` are the ARNs of all policies of a role that is at its quota
    and lacks a guardrail.
    `correlation_id` is what CloudTrail shows beside each call that the remediation took, for the audit.
    """

    account: str
    role: str
    before: Verdict
    verdict: Verdict
    origin: Origin
    remediation: Remediation = Remediation.NONE
    required: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    boundary: str = ""
    boundary_removed: str = ""
    attached_policies: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    reason: Reason | None = None
    message: str = ""
    correlation_id: str = ""

    @property
    def cause(self) -> Cause:
        """The cause, for the record."""
        return self.origin.cause

    @property
    def has_written(self) -> bool:
        """Whether the role is another than it was met."""
        return self.remediation in {Remediation.ATTACHED, Remediation.BOUNDED} or bool(self.boundary_removed)

    @property
    def is_news(self) -> bool:
        """Whether this belongs on the record: something was done, or something is wrong."""
        wrong = self.verdict in {Verdict.DRIFTED, Verdict.UNENFORCEABLE}
        # A guarded role whose boundary should go and cannot is compliant, with a reason.
        wrong |= self.verdict is Verdict.COMPLIANT and self.reason is not None
        return wrong or self.has_written or self.remediation is Remediation.OBSERVED

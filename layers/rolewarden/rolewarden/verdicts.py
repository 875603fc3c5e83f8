"""Verdicts, remediations and reasons: the state of a role, what Rolewarden did, and why it could not do more."""

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
    """The action that Rolewarden took on a role."""

    ATTACHED = "attached"
    BOUNDED = "bounded"
    OBSERVED = "observed"
    NONE = "none"


class Reason(StrEnum):
    """The reason why a role is unenforceable, or another explanation of a verdict.

    `docs/generate.py` puts the text under each value into docs/reference/findings.md, next to its recommended action.
    """

    QUOTA = "quota full"
    """An IAM quota is full, usually that for managed policies per role. See docs/how-to/unprotected-role.md, Free a
    slot."""
    PROTECTED = "protected role"
    """AWS owns the role and rejects changes to it."""
    OTHER_ACCOUNT = "other account"
    """A domain or user profile uses a role of an account that the stack does not cover."""
    NOT_ENTERED = "account cannot be entered"
    """Rolewarden cannot assume its role in the account. See docs/how-to/runbook.md, Account Finding."""
    LEFT = "account no longer covered"
    """The StackSet no longer has a stack in the account. See docs/how-to/runbook.md, Account Finding."""
    NOT_DELEGATED = "not a delegated administrator"
    """StackSets does not list the member accounts for Rolewarden. See docs/how-to/runbook.md, Account Finding."""
    UNHEARD = "events do not arrive"
    """A link between the account's events and Rolewarden is broken. See docs/how-to/runbook.md, Account Finding."""
    OUTSIDE = "domains in a region that is not covered"
    """SageMaker domains exist in a region that is not in the parameter `Regions`. See docs/how-to/runbook.md, Account
    Finding."""
    NOT_PREVENTED = "service control policies are not in effect"
    """guardrails.yaml names principals for service control policies, and IAM's simulator allows requests that these
    deny. See docs/how-to/runbook.md, Account Finding."""
    POLICY_MISSING = "policy missing"
    """The guardrail's policy does not exist in IAM, or cannot be attached."""
    POLICY_EDITED = "policy edited"
    """The guardrail's policy in IAM has statements that Rolewarden does not write. Rolewarden does not attach such a
    policy, because it could give the role permissions."""
    ACCESS_DENIED = "access denied"
    """AWS denied a call that Rolewarden made. The message names the call and the service."""
    NAME_TAKEN = "name taken"
    """The account has a policy with the name of a guardrail's policy outside the path `/rolewarden/`. The guardrail's
    policy cannot exist next to it, so no role of the account can get this guardrail. The other guardrails are not
    affected."""
    SHARES_ROLE = "shares its domain's role"
    """The user profile uses its domain's execution role and needs guardrails that its sessions do not have."""
    UNREACHABLE = "SageMaker cannot be reached"
    """Rolewarden cannot connect to the SageMaker endpoint of a region."""
    EXEMPT_ABSENT = "exempt role not found"
    """guardrails.yaml exempts a role that does not exist. See docs/how-to/runbook.md, Account Finding."""
    EXEMPT_NEWER = "exempt role is newer than the rules"
    """The exempt role was created after the last deployment, so it can be another role of the same name. It needs its
    guardrails until the next deployment. See docs/how-to/runbook.md, Account Finding."""
    EXEMPT_OTHER = "exempt role has another ID"
    """The role of the exempt name is not the one whose `role_id` the exemption has. It needs its guardrails. See
    docs/how-to/runbook.md, Account Finding."""
    EXEMPT_REPLACED = "another exempt role was confirmed"
    """A deployment confirmed an exemption although the role has another ID than the role that was exempt before. The
    role is exempt. See docs/how-to/runbook.md, Account Finding."""
    EXEMPT_BEYOND = "exempt role has a use that its exemption does not name"
    """A domain or user profile uses the exempt role, and the exemption names others. The role needs its guardrails. See
    docs/how-to/runbook.md, Account Finding."""
    EXEMPT_GAINED = "exempt role may have a new user"
    """The settings of a domain or user profile that uses the exempt role have changed since the last deployment. The
    role stays exempt. See docs/how-to/runbook.md, Account Finding."""
    EXEMPT_TRUST = "exempt role has another trust policy"
    """A caller changed the trust policy of the exempt role since the last deployment, so other callers may assume it.
    The role stays exempt. See docs/how-to/runbook.md, Account Finding."""
    NEVER_GOVERNED = "role is never governed"
    """A domain or user profile uses a role that `never_govern` names, or one of Rolewarden's own roles. Rolewarden
    attaches nothing to such a role, so this subject works without guardrails."""
    NEVER_NEWER = "role that is never governed is newer than the rules"
    """`never_govern` names the role, but the role was created after the last deployment, so it can be another role of
    the same name. It needs its guardrails until the next deployment. See docs/how-to/runbook.md, Account Finding."""
    HELD = "held"
    """A domain or user profile uses a role that may belong to another team, and guardrails.yaml has `hold: suspicious`.
    Rolewarden attaches nothing to the role until guardrails.yaml names it. See docs/reference/guardrails.md, Roles of
    other teams."""
    FIRST_USE = "first guardrail of a suspicious role"
    """A role that other services use got its first guardrail, because a domain or user profile names it. See
    docs/how-to/runbook.md, Account Finding."""
    TAGGED = "tag set by a caller who is no trusted tagger"
    """guardrails.yaml names the callers who can set the tags by which assignments match, and another caller set or
    removed such a tag. The tag counts. See docs/how-to/runbook.md, Account Finding."""
    CANARY = "canary changed"
    """A caller other than Rolewarden detached the policy of the canary, or the canary is no longer as the template
    creates it: another caller can assume it, or a domain or user profile uses it. See docs/how-to/runbook.md, Account
    Finding."""
    REFUSED = "refused"
    """AWS rejected a call for a reason that Rolewarden does not know."""
    UNSIGNED = "call that Rolewarden did not make"
    """A caller made a call with the credentials of a function's role, because the call lacks the correlation ID
    of Rolewarden's calls. See docs/how-to/runbook.md, Account Finding."""
    FORGED = "forged request"
    """A caller invoked the function named in the message with a custom-resource request that CloudFormation did not
    send. The function rejected the request and removed no guardrail."""
    ROLE_GONE = "role does not exist"
    """The role was deleted, or IAM does not show it yet. If it is created again, Rolewarden evaluates it."""


class Doubt(NamedTuple):
    """A reason not to rely on the exemption of a role, or to doubt that a role is one of Canvas or that a tag is right.

    - `message`: the doubt in words. The text before the first colon names the exemption, the first use of the role, or
      the tags of the subject.
    - `ends`: whether the exemption does not hold, so that the role needs its guardrails.
    """

    reason: Reason
    message: str
    ends: bool


RECOMMENDATIONS: dict[str, str] = {
    Reason.QUOTA: "detach a policy that the role does not need, raise the quota for managed policies per role, or set "
    "`fallback: boundary` in guardrails.yaml",
    Reason.PROTECTED: "AWS owns this role and lets no caller attach policies to it: give the domain or user profile a "
    "role of your own",
    Reason.OTHER_ACCOUNT: "give the domain or user profile a role of its own account, or move the role's account into "
    "an organizational unit that the stack covers; if another stack of Rolewarden protects the role, exempt it in "
    "guardrails.yaml",
    Reason.NOT_ENTERED: "let the StackSet create Rolewarden's stack in the account again, or exempt Rolewarden's "
    "roles from the SCP that denies sts:AssumeRole",
    Reason.LEFT: "if the account must stay covered, move it back into one of the stack's organizational units, or add "
    "its stack instance to the StackSet again; until then Rolewarden does not remediate its roles",
    Reason.NOT_DELEGATED: "run `aws organizations list-delegated-administrators` in the management account; if the "
    "central account is missing, register it with the commands of README.md, An organization; if not, allow "
    "SweepFunction's role organizations:ListDelegatedAdministrators",
    Reason.UNHEARD: "repair the link that the message names (docs/how-to/runbook.md, Account Finding), then run "
    "`rolewarden doctor`",
    Reason.OUTSIDE: "add the region to the parameter Regions and deploy, or delete the domains; until then Rolewarden "
    "does not protect their roles, and makes no exception for users of a shared role",
    Reason.NOT_PREVENTED: "print the service control policies with `rolewarden compile --scp`, update them, and attach "
    "all of them to the account or to an OU above it; without service control policies, remove `principals` from "
    "guardrails.yaml",
    Reason.POLICY_MISSING: "run `rolewarden sweep`, which also creates the guardrail's policy again, or wait for the "
    "next scheduled check",
    Reason.POLICY_EDITED: "find in CloudTrail who called CreatePolicy or CreatePolicyVersion with the policy's name or "
    "ARN, then run `rolewarden sweep`, which also restores the policy",
    Reason.ACCESS_DENIED: "an SCP, a boundary or a missing permission stops Rolewarden: allow its role the call that "
    "the message names",
    Reason.NAME_TAKEN: "find the caller of CreatePolicy in CloudTrail, then delete or "
    "rename the policy that the message names (IAM renames no policy: create it again under another name); or rename "
    "the guardrail in guardrails.yaml and deploy",
    Reason.SHARES_ROLE: "give the user profile an execution role of its own, or assign the guardrail to its whole "
    "domain in guardrails.yaml, or let the domain set source identities: `rolewarden plan` has the reason and the "
    "commands (docs/how-to/prevention.md, One user of a shared role)",
    Reason.UNREACHABLE: "take the region out of the parameter Regions if SageMaker is not offered there, or repair the "
    "network path to its endpoint",
    Reason.UNSIGNED: "find the call in CloudTrail by its event ID, revoke the sessions of the role "
    "(docs/how-to/runbook.md, Account Finding), and undo the call",
    Reason.FORGED: "find the caller in CloudTrail's data events of Lambda (Invoke of this function), then leave "
    "lambda:InvokeFunction to deployers and administrators only",
    Reason.EXEMPT_ABSENT: "remove the exemption from guardrails.yaml, or correct its role and account; if the role is "
    "to exist again, create it before you deploy, because a role that is newer than the last deployment is not exempt",
    Reason.EXEMPT_NEWER: "find the caller of CreateRole in CloudTrail; if this is the role that you want to exempt, "
    "check its trust policy, write its unique ID as `role_id` of the exemption in guardrails.yaml, and deploy; "
    "otherwise delete the role and the exemption",
    Reason.EXEMPT_OTHER: "find the caller of CreateRole in CloudTrail; if this is the role that you want to exempt, "
    "check its trust policy, correct `role_id` of the exemption in guardrails.yaml, and deploy; otherwise delete the "
    "role and the exemption",
    Reason.EXEMPT_REPLACED: "find the caller of CreateRole in CloudTrail; if this is the role that you want to exempt, "
    "write its unique ID as `role_id` of the exemption in guardrails.yaml, and deploy; otherwise delete the role and "
    "the exemption",
    Reason.EXEMPT_BEYOND: "take the role away from the domains and user profiles that the message names, or add these "
    "to `domains` or `user_profiles` of the exemption in guardrails.yaml and deploy",
    Reason.EXEMPT_GAINED: "ask the caller why; take the role away from the domain or user profile, or name the ID of "
    "the domain under `domains` of the exemption in guardrails.yaml and deploy",
    Reason.EXEMPT_TRUST: "find the caller of UpdateAssumeRolePolicy in CloudTrail; if the trust policy of the role is "
    "right, change `reason` of the exemption in guardrails.yaml and deploy, which confirms the exemption; otherwise "
    "restore the trust policy and then do so",
    Reason.NEVER_GOVERNED: "ask the caller who gave the role to the domain or user profile, and take it away; if the "
    "role has a guardrail by mistake, run `rolewarden detach` with its name",
    Reason.NEVER_NEWER: "find the caller of CreateRole or AcquireRole in CloudTrail; if this is the role that you "
    "mean, change guardrails.yaml and deploy; otherwise delete the role",
    Reason.HELD: "ask the caller who gave the role to the domain or user profile; if it is a role of Canvas, list its "
    "name under `also_govern.roles` in guardrails.yaml; otherwise take it away or list it under `never_govern`; then "
    "deploy",
    Reason.FIRST_USE: "ask the caller who gave the role to the domain or user profile; if it is a mistake, take the "
    "role away, list it under `never_govern`, deploy, and run `rolewarden detach` with its name",
    Reason.TAGGED: "ask the caller why; restore the tags that the message names, or add the caller to "
    "`trusted_taggers` in guardrails.yaml and deploy; to prevent such calls, attach the policy of `rolewarden scp`",
    Reason.CANARY: "find the caller in CloudTrail by the role rolewarden-canary, and ask why; if the role was changed, "
    "delete it and its stack instance or run `sam deploy`, so that CloudFormation creates it again",
    Reason.REFUSED: "fix the cause in the message, which has the call and the answer of AWS, then run "
    "`rolewarden sweep`",
}
"""The recommended action for each reason that needs one."""


CREATED, REPLACED, UNCHANGED = "created", "replaced", "unchanged"
"""The effect of a publication on the policy of a guardrail in IAM."""

UNDONE = "undone"
"""A caller changed the policy of a guardrail, and it was right again before Rolewarden restored it."""


SOME_SUBJECTS = 50
"""The number of subjects that the record names. Thousands may use a role, and an event has at most 256 KiB."""


class Outcome(NamedTuple):
    """The state in which `reconcile` found a role, and what it did.

    - `before`, `verdict`: the verdicts before and after the remediation.
    - `required`, `missing`, `attached`: names of guardrail policies. They are the policies that the role needs, those
      that it lacked, and those that Rolewarden attached.
    - `boundary`: the ARN of the role's permissions boundary, if it takes the place of guardrails or blocks a fallback
      boundary. Otherwise empty.
    - `boundary_removed`: the ARN of the fallback boundary that Rolewarden removed. Empty if it removed none.
    - `attached_policies`: the ARNs of all policies of a role that is at its quota and lacks a guardrail, or that lacks
      only guardrails in observe mode.
    - `correlation_id`: the ID that CloudTrail records with each call of the remediation, for the audit.
    - `doubt`: the doubt about the role or its exemption; None without one. It is a finding of its own.
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
    doubt: Doubt | None = None

    @property
    def cause(self) -> Cause:
        """The cause, for the record."""
        return self.origin.cause

    @property
    def has_written(self) -> bool:
        """Whether Rolewarden changed the role."""
        return self.remediation in {Remediation.ATTACHED, Remediation.BOUNDED} or bool(self.boundary_removed)

    @property
    def is_news(self) -> bool:
        """Whether this belongs on the record, because Rolewarden did something or something is wrong."""
        wrong = self.verdict in {Verdict.DRIFTED, Verdict.UNENFORCEABLE}
        # A compliant role has a reason if Rolewarden cannot remove its surplus fallback boundary.
        wrong |= self.verdict is Verdict.COMPLIANT and self.reason is not None
        return wrong or self.has_written or self.remediation is Remediation.OBSERVED

"""The exceptions that Rolewarden raises on purpose.

RolewardenError
├── RulesError              guardrails.yaml has an error: a person corrects the file
│   ├── TooLong             a statement does not fit into an IAM policy (in policies.py)
│   ├── Indivisible         a statement is too long for a policy and cannot be divided (in packing.py)
│   ├── BoundaryTooLong     a boundary does not fit into an IAM policy (in policies.py)
│   └── TooManyPrincipals   a statement does not fit into a service control policy (in prevention.py)
├── YamlTextError           a text is not YAML that guardrails.yaml can contain (in yamltext.py)
├── SettingsError           a function was deployed without a setting that it needs: a person corrects the stack
├── ForgedRequestError      CloudFormation did not send this custom-resource request (in cloudformation.py)
├── ProtectionError         the service control policy that a person asks for cannot be made for this stack
├── Refused                 AWS refused a call, and a retry would not change that: it ends as a verdict or a finding
│   ├── Gone                the same, because the resource in the call does not exist
│   └── NotPublished        a policy could not be published, and the finding names the policy
└── RetryLater              AWS could not do something now: Lambda or the queue delivers the message or event again
    └── PartlyDone          the same, after a change that belongs on the record

The errors of the command-line tool and of the local AWS descend from RolewardenError, too.
"""

from __future__ import annotations

from rolewarden.verdicts import Outcome, Reason


class RolewardenError(Exception):
    """The root of the tree."""


class RulesError(RolewardenError):
    """guardrails.yaml cannot be used. Each line of the message names one problem, its place and the correction."""


class SettingsError(RolewardenError):
    """An environment variable that the template sets is missing or unreadable."""


class ProtectionError(RolewardenError):
    """A service control policy or boundary cannot be made as requested. The message says why and what to do."""


class Refused(RolewardenError):
    """AWS refused a call, and a retry would not change that. `reason` explains the verdict or finding that follows."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotPublished(Refused):
    """AWS refused to publish some policies. Each of them is recorded as a finding, and the others are published."""


class Gone(Refused):
    """The resource in a call does not exist.

    Most callers catch this class, because they can continue without the resource. Otherwise the record shows REFUSED.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Reason.REFUSED, message)


class RetryLater(RolewardenError):
    """AWS throttles, fails or has a conflict. Nothing is decided, and the same work must be tried again."""


class PartlyDone(RetryLater):
    """A remediation was interrupted. `outcome` has what was done; the next attempt does the rest."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome

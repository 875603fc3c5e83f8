"""Everything that Rolewarden raises on purpose.

RolewardenError
├── RulesError              guardrails.yaml says something that cannot be kept: a person corrects the file
│   ├── TooLong             a statement does not fit into an IAM policy (in policies.py)
│   └── BoundaryTooLong     a boundary does not fit into an IAM policy (in policies.py)
├── YamlTextError           a text is not YAML that guardrails.yaml can contain (in yamltext.py)
├── SettingsError           a function is deployed without a setting that it needs: a person corrects the stack
├── ForgedRequestError      CloudFormation did not send this custom-resource request (in cloudformation.py)
├── ProtectionError         this stack does not yield the service control policy that a person asks for
├── Refused                 AWS refused for a reason that trying again does not change: ends as a verdict
│   └── Gone                the same, because the thing that a call asks about does not exist
└── RetryLater              AWS could not do it now: the message or event is tried again
    └── PartlyDone          the same, after something was done that belongs on the record

The errors of the command line tool and of the local AWS descend from RolewardenError, too.
"""

from __future__ import annotations

from rolewarden.verdicts import Outcome, Reason


class RolewardenError(Exception):
    """The root of the tree."""


class RulesError(RolewardenError):
    """guardrails.yaml cannot be used; one line for each problem says where and what to write instead."""


class SettingsError(RolewardenError):
    """An environment variable that the template sets is missing or unreadable."""


class ProtectionError(RolewardenError):
    """A service control policy or boundary cannot be made as asked for; one line says why and what to do."""


class Refused(RolewardenError):
    """AWS refused for good; `reason` says why a role is then unenforceable."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Gone(Refused):
    """The thing that a call asks about does not exist.

    Most callers catch this class, because they know what to do then. If no caller does, the record shows REFUSED.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Reason.REFUSED, message)


class RetryLater(RolewardenError):
    """AWS is throttling, failing or contended; nothing is decided, the same work is to be tried again."""


class PartlyDone(RetryLater):
    """A remediation was cut short: `outcome` is what had been done by then, the rest waits for the next try."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome

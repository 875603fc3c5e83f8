"""What keeps administrators from taking a deployed stack apart: a service control policy, or a permissions boundary.

Rolewarden repairs; that nobody takes it down is said by one of these documents, made of the stack's real names. Facts
about actions, resources and condition keys are those of the Service Authorization Reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html);
tests/test_protect.py puts both documents to the evaluator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rolewarden import POLICY_PATH
from rolewarden.aws import DeployedStack
from rolewarden.errors import ProtectionError
from rolewarden.policies import POLICY_SIZE, Document, Statement, size

SCP_SIZE = 10_240
"""Characters of a service control policy, since May 2026 (5,120 before),
https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html. White space counts unless the
policy is saved in the console."""

BOUNDARY_NAME = "RolewardenAdministrators"
"""The name that the boundary is to be created under: it protects itself by that."""

ENFORCE, RECONCILE, SWEEP = "EnforceFunctionRole", "ReconcileFunctionRole", "SweepFunctionRole"
PUBLISH, RELEASE, ALERT = "PublishFunctionRole", "ReleaseFunctionRole", "AlertFunctionRole"
ROLES = (ENFORCE, RECONCILE, SWEEP, PUBLISH, RELEASE, ALERT)
"""Logical ids of the functions' roles."""

_PRINCIPAL = re.compile(r"arn:[a-z*-]+:(iam|sts)::(\d{12}|\*):[\w+=,.@/*?-]+", re.ASCII)

POLICY_WRITES = (
    "iam:CreatePolicy",
    "iam:CreatePolicyVersion",
    "iam:DeletePolicy",
    "iam:DeletePolicyVersion",
    "iam:SetDefaultPolicyVersion",
)
ROLE_WRITES = (
    "iam:AttachRolePolicy",
    "iam:DeleteRole",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PassRole",
    "iam:PutRolePermissionsBoundary",
    "iam:PutRolePolicy",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateRole",
    "iam:UpdateRoleDescription",
)
WORK = (
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:PurgeQueue",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
)
"""What the functions themselves do to tables and queues all day, and nobody else is to."""

STACK_WRITES = (
    "cloudformation:CancelUpdateStack",
    "cloudformation:ContinueUpdateRollback",
    "cloudformation:DeleteStack",
    "cloudformation:ExecuteChangeSet",
    "cloudformation:RollbackStack",
    "cloudformation:SetStackPolicy",
    "cloudformation:UpdateStack",
    "cloudformation:UpdateTerminationProtection",
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DisableAlarmActions",
    "cloudwatch:PutAlarmMuteRule",
    "cloudwatch:PutCompositeAlarm",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:SetAlarmState",
    "dynamodb:DeleteResourcePolicy",
    "dynamodb:DeleteTable",
    "dynamodb:PutResourcePolicy",
    "dynamodb:UpdateContinuousBackups",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
    "events:DeleteRule",
    "events:DisableRule",
    "events:PutRule",
    "events:PutTargets",
    "events:RemoveTargets",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    # An event that says the stack is being deleted has ReleaseFunction take every guardrail off: invoking is a write.
    "lambda:Add*",
    "lambda:Create*",
    "lambda:Delete*",
    "lambda:Invoke*",
    "lambda:Publish*",
    "lambda:Put*",
    "lambda:Remove*",
    "lambda:Update*",
    "logs:AssociateKmsKey",
    "logs:DeleteLogGroup",
    "logs:DeleteLogStream",
    "logs:DeleteRetentionPolicy",
    "logs:DisassociateKmsKey",
    "logs:PutDataProtectionPolicy",
    "logs:PutRetentionPolicy",
    "sns:AddPermission",
    "sns:DeleteTopic",
    "sns:PutDataProtectionPolicy",
    "sns:RemovePermission",
    "sns:SetSubscriptionAttributes",
    "sns:SetTopicAttributes",
    "sns:Unsubscribe",
    "sqs:AddPermission",
    "sqs:DeleteQueue",
    "sqs:RemovePermission",
    "sqs:SetQueueAttributes",
)
TRAIL_WRITES = (
    "cloudtrail:DeleteTrail",
    "cloudtrail:PutEventSelectors",
    "cloudtrail:StopLogging",
    "cloudtrail:UpdateTrail",
)


@dataclass(frozen=True)
class Protection:
    """The documents for one stack. `deployers` are patterns of principals' ARNs that nothing here is denied to.

    Raises ProtectionError where the stack is not Rolewarden's, or a pattern is none.
    """

    stack: DeployedStack
    deployers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = sorted(set(ROLES) - {logical for logical, _, _ in self.stack.resources})
        if missing:
            raise ProtectionError(
                f"stack `{self.stack.name}` has no {missing[0]}: it is not Rolewarden's, or its deployment did not end"
            )
        for pattern in self.deployers:
            if not _PRINCIPAL.fullmatch(pattern):
                raise ProtectionError(
                    f"--deployer {pattern}: give the ARN of a role or user, `*` for any text, "
                    f"as arn:{self.partition}:iam::{self.account}:role/deploy-*"
                )

    @property
    def partition(self) -> str:
        """As the stack's ARN has it."""
        return self.stack.arn.split(":")[1]

    @property
    def region(self) -> str:
        """Where the stack is."""
        return self.stack.arn.split(":")[3]

    @property
    def account(self) -> str:
        """Whose the stack is."""
        return self.stack.arn.split(":")[4]

    def service_control_policy(self) -> Document:
        """For an organization, attached to the account or above it. Raises ProtectionError where it is too long."""
        return _fitting(self._denies(self._role), SCP_SIZE, "a service control policy")

    def boundary(self) -> Document:
        """For the administrators of an account without Organizations. Raises ProtectionError where it is too long.

        The functions' roles, which do not carry it, need no exemption from it.
        """
        arn = self._iam(f"policy/{BOUNDARY_NAME}")
        allow: Statement = {"Sid": "EverythingElse", "Effect": "Allow", "Action": "*", "Resource": "*"}
        # Also the deployers: who deploys the stack need not write what holds him.
        keeps = Protection(self.stack)
        itself = (
            keeps._deny("ThisBoundary", POLICY_WRITES, [arn]),
            keeps._deny(
                "ThisBoundaryStays",
                ["iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary"],
                "*",
                where={"iam:PermissionsBoundary": arn},
            ),
        )
        return _fitting([allow, *self._denies(None), *itself], POLICY_SIZE, "a permissions boundary")

    def _denies(self, exempt: Callable[[str], str] | None) -> list[Statement]:
        """The moves that take guardrails down; `exempt` gives the role of a function whose work some of them are."""

        def but(*roles: str) -> list[str]:
            return [exempt(role) for role in roles] if exempt else []

        policies = self._iam(f"policy{POLICY_PATH}*")
        boundaries = self._iam(f"policy{POLICY_PATH}boundary.*")
        return [
            self._deny("GuardrailPolicies", POLICY_WRITES, [policies], but(PUBLISH, RELEASE)),
            self._deny(
                "GuardrailsAttached", ["iam:DetachRolePolicy"], "*", but(RELEASE), where={"iam:PolicyARN": policies}
            ),
            self._deny(
                "GuardrailBoundaries",
                ["iam:DeleteRolePermissionsBoundary"],
                "*",
                but(ENFORCE, RECONCILE, RELEASE),
                where={"iam:PermissionsBoundary": boundaries},
            ),
            self._deny("OwnRoles", ROLE_WRITES, list(self._covered("AWS::IAM::Role", "iam", f"role{POLICY_PATH}{{}}"))),
            self._deny("OwnWork", WORK, list(self._work()), but(ENFORCE, RECONCILE, SWEEP, PUBLISH, RELEASE)),
            self._deny("OwnStack", STACK_WRITES, list(self._parts())),
            self._deny("Trail", TRAIL_WRITES, "*"),
        ]

    def _deny(
        self,
        sid: str,
        actions: Sequence[str],
        resources: str | list[str],
        roles: Sequence[str] = (),
        *,
        where: dict[str, str] | None = None,
    ) -> Statement:
        """A deny to all but `roles` and the deployers."""
        exempt = [*roles, *self.deployers]
        condition = {
            **({"ArnLike": where} if where else {}),
            **({"ArnNotLike": {"aws:PrincipalArn": exempt}} if exempt else {}),
        }
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Action": list(actions),
            "Resource": resources,
            **({"Condition": condition} if condition else {}),
        }

    def _iam(self, resource: str) -> str:
        return f"arn:{self.partition}:iam::{self.account}:{resource}"

    def _role(self, logical: str) -> str:
        return self._iam(f"role{POLICY_PATH}{self._physical(logical)}")

    def _physical(self, logical: str) -> str:
        return next(physical for found, _, physical in self.stack.resources if found == logical)

    def _of(self, kind: str) -> list[str]:
        return [physical for _, found, physical in self.stack.resources if found == kind]

    def _arn(self, service: str, resource: str) -> str:
        if service == "iam":
            return self._iam(resource)
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def _tables(self) -> Iterator[str]:
        return self._covered("AWS::DynamoDB::Table", "dynamodb", "table/{}")

    def _work(self) -> Iterator[str]:
        """Tables, and the queues that are worked off; who reads a dead letter is welcome to it."""
        yield from self._tables()
        for logical, kind, physical in self.stack.resources:
            if kind == "AWS::SQS::Queue" and not logical.endswith("DeadLetterQueue"):
                yield self._arn("sqs", _name(physical))

    def _parts(self) -> Iterator[str]:
        """Everything that the stack is made of and that is no role."""
        yield self.stack.arn
        yield from self._covered("AWS::Lambda::Function", "lambda", "function:{}")
        yield from self._covered("AWS::Lambda::EventSourceMapping", "lambda", "event-source-mapping:{}")
        for layer in self._of("AWS::Lambda::LayerVersion"):
            # Every version: an older one is what a rollback needs.
            yield f"{layer.rpartition(':')[0]}*"
        yield from self._covered("AWS::Events::Rule", "events", "rule/{}")
        yield from self._covered("AWS::SQS::Queue", "sqs", "{}")
        yield from self._tables()
        yield from self._covered("AWS::SNS::Topic", "sns", "{}")
        yield from self._covered("AWS::KMS::Key", "kms", "key/{}")
        # Logs names a group with and without `:*` at its end, by operation.
        yield from self._covered("AWS::Logs::LogGroup", "logs", "log-group:{}*")
        yield from self._covered("AWS::CloudWatch::Alarm", "cloudwatch", "alarm:{}")

    def _covered(self, kind: str, service: str, form: str) -> Iterator[str]:
        """All of a kind: by the beginning that CloudFormation gives their names, those without it one by one.

        There are a hundred, and a boundary has no room for a list of them.
        """
        prefix = f"{self.stack.name}-"
        names = [_name(physical) for physical in self._of(kind)]
        patterns = [f"{prefix}*" if name.startswith(prefix) else name for name in names]
        return (self._arn(service, form.format(pattern).replace("**", "*")) for pattern in dict.fromkeys(patterns))


def _name(physical: str) -> str:
    """CloudFormation has a queue by its URL and a topic by its ARN, all else by name."""
    return re.split("[/:]", physical)[-1] if physical.startswith(("https:", "http:", "arn:")) else physical


def text(document: Document) -> str:
    """The document as it is printed and stored: to be read where there is room for that."""
    readable = json.dumps(document, indent=2)
    return readable if len(readable) <= SCP_SIZE else json.dumps(document, separators=(",", ":"))


def _fitting(statements: list[Statement], most: int, what: str) -> Document:
    document: Document = {"Version": "2012-10-17", "Statement": statements}
    if (taken := size(document)) > most:
        raise ProtectionError(
            f"{what} has room for {most:,} characters, and this one has {taken:,}: give fewer or shorter --deployer"
        )
    return document

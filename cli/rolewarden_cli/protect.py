"""Protection of a deployed stack from administrators: a service control policy, or a permissions boundary.

Rolewarden remediates roles, but it cannot protect itself from an administrator. These documents do, with the names of
the stack's resources. Facts about actions, resources and condition keys come from the Service Authorization Reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html);
tests/test_protect.py evaluates both documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rolewarden import POLICY_PATH
from rolewarden.errors import ProtectionError
from rolewarden.packing import POLICY_SIZE, SCP_SIZE, Document, Statement, size
from rolewarden.reach import FORWARD, UNDELIVERED
from rolewarden.vocabulary import SET_TAGS

from rolewarden_cli.account import DeployedStack
from rolewarden_cli.deployers import deployer_patterns, is_deployer

BOUNDARY_NAME = "RolewardenAdministrators"
"""The name of the boundary policy. The document protects the policy of this name."""

ENFORCE_ROLE, RECONCILE_ROLE, SWEEP_ROLE = "EnforceFunctionRole", "ReconcileFunctionRole", "SweepFunctionRole"
PUBLISH_ROLE, DETACH_ROLE, ALERT_ROLE = "PublishFunctionRole", "DetachFunctionRole", "AlertFunctionRole"
DRILL_ROLE = "DrillFunctionRole"
ROLES = (ENFORCE_ROLE, RECONCILE_ROLE, SWEEP_ROLE, PUBLISH_ROLE, DETACH_ROLE, DRILL_ROLE, ALERT_ROLE)
"""Logical IDs of the functions' roles."""

CANARY = "CanaryRole"
"""Logical ID of the canary role."""

FORWARDERS, MEMBERS = "Forwarders", "Members"
"""Logical IDs of the StackSets: for other regions, and for other accounts."""

EXECUTION_ROLE = "ForwardersExecutionRole"
"""Logical ID of the role that StackSets uses to create the stacks of other regions."""

STACKSETS = "role/stacksets-exec-*"
"""The role that StackSets uses in the accounts of an organization, see CloudFormationStackSetsOrgAdminServiceRolePolicy
in https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html. Service-linked roles create and
assume it, and an SCP does not apply to them."""

OPERATOR_WORK = "its redrives, and `rolewarden enforce` and `rolewarden detach`"
"""The work for which the stack has the parameter OperatorArn."""

VERSION = "2012-10-17"
"""The version of the policy language."""

_ALWAYS_LEFT_OUT = (
    "callers without the boundary: the root user, and each role or user that an administrator creates without it",
    "other accounts of the organization",
)
_LEFT_OUT = {
    "BoundariesAttached": "attaching the policy of a fallback boundary, which allows everything but models",
    "OwnMetrics": "metrics that a caller writes next to those of Rolewarden",
    "MetricsKey": "a key for the metrics of the account, which the caller can disable",
    "DeadLetters": "messages that a caller takes from a dead-letter queue, or hides there",
    "Deployers": "deployers: an administrator can change one and then act as it",
    "TrustedTaggers": "tags of domains and user profiles, by which an assignment matches",
    "OtherRegions": "SageMaker domains in regions that the stack does not cover",
    "OwnFunctions": "event source mappings that let a function receive from a queue of the caller",
}
"""The gap of a boundary without the statement, by the Sid of the statement."""

POLICY_WRITES = ("iam:CreatePolicy*", "iam:DeletePolicy*", "iam:SetDefaultPolicyVersion")
"""Changes to a policy and its versions."""

IAM_READS = ("iam:Generate*", "iam:Get*", "iam:List*", "iam:Simulate*")
"""The actions on a role, user or identity provider that leave it as it is. The statements deny all others, also those
that AWS adds later."""

READS = (*IAM_READS, "sts:*")
"""The same, with the actions of `sts`. They are assumptions, and the trust policy of the role decides on them."""

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
"""Writes to tables and queues that are the daily work of the functions and of no other caller."""

STACK_WRITES = (
    "cloudformation:Cancel*",
    "cloudformation:Continue*",
    "cloudformation:CreateStackInstances",
    "cloudformation:CreateStackRefactor",
    # Stacks, StackSets and their instances.
    "cloudformation:Delete*",
    "cloudformation:Execute*",
    "cloudformation:Import*",
    "cloudformation:Rollback*",
    "cloudformation:Set*",
    "cloudformation:Stop*",
    "cloudformation:Update*",
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DisableAlarmActions",
    "cloudwatch:Put*",
    "cloudwatch:SetAlarmState",
    "dynamodb:CreateGlobalTable",
    "dynamodb:DeleteResourcePolicy",
    "dynamodb:DeleteTable",
    # Kinesis streams of the table.
    "dynamodb:Disable*",
    "dynamodb:Enable*",
    "dynamodb:PutResourcePolicy",
    "dynamodb:UpdateCont*",
    "dynamodb:UpdateGlobal*",
    "dynamodb:UpdateKinesis*",
    "dynamodb:UpdateT*",
    # Not events:Put*, because forwarders put events on the bus of the central account.
    "events:Delete*",
    "events:DisableRule",
    "events:PutPermission",
    "events:PutRule",
    "events:PutTargets",
    "events:Remove*",
    "events:UpdateEventBus",
    "kms:DeleteImported*",
    "kms:Disable*",
    "kms:PutKeyPolicy",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    # Invoking is a write: a caller could send a forged payload. docs/explanation/security.md says what each function
    # does then.
    "lambda:Add*",
    "lambda:Create*",
    "lambda:Delete*",
    "lambda:Invoke*",
    "lambda:Publish*",
    "lambda:Put*",
    "lambda:Remove*",
    "lambda:Update*",
    # Not logs:Put*, because the functions put their log events.
    "logs:*KmsKey",
    "logs:Delete*Policy",
    "logs:DeleteLog*",
    "logs:DeleteSyslog*",
    "logs:DeleteTransformer",
    "logs:Put*Policy",
    "logs:PutBearer*",
    "logs:PutLogGroup*",
    "logs:PutSyslog*",
    "logs:PutTransformer",
    "sns:*Permission",
    "sns:DeleteTopic",
    "sns:Put*",
    "sns:Set*Attributes",
    "sns:Unsubscribe",
    "sqs:*Permission",
    "sqs:DeleteQueue",
    "sqs:SetQueueAttributes",
)
MAPPING_WRITES = ("lambda:CreateEventSourceMapping", "lambda:UpdateEventSourceMapping")
"""Calls that let a function receive from a queue of the caller."""

TRAIL_WRITES = (
    "cloudtrail:DeleteTrail",
    "cloudtrail:PutEventSelectors",
    "cloudtrail:StopLogging",
    "cloudtrail:UpdateTrail",
)


ACCOUNT_WRITES = (
    # An opt-in region can be the stack's own.
    "account:DisableRegion",
    # A metric extraction policy ends the metrics that the functions log.
    "logs:PutAccountPolicy",
    # An account outside of the organization is under no SCP, and Rolewarden no longer covers it.
    "organizations:LeaveOrganization",
)
"""Settings of a whole account that change the behavior of Rolewarden's own resources."""

ATTACHMENTS = ("iam:AttachGroupPolicy", "iam:AttachRolePolicy", "iam:AttachUserPolicy")
BOUNDARIES = "boundary.*"
DEAD_LETTERS = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:PurgeQueue",
    "sqs:ReceiveMessage",
    "sqs:StartMessageMoveTask",
)
"""Ways to take or hide a message."""

NAMESPACE = "Rolewarden"
"""The namespace of the metrics. The functions write them with their logs and not with PutMetricData."""


@dataclass(frozen=True)
class Protection:
    """The documents for one stack.

    - `deployers`: the ARNs of the roles and users that are exempt, see `deployers.py`. The boundary still protects
      itself from them.
    - `providers`: the identity providers that can sign in deployers.
    - `taggers`: the ARNs of the only principals, besides deployers, that can tag domains and user profiles. Empty if
      guardrails.yaml names none.

    Raises ProtectionError if the stack is not Rolewarden's, or if an administrator could become a deployer.
    """

    stack: DeployedStack
    deployers: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    taggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = sorted(set(ROLES) - {logical for logical, _, _ in self.stack.resources})
        if missing:
            raise ProtectionError(
                f"stack `{self.stack.name}` has no {missing[0]}: it is not a stack of Rolewarden, "
                "or its deployment did not complete: give the name of the stack with --stack"
            )
        object.__setattr__(self, "deployers", deployer_patterns(self.deployers, self.partition, self.account))

    @property
    def partition(self) -> str:
        """The partition of the stack."""
        return self.stack.arn.split(":")[1]

    @property
    def region(self) -> str:
        """The region of the stack."""
        return self.stack.arn.split(":")[3]

    @property
    def account(self) -> str:
        """The account of the stack."""
        return self.stack.arn.split(":")[4]

    def service_control_policy(self) -> Document:
        """The policy for accounts, organizational units or the root. Raises ProtectionError if it is too long.

        It lacks each statement of `_if_room` for which it has no room.
        """
        statements = [*self._denies(scp=True), *self._optional()]
        return _fitting(_filled(statements, self._if_room(), SCP_SIZE), SCP_SIZE, "a service control policy")

    def _optional(self) -> list[Statement]:
        """The statements for which a boundary may have no room, the most important first."""
        deployers = [*self.deployers, *self.taggers, *self.providers]
        accounts = "*" if self._has(MEMBERS) else self.account
        subjects = [f"arn:{self.partition}:sagemaker:*:{accounts}:{kind}/*" for kind in ("domain", "user-profile")]
        return [
            # Without this statement, an administrator who becomes a deployer is exempt from all others.
            *([self._deny("Deployers", READS, deployers, reads=True)] if deployers else []),
            *([self._deny("TrustedTaggers", SET_TAGS, subjects, self.taggers)] if self.taggers else []),
            # A domain in a region that the stack does not cover is unprotected.
            self._deny("OtherRegions", ["sagemaker:CreateDomain"], "*", elsewhere=self.stack.regions),
        ]

    def _if_room(self) -> list[Statement]:
        """The statements for which also a service control policy may have no room, the most important first."""
        operator = self.stack.parameters.get("OperatorArn", "")
        return [
            # Both calls name the function in a parameter. The first has no resource, and the resource of the second can
            # be a mapping of the caller.
            self._deny("OwnFunctions", MAPPING_WRITES, "*", where={"lambda:FunctionArn": list(self._functions())}),
            # The policy of a fallback boundary allows everything but models.
            self._deny("BoundariesAttached", ATTACHMENTS, "*", where={"iam:PolicyARN": self._boundaries()}),
            self._deny("OwnMetrics", ["cloudwatch:PutMetricData"], "*", where={"cloudwatch:namespace": NAMESPACE}),
            # If a caller disables the key, no alarm can read its metric.
            self._deny("MetricsKey", ["cloudwatch:AssociateDatasetKmsKey"], "*"),
            *([self._deny("DeadLetters", DEAD_LETTERS, list(self._dead_letters()), [operator])] if operator else []),
        ]

    def boundary(self) -> Document:
        """The boundary for the administrators of an account without Organizations. Raises ProtectionError if too long.

        The roles of the functions and of StackSets need no exemption, because the boundary is not set on them. The
        document does not cover other accounts, because a boundary applies to principals of its own account.
        """
        arn = self._iam(f"policy/{BOUNDARY_NAME}")
        allow: Statement = {"Sid": "EverythingElse", "Effect": "Allow", "Action": "*", "Resource": "*"}
        # This also applies to the deployers: a deployment does not change the boundary that limits it.
        without_deployers = Protection(self.stack)
        itself = (
            without_deployers._deny("ThisBoundary", POLICY_WRITES, [arn]),
            without_deployers._deny(
                "ThisBoundaryStays",
                ["iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary"],
                "*",
                where={"iam:PermissionsBoundary": arn},
            ),
        )
        statements = [allow, *self._denies(scp=False), *itself]
        statements = _filled(statements, [*self._optional(), *self._if_room()], POLICY_SIZE)
        return _fitting(statements, POLICY_SIZE, "a permissions boundary")

    def left_out(self) -> tuple[str, ...]:
        """The denials of the service control policy that the boundary lacks."""
        return (*_ALWAYS_LEFT_OUT, *self._missing(self.boundary()))

    def left_out_of_scp(self) -> tuple[str, ...]:
        """The denials for which the service control policy has no room."""
        return tuple(self._missing(self.service_control_policy()))

    def _missing(self, document: Document) -> list[str]:
        sids = {statement["Sid"] for statement in document["Statement"]}
        return [
            _LEFT_OUT[statement["Sid"]]
            for statement in [*self._optional(), *self._if_room()]
            if statement["Sid"] not in sids
        ]

    def notes(self) -> tuple[str, ...]:
        """A line if the document stops the work of the operator whom the stack accepts."""
        operator = self.stack.parameters.get("OperatorArn", "")
        if not operator or any(is_deployer(operator, each) for each in self.deployers):
            return ()
        return (f"OperatorArn is no deployer, so the policy denies {OPERATOR_WORK}: add --deployer {operator}",)

    def _denies(self, *, scp: bool) -> list[Statement]:
        """The denies of both documents. An SCP covers every account, and exempts the roles that need an action."""
        accounts = "*" if scp and self._has(MEMBERS) else self.account
        stack_sets = self._stack_sets(accounts) if scp else []

        def but(*roles: str) -> list[str]:
            if not scp:
                return []
            own = [self._role(role) for role in roles]
            return own + ([_member_role(self.partition, role) for role in roles] if accounts == "*" else [])

        policies = self._iam(f"policy{POLICY_PATH}*", accounts)
        boundaries = self._iam(f"policy{POLICY_PATH}{BOUNDARIES}", accounts)
        workers = [self._role(role) for role in ROLES] if scp else []
        return [
            self._deny("GuardrailPolicies", POLICY_WRITES, [policies], but(PUBLISH_ROLE, DETACH_ROLE)),
            self._deny(
                "GuardrailsAttached",
                ["iam:DetachRolePolicy"],
                "*",
                # The permissions of DrillFunction are for the canary's policy and role only.
                but(DETACH_ROLE, DRILL_ROLE),
                where={"iam:PolicyARN": policies},
            ),
            self._deny(
                "GuardrailBoundaries",
                ["iam:DeleteRolePermissionsBoundary"],
                "*",
                but(ENFORCE_ROLE, RECONCILE_ROLE, DETACH_ROLE),
                where={"iam:PermissionsBoundary": boundaries},
            ),
            # In an account without a member role, a caller could create a role of that name, which a function would
            # assume. So this statement denies the creation, too.
            self._deny("OwnRoles", READS, list(self._roles(accounts)), stack_sets, reads=True),
            self._deny("OwnWork", WORK, list(self._work()), workers),
            self._deny("OwnStack", STACK_WRITES, [*self._parts(), *self._parts_elsewhere(accounts)], stack_sets),
            self._deny("Trail", [*TRAIL_WRITES, *(ACCOUNT_WRITES if scp else ())], "*"),
        ]

    def _deny(
        self,
        sid: str,
        actions: Sequence[str],
        resources: str | list[str],
        roles: Sequence[str] = (),
        *,
        where: Mapping[str, str | list[str]] | None = None,
        elsewhere: Sequence[str] = (),
        reads: bool = False,
    ) -> Statement:
        """A deny for every principal except `roles` and the deployers.

        With `elsewhere`, it applies in all regions but these. With `reads`, it denies all actions but `actions`.
        """
        exempt = [*roles, *self.deployers]
        condition = {
            **(
                {"ArnLike" if any(_is_arn(value) for value in where.values()) else "StringEquals": dict(where)}
                if where
                else {}
            ),
            **({"StringNotEquals": {"aws:RequestedRegion": list(elsewhere)}} if elsewhere else {}),
            **({"ArnNotLike": {"aws:PrincipalArn": exempt}} if exempt else {}),
        }
        return {
            "Sid": sid,
            "Effect": "Deny",
            "NotAction" if reads else "Action": list(actions),
            "Resource": resources,
            **({"Condition": condition} if condition else {}),
        }

    def _iam(self, resource: str, accounts: str = "") -> str:
        return f"arn:{self.partition}:iam::{accounts or self.account}:{resource}"

    def _has(self, logical: str) -> bool:
        return any(found == logical for found, _, _ in self.stack.resources)

    def _stack_sets(self, accounts: str) -> list[str]:
        """The roles that StackSets uses to maintain the stacks of other regions and accounts."""
        return [
            *([self._iam(f"role/{self._physical(EXECUTION_ROLE)}")] if self._has(EXECUTION_ROLE) else []),
            *([self._iam(STACKSETS, accounts)] if accounts == "*" else []),
        ]

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

    def _functions(self) -> Iterator[str]:
        return self._covered("AWS::Lambda::Function", "lambda", "function:{}")

    def _tables(self) -> Iterator[str]:
        return self._covered("AWS::DynamoDB::Table", "dynamodb", "table/{}")

    def _roles(self, accounts: str) -> Iterator[str]:
        """The functions' roles, the forward and member roles, and the roles that create these."""
        named = ((logical, name) for logical, kind, name in self.stack.resources if kind == "AWS::IAM::Role")
        # Drills change the canary role all the time, and find out if it is missing.
        names = [name for logical, name in named if logical != CANARY]
        inside = [name for name in names if not self._has(EXECUTION_ROLE) or name != self._physical(EXECUTION_ROLE)]
        yield from self._patterns(inside, "iam", f"role{POLICY_PATH}{{}}")
        if self._has(EXECUTION_ROLE):
            yield self._iam(f"role/{self._physical(EXECUTION_ROLE)}")
        if accounts == "*":
            yield self._iam(f"role{POLICY_PATH}rolewarden-*", accounts)
            yield self._iam(STACKSETS, accounts)

    def _work(self) -> Iterator[str]:
        """The tables and the work queues, without dead-letter queues, so that operators can read and purge these."""
        yield from self._tables()
        for logical, kind, physical in self.stack.resources:
            if kind == "AWS::SQS::Queue" and not logical.endswith("DeadLetterQueue"):
                yield self._arn("sqs", _name(physical))

    def _boundaries(self) -> str:
        """The policies of fallback boundaries in every account that the stack covers."""
        return self._iam(f"policy{POLICY_PATH}{BOUNDARIES}", "*" if self._has(MEMBERS) else self.account)

    def _dead_letters(self) -> Iterator[str]:
        """The central queues that show that an event or a message was lost.

        The queues of other accounts stay readable there, because the operator is a principal of the central account.
        """
        for logical, kind, physical in self.stack.resources:
            if kind == "AWS::SQS::Queue" and logical.endswith("DeadLetterQueue"):
                yield self._arn("sqs", _name(physical))

    def _parts_elsewhere(self, accounts: str) -> Iterator[str]:
        """The resources of StackSets in other regions and accounts, with their stacks; see forwarder.yaml."""
        if accounts == "*" or self._has(FORWARDERS):
            yield f"arn:{self.partition}:events:*:{accounts}:rule/{FORWARD}*"
            yield f"arn:{self.partition}:sqs:*:{accounts}:{UNDELIVERED}"
            yield f"arn:{self.partition}:cloudformation:*:{accounts}:stack/StackSet-{self.stack.name}-*"
        if self._has(FORWARDERS) or self._has(MEMBERS):
            # If the account is a delegated administrator, its StackSets belong to the management account.
            yield f"arn:{self.partition}:cloudformation:{self.region}:*:stackset/{self.stack.name}-*"

    def _parts(self) -> Iterator[str]:
        """The stack, and all of its resources except roles."""
        yield self.stack.arn
        yield from self._functions()
        yield from self._covered("AWS::Lambda::EventSourceMapping", "lambda", "event-source-mapping:{}")
        for layer in self._of("AWS::Lambda::LayerVersion"):
            # All versions of the layer, because a rollback needs an older one.
            yield f"{layer.rpartition(':')[0]}*"
        yield from self._covered("AWS::Events::EventBus", "events", "event-bus/{}")
        yield from self._covered("AWS::Events::Rule", "events", "rule/{}")
        yield from self._covered("AWS::SQS::Queue", "sqs", "{}")
        yield from self._tables()
        yield from self._covered("AWS::SNS::Topic", "sns", "{}")
        yield from self._covered("AWS::KMS::Key", "kms", "key/{}")
        # Depending on the operation, CloudWatch Logs uses the ARN of a group with or without `:*` at its end.
        yield from self._covered("AWS::Logs::LogGroup", "logs", "log-group:{}*")
        yield from self._covered("AWS::CloudWatch::Alarm", "cloudwatch", "alarm:{}")

    def _covered(self, kind: str, service: str, form: str) -> Iterator[str]:
        """All resources of a kind: one pattern for the prefix that CloudFormation gives, and each other name.

        A list of the about one hundred resources does not fit a boundary.
        """
        return self._patterns([_name(physical) for physical in self._of(kind)], service, form)

    def _patterns(self, names: list[str], service: str, form: str) -> Iterator[str]:
        # The work queues have the second prefix, whatever the name of the stack is.
        prefixes = (f"{self.stack.name}-", f"{POLICY_PATH.strip('/')}-")
        starts = [next((prefix for prefix in prefixes if name.startswith(prefix)), "") for name in names]
        patterns = [f"{start}*" if start else name for name, start in zip(names, starts, strict=True)]
        return (self._arn(service, form.format(pattern).replace("**", "*")) for pattern in dict.fromkeys(patterns))


def _member_role(partition: str, role: str) -> str:
    """The member role that a function assumes in other accounts, from the logical ID of the function's own role."""
    return f"arn:{partition}:iam::*:role{POLICY_PATH}rolewarden-{role.removesuffix('FunctionRole').lower()}"


def _name(physical: str) -> str:
    """The name of a resource. Its physical ID is a URL for a queue, an ARN for a topic, and bus and name for a rule."""
    physical = physical.replace("|", "/")
    return re.split("[/:]", physical)[-1] if physical.startswith(("https:", "http:", "arn:")) else physical


def text(document: Document) -> str:
    """The document to print or store: with line breaks if it then fits an SCP, otherwise on one line."""
    readable = json.dumps(document, indent=2)
    return readable if len(readable) <= SCP_SIZE else compact(document)


def compact(document: Document) -> str:
    """The document without white space, which counts in an SCP."""
    return json.dumps(document, separators=(",", ":"))


def _is_arn(value: str | list[str]) -> bool:
    return isinstance(value, list) or value.startswith("arn:")


def _filled(statements: list[Statement], more: list[Statement], most: int) -> list[Statement]:
    """`statements`, and those of `more` for which a document of `most` characters has room."""
    for statement in more:
        if size({"Version": VERSION, "Statement": [*statements, statement]}) <= most:
            statements = [*statements, statement]
    return statements


def _fitting(statements: list[Statement], most: int, what: str) -> Document:
    document: Document = {"Version": VERSION, "Statement": statements}
    if (taken := size(document)) > most:
        raise ProtectionError(
            f"{what} can have {most:,} characters, and this one has {taken:,}: give fewer deployers and trusted "
            "taggers, or deploy the stack with a shorter name, which CloudFormation does not shorten in the names of "
            "resources"
        )
    return document

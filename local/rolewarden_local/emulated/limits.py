"""The limits of AWS that its service models do not state: sizes of messages, events, policies and answers.

MiniStack knows some of them. The smaller value counts if AWS's documentation has two, because it differs by partition
and changes over time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

MESSAGE_SIZE: Final = 262_144
"""Bytes of a message of SQS or SNS, of a batch of messages, and of a call of PutEvents. SQS and EventBridge may accept
1 MiB (botocore, `sqs SendMessageBatch` and `events PutEvents`)."""

PATTERN_SIZE: Final = 2_048
"""Characters of an event pattern: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"""

TARGETS: Final = 5
"""Targets of a rule (botocore, `events PutTargets`)."""

SCP_SIZE: Final = 10_240
"""Characters of a service control policy, with its white space, since May 2026:
https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html"""

SCPS_PER_TARGET: Final = 10
"""Service control policies attached to a root, a unit or an account, from the same page."""

ENVIRONMENT_SIZE: Final = 4_096
"""Bytes of the environment variables of a function:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

TRUST_SIZE: Final = 2_048
"""Characters of a trust policy without white space:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""

POLICY_SIZE: Final = 6_144
"""Characters of a managed policy without white space, from the same page."""

INLINE_SIZE: Final = 10_240
"""Characters of all inline policies of a role without white space, from the same page."""

FINDING_SIZE: Final = 245_760
"""Bytes of a finding of Security Hub (botocore, `securityhub BatchImportFindings`)."""

TEMPLATE_SIZE: Final = 51_200
"""Bytes of a template in a request (botocore, `cloudformation CreateStack`)."""

CUSTOM_RESPONSE_SIZE: Final = 4_096
"""Bytes of the answer of a custom resource:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html"""

PHYSICAL_ID_SIZE: Final = 1_024
"""Bytes of the physical ID that a custom resource answers with:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-responses.html"""

PARTITION_KEY_SIZE, SORT_KEY_SIZE = 2_048, 1_024
"""Bytes of the keys of an item (botocore, `dynamodb BatchWriteItem`)."""

Parameters = Mapping[str, Any]
Beyond = tuple[str, str]
"""The error code and the message of a request beyond a limit."""


def beyond(service: str, operation: str, request: Parameters) -> Beyond | None:
    """The error of a request that is beyond a limit; None if it is beyond none."""
    check = OF_REQUESTS.get((service, operation))
    return check(request) if check else None


def size(text: str) -> int:
    """The number of bytes of a text."""
    return len(text.encode("utf-8", "surrogatepass"))


def dense(document: str) -> int:
    """The number of characters of a policy without white space. White space in texts counts."""
    try:
        return len(json.dumps(json.loads(document), separators=(",", ":"), ensure_ascii=False))
    except ValueError:
        return len(document)


def _published(request: Parameters) -> Beyond | None:
    subject = request.get("Subject")
    if subject is not None and not _SUBJECT.fullmatch(subject):
        return "InvalidParameter", "Invalid parameter: Subject"
    if size(request.get("Message", "")) > MESSAGE_SIZE:
        return "InvalidParameter", "Invalid parameter: Message too long"
    return None


_SUBJECT: Final = re.compile(r"[!-~][ -~]{0,98}")
"""A subject begins with a letter, digit or punctuation mark, is ASCII without line breaks and control characters, and
is shorter than 100 characters: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""


def _queried(request: Parameters) -> Beyond | None:
    """The limits of the keys of a query, which has the condition on the partition key first."""
    values = request.get("ExpressionAttributeValues", {})
    keys = re.findall(r":\w+", request.get("KeyConditionExpression", ""))
    for name, most, kind in zip(keys, (PARTITION_KEY_SIZE, SORT_KEY_SIZE), ("hashkey", "rangekey"), strict=False):
        if size(values.get(name, {}).get("S", "")) > most:
            what = f"Size of {kind} has exceeded the maximum size limit of{most} bytes"
            return "ValidationException", f"One or more parameter values were invalid: {what}"
    return None


def _put_events(request: Parameters) -> Beyond | None:
    total = sum(
        size(entry.get(name, "")) for entry in request.get("Entries", ()) for name in ("Source", "DetailType", "Detail")
    )
    return _too_big(total, MESSAGE_SIZE, "Total size of the entries in the request is over the limit.")


def _sent(request: Parameters) -> Beyond | None:
    bodies = [entry.get("MessageBody", "") for entry in request.get("Entries", [request])]
    if any(_NOT_IN_XML.search(body) for body in bodies):
        return "InvalidMessageContents", "The message contains characters outside the allowed set."
    if sum(map(size, bodies)) > MESSAGE_SIZE:
        return "AWS.SimpleQueueService.BatchRequestTooLong", f"The messages are longer than {MESSAGE_SIZE} bytes."
    return None


_NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that SQS refuses (botocore, `sqs SendMessageBatch`)."""


def _rule(request: Parameters) -> Beyond | None:
    if len(request.get("EventPattern") or "") > PATTERN_SIZE:
        return "InvalidEventPatternException", f"Event pattern is longer than {PATTERN_SIZE} characters."
    return None


def _targets(request: Parameters) -> Beyond | None:
    if len(request.get("Targets", ())) > TARGETS:
        return "LimitExceededException", "The requested resource exceeds the maximum number allowed."
    return None


def _control_policy(request: Parameters) -> Beyond | None:
    if len(request.get("Content") or "") > SCP_SIZE:
        return (
            "ConstraintViolationException",
            "POLICY_CONTENT_LIMIT_EXCEEDED: You have exceeded the maximum policy size.",
        )
    return None


def _function(request: Parameters) -> Beyond | None:
    variables = request.get("Environment", {}).get("Variables", {})
    if (used := size(json.dumps(variables, separators=(",", ":"), ensure_ascii=False))) > ENVIRONMENT_SIZE:
        return (
            "InvalidParameterValueException",
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {used} bytes",
        )
    return None


def _trust(request: Parameters) -> Beyond | None:
    text = request.get("AssumeRolePolicyDocument") or request.get("PolicyDocument") or ""
    if dense(text) > TRUST_SIZE:
        return "LimitExceeded", f"Cannot exceed quota for ACLSizePerRole: {TRUST_SIZE}"
    return None


def _managed_policy(request: Parameters) -> Beyond | None:
    if dense(request.get("PolicyDocument", "")) > POLICY_SIZE:
        return "LimitExceeded", f"Cannot exceed quota for PolicySize: {POLICY_SIZE}"
    return None


def _inline_policy(request: Parameters) -> Beyond | None:
    if dense(request.get("PolicyDocument", "")) > INLINE_SIZE:
        return (
            "LimitExceeded",
            f"Maximum policy size of {INLINE_SIZE} bytes exceeded for role {request.get('RoleName')}",
        )
    return None


def _findings(request: Parameters) -> Beyond | None:
    for finding in request.get("Findings", ()):
        if size(json.dumps(finding, ensure_ascii=False)) > FINDING_SIZE:
            return "LimitExceededException", f"A finding is larger than {FINDING_SIZE} bytes."
    return None


def _stack(request: Parameters) -> Beyond | None:
    if size(request.get("TemplateBody") or "") > TEMPLATE_SIZE:
        return "ValidationError", f"at 'templateBody' failed to satisfy constraint: at most {TEMPLATE_SIZE} bytes"
    for name in (request.get("StackName"), request.get("StackSetName")):
        # DescribeStacks and others take an ARN, but a new stack or StackSet has a name.
        if name and not _STACK_NAME.fullmatch(name):
            return "ValidationError", f"'{name}' failed to satisfy constraint: {_STACK_NAME.pattern}"
    return None


_STACK_NAME: Final = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}|arn:.+")
"""The name of a stack or a StackSet, or its ARN (botocore, `cloudformation CreateStackSet`)."""


def _too_big(number: int, most: int, message: str) -> Beyond | None:
    return ("ValidationException", message) if number > most else None


OF_REQUESTS: Final[Mapping[tuple[str, str], Callable[[Parameters], Beyond | None]]] = {
    ("cloudformation", "CreateChangeSet"): _stack,
    ("cloudformation", "CreateStack"): _stack,
    ("cloudformation", "CreateStackSet"): _stack,
    ("cloudformation", "UpdateStack"): _stack,
    ("dynamodb", "Query"): _queried,
    ("events", "PutEvents"): _put_events,
    ("events", "PutRule"): _rule,
    ("events", "PutTargets"): _targets,
    ("iam", "CreatePolicy"): _managed_policy,
    ("iam", "CreateRole"): _trust,
    ("iam", "PutRolePolicy"): _inline_policy,
    ("iam", "UpdateAssumeRolePolicy"): _trust,
    ("lambda", "CreateFunction"): _function,
    ("lambda", "UpdateFunctionConfiguration"): _function,
    ("organizations", "CreatePolicy"): _control_policy,
    ("organizations", "UpdatePolicy"): _control_policy,
    ("securityhub", "BatchImportFindings"): _findings,
    ("sns", "Publish"): _published,
    ("sqs", "SendMessage"): _sent,
    ("sqs", "SendMessageBatch"): _sent,
}
"""The limits of requests by service and operation."""

"""Whether a call of CloudFormation belongs to an operation on Rolewarden's own stack or StackSets.

A deployment of Rolewarden changes functions, roles and rules, and must send no alert for each of them. CloudTrail's
record of such a call shows that CloudFormation made it, but not for which stack: every caller can let a stack of their
own change Rolewarden's resources. So CloudFormation is asked for the operations at the time of the call:

- The events of the own stack (DescribeStackEvents) must show an operation on the resource that the call names.
- In other regions and accounts, an operation of Rolewarden's StackSets (ListStackSetOperations) must have been running
  there, and the events of the StackSet's stack there must show the same. If Rolewarden cannot enter the account, or
  StackSets has no stack there any more, the operation and the caller decide: StackSets creates or deletes the role of
  AlertFunction in such an operation, and makes these calls as a role of its own. CloudFormation makes the calls of
  another stack as its caller, or as a role that this caller passes. Each other deletion of that role sends an alert.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from rolewarden.aws import IAM_HOME_REGIONS
from rolewarden.calls import ReadsOperations
from rolewarden.errors import Refused
from rolewarden.events import CLOUDTRAIL, mapping
from rolewarden.record import logger
from rolewarden.stacks import StackEvent
from rolewarden.verdicts import Reason

CLOUDFORMATION = "cloudformation.amazonaws.com"
"""The address of calls that CloudFormation makes. The addresses of StackSets end in it."""

_EXECUTION_ROLE = "stacksets-exec-"
"""The beginning of the names of the roles that StackSets creates for itself in the accounts of an organization. AWS
alone can assume such a role. The service control policy that `rolewarden scp` prints denies every other caller to
create or change a role of such a name."""

SLACK = timedelta(seconds=2)
"""The time by which a call can appear earlier or later than its operation. CloudTrail records whole seconds."""

KEPT = timedelta(minutes=5)
"""The time for which an answer of CloudFormation is used again, because a deployment makes many calls."""

COMPLETE_AFTER = timedelta(minutes=1)
"""The age that a call has at least when an answer about it is used again: a later answer could have more events."""

FORWARDED = frozenset({"iam", "events", "sqs", "cloudformation"})
"""The services whose resources forwarder.yaml creates."""

KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "cloudformation": (frozenset({"AWS::CloudFormation::StackSet"}), frozenset()),
    "dynamodb": (frozenset({"AWS::DynamoDB::Table"}), frozenset()),
    "events": (
        frozenset({"AWS::Events::EventBus", "AWS::Events::Rule"}),
        frozenset({"AWS::Events::EventBusPolicy"}),
    ),
    "iam": (frozenset({"AWS::IAM::Role"}), frozenset({"AWS::IAM::Policy"})),
    "kms": (frozenset({"AWS::KMS::Key"}), frozenset()),
    "lambda": (
        frozenset({"AWS::Lambda::Function", "AWS::Lambda::LayerVersion"}),
        frozenset({"AWS::Lambda::EventInvokeConfig", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::Permission"}),
    ),
    "logs": (frozenset({"AWS::Logs::LogGroup"}), frozenset()),
    "monitoring": (frozenset({"AWS::CloudWatch::Alarm"}), frozenset()),
    "sns": (frozenset({"AWS::SNS::Topic"}), frozenset({"AWS::SNS::Subscription", "AWS::SNS::TopicPolicy"})),
    "sqs": (frozenset({"AWS::SQS::Queue"}), frozenset({"AWS::SQS::QueuePolicy"})),
}
"""For each service: the types of resources that a call names, and the types that a call on such a resource creates.

CloudTrail is not among them, because no stack of Rolewarden has a trail: a stack that changes one is another's.
"""

NAMING = frozenset(
    """
    alarmName alarmNames eventBusName eventSourceArn functionName globalTableName keyId layerName logGroupIdentifier
    logGroupName name queueUrl resourceArn resourceIdentifier roleName rule stackSetName subscriptionArn tableName
    topicArn uUID uuid
    """.split()  # noqa: SIM905 - a list of 22 texts is longer
)
"""Request parameters that name a resource. Other parameters can contain names of resources that do not change."""

_CONTENT = ("policyName", "policyArn", "permissionsBoundary")
"""Request parameters that say what a role gets. A call of the own stack gives it only what its template has."""

_IN_PROGRESS = "_IN_PROGRESS"
_STACK = "AWS::CloudFormation::Stack"
_CLEANUP = "_CLEANUP_IN_PROGRESS"
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class _Reply:
    """An answer of CloudFormation, when it came, and the time that it reaches back to."""

    value: Any
    came: datetime
    since: datetime


@dataclass
class OwnOperations:
    """Tells the calls of Rolewarden's own operations from those of everybody else.

    - `stack`: the ARN of the own stack.
    - `stack_sets`: the own StackSets by name, each with how it is called (`CallAs`).
    """

    aws: ReadsOperations
    stack: str
    stack_sets: Mapping[str, str]
    _answers: dict[str, _Reply] = field(default_factory=dict)

    def caused(self, event: Any) -> bool:
        """Whether a CloudTrail event belongs to an own operation. False if CloudFormation cannot be asked."""
        envelope = mapping(event)
        record = mapping(envelope.get("detail"))
        address = str(record.get("sourceIPAddress", ""))
        if envelope.get("detail-type") != CLOUDTRAIL or not f".{address}".endswith(f".{CLOUDFORMATION}"):
            return False
        try:
            at = datetime.fromisoformat(str(record.get("eventTime"))).astimezone(UTC)
            return self._caused(str(envelope.get("account")), record, at)
        except ValueError:
            return False
        except Exception:  # whatever fails here, the alert must be sent
            logger.exception("CloudFormation cannot be asked whether this call is Rolewarden's own")
            return False

    def _caused(self, account: str, record: Mapping[str, Any], at: datetime) -> bool:
        service = str(record.get("eventSource", "")).partition(".")[0]
        _, partition, _, region, own_account, _ = self.stack.split(":", 5)
        if account == own_account and service in KINDS and self._is_in_stack(self.stack, service, record, at):
            return True
        if service not in FORWARDED or (account, record.get("awsRegion")) == (own_account, region):
            return False
        # CloudTrail records the calls to IAM in one region, whichever region the stack is in. The stack of that region
        # has the roles of the account.
        home = IAM_HOME_REGIONS.get(partition, region)
        place = (account, "" if service == "iam" else str(record.get("awsRegion")))
        return any(
            self._is_in_stack_set(name, place, at)
            and self._is_in_instance(name, (account, place[1] or home), service, record, at)
            for name in self.stack_sets
        )

    def _is_in_instance(
        self, name: str, place: tuple[str, str], service: str, record: Mapping[str, Any], at: datetime
    ) -> bool:
        """Whether the stack of a StackSet in an account and region had an operation on the resource of a call.

        True if the call is about that stack itself. If its events cannot be read because of such an operation, the
        caller decides.
        """
        if service == "cloudformation":
            return True
        ask = partial(self.aws.stack_set_stack, name, place, self.stack_sets[name])
        stack = self._asked(" ".join((name, *place)), at, ask)
        if not stack:
            return _is_of_stack_sets(record)
        try:
            return self._is_in_stack(stack, service, record, at)
        except Refused as refused:
            if refused.reason is not Reason.NOT_ENTERED:
                raise
            return _is_of_stack_sets(record)

    def _is_in_stack(self, stack: str, service: str, record: Mapping[str, Any], at: datetime) -> bool:
        """Whether a stack had an operation at `at` on the resource that a call names."""
        named, created = KINDS[service]
        touched = _touched(record)
        by_resource: dict[str, list[StackEvent]] = {}
        for event in self._stack_events(stack, at):
            by_resource.setdefault(event.logical, []).append(event)
        for events in by_resource.values():
            kind = events[0].kind
            if kind not in named | created or not _in_progress(events, at):
                continue
            made = [_json(event.properties) for event in events if event.properties]
            properties = [frozenset(_forms(each)) for each in made]
            is_named = any(_name_of(event) in touched for event in events if event.physical)
            creates = kind in created and (not properties or any(forms & touched for forms in properties))
            if (is_named or creates) and _has_content(record, properties) and _has_documents(service, record, made):
                return True
        return False

    def _stack_events(self, stack: str, at: datetime) -> tuple[StackEvent, ...]:
        """The events of a stack from the beginning of the operation that ran at `at`, latest first."""
        known = self._answer(stack, at)
        if known:
            return tuple(known.value)
        found, since = [], _EVER
        for event in self.aws.stack_events(stack):
            found.append(event)
            begins = (
                event.kind == _STACK and event.status.endswith(_IN_PROGRESS) and not event.status.endswith(_CLEANUP)
            )
            if begins and event.at <= at:
                since = event.at
                break
        self._answers[stack] = _Reply(found, datetime.now(UTC), since)
        return tuple(found)

    def _is_in_stack_set(self, name: str, place: tuple[str, str], at: datetime) -> bool:
        """Whether an operation of a StackSet ran at `at` in the account and region; an empty region is any."""
        call_as = self.stack_sets[name]
        operations = self._asked(name, at, partial(self.aws.stack_set_operations, name, call_as))
        for operation in operations:
            if operation.begun - SLACK <= at <= (operation.ended or datetime.now(UTC)) + SLACK:
                ask = partial(self.aws.stack_set_places, name, operation.id, call_as)
                places = self._asked(operation.id, at, ask, since=operation.begun)
                if any(account == place[0] and place[1] in {"", region} for account, region in places):
                    return True
        return False

    def _asked(self, key: str, at: datetime, ask: Callable[[], Any], *, since: datetime = _EVER) -> Any:
        """An answer of CloudFormation for a call at `at`, which reaches back to `since`. `ask` asks if none is kept."""
        known = self._answer(key, at)
        if known is None:
            value = ask()
            known = self._answers[key] = _Reply(value, datetime.now(UTC), since)
        return known.value

    def _answer(self, key: str, at: datetime) -> _Reply | None:
        """An earlier answer that is good enough for a call at `at`; None if CloudFormation has to be asked."""
        known = self._answers.get(key)
        if known and known.since <= at <= known.came - COMPLETE_AFTER and datetime.now(UTC) - known.came <= KEPT:
            return known
        return None


def _is_of_stack_sets(record: Mapping[str, Any]) -> bool:
    """Whether StackSets made a call in an account of the organization, by the role of the caller."""
    session = mapping(mapping(record.get("userIdentity")).get("sessionContext"))
    return str(mapping(session.get("sessionIssuer")).get("userName")).startswith(_EXECUTION_ROLE)


def _in_progress(events: Iterable[StackEvent], at: datetime) -> bool:
    """Whether CloudFormation worked on a resource at `at`. `events` are its events, latest first."""
    begun: datetime | None = None
    for event in reversed(list(events)):
        if event.status.endswith(_IN_PROGRESS):
            begun = begun or event.at
        elif begun and begun - SLACK <= at <= event.at + SLACK:
            return True
        else:
            begun = None
    return begun is not None and begun - SLACK <= at


def _name_of(event: StackEvent) -> str:
    """The name of a resource by which calls name it, folded: without the ARN, the bus or the version around it."""
    physical = event.physical
    if event.kind == "AWS::Lambda::LayerVersion":
        physical = physical.rpartition(":")[0]
    if event.kind == "AWS::CloudFormation::StackSet":
        physical = physical.partition(":")[0]
    return re.split(r"[:/|]", physical)[-1].lower()


def _touched(record: Mapping[str, Any]) -> frozenset[str]:
    """The names, ARNs and addresses by which a call names a resource, folded."""
    parameters = mapping(record.get("requestParameters"))
    return frozenset(_forms([*(parameters[name] for name in parameters.keys() & NAMING), record.get("resources")]))


def _forms(value: Any) -> Iterator[str]:
    """Every text in a value, folded: as it is, its last part, and the first part of an ID like that of a StackSet."""
    if isinstance(value, str):
        text = value.lower()
        parts = re.split(r"[:/|]", text)
        yield from (text, parts[-1]) if text.startswith(("arn:", "http")) else (text, parts[-1], parts[0])
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _forms(each)
    elif isinstance(value, list):
        for each in value:
            yield from _forms(each)


def _json(text: str) -> Any:
    """The value of a JSON text; None if the text is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


_TAKES = ("Delete", "Detach", "Remove")
"""The beginnings of the names of calls that take something away."""

_WITH_DOCUMENT = frozenset({"CreateRole", "PutRolePolicy", "UpdateAssumeRolePolicy"})


def _has_documents(service: str, record: Mapping[str, Any], made: list[Any]) -> bool:
    """Whether a call to IAM gives a role only documents that the properties of the resource have.

    False for a call that gives something while the operation shows no properties, as for a deleted resource.
    """
    name = str(record.get("eventName", ""))
    if service != "iam" or name.startswith(_TAKES):
        return True
    parameters = mapping(record.get("requestParameters"))
    given = parameters.get("policyDocument", parameters.get("assumeRolePolicyDocument"))
    if name not in _WITH_DOCUMENT:
        return bool(made)
    document = _json(given) if isinstance(given, str) else None
    return document is not None and _plain(document) in {text for each in made for text in _documents(each)}


def _documents(value: Any) -> Iterator[str]:
    """Every object in the properties of a resource, in one form."""
    if isinstance(value, Mapping):
        yield _plain(value)
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _documents(each)


def _plain(document: Any) -> str:
    return json.dumps(document, sort_keys=True)


def _has_content(record: Mapping[str, Any], properties: list[frozenset[str]]) -> bool:
    """Whether a call gives a role only what the properties of the resource have.

    True without properties, and for a call that removes something: an update removes what the new template lacks.
    """
    if not properties or not str(record.get("eventName", "")).startswith(("Attach", "Put")):
        return True
    parameters = mapping(record.get("requestParameters"))
    known = frozenset().union(*properties)
    return all(str(parameters[name]).lower() in known for name in _CONTENT if name in parameters)

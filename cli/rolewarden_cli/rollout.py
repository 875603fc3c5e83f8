"""`rolewarden plan --prevention`: the calls that the service control policies (SCPs) of models would deny.

The statements of `rolewarden.prevention` decide about each recorded call in the same way as after their attachment. So
this module knows neither models nor guardrails.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import botocore.session
from rolewarden.aws import IAM_HOME_REGIONS
from rolewarden.bindings import Binding, RoleKey
from rolewarden.denials import AwsRequest, Denials, Target, TargetKind, targets_of
from rolewarden.errors import Refused, RetryLater
from rolewarden.guardrails import Rules
from rolewarden.matching import covers
from rolewarden.packing import Statement
from rolewarden.policies import BEDROCK_GUARDRAIL_KEY, GATED_KEY
from rolewarden.prevention import compile_prevention, model_statements
from rolewarden.principals import PERMISSION_SET, account_of
from rolewarden.vocabulary import ASSISTANTS, OTHER_PLATFORMS, USE_INDIRECTLY

from rolewarden_cli import drill
from rolewarden_cli.account import OperatorCalls, RoleDetail
from rolewarden_cli.answers import shown
from rolewarden_cli.commands import COMMANDS
from rolewarden_cli.connect import AWS, Connection
from rolewarden_cli.inventory import Inventory, Progress, ignore_progress
from rolewarden_cli.observed import Made, ObservedCall, ObservedCalls, caller_context, read_exports, requests_of

TRAIL_DAYS = 90
"""The days that CloudTrail's event history keeps."""

BETWEEN = 0.5
"""Seconds between two requests, because CloudTrail takes two a second in each region of an account."""

SHOWN_TARGETS = 3
"""The number of models of a wider subject that are named."""

BY_SOURCE = ("bedrock", "bedrock-agentcore", "bedrock-mantle")
"""The services all of whose events are read: most of them are about models."""

BY_NAME = ("iam", "sagemaker")
"""The services whose events are read by name, because others of their events are many."""


@dataclass(frozen=True)
class UnseenCalls:
    """Calls that the SCPs deny and that CloudTrail's event history does not show as such.

    - `actions`: patterns of actions.
    - `why`: why the history does not show them.
    - `verify`: how the reader finds them.
    """

    actions: tuple[str, ...]
    why: str
    verify: str


_MANAGED = ("bedrock:Create", "bedrock:Ingest", "bedrock:Update")
"""The beginnings of actions of knowledge bases that are management events."""

_OF_TYPE = "log data events of {} with a trail, then give its files with --trail"

UNSEEN = (
    UnseenCalls(
        ("bedrock:InvokeModelWithBidirectionalStream",),
        "InvokeModelWithBidirectionalStream and StartAsyncInvoke are data events",
        _OF_TYPE.format("AWS::Bedrock::Model and AWS::Bedrock::AsyncInvoke"),
    ),
    UnseenCalls(
        tuple(action for action in USE_INDIRECTLY if not action.startswith(_MANAGED)),
        "calls of the agents, flows and knowledge bases of Bedrock are data events",
        _OF_TYPE.format("AWS::Bedrock::AgentAlias, InlineAgent, FlowAlias and KnowledgeBase"),
    ),
    UnseenCalls(
        ("bedrock-mantle:CreateInference",),
        "calls of models on bedrock-mantle are data events",
        _OF_TYPE.format("AWS::BedrockMantle::Project"),
    ),
    UnseenCalls(
        ("bedrock-agentcore:*",),
        "calls of agents in AgentCore are data events",
        _OF_TYPE.format("AWS::BedrockAgentCore::Runtime and Gateway"),
    ),
    UnseenCalls(
        ("sagemaker:InvokeEndpoint*", "sagemaker:InvokeGlobalInferenceGateway*", "sagemaker:InvokeInference*"),
        "CloudTrail does not record InvokeEndpoint, or records it as a data event",
        "list the endpoints with a tag of JumpStart, and ask their owners who calls them",
    ),
    UnseenCalls(
        ("sagemaker:Update*", "sagemaker:*Hub*", "sagemaker:TrainHubModel"),
        "a record does not have the tags of an endpoint or the hub of a model",
        "ask the owners of endpoints and hubs who changes and deploys them",
    ),
    UnseenCalls(
        ("s3:GetObject*",),
        "reads of objects are data events",
        _OF_TYPE.format("AWS::S3::Object for the buckets of JumpStart"),
    ),
    UnseenCalls(
        tuple(action for action in OTHER_PLATFORMS if not action.startswith(BY_SOURCE)),
        "it is not known how CloudTrail records calls of Claude Platform on AWS and of Nova Act",
        "ask the teams that use these platforms",
    ),
    UnseenCalls(
        ASSISTANTS,
        "it is not known how CloudTrail records calls of AWS's assistants",
        "ask the users of Canvas, Studio and the console who works with an assistant",
    ),
)
"""The kinds of calls that the event history cannot show.

- https://docs.aws.amazon.com/bedrock/latest/userguide/logging-using-cloudtrail.html: the data events of Bedrock.
- https://docs.aws.amazon.com/bedrock/latest/userguide/logging-cloudtrail-mantle.html: those of bedrock-mantle.
- https://docs.aws.amazon.com/sagemaker/latest/dg/logging-using-cloudtrail.html: InvokeEndpoint.
- https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html: the event history
  has no data events.
"""


class Choice(StrEnum):
    """The recommended action for a principal whose calls would be denied."""

    LIST = "list"
    """Add its ARN to `principals` of an assignment, or create the role again under a path that the file lists."""

    LEAVE = "leave denied"
    """Change nothing: its own assignment denies the calls, or no exception is possible."""


@dataclass(frozen=True)
class DeniedPrincipal:
    """A principal whose recorded calls the SCPs would deny.

    - `principal`: the ARN with the path, as `principals` takes it.
    - `calls`, `models`, `regions`, `first`, `last`: its calls that would be denied. A call that names no model is
      under `models` with its action.
    - `guardrail_needed`: whether all of them would be allowed if they name an Amazon Bedrock Guardrail. Their records
      do not say whether they do.
    - `in_sagemaker`: whether a session that SageMaker names made one of them. If not, `rolewarden compile --scp --scope
      sagemaker` prints SCPs that allow them.
    - `used_by`: the subjects that work as this role.
    - `choice`, `recommendation`: the recommended action.
    """

    account: str
    principal: str
    calls: int
    models: tuple[str, ...]
    regions: tuple[str, ...]
    first: datetime
    last: datetime
    guardrail_needed: bool
    in_sagemaker: bool
    used_by: tuple[str, ...]
    choice: Choice
    recommendation: str


@dataclass(frozen=True)
class WiderSubject:
    """A subject whose role the SCPs leave more than its own assignment does.

    - `reaches`: models and access paths that its guardrails deny and the SCPs do not, the first ones.
    """

    account: str
    subject: str
    role: str
    reaches: tuple[str, ...]
    recommendation: str


@dataclass(frozen=True)
class Rollout:
    """The effect that attaching the SCPs would have in an account, from the calls of some days.

    - `source`: "event history", or the files that were read.
    - `records`: the number of records that were read.
    - `unprevented`: a line for each rule of the file that an SCP cannot see.
    - `unseen`: the calls that the SCPs deny and that the event history cannot show.
    - `unread`: a line for each part that could not be read.
    - `is_management`: whether the account is the management account, which no SCP restricts.
    """

    account: str
    days: int
    since: datetime
    source: str
    records: int
    denied: tuple[DeniedPrincipal, ...]
    wider: tuple[WiderSubject, ...]
    unseen: tuple[UnseenCalls, ...]
    unread: tuple[str, ...] = ()
    is_management: bool = False
    unprevented: tuple[str, ...] = ()

    @property
    @shown
    def calls(self) -> int:
        """The number of recorded calls that the SCPs would deny."""
        return sum(found.calls for found in self.denied)

    @property
    def conditions(self) -> dict[str, bool]:
        """Whether each condition of `rolewarden plan` holds, by name. The SCPs have only two of them."""
        holding = {"denials": bool(self.denied or self.wider or self.unprevented), "unread": bool(self.unread)}
        return {name: holding.get(name, False) for name in COMMANDS["plan"].conditions}


@dataclass
class Turns:
    """The pace of requests to CloudTrail."""

    now: Callable[[], float]
    wait: Callable[[float], None]
    _last: float = field(default=-math.inf)

    def take(self) -> None:
        """Wait until the next request is allowed."""
        if (left := self._last + BETWEEN - self.now()) > 0:
            self.wait(left)
        self._last = self.now()


def turns_in(place: str) -> Turns:
    """The pace of requests to AWS. The local AWS, whose `place` has another name, takes as many as it gets."""
    return Turns(drill.PACE.now, drill.PACE.wait if place == AWS else lambda _: None)


@dataclass(frozen=True)
class Lookup:
    """One question to the event history of a region."""

    region: str
    key: str
    value: str


def lookups(statements: Iterable[Statement], regions: Sequence[str], partition: str) -> list[Lookup]:
    """The questions whose answers have every management event that the statements deny."""
    shown = (one for one in statements if _can_show(one))
    patterns = sorted({action for one in shown for action in _listed(one["Action"])})
    found: list[Lookup] = []
    for region in regions:
        found += [
            Lookup(region, "EventSource", f"{service}.amazonaws.com")
            for service in BY_SOURCE
            if any(pattern.startswith(f"{service}:") for pattern in patterns)
        ]
        found += [Lookup(region, "EventName", name) for name in _names("sagemaker", patterns)]
    home = IAM_HOME_REGIONS.get(partition, regions[0])
    return found + [Lookup(home, "EventName", name) for name in _names("iam", patterns)]


def _can_show(statement: Statement) -> bool:
    """Whether records have the values that decide about a statement. They do not have the tags of the used resource."""
    keys = [key for block in statement.get("Condition", {}).values() for key in block]
    return not any(key.startswith("aws:ResourceTag/") or key == GATED_KEY for key in keys)


def _names(service: str, patterns: Iterable[str]) -> list[str]:
    """The operations of a service that the patterns of actions cover."""
    own = [pattern for pattern in patterns if pattern.startswith(f"{service}:")]
    names = botocore.session.get_session().get_service_model(service).operation_names if own else ()
    return [name for name in names if any(covers(pattern, f"{service}:{name}") for pattern in own)]


def read_event_history(
    reader: OperatorCalls, asked: Sequence[Lookup], calls: ObservedCalls, turns: Turns, progress: Progress
) -> list[str]:
    """Count the calls of the event history. Returns a line for each question that was not answered."""
    unread = []
    whole = (datetime.now(UTC) - calls.since).days
    for number, lookup in enumerate(asked):
        progress("event history", number, len(asked))
        step = f"{lookup.value} in {lookup.region}: days"
        try:
            pages = reader.event_history(lookup.region, lookup.key, lookup.value, calls.since, turns.take)
            for page in pages:
                for record in page:
                    calls.add(record)
                if page and lookup.key == "EventSource":
                    oldest = datetime.fromisoformat(page[-1]["eventTime"])
                    progress(step, min(whole, (datetime.now(UTC) - oldest).days), whole)
        except (Refused, RetryLater) as error:
            unread.append(f"event history of {lookup.region} ({lookup.value}): {error}")
        if lookup.key == "EventSource":
            progress(step, whole, whole)
    progress("event history", len(asked), len(asked))
    return unread


@dataclass(frozen=True)
class Observation:
    """The calls that a reader wants to observe.

    - `days`: the number of days of calls, until now.
    - `exports`: files or folders with calls, which take the place of the event history.
    """

    days: int
    exports: tuple[Path, ...] = ()


def read_rollout(
    connection: Connection,
    inventory: Inventory,
    rules: Rules,
    asked: Observation,
    turns: Turns,
    progress: Progress = ignore_progress,
) -> Rollout:
    """Read the calls of some days, and compare them with the SCPs of `rules`.

    Without exports, the calls come from the event history of the connection's regions. Raises UsageError for an export
    that is none, and RulesError as `compile_prevention`.
    """
    now, management = datetime.now(UTC), _management_account(connection)
    judge = _Decisions(rules, inventory, now)
    calls, unread = ObservedCalls(now - timedelta(days=asked.days)), list(inventory.unread)
    if asked.exports:
        read_exports(asked.exports, calls)
    else:
        questions = lookups(judge.statements, connection.regions, inventory.partition)
        unread += read_event_history(connection.calls, questions, calls, turns, progress)
    return Rollout(
        inventory.account,
        asked.days,
        calls.since,
        ", ".join(map(str, asked.exports)) or "event history",
        calls.read,
        tuple(judge.denied({call: made for call, made in calls.made.items() if call.account != management})),
        tuple(judge.wider()),
        tuple(_unseen(judge.statements)),
        tuple(unread),
        management == inventory.account,
    )


def _management_account(connection: Connection) -> str:
    """The account that no SCP restricts; "" without an organization, or if that could not be read."""
    try:
        return connection.calls.organization()[1]
    except (Refused, RetryLater):
        return ""


def _unseen(statements: Sequence[Statement]) -> Iterator[UnseenCalls]:
    patterns = [action for one in statements for action in _listed(one["Action"])]
    for calls in UNSEEN:
        if any(covers(pattern, action) or covers(action, pattern) for pattern in patterns for action in calls.actions):
            yield calls


class _Decisions:
    """The decisions of the SCPs of some rules about the principals of an account."""

    def __init__(self, rules: Rules, inventory: Inventory, now: datetime) -> None:
        self._rules, self._inventory, self._now = rules, inventory, now
        self.statements = compile_prevention(rules, inventory.partition).statements
        without_key = [one for one in self.statements if BEDROCK_GUARDRAIL_KEY not in str(one.get("Condition", ""))]
        self._every, self._certain = Denials(self.statements), Denials(without_key)

    def denied(self, made: Mapping[ObservedCall, Made]) -> Iterator[DeniedPrincipal]:
        """Each principal with denied calls, those with most calls first."""
        found: dict[tuple[str, str], list[tuple[ObservedCall, Made, bool]]] = defaultdict(list)
        for call, counted in made.items():
            principal = self._principal(call)
            requests = requests_of(call, principal, self._now)
            if _is_denied(self._every, requests):
                is_certain = _is_denied(self._certain, requests)
                found[call.account, principal].append((call, counted, is_certain))
        for (account, principal), calls in sorted(found.items(), key=lambda one: (-_sum(one[1]), one[0])):
            yield self._described(account, principal, calls)

    def _described(
        self, account: str, principal: str, calls: Sequence[tuple[ObservedCall, Made, bool]]
    ) -> DeniedPrincipal:
        bindings = self._bindings(principal)
        choice, recommendation = self._advice(account, principal, [call for call, _, _ in calls], bindings)
        return DeniedPrincipal(
            account,
            principal,
            _sum(calls),
            tuple(sorted({call.what for call, _, _ in calls})),
            tuple(sorted({call.region for call, _, _ in calls})),
            min(counted.first for _, counted, _ in calls),
            max(counted.last for _, counted, _ in calls),
            not any(is_certain for _, _, is_certain in calls),
            any(call.of_sagemaker for call, _, _ in calls),
            tuple(binding.label for binding in bindings),
            choice,
            recommendation,
        )

    def _principal(self, call: ObservedCall) -> str:
        """The ARN of the caller with the path of its role, which the ARN of a session does not have."""
        parts = call.principal.split(":")
        kind, _, rest = parts[5].partition("/")
        if kind != "assumed-role":
            return call.principal
        name = rest.rpartition("/")[0] or rest
        role = (
            self._inventory.roles.get(self._inventory.spelled(name))
            if call.account == self._inventory.account
            else None
        )
        return role.arn if role else f"arn:{parts[1]}:iam::{parts[4]}:role/{name}"

    def _bindings(self, principal: str) -> tuple[Binding, ...]:
        if ":role/" not in principal:
            return ()
        return self._inventory.bound.of_role(RoleKey(account_of(principal), principal.rpartition("/")[2]))

    def _advice(
        self, account: str, principal: str, calls: Sequence[ObservedCall], bindings: Sequence[Binding]
    ) -> tuple[Choice, str]:
        if principal.endswith(":root") or ":federated-user/" in principal:
            return Choice.LEAVE, "no exception is possible for it: make the calls as a role"
        name = principal.rpartition("/")[2]
        is_here = ":role/" in principal and account == self._inventory.account
        if is_here and self._inventory.spelled(name) not in self._inventory.roles:
            return Choice.LEAVE, "the role no longer exists: nothing to do"
        listed = PERMISSION_SET.fullmatch(principal[:-16] + "*") if "AWSReservedSSO_" in name else None
        arn = f"{listed[1]}*" if listed else principal
        numbers = {number for one in bindings if (number := self._rules.deciding(one.subject)) is not None}
        if len(numbers) > 1:
            several = " and ".join(str(number + 1) for number in sorted(numbers))
            return Choice.LEAVE, (
                f"assignments {several} share this role, and a role belongs to one assignment: give their subjects "
                "roles of their own, then list these"
            )
        for number in numbers:
            if self._assignment_denies(number, calls):
                return Choice.LEAVE, f"assignment {number + 1}, which its subjects have, denies these calls, too"
            return Choice.LIST, self._listing(arn, number, account)
        return Choice.LIST, (
            f"if this work is right, add `{arn}` to `principals` of an assignment with `guardrails: []`, or create "
            "the role again under a path that one lists; otherwise leave it denied"
        )

    def _listing(self, arn: str, number: int, account: str) -> str:
        assignment = self._rules.assignments[number]
        paths = [one for one in assignment.principals if one.endswith("/*") and account_of(one) == account]
        again = f", or create the role again under `{paths[0]}`" if paths and ":role/" in arn else ""
        return f"add `{arn}` to `principals` of assignment {number + 1}{again}"

    def _assignment_denies(self, number: int, calls: Iterable[ObservedCall]) -> bool:
        """Whether the guardrails of an assignment deny all of these calls themselves."""
        own = self._of(self._rules.assignments[number].guardrails)
        return all(_is_denied(own, requests_of(call, self._principal(call), self._now)) for call in calls)

    def _of(self, guardrails: Iterable[str]) -> Denials:
        found = (self._rules.guardrails[name] for name in guardrails)
        return Denials(model_statements(found, self._inventory.partition).values())

    @cached_property
    def _targets(self) -> tuple[Target, ...]:
        return targets_of([self._rules], self._inventory.partition)

    def wider(self) -> Iterator[WiderSubject]:
        """Each subject whose role the SCPs leave more than its guardrails do. An exempt role is wider on purpose."""
        known: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        for binding in self._inventory.bindings:
            role = self._role_of(binding)
            if role is None or self._is_exempt(role):
                continue
            needed = tuple(guardrail.name for guardrail in self._rules.required(binding.subject))
            if (role.arn, needed) not in known:
                known[role.arn, needed] = tuple(self._beyond(role.arn, needed))
            if reaches := known[role.arn, needed]:
                fix = (
                    "take the role out of `principals` of the other assignment, or give the subject another role"
                    if binding.role
                    else "give the subject a role of its own, and list that under `principals` of its assignment"
                )
                yield WiderSubject(binding.account, binding.label, role.arn, reaches, fix)

    def _is_exempt(self, role: RoleDetail) -> bool:
        home = self._inventory.account
        return self._rules.exemption(home, role.name, self._now.date(), home=home) is not None

    def _beyond(self, principal: str, guardrails: Iterable[str]) -> Iterator[str]:
        """The first models and access paths that the guardrails deny, and that the SCPs leave to the principal."""
        own = self._of(guardrails)
        found = (
            target.name
            for target in self._targets
            if own.covers(target) and not self._every.covers(_as_caller(target, principal, self._now))
        )
        return itertools.islice(found, SHOWN_TARGETS)

    @cached_property
    def _roles_of_domains(self) -> dict[tuple[str, str, str], RoleKey]:
        """The role of each domain by region, ID and setting. If several bindings name one, the first decides."""
        return {
            (binding.region, binding.domain_id, binding.via): binding.role
            for binding in reversed(self._inventory.bindings)
            if binding.role and not binding.user_profile
        }

    def _role_of(self, binding: Binding) -> RoleDetail | None:
        """The role as which a subject works, its domain's if it has none of its own; None if unknown."""
        key = binding.role or self._roles_of_domains.get((binding.region, binding.domain_id, binding.via))
        if key is None or key.account != self._inventory.account:
            return None
        return self._inventory.roles.get(self._inventory.spelled(key.name))


def _as_caller(target: Target, principal: str, now: datetime) -> Target:
    more = caller_context(principal, now, of_sagemaker=True)
    calls = tuple(
        tuple(request._replace(context={**request.context, **more}) for request in call) for call in target.calls
    )
    return target._replace(calls=calls)


def _is_denied(denials: Denials, requests: tuple[AwsRequest, ...]) -> bool:
    return denials.covers(Target(TargetKind.PATH, "", (requests,)))


def _sum(calls: Iterable[tuple[ObservedCall, Made, bool]]) -> int:
    return sum(counted.count for _, counted, _ in calls)


def _listed(values: str | list[str]) -> list[str]:
    return [values] if isinstance(values, str) else values

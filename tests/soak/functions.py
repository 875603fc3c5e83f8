"""The deployed functions as AWS runs them, in this process and with a virtual clock.

An event is an asynchronous invocation: it has three tries and is then a dead letter. A message that failed, or whose
function ended, is delivered again up to the limit of its queue. The numbers are those of template.yaml.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

from rolewarden.errors import Refused, RetryLater
from rolewarden.events import POLICY_EVENTS
from rolewarden.record import logger, metrics
from rolewarden_local.aws import ACCOUNT_ID, Killed, LocalAws, Loss
from rolewarden_local.emulated._ministack import sqs
from rolewarden_local.scenes.template import Template

from tests.handlers import load_function
from tests.world import Assembled, World

QUEUES = {"WorkQueue": "reconcile", "SweepQueue": "sweep", "PublishQueue": "publish", "DetachQueue": "detach"}
"""The function that polls each queue."""

RECHECK_SECONDS = 60
"""The parameter's default. SQS itself does not delay messages here, because it uses the real clock."""

INVOCATIONS = 3
"""The number of tries of an asynchronous invocation."""


@dataclass(frozen=True)
class Fault:
    """A fault during one invocation. `kind` is the method of `LocalAws` that makes it."""

    kind: str
    operation: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def on(self, aws: LocalAws) -> AbstractContextManager[None]:
        """The fault, in force while the block runs."""
        arguments = dict(self.arguments)
        if self.kind == "failing":
            return aws.failing(self.operation, arguments.pop("code"), **arguments)
        if self.kind == "losing":
            return aws.losing(self.operation, arguments.pop("how"), **arguments)
        if self.kind == "dying":
            return aws.dying(self.operation, **arguments)
        return aws.partly_failing(self.operation, **arguments)


@dataclass
class Message:
    """A message of a queue: the virtual time at which it is visible, and the number of its deliveries."""

    body: str
    due: float
    received: int = 0


@dataclass
class Functions:
    """The functions of one world. They are warm until one of them ends. `now` is the virtual time in seconds.

    `has_refused_descriptions` says whether IAM ever refused GetRole.
    """

    world: World
    template: Template
    now: float = 0.0
    invocations: int = 0
    dead: list[Any] = field(default_factory=list)
    has_refused_descriptions: bool = False
    waiting: dict[str, list[Message]] = field(default_factory=lambda: {name: [] for name in QUEUES})

    def __post_init__(self) -> None:
        self.cold_start()

    def cold_start(self) -> None:
        """Start a new process, without the state of the last one."""
        environment = {**self.world.environment, "RECHECK_SECONDS": "0"}
        process = Assembled()
        process.environment = environment
        # Without its own account, Rolewarden would count every account as its own.
        aws = copy.copy(self.world.runtime.aws)
        aws.account = ACCOUNT_ID
        process.assemble(aws)
        for name in ("enforce", "reconcile", "sweep"):
            handler_module(name).runtime = process.runtime  # type: ignore[attr-defined]
        for name in ("enforce", "reconcile"):
            handler_module(name).enforcer = process.enforcer  # type: ignore[attr-defined]
        handler_module("sweep").sweeper = process.sweeper  # type: ignore[attr-defined]
        handler_module("publish").publications = lambda: process.publications  # type: ignore[attr-defined]
        handler_module("detach").detacher = lambda: process.detacher  # type: ignore[attr-defined]
        # The virtual time does not move the clock of the functions, and each batch must read SageMaker again.
        process.detacher.subjects = dataclasses.replace(process.detacher.subjects, kept=0.0)  # type: ignore[type-var]
        self.process = process

    def deliver(self, event: dict[str, Any], faults: Sequence[Fault | None] = ()) -> None:
        """Deliver an event as EventBridge does. Each of the first tries has one of these faults."""
        name = "publish" if event["detail"]["eventName"] in POLICY_EVENTS else "enforce"
        self.asynchronously(name, event, faults)

    def asynchronously(self, function: str, event: dict[str, Any], faults: Sequence[Fault | None] = ()) -> None:
        """Invoke a function as EventBridge does."""
        for fault in itertools.islice(itertools.chain(faults, itertools.repeat(None)), INVOCATIONS):
            done, _ = self.invoke(function, event, fault)
            if done:
                return
            self.now += 60
        self.dead.append(event)

    def poll(self, queue: str, faults: Sequence[Fault | None] = (), *, twice: bool = False) -> int:
        """Process a batch of a queue as Lambda does, and return its size. With `twice`, SQS delivers it again."""
        self._pump(queue)
        mappings = resources(self.template, "AWS::Lambda::EventSourceMapping").values()
        size = next(mapping["BatchSize"] for mapping in mappings if mapping["EventSourceArn"].endswith(f":{queue}"))
        batch = [message for message in self.waiting[queue] if message.due <= self.now][:size]
        if not batch:
            return 0
        records = [record(number, message.body, queue) for number, message in enumerate(batch)]
        done, answer = self.invoke(QUEUES[queue], {"Records": records}, faults[0] if faults else None)
        failed = {int(failure["itemIdentifier"]) for failure in (answer or {}).get("batchItemFailures", ())}
        for number, message in enumerate(batch):
            message.received += 1
            if done and number not in failed and not twice:
                self.waiting[queue].remove(message)
                continue
            properties = resources(self.template, "AWS::SQS::Queue")[queue]
            message.due = self.now + properties["VisibilityTimeout"]
            if message.received >= properties["RedrivePolicy"]["maxReceiveCount"]:
                self.waiting[queue].remove(message)
                self.dead.append(message)
        return len(batch)

    def invoke(self, function: str, event: dict[str, Any], fault: Fault | None = None) -> tuple[bool, Any]:
        """Run a function once, and return whether it succeeded, and its answer. An unexpected error is raised."""
        self.invocations += 1
        if fault and fault.operation == "GetRole" and ("code", "AccessDenied") in fault.arguments:
            self.has_refused_descriptions = True
        with fault.on(self.world.aws) if fault else contextlib.nullcontext():
            try:
                return True, handler_module(function).handler(event, _context(function))
            except (RetryLater, Refused):
                return False, None
            except Killed:
                self.cold_start()
                return False, None
            finally:
                metrics.clear_metrics()

    def check(self, faults: Sequence[Fault | None] = ()) -> None:
        """Run the scheduled check of all policies."""
        self.asynchronously("publish", {"source": "aws.events", "detail-type": "Scheduled Event"}, faults)

    def sweep(self, faults: Sequence[Fault | None] = ()) -> None:
        """Run a scheduled sweep of everything."""
        self.asynchronously("sweep", {"source": "aws.events", "detail-type": "Scheduled Event"}, faults)

    def work_off(self, *, most: int) -> None:
        """Process every queue until it is empty. Raises AssertionError if this takes more than `most` batches."""
        for _ in range(most):
            self.now += 3600
            if not sum(self.poll(queue) for queue in QUEUES) and not any(self.waiting.values()):
                return
        raise AssertionError(f"the queues are not empty after {most} rounds: {self.waiting}")

    def _pump(self, queue: str) -> None:
        url = self.world.environment[f"{queue.removesuffix('Queue').upper()}_QUEUE_URL"]
        delay = resources(self.template, "AWS::SQS::Queue")[queue].get("DelaySeconds", 0)
        if not sqs._queues[sqs._queue_name_to_url[queue]]["messages"]:
            return  # This reads the store directly, because it runs some hundred times in each run.
        while messages := self.world.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                later = RECHECK_SECONDS if json.loads(message["Body"]).get("rechecks") else delay
                self.waiting[queue].append(Message(message["Body"], self.now + later))
            entries = [{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
            self.world.sqs.delete_message_batch(QueueUrl=url, Entries=entries)


@cache
def resources(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """The template's resources of a type. They are resolved only once."""
    return template.resources(kind)


@cache
def handler_module(function: str) -> ModuleType:
    """The module functions/NAME/app.py, loaded once. `Functions.cold_start` sets its warm state."""
    return load_function(function)


@contextlib.contextmanager
def quiet(world: World) -> Iterator[None]:
    """Set the environment of the functions, and suppress their many thousand log lines and metrics."""
    level = logger.log_level
    logger.setLevel("CRITICAL")
    try:
        with mock.patch.dict(os.environ, {**world.environment, "POWERTOOLS_METRICS_DISABLED": "true"}):
            yield
    finally:
        logger.setLevel(level)


def _context(function: str) -> SimpleNamespace:
    return SimpleNamespace(
        function_name=function,
        memory_limit_in_mb=256,
        invoked_function_arn=f"arn:aws:lambda:us-east-1:{ACCOUNT_ID}:function:{function}",
        aws_request_id="1",
        get_remaining_time_in_millis=lambda: 120_000,
    )


def record(number: int, body: str, queue: str) -> dict[str, Any]:
    """A message as Lambda passes it to a function."""
    return {
        "messageId": str(number),
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:{ACCOUNT_ID}:{queue}",
        "awsRegion": "us-east-1",
    }


def faults_of(*operations: str) -> Iterable[Fault]:
    """Every fault that can happen to a call of one of these operations."""
    for operation in operations:
        for code, status in (
            ("Throttling", 400),
            ("ServiceFailure", 500),
            ("ServiceUnavailable", 503),
            ("ConcurrentModification", 409),
            ("AccessDenied", 403),
        ):
            for times in (1, 3):
                yield Fault("failing", operation, (("code", code), ("status", status), ("times", times)))
        for how in (Loss.RESET, Loss.TIMEOUT):
            for takes_effect in (True, False):
                for times in (1, 3):
                    yield Fault(
                        "losing", operation, (("how", how), ("takes_effect", takes_effect), ("times", times))
                    )  # fmt: skip
        for takes_effect in (True, False):
            for after in (0, 1):
                yield Fault("dying", operation, (("takes_effect", takes_effect), ("after", after)))
        if operation in {"PutEvents", "SendMessageBatch", "BatchWriteItem"}:
            yield Fault("partly", operation, (("times", 1),))
            yield Fault("partly", operation, (("times", 3), ("entries", 9)))

"""The time that CloudTrail takes to deliver an event, by a virtual clock, and functions that run in this process.

MiniStack and moto send no events of CloudTrail, so they have no delay, and MiniStack runs each function in a process of
its own. Without a delay, the local AWS delivers an event before the call returns. With one, an event waits until a test
delivers it, so that no test sleeps.

CloudTrail promises no time for the delivery to EventBridge: "typically within five minutes" is about its event history
(https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html).
A rule invokes a function of this process only when the test asks for it, because a handler calls AWS and must not run
while AWS is answering another call.
"""

from __future__ import annotations

import collections
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rolewarden_local.emulated._ministack import eventbridge, lambda_svc
from rolewarden_local.emulated.cloudtrail import Event
from rolewarden_local.emulated.patches import Patch


@dataclass
class Delivery:
    """The events that CloudTrail has recorded and not yet delivered, and the invocations that wait for a test.

    - `clock`: the virtual time in seconds of the epoch.
    - `delay`: the seconds from a call to the delivery of its event; None for a delivery that is never late.
    - `handlers`: the functions of this process, by their ARNs.
    """

    clock: Callable[[], float] = time.time
    delay: Callable[[Event], float] | None = None
    handlers: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    held: list[tuple[float, Event]] = field(default_factory=list)
    invocations: collections.deque[tuple[str, str]] = field(default_factory=collections.deque)

    def holds(self, event: Event) -> bool:
        """Keep an event that is delivered later. Gives whether it is."""
        if self.delay is None:
            return False
        self.held.append((self.clock() + self.delay(event), event))
        return True

    def due(self) -> list[Event]:
        """Take the events whose time has come, in the order of their delivery."""
        now = self.clock()
        found = sorted((each for each in self.held if each[0] <= now), key=lambda each: each[0])
        self.held = [each for each in self.held if each[0] > now]
        return [event for _, event in found]

    def forget(self) -> None:
        """Return to the real time, and forget events, functions and invocations."""
        self.clock, self.delay = time.time, None
        self.handlers.clear()
        self.held.clear()
        self.invocations.clear()


DELIVERY: Final = Delivery()


def install_delivery() -> None:
    """Give rules the virtual time, and hand the functions of this process their events. Call once a process."""
    Patch(
        eventbridge,
        "_render_input_template",
        _at_virtual_time(eventbridge._render_input_template),
        "MiniStack says that EventBridge received an event at the real time.",
    ).install()
    Patch(
        eventbridge,
        "_dispatch_to_lambda",
        _to_this_process(eventbridge._dispatch_to_lambda),
        "A function of this process runs when the test asks for it.",
    ).install()


def is_throttled(function: Mapping[str, Any]) -> bool:
    """Whether the reserved concurrency of a function is zero, so that Lambda runs no copy of it."""
    reserved = function.get("concurrency")
    reserved = reserved.get("ReservedConcurrentExecutions") if isinstance(reserved, Mapping) else reserved
    return reserved is not None and int(reserved) == 0


def _at_virtual_time(original: Callable[..., str]) -> Callable[..., str]:
    def render(template: str, replacements: Mapping[str, Any]) -> str:
        now = datetime.fromtimestamp(DELIVERY.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return original(template, {**replacements, "aws.events.event.ingestion-time": now})

    return render


def _to_this_process(original: Callable[[str, str], None]) -> Callable[[str, str], None]:
    def invoke(arn: str, payload: str) -> None:
        if arn not in DELIVERY.handlers:
            original(arn, payload)
            return
        function, _, _ = lambda_svc._get_func_record_for_ref(arn)
        # Lambda keeps the event of a throttled function for six hours, which is longer than a test waits.
        if function is None or not is_throttled(function):
            DELIVERY.invocations.append((arn, payload))

    return invoke


def run_next() -> bool:
    """Run the next waiting invocation of a function of this process. Gives whether one was waiting."""
    if not DELIVERY.invocations:
        return False
    arn, payload = DELIVERY.invocations.popleft()
    DELIVERY.handlers[arn](json.loads(payload))
    return True

"""The calls by which sweeps read unchanged subjects again, over one day at each interval.

It runs only Rolewarden, in this process and with a virtual clock, because a day has up to 96 sweeps. Nothing changes in
the account, so all calls beyond those of a sweep without the rotation belong to it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable

import boto3
from figures import Gathered
from rolewarden.aws import Aws
from rolewarden.clock import Clock
from rolewarden.rotation import DAY_SECONDS
from rolewarden.runtime import Runtime
from rolewarden.settings import SweepSettings
from rolewarden.sweep import Sweeper
from rolewarden_local.aws import REGION
from stand import OURS, Stand

PROFILES = 100
INTERVALS = {"15m": 900, "1h": 3600, "6h": 6 * 3600, "12h": 12 * 3600, "1d": DAY_SECONDS}
"""The values of SweepInterval, with their seconds."""

DESCRIBES = ("DescribeDomain", "DescribeUserProfile")


def rotation(stand: Stand, gathered: Gathered, save: Callable[[], None], _rounds: int) -> None:
    """Measure the sweeps of a day for each interval."""
    people = stand.fill(2 * PROFILES)
    stand.bind(people)
    stand.guard(people)
    began = time.time()
    for name, seconds in INTERVALS.items():
        case, day = f"{PROFILES} unchanged user profiles, SweepInterval {name}", Counter[str]()
        for number in range(1 + DAY_SECONDS // seconds):
            calls = _calls_of_sweep(stand, began + number * seconds, seconds)
            if number == 0:
                continue  # The first sweep binds the domains.
            day += calls
            gathered.add(case, "subjects read again in a sweep", "calls", OURS, sum(calls[each] for each in DESCRIBES))
            gathered.add(case, "calls of a sweep", "calls", OURS, calls.total())
        gathered.add(case, "subjects read again in a day", "calls", OURS, sum(day[each] for each in DESCRIBES))
        save()


def _calls_of_sweep(stand: Stand, at: float, seconds: int) -> Counter[str]:
    """The calls of a sweep that begins at `at`, by operation, without those with which Lambda polls."""
    settings = SweepSettings.read({**stand.environment, "SWEEP_SECONDS": str(seconds)})
    sweeper = Sweeper.of(Runtime(settings, Aws(), Clock(now=lambda: at)), settings)
    mark = stand.aws.mark()
    sweeper.start()
    sqs = boto3.client("sqs", region_name=REGION)
    queue = settings.sweep_queue_url
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            sweeper.handle_message(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    operations = (call.operation for call in stand.aws.calls(mark))
    return Counter(each for each in operations if each not in {"ReceiveMessage", "DeleteMessage"})

"""Answers to CloudFormation's custom resource requests.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-responses.html
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from rolewarden.errors import RetryLater
from rolewarden.record import logger

IN_TIME = 5.0
"""Seconds before a function's end at which CloudFormation is answered, whatever the work has come to."""

SOON = 2.0
"""Seconds that one try to answer may take: at the end there is time for two."""

TRIES = 2


def is_request(event: Mapping[str, Any]) -> bool:
    """Whether `event` waits for an answer at its ResponseURL."""
    return "RequestType" in event and "ResponseURL" in event


def answered(
    event: Mapping[str, Any],
    work: Callable[[], dict[str, Any]],
    *,
    seconds_left: float,
    try_again: bool = False,
) -> dict[str, Any]:
    """Do `work` for a request and tell CloudFormation how it went, also when it raises or takes too long.

    With `try_again` a RetryLater is raised and not answered: Lambda brings the request once more.
    """
    answer = _Answer(event)

    def ran_out() -> None:
        try:
            answer.send("the function's time ran out")
        except OSError:
            # Should the work end in the seconds that are left, it is answered then.
            logger.exception("CloudFormation could not be answered")

    timer = threading.Timer(max(0.0, seconds_left - IN_TIME), ran_out)
    timer.daemon = True
    timer.start()
    result: dict[str, Any] = {}
    reason = ""
    try:
        result = work()
    except RetryLater:
        if try_again:
            raise
        logger.exception("a deployment's request failed")
        reason = "AWS could not do it now: deploy again"
    except Exception as error:  # CloudFormation would wait an hour for an answer that never came
        logger.exception("a deployment's request failed")
        reason = f"{type(error).__name__}: {error}"
    finally:
        timer.cancel()
    return {**result, "status": answer.send(reason)}


class _Answer:
    """One answer to one request: whoever comes first sends it."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._event = event
        self._lock = threading.Lock()
        self._status = ""

    def send(self, reason: str) -> str:
        """SUCCESS, or FAILED where there is a reason; gives what was sent, now or before."""
        with self._lock:
            if self._status:
                return self._status
            status = "FAILED" if reason else "SUCCESS"
            body = {
                "Status": status,
                "Reason": reason[:1000],
                # There is one such resource a stack, and its id never changes: a new id would make CloudFormation
                # delete the old.
                "PhysicalResourceId": self._event.get("PhysicalResourceId")
                or f"rolewarden-{self._event['LogicalResourceId'].lower()}",
                "StackId": self._event["StackId"],
                "RequestId": self._event["RequestId"],
                "LogicalResourceId": self._event["LogicalResourceId"],
            }
            request = urllib.request.Request(  # noqa: S310 - the URL is CloudFormation's
                self._event["ResponseURL"], data=json.dumps(body).encode(), method="PUT", headers={"Content-Type": ""}
            )
            self._put(request)
            # Only now: an answer that did not get through is left to whoever comes next.
            self._status = status
            return status

    @staticmethod
    def _put(request: urllib.request.Request) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=SOON):  # noqa: S310
                    return
            except OSError:
                if not tries_left:
                    raise

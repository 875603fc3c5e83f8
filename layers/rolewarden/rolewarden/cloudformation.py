"""Answers to CloudFormation's custom resource requests.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-responses.html
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from rolewarden.calls import ReadsStacks
from rolewarden.errors import RetryLater, RolewardenError, SettingsError
from rolewarden.record import logger

IN_TIME = 5.0
"""Seconds before a function's end at which CloudFormation is answered, whatever the work has come to."""

SOON = 2.0
"""Seconds that one try to answer may take: at the end there is time for two."""

TRIES = 2


DELETING = frozenset({"DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"})
"""Statuses in which CloudFormation deletes the stack, or takes back its creation."""

_IN_OPERATION = "_IN_PROGRESS"
"""The end of each status that a stack has while CloudFormation works on it."""

_DNS_SUFFIXES = {"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}


class ForgedRequestError(RolewardenError):
    """A custom-resource request that cannot come from the stack's own CloudFormation; the message says why."""


class OwnStack(NamedTuple):
    """The stack that this function belongs to, as the function's environment names it.

    `endpoint` is the URL of the local AWS that receives every call, empty on AWS.
    """

    id: str
    removes: bool
    endpoint: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> OwnStack:
        """Read the stack from environment variables. Raises SettingsError."""
        if not environment.get("STACK_ID"):
            raise SettingsError("the environment variable STACK_ID is not set: template.yaml sets it")
        return cls(
            environment["STACK_ID"], environment.get("ON_DELETE") == "remove", environment.get("AWS_ENDPOINT_URL", "")
        )

    def verify(self, event: Mapping[str, Any], aws: ReadsStacks) -> None:
        """Check that a request names this stack and an address of CloudFormation. Raises ForgedRequestError."""
        if event.get("StackId") != self.id:
            raise ForgedRequestError("the request names another stack")
        if not all(isinstance(event.get(key), str) for key in ("RequestType", "RequestId", "LogicalResourceId")):
            raise ForgedRequestError("the request lacks a field that CloudFormation always sends")
        if not self._is_answer_address(event.get("ResponseURL"), aws.region, aws.partition):
            raise ForgedRequestError("the ResponseURL is no address of CloudFormation")

    def need_deployment(self, aws: ReadsStacks) -> None:
        """Check that CloudFormation creates or updates the stack. Raises ForgedRequestError and RetryLater."""
        status = aws.stack_status(self.id)
        if status in DELETING or not status.endswith(_IN_OPERATION):
            raise ForgedRequestError(f"it asks for a deployment, and the stack is in {status}")

    def need_deletion(self, aws: ReadsStacks) -> None:
        """Check that CloudFormation deletes the stack. Raises ForgedRequestError and RetryLater."""
        status = aws.stack_status(self.id)
        if status not in DELETING:
            raise ForgedRequestError(f"it asks to remove all guardrails, and the stack is in {status}")

    def _is_answer_address(self, url: object, region: str, partition: str) -> bool:
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            if self.endpoint:
                local = urlsplit(self.endpoint)
                return (parts.scheme, parts.netloc) == (local.scheme, local.netloc)
            host, port, user = parts.hostname or "", parts.port, parts.username
        except ValueError:
            return False
        suffix = _DNS_SUFFIXES.get(partition, "amazonaws.com")
        # The whole bucket name counts: everyone can create a bucket that only begins like CloudFormation's.
        buckets = [f"cloudformation-custom-resource-response-{name}" for name in (region.replace("-", ""), region)]
        places = (f"s3.{suffix}", f"s3.{region}.{suffix}", f"s3-{region}.{suffix}", f"s3.dualstack.{region}.{suffix}")
        hosts = {f"{bucket}.{place}" for bucket in buckets for place in places}
        return parts.scheme == "https" and host in hosts and port in {None, 443} and not user


def is_request(event: Mapping[str, Any]) -> bool:
    """Whether `event` waits for an answer at its ResponseURL."""
    return "RequestType" in event and "ResponseURL" in event


def answer_request(
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

    def answer_timeout() -> None:
        try:
            answer.send("the function's time ran out")
        except OSError:
            # Should the work end in the seconds that are left, it is answered then.
            logger.exception("CloudFormation could not be answered")

    timer = threading.Timer(max(0.0, seconds_left - IN_TIME), answer_timeout)
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
            request = urllib.request.Request(  # noqa: S310 - `OwnStack.verify` has checked the URL
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

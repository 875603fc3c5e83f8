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
from rolewarden.plaintext import visible_parts
from rolewarden.record import logger

IN_TIME = 5.0
"""Seconds before the function's timeout at which it answers CloudFormation, even if its work has not ended."""

SOON = 2.0
"""Seconds after which one attempt to answer times out, so that two attempts fit into IN_TIME."""

TRIES = 2
"""Attempts to send an answer."""


LONGEST_REASON = 1_000
"""The greatest number of bytes of a reason. CloudFormation accepts an answer of 4,096 bytes:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html"""

ROLLS_BACK_CREATION = "ROLLBACK_IN_PROGRESS"
"""The status of a stack whose creation has failed, while CloudFormation deletes what it has created."""

DELETING = frozenset({"DELETE_IN_PROGRESS", ROLLS_BACK_CREATION})
"""Statuses in which CloudFormation deletes the stack, or rolls back its creation."""

_IN_OPERATION = "_IN_PROGRESS"
"""The end of each status that a stack has while CloudFormation works on it."""

_DNS_SUFFIXES = {"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}


class ForgedRequestError(RolewardenError):
    """A custom-resource request that cannot come from the stack's own CloudFormation; the message says why."""


class OwnStack(NamedTuple):
    """The stack that this function belongs to, as the function's environment variables name it.

    - `removes`: whether the deletion of the stack removes all guardrails (`OnDelete: remove`).
    - `endpoint`: the URL of the local AWS, which receives every call. Empty on AWS.
    """

    id: str
    removes: bool
    endpoint: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> OwnStack:
        """Read the stack from environment variables. Raises SettingsError."""
        if not environment.get("STACK_ID"):
            raise SettingsError("the environment variable STACK_ID is not set: deploy template.yaml, which sets it")
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
            raise ForgedRequestError("the ResponseURL is not an address of CloudFormation")

    def need_deployment(self, aws: ReadsStacks) -> None:
        """Check that CloudFormation creates or updates the stack. Raises ForgedRequestError and RetryLater."""
        status = aws.stack_status(self.id)
        if status in DELETING or not status.endswith(_IN_OPERATION):
            raise ForgedRequestError(f"the request asks for a deployment, but the status of the stack is {status}")

    def need_deletion(self, aws: ReadsStacks) -> None:
        """Check that CloudFormation deletes the stack. Raises ForgedRequestError and RetryLater."""
        status = aws.stack_status(self.id)
        if status not in DELETING:
            raise ForgedRequestError(
                f"the request asks to remove all guardrails, but the status of the stack is {status}"
            )

    def failed_creation(self, aws: ReadsStacks) -> float:
        """The start of the creation of the stack if CloudFormation rolls it back; otherwise 0. Raises RetryLater."""
        return aws.stack_created(self.id) if aws.stack_status(self.id) == ROLLS_BACK_CREATION else 0.0

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
        # The whole bucket name must match, because anyone can create a bucket whose name begins like CloudFormation's.
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
    """Do `work` for a request and send CloudFormation the result, even if `work` raises or takes too long.

    With `try_again`, a RetryLater is raised and not answered, because Lambda then delivers the request again.
    """
    answer = _Answer(event)

    def answer_timeout() -> None:
        try:
            answer.send("the function's time ran out: deploy again")
        except OSError:
            # If the work ends in the remaining seconds, its result is sent then.
            logger.exception("the answer to CloudFormation could not be sent")

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
        reason = "AWS could not do the work now: deploy again"
    except Exception as error:  # without an answer, CloudFormation waits until ServiceTimeout
        logger.exception("a deployment's request failed")
        reason = f"{type(error).__name__}: {error}"
    finally:
        timer.cancel()
    return {**result, "status": answer.send(reason, result.get("data"))}


def _short(reason: str) -> str:
    """The beginning of a reason, LONGEST_REASON bytes at most."""
    return str(visible_parts(reason, lines=True)).encode("utf-8", "replace")[:LONGEST_REASON].decode("utf-8", "ignore")


class _Answer:
    """The single answer to a request, sent by the work or by the timer, whichever is first."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._event = event
        self._lock = threading.Lock()
        self._status = ""

    def send(self, reason: str, data: Mapping[str, str] | None = None) -> str:
        """Send SUCCESS, or FAILED with `reason` if it is not empty, and return the status that was sent.

        `data` has the attributes of the resource that a template can use, by name.

        If an answer was sent before, send nothing and return its status.
        """
        with self._lock:
            if self._status:
                return self._status
            status = "FAILED" if reason else "SUCCESS"
            body = {
                "Status": status,
                "Reason": _short(reason),
                # The stack has one resource of this kind. Its ID never changes, because CloudFormation would answer a
                # new ID with a Delete request for the old one.
                "PhysicalResourceId": self._event.get("PhysicalResourceId")
                or f"rolewarden-{self._event['LogicalResourceId'].lower()}",
                "StackId": self._event["StackId"],
                "RequestId": self._event["RequestId"],
                "LogicalResourceId": self._event["LogicalResourceId"],
                **({"Data": dict(data)} if data else {}),
            }
            request = urllib.request.Request(  # noqa: S310 - `OwnStack.verify` has checked the URL
                self._event["ResponseURL"],
                data=json.dumps(body, ensure_ascii=False).encode(),
                method="PUT",
                headers={"Content-Type": ""},
            )
            self._put(request)
            # The status is set after the answer was sent, so that a later call tries again if this one failed.
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

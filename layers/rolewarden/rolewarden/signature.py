"""Signs Rolewarden's calls to IAM: CloudTrail records the correlation ID of the decision with each call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

SIGNATURE = "rolewarden/"
"""The text before the correlation ID in the user agent of each call that changes IAM."""

_correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")


@contextmanager
def correlated(correlation_id: str) -> Iterator[None]:
    """Send `correlation_id` with each call to IAM inside the block."""
    before = _correlation_id.set(correlation_id)
    try:
        yield
    finally:
        _correlation_id.reset(before)


def sign(request: AWSPreparedRequest, **_: Any) -> None:
    """Add the correlation ID to the user agent, which CloudTrail records. The retries of botocore have the same ID.

    botocore builds the header again for each attempt, so this runs just before the request is sent. The signature does
    not cover the user agent.
    """
    if correlation_id := _correlation_id.get():
        request.headers["User-Agent"] = f"{request.headers.get('User-Agent', '')} {SIGNATURE}{correlation_id}"

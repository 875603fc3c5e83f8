"""Turns the errors of AWS into Rolewarden's own. Only `translated` decides which error becomes which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ParamValidationError

from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.verdicts import Reason

_RETRYABLE = frozenset(
    {
        "ConcurrentModification",
        "ConcurrentModificationException",
        "EntityTemporarilyUnmodifiable",
        "ExpiredToken",
        "ExpiredTokenException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        # IAM and similar services return this code if they do not know new credentials yet, such as a new function's.
        "InvalidClientTokenId",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "ServiceFailure",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "UnrecognizedClientException",
    }
)
_TERMINAL = {
    "AccessDenied": Reason.ACCESS_DENIED,
    "AccessDeniedException": Reason.ACCESS_DENIED,
    "UnauthorizedOperation": Reason.ACCESS_DENIED,
    "LimitExceeded": Reason.QUOTA,
    "UnmodifiableEntity": Reason.PROTECTED,
    "PolicyNotAttachable": Reason.POLICY_MISSING,
}
_GONE = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchEntity",
        "QueueDoesNotExist",
        "ResourceNotFound",
        "ResourceNotFoundException",
    }
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of botocore inside the block into Refused, Gone or RetryLater.

    Error codes: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html and those of each API.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        message = f"{error.operation_name}: {code}: {error.response.get('Error', {}).get('Message', '')}"
        if code in _GONE:
            raise Gone(message) from error
        if code in _TERMINAL:
            raise Refused(_TERMINAL[code], message) from error
        if code in _RETRYABLE or status == 429 or status >= 500:
            raise RetryLater(message) from error
        raise Refused(Reason.REFUSED, message) from error
    except ParamValidationError as error:
        raise Refused(Reason.REFUSED, str(error)) from error
    except BotoCoreError as error:
        raise RetryLater(str(error)) from error


@contextmanager
def reachable(region: str) -> Iterator[None]:
    """Turn a failed connection to an endpoint into Refused.

    The failure may be permanent, for example if the region has no SageMaker, and it must not stop the rest of a sweep.
    """
    try:
        yield
    except EndpointConnectionError as error:
        raise Refused(Reason.UNREACHABLE, f"SageMaker in {region}: {error}") from error


@contextmanager
def of_our_own() -> Iterator[None]:
    """Do as `translated`, but raise only RetryLater: for Rolewarden's own tables, queues and so on.

    If Rolewarden cannot read its own table, it cannot conclude anything about a role.
    """
    try:
        with translated():
            yield
    except Refused as refused:
        raise RetryLater(str(refused)) from refused

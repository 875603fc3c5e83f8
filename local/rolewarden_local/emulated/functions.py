"""Lambda functions that call AWS as their role, with retries for rules, and that end with the server.

MiniStack runs a function as the account's root user, so events do not name the function's role. It invokes the target
of a rule once and drops its failure. AWS invokes the target asynchronously, with retries and an on-failure destination.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from rolewarden_local.emulated._ministack import REGION, eventbridge, iam, lambda_runtime, lambda_svc, responses, sts
from rolewarden_local.emulated.patches import Patch

COPIES: Final = 4
"""The maximum number of copies of all functions that run at once for events from rules.

Lambda queues such events and starts as many copies of a function as it needs. Here every copy is a Python process, so
a burst of events waits for a few copies.
"""

_copies: Final = threading.BoundedSemaphore(COPIES)
_RETURN_TO_POOL: Final = lambda_runtime.release_worker.__name__
_replaced: Final[set[Any]] = set()
"""The processes whose function was updated during an invocation."""
_waits_for_a_copy: Final = contextvars.ContextVar("waits_for_a_copy", default=False)


def install_functions() -> None:
    """Replace MiniStack's credentials, its invocation of targets, and its cleanup of workers."""
    for module in (lambda_runtime, lambda_svc):
        Patch(
            module,
            "execution_credentials",
            execution_credentials,
            "Without AUTH, MiniStack lets functions call as the account's root user, and no event names their role.",
        ).install()
    Patch(
        eventbridge,
        "_dispatch_to_lambda",
        invoke_asynchronously,
        "MiniStack invokes a rule's function once and drops its failure. AWS retries it, and sends a failed event to "
        "the function's on-failure destination.",
    ).install()
    Patch(
        lambda_svc,
        "_execute_function",
        _queued(lambda_svc._execute_function),
        "Every copy of a function is a process, so a burst of events waits for a few copies.",
    ).install()
    for module in (lambda_runtime, lambda_svc):
        Patch(
            module,
            "invalidate_worker",
            _ending_later(lambda_runtime.invalidate_worker),
            "MiniStack ends the processes of a function that is updated, and with them the invocations in progress. "
            "In AWS, these complete with the old code and settings.",
        ).install()
        Patch(
            module,
            _RETURN_TO_POOL,
            _ending(lambda_runtime.release_worker),
            "A process that was replaced during an invocation ends after it.",
        ).install()
    Patch(
        lambda_runtime,
        "_collect",
        _closing_pipes(lambda_runtime._collect),
        "MiniStack leaves the pipes of an ended worker to the garbage collector, which warns of each.",
    ).install()


def end_functions(patience: float = 5.0) -> None:
    """End the functions' processes, including those that are starting, and wait for them up to `patience` seconds."""
    deadline = time.monotonic() + patience
    lambda_runtime.reset()
    lambda_runtime.kill_workers(_replaced)
    _replaced.clear()
    while lambda_svc.executions_in_flight()[0] and time.monotonic() < deadline:
        time.sleep(0.02)
        lambda_runtime.reset()


def execution_credentials(config: Mapping[str, Any]) -> dict[str, str]:
    """Make a session of a function's execution role in STS, and return it as environment variables."""
    account, _ = lambda_runtime._account_region_from_function_config(config)
    role, session = config["Role"].rsplit("/", 1)[-1], config["FunctionName"][:64]
    with responses.request_scope(account, REGION):
        role_id = sts._role_id(config["Role"])
        access_key = iam._gen_session_access_key()
        secret, token = iam._gen_secret(), iam._gen_session_token()
    sts.register_session(
        access_key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
            "UserId": f"{role_id}:{session}",
            "SecretAccessKey": secret,
            "SessionToken": token,
            "AccountId": account,
            "PrincipalType": "AssumedRole",
            # https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
            "SourceFunctionArn": config["FunctionArn"],
        },
    )
    return {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}


def invoke_asynchronously(arn: str, payload: str) -> None:
    """Invoke a function as EventBridge does: with retries and an on-failure destination."""
    function, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if function and config:
        record = lambda_svc._execution_record_for_config(function, config)
        token = _waits_for_a_copy.set(True)  # invoke_async_with_retry passes its context to the thread that it starts.
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))
        _waits_for_a_copy.reset(token)


def _queued(execute: Callable[..., Any]) -> Callable[..., Any]:
    def execute_in_turn(function: Any, event: Any) -> Any:
        if not _waits_for_a_copy.get():
            return execute(function, event)
        token = _waits_for_a_copy.set(
            False
        )  # MiniStack calls this function a second time to change the scope to the account.
        try:
            with _copies:
                return execute(function, event)
        finally:
            _waits_for_a_copy.reset(token)

    return execute_in_turn


def _ending_later(invalidate: Callable[..., None]) -> Callable[..., None]:
    """Take the processes with an invocation in progress out of the pool before MiniStack ends the others.

    If the function is deleted, all its processes end.
    """

    def end_idle(name: str, qualifier: str | None = None, **scope: str | None) -> None:
        with lambda_runtime._lock:
            for key, workers in lambda_runtime._workers.items():
                account, region, named, _ = key.split(":")
                is_updated = named == name and (account, region, name) in lambda_svc._functions._data
                busy = [each for each in workers if each.in_use and _runs(each)] if is_updated else []
                for worker in busy:
                    workers.remove(worker)
                    _replaced.add(worker)
        invalidate(name, qualifier, **scope)

    return end_idle


def _runs(worker: Any) -> bool:
    """Whether the worker's process has not ended. It has none yet while it starts for its first invocation."""
    return worker._proc is None or worker._proc.poll() is None


def _ending(release: Callable[[Any], None]) -> Callable[[Any], None]:
    def end_replaced(worker: Any) -> None:
        release(worker)
        with lambda_runtime._lock:
            ended = worker in _replaced
            _replaced.discard(worker)
        if ended:
            lambda_runtime.kill_workers([worker])

    return end_replaced


def _closing_pipes(collect: Callable[[Any, float], None]) -> Callable[[Any, float], None]:
    def collect_and_close(process: Any, deadline: float) -> None:
        collect(process, deadline)
        for pipe in (process.stdin, process.stdout, process.stderr) if process else ():
            with contextlib.suppress(OSError, ValueError):
                pipe.close()

    return collect_and_close

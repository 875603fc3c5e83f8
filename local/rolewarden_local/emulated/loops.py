"""Lambda's detection of recursive loops: the number of invocations of a function in one chain of requests.

After about 16 invocations Lambda stops the next one, unless the function's RecursiveLoop is Allow. An SQS message then
goes to the dead-letter queue of its queue. Lambda counts in the X-Amzn-Trace-Id header, which every AWS SDK passes on
and SQS stores with the message. SQS, SNS, S3 and direct invocations belong to a chain, and EventBridge does not:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
AWS does not document how Lambda counts a batch of messages from several chains. Here the longest chain counts.
MiniStack counts only direct invocations.
"""

from __future__ import annotations

import contextvars
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from rolewarden_local.emulated._ministack import lambda_svc, provisioners, sqs
from rolewarden_local.emulated.patches import Patch

LONGEST_CHAIN: Final = 16
"""The maximum number of invocations of a function in one chain of requests."""

_LINEAGE: Final = re.compile(r"Lineage=([0-9a-f:|]+)")
_ROOT: Final = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"

_sent_with: Final = contextvars.ContextVar("sent_with", default="")
"""The trace header of the current request."""

_chain: Final = contextvars.ContextVar[Mapping[str, int] | None]("chain", default=None)
"""The number of invocations of each function in the current chain, by `_key`."""


class Chains:
    """The chains of this process. `longest` has the number of invocations of each function in its longest chain."""

    def __init__(self) -> None:
        self.longest: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, function: str, invocations: int) -> None:
        """Record the number of invocations of `function` in a chain."""
        with self._lock:
            self.longest[function] = max(invocations, self.longest.get(function, 0))

    def forget(self) -> None:
        """Delete every chain."""
        with self._lock:
            self.longest.clear()


CHAINS: Final = Chains()


def install_loops() -> None:
    """Count the invocations of each chain, and stop a chain that is too long. Call once a process."""
    why = "MiniStack counts only direct invocations, so a function could send to its own queue forever."
    Patch(lambda_svc, "_xray_trace_id_for_invocation", _trace_of, why).install()
    Patch(lambda_svc, "_run_sqs_batch", _unless_it_loops(lambda_svc._run_sqs_batch), why).install()
    Patch(sqs, "_build_send_sys_attrs", _with_trace(sqs._build_send_sys_attrs), why).install()
    functions = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, update = functions["create"], functions["update"]
    functions["create"] = lambda logical, props, stack: _configured(props, create(logical, props, stack))
    functions["update"] = lambda name, old, new, stack, *rest: _configured(new, update(name, old, new, stack, *rest))


def take_trace(headers: Mapping[str, str]) -> None:
    """Store the trace header of a request, for the messages that it sends."""
    _sent_with.set(headers.get("x-amzn-trace-id", ""))


def trace(function_arn: str, invocations: int) -> str:
    """The trace header of a chain with this number of invocations of one function."""
    return _header({_key(function_arn): invocations})


def _header(chain: Mapping[str, int]) -> str:
    return f"{_ROOT};Lineage={'|'.join(f'{key}:{count}' for key, count in sorted(chain.items()))}"


def chain_of(headers: Iterable[str]) -> dict[str, int]:
    """The chain in these headers. Of several chains, the longest one for each function."""
    merged: dict[str, int] = {}
    for header in headers:
        if found := _LINEAGE.search(header):
            for part in found[1].split("|"):
                key, _, count = part.partition(":")
                merged[key] = max(int(count), merged.get(key, 0))
    return merged


def _key(function: str) -> str:
    return f"{zlib.crc32(function.encode()):08x}"


def _configured(props: Mapping[str, Any], made: tuple[str, Any]) -> tuple[str, Any]:
    lambda_svc._functions[made[0]]["recursive_loop"] = props.get("RecursiveLoop", "Terminate")
    return made


def _trace_of(config: Mapping[str, Any], inbound: str | None = None) -> str:
    """The trace header that an invocation passes to its function."""
    chain = _chain.get()
    return inbound or _header({_key(config["FunctionArn"]): 1} if chain is None else chain)


def _with_trace(build: Callable[[float, dict[str, Any]], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def build_with_trace(now: float, given: dict[str, Any]) -> dict[str, Any]:
        kept = build(now, given)
        if sent_with := _sent_with.get():
            kept.setdefault("AWSTraceHeader", sent_with)
        return kept

    return build_with_trace


def _unless_it_loops(run: Callable[..., None]) -> Callable[..., None]:
    def run_in_chain(
        mapping: Any, function: dict[str, Any], event: dict[str, Any], batch: list[Any], url: str, queue: str
    ) -> None:
        name, arn = function["config"]["FunctionName"], function["config"]["FunctionArn"]
        chain = chain_of(record["attributes"].get("AWSTraceHeader", "") for record in event["Records"])
        chain[_key(arn)] = chain.get(_key(arn), 0) + 1
        if chain[_key(arn)] > LONGEST_CHAIN and function.get("recursive_loop", "Terminate") != "Allow":
            _give_up(url, batch)
            return
        CHAINS.note(name, chain[_key(arn)])
        token = _chain.set(chain)
        try:
            run(mapping, function, event, batch, url, queue)
        finally:
            _chain.reset(token)

    return run_in_chain


def _give_up(url: str, batch: Iterable[dict[str, Any]]) -> None:
    """Move messages to the dead-letter queue of their queue, although their receive count is below the limit."""
    for message in batch:
        message["receive_count"], message["visible_at"] = 1_000_000, 0
    with sqs._queues_lock:
        queue = sqs._get_q(url)
        sqs._dlq_sweep(queue)
        given_up = {message["id"] for message in batch}
        queue["messages"] = [message for message in queue["messages"] if message["id"] not in given_up]

"""The endpoint: MiniStack and moto's SageMaker as one AWS, in process or over HTTP."""

import asyncio
import collections
import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from hypercorn.asyncio import serve
from hypercorn.config import Config

from rolewarden_local.emulated import (
    _ministack,
    access,
    alarms,
    app_images,
    apps,
    authorization,
    buses,
    cloudformation,
    cloudtrail,
    constraints,
    delivery,
    execution,
    faults,
    forks,
    functions,
    iam,
    layers,
    loops,
    managed,
    order,
    organization,
    patches,
    queue_policies,
    regions,
    sagemaker,
    saved,
    service_sessions,
    simulate,
    stack_calls,
    stacksets,
    stale,
    subscriptions,
    tables,
    tagging,
    targets,
    trail,
    transport,
    turns,
)
from rolewarden_local.emulated._ministack import (
    ACCOUNT_ID,
    REGION,
    app,
    eventbridge,
    responses,
)
from rolewarden_local.emulated.faults import Answer, Killed, Loss

__all__ = ["ACCOUNT_ID", "HEALTH_PATH", "REGION", "Call", "Killed", "LocalAws", "Loss"]

HEALTH_PATH: Final = "/_ministack/health"
EVENTS_KEPT: Final = 10_000
CALLS_KEPT: Final = 100_000

Dispatch = Callable[..., Awaitable[Answer]]
T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One call that reached the endpoint. `at` is the time of the answer, in seconds of the monotonic clock."""

    service: str
    operation: str
    caller: str
    account: str
    region: str
    status: int
    at: float


class LocalAws:
    """A local AWS, account 111122223333, for any boto3 client.

    In process, without a socket, for tests and benchmarks::

        aws = LocalAws.start()
        with aws.connected():
            boto3.client("iam").create_role(...)
        aws.events[-1]["detail"]["eventName"]  # "CreateRole"

    Over HTTP, for `sam deploy`, the CLI and deployed functions::

        with aws.serving() as url:
            boto3.client("iam", endpoint_url=url)

    MiniStack keeps its state in module globals. Each process therefore has one local AWS, and `start` always returns
    it. To reach another account, use its ID as the access key, or assume a role in it.
    """

    _instance: ClassVar["LocalAws | None"] = None

    def __init__(self) -> None:
        self.events: collections.deque[cloudtrail.Event] = collections.deque(maxlen=EVENTS_KEPT)
        self._calls: collections.deque[Call] = collections.deque(maxlen=CALLS_KEPT)
        self._seen = 0
        self._faults = faults.Faults()
        self._authorization: authorization.Authorization | None = None
        self._loop = turns.Loop()
        main_loop = self._loop.asyncio
        patches.Patch(app, "_MAIN_LOOP", main_loop, "MiniStack's own threads pass their calls to that loop.").install()
        _install(self)

    @classmethod
    def start(cls) -> "LocalAws":
        """Return the local AWS of this process. The first call makes it."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def reset(self) -> None:
        """Delete the resources of every account, end the functions' processes, and clear events, calls and faults."""
        self._restart(saved.reset_all)

    def saved(self) -> Callable[[], None]:
        """Save every resource, and return a function that restores them and does everything else that `reset` does.

        A restore takes a few milliseconds and making an account takes hundreds. Use this function if a test needs the
        same account thousands of times. It does not save STS sessions.
        """
        restore = self._on_the_loop(saved.saved)
        return lambda: self._restart(restore)

    def _restart(self, begin: Callable[[], None]) -> None:
        self._on_the_loop(begin)
        iam.QUOTAS.policies_per_role = iam.Quotas.policies_per_role
        order.ORDER.seed = order.Order.seed
        loops.CHAINS.forget()
        delivery.DELIVERY.forget()
        regions.ENABLED.clear()
        stack_calls.RECORDING.on = False
        self._faults.clear()
        self.events.clear()
        self._calls.clear()

    def _on_the_loop(self, do: Callable[[], T]) -> T:
        async def done() -> T:
            return do()

        return self._loop.run(done)

    @property
    def policies_per_role(self) -> int:
        """IAM's quota of managed policies attached to a role, in every account. `reset` sets it to 10 again."""
        return iam.QUOTAS.policies_per_role

    @policies_per_role.setter
    def policies_per_role(self, quota: int) -> None:
        iam.QUOTAS.policies_per_role = quota

    @property
    def answers_as_asked(self) -> bool:
        """Whether DescribeUserProfile returns a name in the caller's spelling. `reset` sets it to False again."""
        return sagemaker.ANSWERS.as_asked

    @answers_as_asked.setter
    def answers_as_asked(self, as_asked: bool) -> None:
        sagemaker.ANSWERS.as_asked = as_asked

    @property
    def creation_seed(self) -> int:
        """The seed of the order in which CloudFormation creates resources. `reset` sets it to 0 again."""
        return order.ORDER.seed

    @creation_seed.setter
    def creation_seed(self, seed: int) -> None:
        order.ORDER.seed = seed

    @property
    def longest_chains(self) -> dict[str, int]:
        """The number of invocations of each function in its longest chain of requests through queues, by its name."""
        return dict(loops.CHAINS.longest)

    def confirm_subscriptions(self) -> None:
        """Confirm every subscription to a topic, as its recipient does."""
        subscriptions.confirm_subscriptions()

    def enable_region(self, account: str, region: str) -> None:
        """Enable a region that AWS does not enable by itself; `reset` disables it again."""
        regions.ENABLED.add((account, region))

    @property
    def records_stack_calls(self) -> bool:
        """Whether CloudTrail has the calls that CloudFormation makes for resources; `reset` makes it False again."""
        return stack_calls.RECORDING.on

    @records_stack_calls.setter
    def records_stack_calls(self, on: bool) -> None:
        stack_calls.RECORDING.on = on

    def organize(
        self,
        organization_id: str,
        units: Mapping[str, set[str]],
        *,
        management: str = organization.MANAGEMENT,
        administrator: str = "",
    ) -> None:
        """Make an organization, or change the existing one.

        Before this function returns, service-managed StackSets with automatic deployment have followed the change. In
        a new organization, StackSets are not activated and have no delegated administrator. `administrator` changes
        both.

        Args:
            organization_id: The ID, such as "o-exampleorg1".
            units: The accounts of each organizational unit, by the unit's ID.
            management: The management account.
            administrator: An account that becomes a delegated administrator of StackSets. StackSets are then activated.
        """
        if organization.ORGANIZATION.id != organization_id:
            organization.reset_organization()
        made = organization.ORGANIZATION
        made.id, made.management = organization_id, management
        made.units = {name: set(accounts) for name, accounts in units.items()}
        if administrator:
            made.set_stack_sets_active()
            made.administrators[organization.STACK_SETS].add(administrator)
        organization.record_tree()
        stacksets.follow_organization()

    def lend(self, access_key: str, role: str) -> None:
        """Assign an access key to a session of `role`, as Lambda does for a function. `reset` removes it."""
        arn = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role}/{role}"
        _ministack.sts.register_session(
            access_key, {"Arn": arn, "UserId": f"AROALOCAL:{role}", "PrincipalType": "AssumedRole"}
        )

    def work_as(self, service: str, role: str, session: str) -> str:
        """Begin a session of a role (ARN) as an AWS service does, and return its access key. `reset` removes it.

        Args:
            service: The service principal, such as "lambda.amazonaws.com".
            role: The ARN of the role. It must trust the service.
            session: The name of the session.

        Raises:
            NotTrustedError: The role does not exist or does not trust the service.
        """
        return service_sessions.begin_session(service, role, session)

    def open_profile(self, url: str) -> str:
        """Open a presigned URL of a user profile, and return the access key of the session of SageMaker.

        Raises NotTrustedError.
        """
        return apps.open_profile(url)

    def mark(self) -> int:
        """A point in the log of calls, for the argument of `calls`."""
        return self._seen

    def calls(self, since: int = 0) -> list[Call]:
        """The calls after a mark, oldest first. The log keeps the last 100,000 and omits MiniStack's internal calls."""
        made = self._seen - since
        return list(self._calls)[-made:] if made else []

    @contextlib.contextmanager
    def failing(
        self,
        operation: str,
        code: str,
        message: str = "",
        *,
        status: int = 400,
        times: int = sys.maxsize,
        after: int = 0,
    ) -> Iterator[None]:
        """Answer calls of `operation` with an error while the block runs, at most `times` times.

        Args:
            operation: The API's name of the operation, such as "AttachRolePolicy".
            code: The error code, such as "Throttling". A denied call leaves an event without parameters, as in AWS.
            message: The error's text.
            status: The HTTP status. botocore itself retries a status of 500 or more, and throttling codes.
            times: The number of calls that fail before the next one succeeds.
            after: The number of calls that succeed before the first one fails.
        """
        befall = faults.error(code, message or f"{operation} fails on demand", status)
        with self._befalling(faults.Fault(operation, befall, times, after)):
            yield

    @contextlib.contextmanager
    def losing(
        self, operation: str, how: Loss, *, takes_effect: bool, times: int = sys.maxsize, after: int = 0
    ) -> Iterator[None]:
        """Leave calls of `operation` unanswered while the block runs, at most `times` times.

        Args:
            operation: The API's name of the operation, such as "AttachRolePolicy".
            how: Whether the connection is reset or the answer does not come in time. botocore itself retries both, and
                each try counts.
            takes_effect: Whether AWS carries the call out and only the answer is lost. Otherwise the call never
                arrives, and leaves no event and no entry in the log of calls.
            times: The number of calls that are lost before the next one is answered.
            after: The number of calls that are answered before the first one is lost.
        """
        with self._befalling(faults.Fault(operation, faults.loss(how, takes_effect=takes_effect), times, after)):
            yield

    @contextlib.contextmanager
    def dying(self, operation: str, *, takes_effect: bool = True, after: int = 0) -> Iterator[None]:
        """End the caller at a call of `operation`: the call raises `Killed`.

        A function that Lambda ends does not run a `finally` block. Therefore every later call also raises `Killed` and
        does nothing, until the block ends::

            with contextlib.suppress(Killed), aws.dying("AttachRolePolicy"):
                handler(event, context)

        Args:
            operation: The API's name of the operation, such as "AttachRolePolicy".
            takes_effect: Whether the caller ends right after the call took effect, or right before it.
            after: The number of calls of the operation that the caller survives.
        """
        with self._befalling(
            faults.Fault(operation, faults.loss(Loss.KILLED, takes_effect=takes_effect), 1, after, lethal=True)
        ):
            yield

    @contextlib.contextmanager
    def partly_failing(
        self,
        operation: str,
        *,
        entries: int = 1,
        code: str = "InternalFailure",
        times: int = sys.maxsize,
        after: int = 0,
    ) -> Iterator[None]:
        """Process batches of `operation` only in part while the block runs, at most `times` of them.

        Args:
            operation: "PutEvents", "SendMessageBatch" or "BatchWriteItem".
            entries: The number of entries that fail at the end of each batch. The others succeed. The answer names
                the failed ones as AWS does: FailedEntryCount and the entries' ErrorCode, Failed, or UnprocessedItems.
            code: The error code of the failed entries. UnprocessedItems does not have one.
            times: The number of batches that fail in part before the next one succeeds.
            after: The number of batches that succeed before the first one fails in part.

        Raises:
            ValueError: `operation` is another operation.
        """
        with self._befalling(faults.Fault(operation, faults.partly(operation, entries, code), times, after)):
            yield

    @contextlib.contextmanager
    def stale(
        self, within: float, *, clock: Callable[[], float], age: Callable[[str], float] | None = None
    ) -> Iterator[None]:
        """Make reads of IAM stale while the block runs, in every account. Writes act on the current state.

        Reads of roles, of managed policies and of their attachments return the state of some virtual seconds ago, but
        never a state from before the block.

        Args:
            within: The maximum age of a read, in seconds of `clock`.
            clock: The virtual time in seconds. It never runs back.
            age: The age of the current read of this operation, from 0 to `within`. Without it, every read has the
                maximum age.
        """
        with stale.seen(lambda: stale.Past(within, clock, age or (lambda _: within))):
            yield

    @contextlib.contextmanager
    def delayed(self, delay: Callable[[cloudtrail.Event], float], *, clock: Callable[[], float]) -> Iterator[None]:
        """Deliver events of CloudTrail late while the block runs, when `deliver` is called. Nothing sleeps.

        The records have the time of `clock`, and so has the ingestion time that rules pass on.

        Args:
            delay: The seconds from the call of an event to its delivery to EventBridge.
            clock: The virtual time in seconds of the epoch.
        """
        made = delivery.DELIVERY
        before = made.delay, made.clock
        made.delay, made.clock = delay, clock
        try:
            yield
        finally:
            made.delay, made.clock = before

    def deliver(self) -> int:
        """Deliver the events whose time has come, and run the functions of this process. Return the number of runs."""

        def send_due() -> None:
            for event in delivery.DELIVERY.due():
                self._send_to_rules(event)

        runs = 0
        self._on_the_loop(send_due)
        while delivery.run_next():
            runs += 1
            self._on_the_loop(send_due)
        return runs

    def next_delivery(self) -> float | None:
        """The virtual time of the next delivery of a late event; None if no event waits."""
        return min((due for due, _ in delivery.DELIVERY.held), default=None)

    def run_here(self, function: str, handler: Callable[[Any], Any]) -> None:
        """Let rules invoke `handler` in this process, in `deliver`, instead of the function with this ARN."""
        delivery.DELIVERY.handlers[function] = handler

    @contextlib.contextmanager
    def _befalling(self, fault: faults.Fault) -> Iterator[None]:
        self._faults.add(fault)
        try:
            yield
        finally:
            self._faults.remove(fault)

    @contextlib.contextmanager
    def authorizing(self, *, updates_pass_roles: bool = False) -> Iterator[authorization.Authorization]:
        """Decide every call by its caller's policies while the block runs. Yields the record of the decisions.

        With `updates_pass_roles`, UpdateDomain and UpdateUserProfile need iam:PassRole for the roles that they name.
        """
        decisions = authorization.Authorization(updates_pass_roles=updates_pass_roles)
        before, self._authorization = self._authorization, decisions
        try:
            yield self._authorization
        finally:
            self._authorization = before

    @contextlib.contextmanager
    def unrestricted(self) -> Iterator[None]:
        """Decide no call by policies while the block runs: the calls of a test itself, inside of `authorizing`."""
        before, self._authorization = self._authorization, None
        try:
            yield
        finally:
            self._authorization = before

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Connect every boto3 client of this process, old or new, to this AWS without a socket.

        If the environment has no credentials or no region, this function sets them for the block. No call reaches the
        network, and botocore retries without waiting.
        """
        with patches.environment_variables(_absent_settings()), transport.without_socket(self._send):
            yield

    @contextlib.contextmanager
    def serving(self, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
        """Serve HTTP while the block runs, and yield the endpoint's URL. Port 0 means any free port.

        For the block, AWS_ENDPOINT_URL names the endpoint. Deployed functions and new clients of this process use it.
        The functions' processes end with the block.

        Raises:
            OSError: The port is taken.
        """
        listener = socket.create_server((host, port))
        port = listener.getsockname()[1]
        url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        stop = asyncio.Event()
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.loglevel = "WARNING"
        config.keep_alive_timeout = 75
        config.graceful_timeout = config.shutdown_timeout = 1
        environment = {**_absent_settings(), "AWS_ENDPOINT_URL": url, "GATEWAY_PORT": str(port)}
        with patches.environment_variables(environment):
            _announce(str(port))
            # The functions send their answers for CloudFormation to this endpoint, under the same name.
            host_name = url.split("/")[2].rpartition(":")[0]
            patches.Patch(_ministack.custom_resource, "_HOST", host_name, _READ_AT_IMPORT).install()
            server = asyncio.run_coroutine_threadsafe(
                serve(app.app, config, shutdown_trigger=stop.wait), self._loop.asyncio
            )
            try:
                _wait_until_up(host, port, server)
                yield url
            finally:
                self._loop.asyncio.call_soon_threadsafe(stop.set)
                server.result(timeout=15)
                functions.end_functions()

    def serve_forever(
        self, host: str = "127.0.0.1", port: int = 5000, *, ready: Callable[[str], None] = lambda _: None
    ) -> None:
        """Serve until SIGTERM or SIGINT, and call `ready` with the URL once it answers. Call this from the main thread.

        Raises:
            OSError: The port is taken.
        """
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        with self.serving(host, port) as url:
            ready(url)
            ended.wait()

    def _send(self, request: AWSPreparedRequest) -> AWSResponse:
        return self._loop.run(lambda: transport.over_asgi(request))

    async def _dispatch(
        self,
        original: Dispatch,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        request_id: str,
    ) -> Answer:
        """Answer one AWS call, log it, and send its event to EventBridge."""
        service, access_key = transport.signed_by(headers)
        params = app._routing_params(method, path, headers, body, query)
        operation = transport.operation_name(
            service, method, path, app._ct_event_name(service, method, path, headers, params)
        )
        # MiniStack finds the account of an IAM user's key only if AUTH is on.
        if access_key.startswith("AKIA"):
            responses.set_request_account_id(app._request_account_scope(access_key))
        account, region = responses.get_account_id(), responses.get_region()
        loops.take_trace(headers)

        async def do(body: bytes) -> Answer:
            if access.is_void(access_key):
                message = "The security token included in the request is invalid"
                return faults.refusal(service, "InvalidClientTokenId", message, 403)
            if refusal := constraints.broken_refusal(service, operation, method, path, headers, body, params):
                return refusal
            request = authorization.Request(
                service, operation, method, path, headers, body, params, access_key, account, region, request_id
            )
            if self._authorization and (refusal := self._authorization.refusal(request)):
                return refusal
            if service == "sagemaker":
                return _sagemaker(method, path, headers, body, account)
            with authorization.made_by(self._authorization, request):
                return await original(method, path, headers, body, query, request_id)

        outcome = await self._faults.call(operation, service, body, do)
        if outcome.seen is None:
            return outcome.told
        status, answer_headers, content = outcome.seen
        told = outcome.told
        answer_headers["x-amzn-requestid"] = request_id
        if service in _ID_IN_XML:
            content = _REQUEST_ID.sub(b"<RequestId>%b</RequestId>" % request_id.encode(), content)
            told = (status, answer_headers, content) if told is outcome.seen else told
        caller = cloudtrail.identity(access_key, account)["arn"]
        self._calls.append(Call(service, operation, caller, account, region, status, time.monotonic()))
        self._seen += 1
        only_in_history = cloudtrail.is_in_history_only(service, operation)
        if only_in_history or cloudtrail.leaves_event(service, operation):
            call = cloudtrail.ApiCall(
                service,
                operation,
                account,
                region,
                access_key,
                headers,
                body,
                status,
                answer_headers,
                content,
                request_id,
                path=path,
            )
            if only_in_history:
                self.events.append(cloudtrail.event(call))
            else:
                self._emit(call)
        return told

    def _emit(self, call: cloudtrail.ApiCall) -> None:
        is_virtual = delivery.DELIVERY.delay is not None
        self.send_event(cloudtrail.event(call, delivery.DELIVERY.clock() if is_virtual else None))

    def send_event(self, event: cloudtrail.Event) -> None:
        """Keep an event of CloudTrail, and hand it to EventBridge in its account and region, perhaps later."""
        self.events.append(event)
        if trail.is_delivered(event) and not delivery.DELIVERY.holds(event):
            self._send_to_rules(event)

    def _send_to_rules(self, event: cloudtrail.Event) -> None:
        entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
        with responses.request_scope(event["account"], event["region"]):
            _, _, answer = eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
        event["id"] = json.loads(answer)["Entries"][0]["EventId"]


# The XML of IAM and STS has a request ID, and MiniStack writes its own. CloudTrail and boto3 must have the same one.
_ID_IN_XML: Final = frozenset({"iam", "sts"})
_REQUEST_ID: Final = re.compile(rb"<RequestId>[^<]*</RequestId>")

_CLIENT_ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def _absent_settings() -> dict[str, str]:
    """The settings that a boto3 client needs and the environment does not have."""
    return {name: value for name, value in _CLIENT_ENVIRONMENT.items() if name not in os.environ}


def _install(aws: LocalAws) -> None:
    """Every patch of MiniStack that this module needs; those of IAM and STS are in `iam.install_iam`."""
    sagemaker.install_sagemaker()
    iam.install_iam()
    managed.install_managed()
    simulate.install_simulate()
    stale.install_stale()
    tagging.install_tagging()
    cloudformation.install_cloudformation()
    execution.install_execution()
    organization.install_organization()
    order.install_order()
    alarms.install_alarms()
    stack_calls.install_stack_calls(aws.send_event)
    stacksets.install_stacksets(aws._loop.asyncio)
    queue_policies.install_queue_policies()
    buses.install_buses()
    targets.install_targets()
    app_images.install_app_images()
    constraints.install_constraints()
    trail.install_trail(aws.events)
    regions.install_regions()
    subscriptions.install_subscriptions()
    tables.install_tables()

    original = app._dispatch_service_request

    # Every AWS call passes here, in process or over HTTP. No other place routes, records or fails calls on demand.
    async def dispatch(*args: Any) -> Answer:
        return await aws._dispatch(original, *args)

    patches.Patch(
        app, "_dispatch_service_request", dispatch, "Calls are routed, recorded and made to fail on demand there."
    ).install()
    functions.install_functions()
    layers.install_layers()
    forks.install_forks()
    delivery.install_delivery()
    loops.install_loops()


def _sagemaker(method: str, path: str, headers: Mapping[str, str], body: bytes, account: str) -> Answer:
    url = f"http://{headers.get('host', 'localhost')}{path}"
    return sagemaker.dispatch(method, url, {**headers, "x-moto-account-id": account}, body)


_READ_AT_IMPORT: Final = "MiniStack reads the port during import, but the port is known only when it serves HTTP."


def _announce(port: str) -> None:
    """Set MiniStack's port.

    Most modules read GATEWAY_PORT when they need it. The modules here read it once, during import.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("ministack."):
            for constant in ("_PORT", "_MINISTACK_PORT", "_GATEWAY_PORT", "DEFAULT_PORT"):
                if hasattr(module, constant):
                    patches.Patch(module, constant, port, _READ_AT_IMPORT).install()
    if sqs := sys.modules.get("ministack.services.sqs"):
        patches.Patch(sqs, "_CANONICAL_NETLOC", f"{sqs.DEFAULT_HOST}:{port}", _READ_AT_IMPORT).install()


def _wait_until_up(host: str, port: int, server: Any) -> None:
    deadline = time.monotonic() + 15
    while not server.done() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(f"GET {HEALTH_PATH} HTTP/1.0\r\n\r\n".encode())
            if connection.recv(16):
                return
    server.result(timeout=0)
    raise TimeoutError(f"the local AWS does not answer on {host}:{port}")

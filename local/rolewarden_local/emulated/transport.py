"""The connection of this process's boto3 clients to MiniStack, without a socket, a signature or a wait.

MiniStack answers only HTTP. moto's hook reaches only clients that are made after moto is imported. This hook reaches
all clients.
"""

from __future__ import annotations

import functools
import inspect
import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.endpoint
import botocore.hooks
import botocore.httpsession
import botocore.regions
import botocore.session
import botocore.useragent
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.endpoint import Endpoint
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import NoCredentialsError
from botocore.hooks import EventAliaser, NodeList
from botocore.loaders import JSONFileLoader, Loader

from rolewarden_local.emulated import faults
from rolewarden_local.emulated._ministack import app
from rolewarden_local.emulated.patches import Patch, patched

# This object is made once, because a new one would start each block with an empty cache.
_SANITIZED: Final = functools.cache(botocore.useragent.sanitize_user_agent_string_component)
_TLS_CONTEXT: Final = functools.cache(botocore.httpsession.create_urllib3_context)
_alias: Final = EventAliaser._alias_event_name  # type: ignore[attr-defined]
_load_file: Final = JSONFileLoader.load_file
_list_services: Final = Loader.list_available_services
_aliases: Final[dict[str, str]] = {}
_services: Final[dict[tuple[str, ...], list[str]]] = {}
_providers: Final[dict[tuple[int, frozenset[str]], tuple[Any, EndpointProvider]]] = {}


@contextmanager
def without_socket(send: Callable[[AWSPreparedRequest], AWSResponse]) -> Iterator[None]:
    """Answer every request of this process's boto3 clients with `send` while the block runs."""

    def send_in_process(_: Endpoint, request: AWSPreparedRequest) -> AWSResponse:
        return send(request)

    clock = SimpleNamespace(**{**vars(time), "sleep": lambda _: None})
    cost = "Both parts of the signature take a third of a call's time, and the local AWS does not need them."
    with patched(
        Patch(Endpoint, "_send", send_in_process, "The event before-send does not reach existing clients."),
        Patch(botocore.endpoint, "time", clock, "botocore waits before it retries, which has no use in process."),
        Patch(SigV4Auth, "add_auth", name_the_caller, cost),
        Patch(botocore.useragent, "sanitize_user_agent_string_component", _SANITIZED, cost),
        Patch(botocore.endpoint, "get_environ_proxies", lambda _: {}, "No client needs a proxy."),
        Patch(botocore.httpsession, "create_urllib3_context", _TLS_CONTEXT, "No client needs TLS."),
        Patch(JSONFileLoader, "load_file", _loaded, "Each new session would read and parse the same files again."),
        Patch(EventAliaser, "_alias_event_name", _known_alias, "Each new client would find the same aliases again."),
        Patch(botocore.hooks, "accepts_kwargs", _accepts_kwargs, "Each new client would inspect 20 handlers."),
        Patch(Loader, "list_available_services", _known_services, "Each new session would list 900 folders."),
        Patch(botocore.regions, "EndpointProvider", _provider, "Each new client would read the same rules again."),
        Patch(botocore.hooks._PrefixTrie, "_recursive_copy", _copied, "The copy takes half of a new client's time."),  # type: ignore[attr-defined]
    ):
        yield


def _loaded(_: JSONFileLoader, file_path: str) -> Any:
    """A file of botocore's data, which does not change. All sessions share its content."""
    return _load_once(file_path)


@functools.cache
def _load_once(file_path: str) -> Any:
    return _load_file(JSONFileLoader(), file_path)


def _known_alias(aliaser: EventAliaser, event_name: str) -> str:
    """Botocore's current name of an event. All clients have the same aliases."""
    if event_name not in _aliases:
        _aliases[event_name] = _alias(aliaser, event_name)
    return _aliases[event_name]


def _known_services(loader: Loader, type_name: str) -> list[str]:
    """The services that botocore's data describes. A file of the data does not appear while a process runs."""
    key = (type_name, *loader.search_paths)
    if key not in _services:
        _services[key] = _list_services(loader, type_name)
    return list(_services[key])


def _provider(ruleset_data: Any, partition_data: Any, excluded_params: frozenset[str] | None = None) -> Any:
    """The endpoints of a service. All its clients share the rules, which `_load_once` keeps, and their results."""
    key = id(ruleset_data), frozenset(excluded_params or ())
    if key not in _providers:
        # The data stays alive next to the provider, so that no other data ever has its ID.
        _providers[key] = ruleset_data, EndpointProvider(ruleset_data, partition_data, excluded_params)
    return _providers[key][1]


def _copied(trie: Any, node: dict[str, Any]) -> dict[str, Any]:
    """A copy of a node of botocore's handlers and of the nodes below it, which share the handlers."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, NodeList):
            found[key] = NodeList(value.first[:], value.middle[:], value.last[:])
        elif isinstance(value, dict):
            found[key] = _copied(trie, value)
        else:
            found[key] = value
    return found


def _accepts_kwargs(handler: Callable[..., Any]) -> bool:
    """Whether a handler takes any keyword argument, as botocore requires. Only functions and methods have code."""
    code = getattr(handler, "__code__", None)
    return bool(code.co_flags & inspect.CO_VARKEYWORDS if code else inspect.getfullargspec(handler).varkw)


def name_the_caller(signer: SigV4Auth, request: AWSRequest) -> None:
    """Write a short header for `signed_by` instead of a signature."""
    if signer.credentials is None:
        raise NoCredentialsError
    region, service = signer._region_name, signer._service_name  # type: ignore[attr-defined]
    scope = f"{signer.credentials.access_key}/20270115/{region}/{service}/aws4_request"
    request.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"


def signed_by(headers: Mapping[str, str]) -> tuple[str, str]:
    """The service and the access key in a request's signature. Both are empty if the request is not signed."""
    # Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=...
    scope = headers.get("authorization", "").partition("Credential=")[2].split(",")[0].split("/")
    return (scope[3], scope[0]) if len(scope) == 5 else ("", "")


async def over_asgi(request: AWSPreparedRequest) -> AWSResponse:
    """Answer a botocore request with MiniStack's ASGI application."""
    url, body = urlsplit(request.url), _body(request.body)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": app.unquote(url.path) or "/",
        "raw_path": url.path.encode() or b"/",
        "query_string": url.query.encode(),
        "headers": [(b"host", url.netloc.encode()), *_headers(request, body)],
        "client": ("127.0.0.1", 0),
        "server": (url.hostname, url.port or 80),
    }
    incoming = iter([{"type": "http.request", "body": body, "more_body": False}])
    status, headers, chunks = 0, dict[str, str](), list[bytes]()

    async def receive() -> dict[str, Any]:
        return next(incoming, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.update({name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]})
        else:
            chunks.append(message.get("body", b""))

    await app.app(scope, receive, send)
    faults.raise_if_lost(headers, request.url)
    return AWSResponse(request.url, status, headers, _Raw(b"".join(chunks)))  # type: ignore[arg-type]


class _Raw(io.BytesIO):
    """The part of urllib3's response that botocore reads."""

    def stream(self, amt: int = 65_536, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


def operation_name(service: str, method: str, path: str, known: str) -> str:
    """The operation that a request calls: `known`, MiniStack's name, or that of the service model.

    MiniStack names a call to a REST API that it does not know by its method, such as "GET.lambda".
    """
    if service == "bedrock" and (call := MODEL_CALL.fullmatch(path)):
        return _MODEL_CALLS[call["how"]]
    return _rest_operations(service).get((method, path.rstrip("/")), known) if "." in known else known


_MODEL_CALLS = {
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "invoke": "InvokeModel",
    "invoke-with-response-stream": "InvokeModelWithResponseStream",
}
MODEL_CALL = re.compile(rf"/model/(?P<model>.+)/(?P<how>{'|'.join(_MODEL_CALLS)})")
"""The path of a call of the API Bedrock Runtime, whose requests are signed for the service `bedrock`.

An ARN in place of the ID of the model has a slash, which a server may have decoded."""


@functools.cache
def _rest_operations(service: str) -> Mapping[tuple[str, str], str]:
    """The operations of a service by method and path, those with a variable path left out."""
    model = botocore.session.get_session().get_service_model(service)
    found = {name: model.operation_model(name).http for name in model.operation_names}
    return {(http["method"], http["requestUri"].rstrip("/")): name for name, http in found.items()}


def _body(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else bytes(body.read())


def _headers(request: AWSPreparedRequest, body: bytes) -> Iterator[tuple[bytes, bytes]]:
    for name, value in request.headers.items():
        if name.lower() not in {"host", "content-length", "transfer-encoding", "expect"}:
            yield name.lower().encode(), value if isinstance(value, bytes) else str(value).encode()
    yield b"content-length", str(len(body)).encode()

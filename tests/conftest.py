"""The fixtures of the tests, the project's root and the sample events."""

from __future__ import annotations

import functools
import gc
import http.server
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from botocore.client import ClientCreator
from botocore.hooks import EventAliaser
from botocore.loaders import JSONFileLoader, Loader
from hypothesis import HealthCheck, settings

# The fixtures import the project's modules, because a test of one module needs few of them.
if TYPE_CHECKING:
    from rolewarden.aws import Aws
    from rolewarden_local.aws import LocalAws
    from rolewarden_local.scenes.template import Template

    from tests.company import Company
    from tests.desk import Desk
    from tests.world import World

ROOT = Path(__file__).parents[1]

TODAY = date(2027, 1, 15)
"""The date in the tests. On this day the exemption in guardrails.yaml is in force."""


# A test that is slow on a busy machine is not wrong.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


# jsonschema, which the SAM translator imports, checks the formats of RFC 3987 if it can import this package. The import
# builds a grammar in more than a second, and no schema of the tests has these formats.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]


class _QuickLoader(yaml.CSafeLoader):
    """The loader that `yaml.safe_load` uses, with libyaml as its parser. PyYAML's own takes ten times as long."""


def _safe_load(stream: Any) -> Any:
    # The SAM translator adds the functions of CloudFormation to the other loader.
    _QuickLoader.yaml_constructors = yaml.SafeLoader.yaml_constructors
    _QuickLoader.yaml_multi_constructors = yaml.SafeLoader.yaml_multi_constructors
    return yaml.load(stream, _QuickLoader)  # noqa: S506


yaml.safe_load = _safe_load


# A session of boto3 reads the model of each service from a file of up to a megabyte. Each command makes its own
# session, so tests of commands would spend half of their time reading the same files.
_read = functools.cache(JSONFileLoader().load_file)
JSONFileLoader.load_file = lambda _self, file_path: _read(file_path)  # type: ignore[assignment, method-assign]

# Each test makes ten clients or more, and each command its own session. All clients of a service share its model, with
# the shapes that were read from it, and their class. boto3 adds methods to the class of S3.
_maker: Any = ClientCreator
_load_model, _make_class = _maker._load_service_model, _maker._create_client_class
_models: dict[tuple[str, str | None], Any] = {}
_classes: dict[str, Any] = {}


def _shared_model(self: ClientCreator, service_name: str, api_version: str | None = None) -> Any:
    key = service_name, api_version
    if key not in _models:
        _models[key] = _load_model(self, service_name, api_version)
    return _models[key]


def _shared_class(self: ClientCreator, service_name: str, service_model: Any) -> Any:
    if service_name == "s3":
        return _make_class(self, service_name, service_model)
    if service_name not in _classes:
        _classes[service_name] = _make_class(self, service_name, service_model)
    return _classes[service_name]


_maker._load_service_model, _maker._create_client_class = _shared_model, _shared_class


# For its first client, a session visits the folder of each of 400 services, for each type of file that it needs. And
# each client compares the names of its hundreds of events with the aliases again. The result is always the same.
_load_data: Any = Loader.load_service_model
_alias: Any = EventAliaser._alias_event_name  # type: ignore[attr-defined]
_data: dict[tuple[Any, ...], Any] = {}
_aliases: dict[str, str] = {}


def _shared_data(self: Loader, service_name: str, type_name: str, api_version: str | None = None) -> Any:
    key = *self.search_paths, service_name, type_name, api_version
    if key not in _data:
        _data[key] = _load_data(self, service_name, type_name, api_version)
    return _data[key]


def _shared_alias(self: EventAliaser, event_name: str) -> str:
    if event_name not in _aliases:
        _aliases[event_name] = _alias(self, event_name)
    return _aliases[event_name]


Loader.load_service_model = _shared_data  # type: ignore[method-assign]
EventAliaser._alias_event_name = _shared_alias  # type: ignore[attr-defined]


def pytest_xdist_auto_num_workers() -> int:
    # The tests of deployed stacks wait for functions in other processes for almost half of their time.
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not (item.get_closest_marker("long") or item.get_closest_marker("deployed")))


def pytest_collection_finish() -> None:
    # Without this call, the garbage collector checks a million permanent objects in every test.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


def sample(name: str) -> dict[str, Any]:
    """The sample event events/NAME.json."""
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


@pytest.fixture(autouse=True)
def documented(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Validate every event that Rolewarden puts in this process against docs/reference/events.schema.json.

    A test also leaves logging as it was.
    """
    from rolewarden.aws import Aws

    from tests.schema import wrong

    put_events = Aws.put_events
    found: list[str] = []

    def checked(self: Aws, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        events = [(name, dict(detail)) for name, detail in events]
        for name, detail in events:
            found.extend(wrong(name, json.loads(json.dumps(detail))))
        put_events(self, events)

    monkeypatch.setattr(Aws, "put_events", checked)
    yield
    assert found == []
    assert logging.root.manager.disable == logging.NOTSET, "later tests would miss the lines that they expect"


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    """The local AWS, in process."""
    from rolewarden_local.aws import LocalAws

    local = LocalAws.start()
    with local.connected():
        yield local


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the output of `sam build` for this project, made once for all processes of this run."""
    from tests.deployments import built

    own = tmp_path_factory.getbasetemp()
    return built(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(scope="session")
def template() -> Template:
    from tests.stacks import translated

    return translated()


@pytest.fixture
def world(aws: LocalAws, template: Template) -> World:
    """A seeded account with bindings and published guardrails, and with unprotected roles."""
    from tests.world import World

    return World(aws, template)


@pytest.fixture
def world_with(aws: LocalAws, template: Template, tmp_path: Path) -> Callable[..., World]:
    """A function that makes a `world` with another guardrails.yaml, or with `keep` deploys the file to the last one."""
    from tests.world import World

    made: list[World] = []

    def make(text: str, *, keep: bool | str = False) -> World:
        path = tmp_path / f"guardrails-{len(made)}.yaml"
        path.write_text(text)
        made.append(made[-1].under(path, publish=keep != "unpublished") if keep else World(aws, template, path))
        return made[-1]

    return make


@pytest.fixture
def company(aws: LocalAws, template: Template) -> Company:
    """A `world` that is the central account of an organization with one member."""
    from tests.company import organized

    return organized(aws, template)


@pytest.fixture
def desk(
    world_with: Callable[..., World], template: Template, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Desk]:
    """The objects of a case of a command, which runs in a folder of its own."""
    from rolewarden_cli import options

    from tests.desk import Desk

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)
    made = Desk(world_with, template, monkeypatch, tmp_path)
    with made.open:
        yield made


@pytest.fixture
def function(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[..., Any]]:
    """A function that loads the handler of a function, as at a cold start."""
    from rolewarden.clock import Clock

    from tests.handlers import lambda_context, load_function

    monkeypatch.setattr("rolewarden.runtime.Clock", lambda: Clock(today=lambda: TODAY))

    def load(name: str) -> Callable[..., Any]:
        for variable, value in world.environment.items():
            monkeypatch.setenv(variable, value)
        module = load_function(name)
        return lambda event, **more: module.handler(event, lambda_context(name, **more))

    return load


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """CloudFormation's side of a custom resource: a ResponseURL, and the answers that were sent to it."""
    from rolewarden_local.emulated.limits import CUSTOM_RESPONSE_SIZE

    heard = []
    came = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append(json.loads(body) if len(body) <= CUSTOM_RESPONSE_SIZE else {"Reason": "Response is too long"})
            self.send_response(200)
            self.end_headers()
            came.set()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    yield SimpleNamespace(url=f"{endpoint}/", heard=heard, came=came, setenv=monkeypatch.setenv)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def counted() -> Iterator[Callable[[str], float]]:
    """The metrics that Rolewarden has recorded in this test, by their names."""
    from rolewarden.record import metrics

    metrics.clear_metrics()
    yield lambda name: sum(metrics.metric_set.get(name, {"Value": []})["Value"])
    metrics.clear_metrics()

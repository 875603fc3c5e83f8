"""RolewardenLayer as `sam build` makes it: small, precompiled, and with the parts of botocore that functions need."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.conftest import ROOT
from tests.volume import some

pytestmark = pytest.mark.long

REGIONS = some(2, ("us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"))


@pytest.fixture(scope="module")
def layer(build):
    return build / "RolewardenLayer" / "python"


def told(program, *, path="", **environment):
    """Run a program with `path` first in Python's search path, and return its output as JSON."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env = {**inherited, **keys, "PYTHONPATH": str(path), **environment}
    return json.loads(subprocess.check_output([sys.executable, "-c", program], env=env, text=True))


def test_the_layer_is_built_from_the_downloaded_packages_without_a_network(layer):
    assert (layer / "six.py").exists()


def test_the_layer_is_small(layer):
    assert sum(file.stat().st_size for file in layer.rglob("*") if file.is_file()) <= 12_000_000


def test_the_layer_has_no_code_that_is_compiled_for_a_processor(layer):
    assert {file.suffix for file in layer.rglob("*")} & {".so", ".pyd", ".dylib", ".a"} == set()


def test_every_module_has_bytecode_that_does_not_depend_on_file_times(layer):
    sources = list(layer.rglob("*.py"))
    assert len(sources) > 200
    for source in sources:
        compiled = importlib.util.cache_from_source(source)
        flags = int.from_bytes(Path(compiled).read_bytes()[4:8], "little")
        assert flags == 0b01, f"{compiled}: by hash, unchecked (PEP 552)"


@pytest.mark.volume
def test_the_trimmed_botocore_has_every_called_operation_and_the_same_endpoints(layer):
    files = [file.read_text() for file in sorted((ROOT / "layers/rolewarden/rolewarden").glob("*.py"))]
    # Every module that makes a client, so that a new one cannot call what the layer lacks.
    source = "\n".join(text for text in files if re.search(r'\.client\("[a-z]+"', text))
    services = re.findall(r'\.client\("([a-z]+)"', source)
    assert {"iam", "sagemaker", "cloudtrail"} <= set(services)
    assert "bedrock" not in services, "only operators call this"
    words = sorted(set(re.findall(r"\w+", source)))
    program = f"""
import botocore.session, json
session = botocore.session.Session()
clients = [session.create_client(service, region) for service in {services} for region in {REGIONS}]
methods = [[word for word in {words} if word in client.meta.method_to_api_mapping] for client in clients]
print(json.dumps({{
    "partitions": [session.get_partition_for_region(region) for region in {REGIONS}],
    "endpoints": [client.meta.endpoint_url for client in clients],
    "methods": methods,
    "pages": [list(map(client.can_paginate, called)) for client, called in zip(clients, methods)],
}}))
"""
    trimmed, whole = told(program, path=layer), told(program)
    assert trimmed == whole
    assert all(trimmed["methods"])


def bill(layer, monkeypatch, **environment):
    monkeypatch.syspath_prepend(str(ROOT / "layers" / "rolewarden"))
    bom = importlib.import_module("bom")
    return bom.bill_of(layer, environment)


def test_the_bill_of_materials_lists_each_package_of_the_layer_with_version_license_and_hash(layer, monkeypatch):
    text = bill(layer, monkeypatch)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {each["name"]: each for each in json.loads(text)["components"]}
    packages = distributions(path=[str(layer)])
    versions = {each.metadata["Name"].replace("_", "-").lower(): each.version for each in packages}
    assert {name: each["version"] for name, each in found.items()} == versions
    trimmed = {name for name, each in found.items() if each["properties"][0]["value"] == "true"}
    assert trimmed == {"aws-lambda-powertools", "botocore", "jmespath", "python-dateutil", "urllib3"}
    assert found["botocore"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert found["python-dateutil"]["licenses"] == [{"expression": "Apache-2.0 OR BSD-3-Clause"}]
    wheels = {hashlib.sha256(file.read_bytes()).hexdigest() for file in (ROOT / ".wheels").glob("*.whl")}
    for each in found.values():
        assert [entry["alg"] for entry in each["hashes"]] == ["SHA-256"]
        assert {entry["content"] for entry in each["hashes"]} <= wheels
        assert each["licenses"]


def test_the_bill_of_materials_of_the_same_layer_is_the_same_file(layer, monkeypatch):
    first, again = bill(layer, monkeypatch), bill(layer, monkeypatch)
    assert first == again
    assert "timestamp" not in json.loads(first)["metadata"]
    timed = json.loads(bill(layer, monkeypatch, SOURCE_DATE_EPOCH="1764374400"))
    assert timed["metadata"].pop("timestamp").startswith("2025-11-29T00:00:00")
    assert timed == json.loads(first)


@pytest.mark.parametrize(
    ("folder", "epoch", "says"),
    [("none", "0", "run `sam build` first"), ("", "today", "set it to a number of seconds"), ("", "", "unset it")],
)
def test_a_mistake_in_the_call_is_one_line(layer, monkeypatch, tmp_path, folder, epoch, says):
    monkeypatch.syspath_prepend(str(ROOT / "layers" / "rolewarden"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    line = importlib.import_module("bom").main(str(layer / folder), str(tmp_path / "bom.json"))
    assert says in line


def add_module(site):
    (site / "implant.py").write_text("")


def add_to_a_package(site):
    (site / "jmespath" / "implant.py").write_text("")


def change_a_module(site):
    (site / "six.py").unlink()
    (site / "six.py").write_text("import implant")


def add_a_package(site):
    (site / "implant-1.0.dist-info").mkdir()
    (site / "implant-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: implant\nVersion: 1.0\n")


def remove_a_package(site):
    shutil.rmtree(next(site.glob("six-*.dist-info")))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (add_module, "implant.py"),
        (add_to_a_package, "jmespath/implant.py"),
        (change_a_module, "six.py"),
        (add_a_package, "implant 1.0"),
        (remove_a_package, "six==1.17.0"),
    ],
)
def test_a_layer_that_differs_from_its_bill_is_one_line(layer, monkeypatch, tmp_path, change, named):
    site = tmp_path / "python"
    shutil.copytree(layer, site, ignore=shutil.ignore_patterns("data"), copy_function=os.link)
    change(site)
    monkeypatch.syspath_prepend(str(ROOT / "layers" / "rolewarden"))
    line = importlib.import_module("bom").main(str(site), str(tmp_path / "bom.json"))
    assert line.startswith("error: ")
    assert named in line
    assert "\n" not in line
    assert not (tmp_path / "bom.json").exists()


def test_a_cold_enforce_loads_only_needed_modules_and_makes_its_clients_before_the_first_event(layer, root, tmp_path):
    rules = (
        "import json, yaml; print(json.dumps(yaml.safe_load(open('layers/guardrails/guardrails.yaml')), default=str))"
    )
    text = subprocess.check_output([sys.executable, "-c", rules], cwd=root, text=True)
    (tmp_path / "rules.json").write_text(text)
    queues = {f"{name}_QUEUE_URL": "http://queue" for name in ("WORK", "SWEEP", "DETACH", "PUBLISH")}
    settings = {
        "ACCOUNT_ID": "111122223333",
        "STACK_ID": "arn:aws:cloudformation:us-east-1:111122223333:stack/rolewarden/1",
        "BINDINGS_TABLE": "b",
        "HISTORY_TABLE": "h",
        "OWN_ROLES": "r",
        "REGIONS": "us-east-1",
        "SWEEP_SECONDS": "3600",
        "DRILL_ROLE": "d",
        "DRILL_LIMIT_MINUTES": "15",
        **dict.fromkeys(("ENFORCE_FUNCTION", "SUBJECTS_RULE", "ROLES_RULE", "EVENTS_DEAD_LETTER_QUEUE"), "p"),
    }
    found = told(
        "import app, json, sys\n"
        "clients = [name for name, value in vars(app.runtime.aws).items() if hasattr(value, 'meta')]\n"
        "print(json.dumps({'modules': sorted(sys.modules), 'clients': clients}))",
        path=f"{root / 'functions/enforce'}:{layer}",
        RECHECK_SECONDS="60",
        HISTORY_DAYS="400",
        GUARDRAILS_FILE=str(tmp_path / "rules.json"),
        **queues,
        **settings,
    )
    assert sorted(found["clients"]) == ["_dynamodb", "_iam"]
    ours = {
        f"rolewarden.{name}"
        for name in ("alert", "audit", "check", "cloudformation", "publish", "detach", "sweep", "yamltext")
    }
    for name in ours:
        assert importlib.util.find_spec(name), f"{name} is no module any more"
    whole = {"boto3", "s3transfer", "yaml", "rich", "typer", "multiprocessing"}
    unneeded = {*whole, "botocore.docs.client", "html.parser", "importlib.metadata", *ours}
    assert not unneeded & set(found["modules"])

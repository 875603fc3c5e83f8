"""The layer is built only from packages whose hashes stand in requirements.txt.

`test_layer.py` builds it from the unchanged packages, without a network.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile

import packages
import pytest

from tests.conftest import ROOT

LAYERS = ROOT / "layers"
WHEELS = ROOT / ".wheels"
HASHED = re.compile(r"[\w.-]+==[\w.]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n")


def build(folder, wheels):
    """Build the layer with the wheels of a folder. No index is within reach."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    variables = [f"ARTIFACTS_DIR={folder}", f"WHEELS={wheels}", f"PYTHON={sys.executable}", "BYTECODE="]
    return subprocess.run(
        ["make", "-s", "-C", LAYERS / "rolewarden", "build-RolewardenLayer", *variables],
        env={**inherited, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def wheels(tmp_path):
    """A folder with links to the downloaded wheels."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for wheel in WHEELS.glob("*.whl"):
        (folder / wheel.name).symlink_to(wheel)
    return folder


def tamper(wheels, name):
    """Add a module to a wheel, as somebody who can write to the folder or the registry does."""
    [wheel] = wheels.glob(f"{name}-*.whl")
    original = wheel.resolve()
    wheel.unlink()
    shutil.copy(original, wheel)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("implant.py", "")


def test_every_requirement_of_the_layers_has_hashes_and_names_no_address():
    files = list(LAYERS.rglob("requirements*.txt"))
    assert len(files) == 2
    for file in files:
        text = file.read_text()
        assert "".join(found[0] for found in HASHED.finditer(text)) == text, file


def test_no_build_step_calls_pip_without_hashes():
    """Each call of pip outside of the development environments is one of these."""
    steps = [*LAYERS.glob("*/Makefile"), *LAYERS.glob("*/*.py")]
    calls = {path.relative_to(ROOT).as_posix() for path in steps if re.search(r'"pip"|-m pip', path.read_text())}
    assert calls == {"layers/rolewarden/packages.py"}
    assert {"--require-hashes", "--only-binary=:all:", "--no-deps"} <= {*packages.ALWAYS}
    lines = (ROOT / "Makefile").read_text().splitlines()
    downloads = [line for line in lines if "download" in line and line.startswith("\t@$(PYTHON)")]
    assert downloads == ["\t@$(PYTHON) -B layers/rolewarden/packages.py download $(@D)"]


@pytest.mark.long
def test_a_changed_wheel_fails_the_build_with_one_line(tmp_path, wheels):
    tamper(wheels, "six")
    ran = build(tmp_path / "layer", wheels)
    [line] = [line for line in f"{ran.stdout}{ran.stderr}".splitlines() if not line.startswith("make")]
    assert ran.returncode != 0
    assert line.startswith("error: the file of six==1.17.0 ")
    assert "do not deploy" in line
    assert not (tmp_path / "layer").exists()


def test_a_changed_parser_of_the_rules_fails_the_build_with_one_line(tmp_path):
    wheel = tmp_path / "wheels" / "pyyaml-6.0.3-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("yaml/__init__.py", "import implant")
        archive.writestr("pyyaml-6.0.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: pyyaml\nVersion: 6.0.3\n")
        archive.writestr("pyyaml-6.0.3.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("pyyaml-6.0.3.dist-info/RECORD", "")
    options = ["--no-index", "--find-links", str(wheel.parent)]
    line = packages.get_packages("install", tmp_path / "made", options, LAYERS / "guardrails" / "requirements.txt")
    assert line.startswith("the file of pyyaml==6.0.3 does not have its hash")
    assert "\n" not in line
    assert not (tmp_path / "made").exists()


def test_a_package_that_pip_cannot_get_fails_the_build_with_one_line(tmp_path):
    line = packages.get_packages(
        "download", tmp_path / "made", ["--no-index"], LAYERS / "guardrails" / "requirements.txt"
    )
    assert line.startswith("pip could not get the packages: No matching distribution found for pyyaml==6.0.3")
    assert "\n" not in line


def test_the_security_policy_names_no_address():
    text = (ROOT / "SECURITY.md").read_text()
    assert "Report a vulnerability" in text
    assert "@" not in text
    assert "SECURITY.md" in (ROOT / "README.md").read_text()

"""With a Python that is too old or lacks pip, a build prints one line with the solution."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

BUILDS = {
    "sam build of the code": ["-C", "layers/rolewarden", "build-RolewardenLayer"],
    "sam build of the rules": ["-C", "layers/guardrails", "build-GuardrailsLayer"],
    "make install": ["install"],
}


@pytest.fixture
def python(tmp_path):
    """A function that makes a Python in which `patch` runs before everything else."""

    def make(patch):
        (tmp_path / "sitecustomize.py").write_text(patch)
        script = tmp_path / "python3"
        script.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:"$PYTHONPATH" exec {sys.executable} "$@"\n')
        script.chmod(0o755)
        return script

    return make


def told(tmp_path, python, arguments):
    """Run a build with this Python, and return its output without make's last line, and whether it made a file."""
    made = tmp_path / "made"
    folders = [f"ARTIFACTS_DIR={made}/layer", f"VENV={made}/venv", f"SAM_VENV={made}/sam", f"DOWNLOADED={made}/wheels"]
    inherited = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    ran = subprocess.run(
        ["make", *arguments, *folders, f"PYTHON={python}"],
        cwd=ROOT, env=inherited, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    assert not made.exists()
    return [line for line in f"{ran.stdout}{ran.stderr}".splitlines() if not line.startswith("make")]


@pytest.mark.parametrize("build", BUILDS)
def test_a_python_that_is_too_old_gets_one_line_with_the_version_to_use(tmp_path, python, build):
    [line] = told(tmp_path, python("import sys; sys.version_info = (3, 9, 6, 'final', 0)"), BUILDS[build])
    assert line.startswith("Rolewarden needs Python 3.11 or later")
    command = "make PYTHON=python3.13 install" if build == "make install" else "PYTHON=python3.13 sam build"
    assert line.endswith(f"run `{command}`")


def test_a_python_without_pip_gets_one_line_with_the_command_to_install_it(tmp_path, python):
    [line] = told(tmp_path, python("import sys; sys.modules['pip'] = None"), BUILDS["sam build of the code"])
    assert line.startswith("Rolewarden needs pip")
    assert line.endswith("`python3 -m ensurepip`, or install your system's python3-pip")

"""The real `sam build` and `sam deploy` against the local AWS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
import yaml
from rolewarden.errors import RolewardenError

STACK = "rolewarden"


class DeployError(RolewardenError):
    """`sam` is missing or ended with an error. The message contains its output."""


def environment(endpoint: str, region: str) -> dict[str, str]:
    """Environment variables for a command that calls the local AWS at `endpoint` as its root user."""
    return {
        **os.environ,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "SAM_CLI_TELEMETRY": "0",
    }


def build(root: Path, folder: Path, variables: Mapping[str, str] = MappingProxyType({})) -> None:
    """Build the project at `root` into a folder, for this version of Python. Raises DeployError.

    The local AWS runs functions on its own version of Python, and would have to compile a layer for another one.
    `variables` are environment variables for the build.
    """
    own = {"SAM_CLI_TELEMETRY": "0", "BYTECODE": sys.executable}
    run_sam(root, {**os.environ, **own, **variables}, "build", "--build-dir", str(folder))
    # JSON is also YAML. `sam deploy` reads the template several times, and reads JSON much faster than other YAML.
    template = folder / "template.yaml"
    template.write_text(json.dumps(read_template(template)))


def read_template(file: Path) -> Any:
    """The content of a template that SAM CLI wrote. Such a file is long, and libyaml reads it ten times as fast."""
    text = file.read_text(encoding="utf-8")
    return yaml.load(text, Loader=yaml.CSafeLoader) if yaml.__with_libyaml__ else yaml.safe_load(text)


def deploy(
    root: Path,
    endpoint: str,
    *,
    region: str,
    built: Path,
    say: Callable[[str], None] = lambda _: None,
    parameters: Mapping[str, str] = MappingProxyType({}),
    tags: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Deploy the output of `build` in the folder `built`, and return the stack's outputs.

    If the folder does not have a build, this function first builds the project at `root`. It calls `say` before each
    step. `tags` are the tags of the stack, and CloudFormation adds them to its resources. Raises DeployError.
    """
    variables = environment(endpoint, region)
    if not (built / "template.yaml").exists():
        say("sam build")
        build(root, built)
    say("sam deploy")
    run_sam(
        root,
        variables,
        "deploy",
        "--template-file",
        str(built / "template.yaml"),
        "--config-file",
        str(root / "samconfig.toml"),
        *(["--parameter-overrides", *(f"{k}={v}" for k, v in parameters.items())] if parameters else []),
        *(["--tags", *(f"{k}={v}" for k, v in tags.items())] if tags else []),
    )
    client = boto3.client(
        "cloudformation",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    [stack] = client.describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def write_invoke_environment(root: Path, variables: Mapping[str, str]) -> None:
    """Write the functions' variables in the local AWS for `sam local invoke --env-vars .aws-sam/local-env.json`.

    The file does not have the endpoint. SAM passes on AWS_ENDPOINT_URL from its own environment, and a container must
    be able to reach that address.
    """
    path = root / ".aws-sam" / "local-env.json"
    path.parent.mkdir(exist_ok=True)
    # SAM would set an account ID of its own.
    queues = ("WORK_QUEUE_URL", "SWEEP_QUEUE_URL", "DETACH_QUEUE_URL", "PUBLISH_QUEUE_URL")
    names = ("ACCOUNT_ID", "ALARM_TOPIC_ARN", "BINDINGS_TABLE", "HISTORY_TABLE", *queues)
    path.write_text(json.dumps({"Parameters": {name: variables[name] for name in names}}, indent=1) + "\n")


def sam(root: Path) -> list[str]:
    """The words that begin a command of SAM CLI in the project at `root`. Raises DeployError."""
    own = root / ".venv-sam" / "bin" / "python"
    if own.exists():
        return [str(own), str(Path(__file__).with_name("quick_sam.py"))]
    if command := shutil.which("sam"):
        return [command]
    raise DeployError("SAM CLI is missing: run `make install`")


def run_sam(root: Path, variables: Mapping[str, str], *arguments: str) -> None:
    """Run SAM CLI in `root`. Raises DeployError."""
    ended = subprocess.run(
        [*sam(root), *arguments], cwd=root, env=dict(variables), capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise DeployError(f"sam {arguments[0]} failed:\n{ended.stdout}{ended.stderr}")

"""The real `sam build` and `sam deploy` against the local AWS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

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


def build(root: Path, folder: Path) -> None:
    """Build the project at `root` into a folder. Raises DeployError."""
    run_sam(root, {**os.environ, "SAM_CLI_TELEMETRY": "0"}, "build", "--build-dir", str(folder))
    # JSON is also YAML. `sam deploy` reads the template several times, and reads JSON much faster than other YAML.
    template = folder / "template.yaml"
    template.write_text(json.dumps(yaml.safe_load(template.read_text())))


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


def run_sam(root: Path, variables: Mapping[str, str], *arguments: str) -> None:
    """Run SAM CLI in `root`. Raises DeployError."""
    own = root / ".venv-sam" / "bin" / "sam"
    command = str(own) if own.exists() else shutil.which("sam")
    if command is None:
        raise DeployError("SAM CLI is missing: run `make install`")
    ended = subprocess.run(
        [command, *arguments], cwd=root, env=dict(variables), capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise DeployError(f"sam {arguments[0]} failed:\n{ended.stdout}{ended.stderr}")

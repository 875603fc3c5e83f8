"""The cold start in Lambda's own container, as `sam local invoke` reports it.

Lambda's emulator starts the runtime within the first invocation. Therefore the reported Init Duration is almost zero,
and Duration includes both the initialization and the event. The event is out of scope and makes no call.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

from figures import Gathered
from stand import FLOOR, OURS, ROOT, Stand

IMAGE = ROOT.parent / "shared" / "lambda-image"
"""Scripts that this part requires: engine.sh starts a Docker engine, and image.sh makes the runtime's image."""

BARE = '''"""The floor: boto3 of the runtime, a client for IAM, Powertools' Logger."""

import boto3
from aws_lambda_powertools import Logger

logger = Logger(service="floor")
iam = boto3.client("iam")


def handler(event, _context):
    return {"event": event["detail-type"]}
'''

TEMPLATE = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {
        "BareFunction": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Runtime": "python3.13",
                "Handler": "app.handler",
                "CodeUri": "code",
                "MemorySize": 256,
                "Timeout": 120,
                "Environment": {"Variables": {"AWS_ENDPOINT_URL": ""}},
            },
        }
    },
}

_REPORT = re.compile(r"Init Duration: ([\d.]+) ms\s+Duration: ([\d.]+) ms")


def container(stand: Stand, gathered: Gathered, _save: Callable[[], None], rounds: int) -> None:
    """Measure the contestants in turn, each in a new container. Without an image, print a line and skip this part."""
    if not (IMAGE / "engine.sh").exists():
        print(f"SKIPPED: {IMAGE} does not exist, and without it the functions have no image to run in")
        return
    bare = stand.folder / "bare"
    (bare / "code").mkdir(parents=True, exist_ok=True)
    (bare / "code" / "app.py").write_text(BARE, encoding="utf-8")
    (bare / "template.json").write_text(json.dumps(TEMPLATE), encoding="utf-8")
    for package in ("aws_lambda_powertools", "typing_extensions"):
        [wheel] = (ROOT / ".wheels").glob(f"{package}-*.whl")
        zipfile.ZipFile(wheel).extractall(bare / "code")
    precompile: list[str | Path] = ["make", "--silent", "-C", ROOT / "layers" / "rolewarden", "precompile"]
    subprocess.run([*precompile, f"SITE={bare / 'code'}"], check=True)
    sam = ROOT / ".venv-sam" / "bin" / "sam"
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "SAM_CLI_TELEMETRY": "0"}
    subprocess.run([sam, "build", "--build-dir", stand.folder / "build"], cwd=ROOT, check=True, capture_output=True)
    templates = {OURS: stand.folder / "build" / "template.yaml", FLOOR: bare / "template.json"}
    functions = {OURS: "EnforceFunction", FLOOR: "BareFunction"}
    for _ in range(rounds):
        for name, template in templates.items():
            command = f'. "{IMAGE}/engine.sh" && "{IMAGE}/image.sh" >&2 && exec "$@"'
            event = ROOT / "events" / "awkward_other_service.json"
            invoke = ["local", "invoke", functions[name], "-t", str(template), "-e", str(event), "--skip-pull-image"]
            whole: list[str | Path] = ["bash", "-c", command, "bash", sam, *invoke]
            ended = subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
            found = _REPORT.search(ended.stderr)
            assert found is not None, ended.stderr
            gathered.add("a new container", "init and first event", "ms", name, float(found[1]) + float(found[2]))

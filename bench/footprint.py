"""The size of the deployment, and its memory."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Gathered
from rolewarden_local.scenes.crowd import detach_all
from stand import ALL, CUSTODIAN, OURS, PEOPLE_POLICY, ROOT, Run, Stand, event_of

from events import ARGUMENTS, bind, remediated

MEGABYTE = 1_000_000


def size(stand: Stand, gathered: Gathered, _save: Callable[[], None], _rounds: int) -> None:
    """Measure the layers and functions that CloudFormation receives, and the package of Custodian's Lambda mode."""
    guardrails = stand.folder / "guardrails-layer"
    build: list[str | Path] = ["make", "--silent", "-C", ROOT / "layers" / "guardrails", "build-GuardrailsLayer"]
    subprocess.run([*build, f"ARTIFACTS_DIR={guardrails}"], check=True)
    _add_size(gathered, "RolewardenLayer", OURS, stand.layer)
    _add_size(gathered, "RolewardenLayer", CUSTODIAN, stand.custodian_package)
    _add_size(gathered, "of it botocore and its dependencies", OURS, stand.layer, _OF_BOTOCORE)
    _add_size(gathered, "of it Powertools", OURS, stand.layer, {"aws_lambda_powertools"})
    _add_size(gathered, "of it Rolewarden", OURS, stand.layer, {"rolewarden"})
    _add_size(gathered, "GuardrailsLayer", OURS, guardrails)
    _add_size(gathered, "a function", OURS, ROOT / "functions" / "enforce")


_OF_BOTOCORE = {"botocore", "dateutil", "jmespath", "six.py", "urllib3"}


def _add_size(gathered: Gathered, case: str, name: str, folder: Path, parts: set[str] | None = None) -> None:
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file() and (parts is None or file.relative_to(folder).parts[0] in parts)
    ]
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(folder))
    gathered.add(case, "unzipped", "MB", name, sum(file.stat().st_size for file in files) / MEGABYTE)
    gathered.add(case, "zipped", "MB", name, len(zipped.getvalue()) / MEGABYTE)


def memory(stand: Stand, gathered: Gathered, _save: Callable[[], None], rounds: int) -> None:
    """Measure the peak memory of a process with one function that has done its work. This works only on Linux."""
    for _ in range(rounds):
        people = stand.fill(20)
        bind(stand)
        stand.guard(people)
        for name in ALL:
            with stand.contestant(name, *ARGUMENTS[name]) as contestant:
                gathered.add("enforce", "peak", "MB", name, remediated(contestant, people.roles[0]).peak)
        for function, run in _others(stand).items():
            gathered.add(function, "peak", "MB", OURS, run.peak)


def _others(stand: Stand) -> dict[str, Run]:
    """Run each of the other functions with some work to do."""
    detach_all(["person-1"])
    work = {"role": "person-1", "role_account": "111122223333", "account": "111122223333", "cause": {}, "rechecks": 0}
    detach = {"account": "111122223333", "role": "build-server", "policies": ["approved"]}
    finding = json.loads((ROOT / "events" / "finding_role.json").read_text())
    edited = event_of("DetachRolePolicy", "nobody")
    edited["detail"] |= {"eventName": "CreatePolicyVersion", "requestParameters": {"policyArn": PEOPLE_POLICY}}
    orders: dict[str, dict[str, Any]] = {
        "reconcile": {"Records": [{"messageId": "1", "body": json.dumps(work)}]},
        "sweep": {"detail-type": "Scheduled Event"},
        "publish": edited,
        "detach": {"Records": [{"messageId": "1", "body": json.dumps(detach)}]},
        "alert": finding,
    }
    runs = {}
    for function, event in orders.items():
        with stand.contestant(OURS, function) as contestant:
            runs[function] = contestant.does(event=event)
    return runs

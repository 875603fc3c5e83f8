"""The CPU time of commands in new processes, in turns with an earlier version of them."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from figures import Gathered
from stand import BEFORE, BEFORE_COMMIT, OURS, Stand

from events import turns

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "import sys; sys.argv[0] = 'rolewarden'; from rolewarden_cli.main import main; main()"
REPLAY = ("replay", "events/detach_role_policy.json")
CHECK = ("check", "layers/guardrails/guardrails.yaml")


def commands(_stand: Stand, gathered: Gathered, _save: Callable[[], None], rounds: int) -> None:
    """Measure `replay`, also the first one on a machine, and `check`. Each version reads its own sample files."""
    with tempfile.TemporaryDirectory() as temporary:
        before = Path(temporary) / "before"
        unpack(before)
        versions = {OURS: ROOT, BEFORE: before}
        caches = {name: f"{temporary}/cache of {name}" for name in versions}
        for version, root in versions.items():
            cpu_seconds(root, REPLAY, caches[version])  # Python writes its bytecode now.
        for number, names in turns(rounds, tuple(versions)):
            for name in names:
                root, cache = versions[name], caches[name]
                new = f"{temporary}/cache {number} of {name}"
                gathered.add("rolewarden replay of one event", "of a CPU", "s", name, cpu_seconds(root, REPLAY, cache))
                gathered.add(
                    "rolewarden replay of one event, first on a machine",
                    "of a CPU",
                    "s",
                    name,
                    cpu_seconds(root, REPLAY, new),
                )
                gathered.add("rolewarden check", "of a CPU", "s", name, cpu_seconds(root, CHECK, cache))


def unpack(folder: Path) -> None:
    """Unpack the earlier version from the repository."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", BEFORE_COMMIT], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def cpu_seconds(root: Path, arguments: Sequence[str], cache: str = "") -> float:
    """The seconds of a CPU that a command of the version at `root` takes in a new process.

    Other processes of the machine do not add to them. `cache` is the folder in which the command keeps its files; empty
    for the user's own.
    """
    folders = [root / "cli", root / "local", root / "layers" / "rolewarden"]
    more = {"XDG_CACHE_HOME": cache} if cache else {}
    environment: Mapping[str, str] = {**os.environ, **more, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime

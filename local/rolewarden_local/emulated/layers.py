"""The layers of functions, each unpacked and compiled once instead of at every cold start.

MiniStack unpacks the layers of a function for each process, so Python compiles every module of a layer again. A layer
with bytecode has it for the functions' version of Python, and here functions run on the version of the local AWS.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from rolewarden_local.emulated._ministack import lambda_runtime, lambda_svc
from rolewarden_local.emulated.patches import Patch

_UNPACKING: Final = threading.Lock()


def install_layers() -> None:
    """Start each process of a function with the layers that are already unpacked. Call once a process."""
    Patch(
        lambda_runtime.Worker,
        "_spawn",
        _with_unpacked_layers(lambda_runtime.Worker._spawn),
        "MiniStack unpacks the layers for each process of a function, and Python then compiles them.",
    ).install()


def _with_unpacked_layers(spawn: Callable[[Any], None]) -> Callable[[Any], None]:
    def start_with_layers(worker: Any) -> None:
        config = worker.config
        if not config.get("Runtime", "").startswith("python") or not config.get("Layers"):
            spawn(worker)
            return
        worker.config = _with_folders(config, [_folder(layer) for layer in config["Layers"]])
        try:
            spawn(worker)
        finally:
            worker.config = config

    return start_with_layers


def _with_folders(config: Mapping[str, Any], folders: list[Path]) -> dict[str, Any]:
    """The configuration of a function whose layers MiniStack does not unpack, because they are in these folders."""
    variables = config.get("Environment", {}).get("Variables", {})
    paths = os.pathsep.join(map(str, folders))
    return {**config, "Layers": [], "Environment": {"Variables": {**variables, "_LAMBDA_LAYERS_DIRS": paths}}}


def _folder(layer: Any) -> Path:
    """The folder with the files of a layer of a function's configuration."""
    content = lambda_svc._resolve_layer_zip(layer)
    if not content:
        raise RuntimeError(f"the layer {layer} does not exist")
    with _UNPACKING:
        return _unpacked(hashlib.sha256(content).hexdigest(), content)


def _unpacked(digest: str, content: bytes) -> Path:
    folder = _folders() / digest
    if not folder.exists():
        incomplete = folder.with_suffix(".incomplete")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(incomplete)
        if not any(incomplete.rglob(f"*.{sys.implementation.cache_tag}.pyc")):
            # Python runs a module that does not compile without this step too, and reports the error then.
            subprocess.run(
                [sys.executable, "-m", "compileall", "-q", "-s", str(incomplete), "-p", str(folder), str(incomplete)],
                stdout=subprocess.DEVNULL,
                check=False,
            )
        incomplete.rename(folder)
    return folder


@functools.cache
def _folders() -> Path:
    """The folder of all unpacked layers, which this process deletes when it ends."""
    folder = tempfile.mkdtemp(prefix="rolewarden-layers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)

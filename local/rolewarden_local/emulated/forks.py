"""Processes of functions, each a fork of a process that has already imported the modules of the layers.

MiniStack starts a new Python for each copy of a function, which spends most of its start on the import of botocore.

One process for each set of layers imports the modules that the code of a function imports from them, and each copy of
a function is a fork of it (`fork_parent`). A fork behaves like a new Python:

- The process imports no code of a function and runs none.
- It notes each environment variable that a module reads during its import. If a function has another value of one of
  them, its process is a new Python. The same holds if the code has a module with the name of a loaded one, and if a
  module has started a thread.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Final

from rolewarden_local.emulated._ministack import lambda_runtime
from rolewarden_local.emulated.patches import Patch

LAYERS: Final = "_LAMBDA_LAYERS_DIRS"
"""The environment variable of a function with the folders of its unpacked layers."""

_READ_AT_START: Final = ("PYTHON", "LC_", "LANG", "TZ", "SSL_", "OPENSSL_")
"""Prefixes of variables that Python and its libraries read outside of `os.environ`, so that no note names them."""

PATIENCE: Final = 60.0
"""Seconds after which a process that imports the modules of layers is ended. Later copies are then a new Python."""

_CAN_FORK: Final = sys.platform == "linux"
"""Whether a process can be forked after it imported botocore. The network settings of macOS forbid it."""


def install_forks() -> None:
    """Start the processes of functions with layers as forks. Call once a process."""
    Patch(
        lambda_runtime,
        "subprocess",
        SimpleNamespace(**{**vars(subprocess), "Popen": start}),
        "MiniStack starts a Python for each copy of a function, which imports botocore again.",
    ).install()


def start(command: Sequence[str], *, cwd: str, env: Mapping[str, str], **options: Any) -> Fork | subprocess.Popen[str]:
    """Start the process of a function like `subprocess.Popen`, if possible as a fork."""
    if _CAN_FORK and command[0] == sys.executable and env.get(LAYERS) and _starts_alike(env):
        fork = _importer(env[LAYERS]).fork(command[1], cwd, env)
        if fork:
            return fork
    return subprocess.Popen(command, cwd=cwd, env=env, **options)


def _starts_alike(env: Mapping[str, str]) -> bool:
    """Whether a new Python with these variables starts like one with the variables of this process."""

    def read(variables: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in variables.items() if name.startswith(_READ_AT_START)}

    return read(env) == read(os.environ)


class Fork:
    """The process of a function. It has the methods and pipes of `subprocess.Popen` that MiniStack uses."""

    def __init__(self, pid: int, pipes: Sequence[int], alive: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        # With `buffering=1`, each line is written at once.
        self.stdin: IO[str] = os.fdopen(pipes[0], "w", buffering=1)
        self.stdout: IO[str] = os.fdopen(pipes[1], buffering=1)
        self.stderr: IO[str] = os.fdopen(pipes[2], buffering=1)
        self._alive = alive
        weakref.finalize(self, os.close, alive)

    def poll(self) -> int | None:
        """None while the process runs, and then 0, because only its parent has the exit code."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process. Raises TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a function", timeout or 0)
        return code

    def terminate(self) -> None:
        """Ask the process to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the process."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _ended(self, timeout: float | None) -> int | None:
        # The process has the other end of this pipe, which closes when the process ends.
        if self.returncode is None:
            waits = select.poll()
            waits.register(self._alive, select.POLLHUP)
            if waits.poll(None if timeout is None else timeout * 1000):
                self.returncode = 0
        return self.returncode


class _Importer:
    """A process that has imported modules of some layers, and that forks for each copy of a function."""

    def __init__(self, layers: str) -> None:
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("fork_parent.py")), str(theirs.fileno()), layers],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self, script: str, folder: str, variables: Mapping[str, str]) -> Fork | None:
        """A fork that runs a script, or None if it would not behave like a new Python."""
        pairs = [os.pipe() for _ in range(4)]
        (stdin, to_stdin), *outputs = pairs
        of_child = [stdin, *(writer for _, writer in outputs)]
        of_server = [to_stdin, *(reader for reader, _ in outputs)]
        request = json.dumps({"script": script, "folder": folder, "variables": dict(variables)}).encode()
        try:
            with self._lock:
                socket.send_fds(self._socket, [len(request).to_bytes(8, "big")], of_child)
                self._socket.sendall(request)
                pid = int.from_bytes(self._socket.recv(8, socket.MSG_WAITALL), "big")
        except OSError:  # The process has ended, or a module of a layer does not end its import.
            self._process.kill()
            pid = 0
        finally:
            for descriptor in of_child:
                os.close(descriptor)
        if pid:
            return Fork(pid, of_server[:3], of_server[3])
        for descriptor in of_server:
            os.close(descriptor)
        return None


_making: Final = threading.Lock()


def _importer(layers: str) -> _Importer:
    with _making:
        return _made(layers)


@functools.cache
def _made(layers: str) -> _Importer:
    return _Importer(layers)

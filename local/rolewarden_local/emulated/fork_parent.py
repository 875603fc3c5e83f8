"""The program of the process that forks for each copy of a function, see `forks`.

MiniStack has no such process. This program imports only the standard library, because each module that it loads is
also loaded in every function.
"""

import ast
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any


class _Noted(dict[bytes, bytes]):
    """The content of `os.environ`, which notes the value of each variable that somebody reads."""

    def __init__(self, variables: dict[bytes, bytes], notes: dict[bytes, bytes | None]) -> None:
        super().__init__(variables)
        self._notes = notes

    def __getitem__(self, name: bytes) -> bytes:
        self._notes[name] = self.get(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[bytes]:
        self._notes.update(self.items())
        return super().__iter__()


class _Forker:
    """Imports modules of some layers, forks, and reaps its children."""

    def __init__(self, layers: list[str]) -> None:
        self._layers = [folder for layer in layers for folder in (str(Path(layer, "python")), layer)]
        self._path = sys.path[1:]
        self._notes: dict[bytes, bytes | None] = {}
        self._tried: set[str] = set()
        self._children: set[int] = set()
        signal.signal(signal.SIGCHLD, self._drop_ended)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # The server ends this process.

    def _drop_ended(self, *_: Any) -> None:
        for pid in list(self._children):
            try:
                has_ended = os.waitpid(pid, os.WNOHANG)[0] != 0
            except ChildProcessError:  # Another signal came during this function, and that call was first.
                has_ended = True
            if has_ended:
                self._children.discard(pid)

    def fork(self, request: dict[str, Any], files: list[int], server: socket.socket) -> int:
        """Fork, and return the ID of the child, or 0 if it would not behave like a new Python."""
        variables = {name.encode(): value.encode() for name, value in request["variables"].items()}
        files_of_code = [file for file in Path(request["folder"]).iterdir() if file.suffix == ".py" or file.is_dir()]
        self._import(files_of_code, variables)
        if not self._is_like_new(files_of_code, variables):
            return 0
        gc.freeze()
        pid = os.fork()
        if pid:
            self._children.add(pid)
            return pid
        code = 1
        try:
            server.close()
            _run(request, files, self._path)
            code = 0
        except BaseException:  # A new Python also prints each error.
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _import(self, code: list[Path], variables: dict[bytes, bytes]) -> None:
        """Import the modules of the layers that the code imports, with the environment of the function."""
        names = [name for file in sorted(code) if file.suffix == ".py" for name in _imports(file)]
        names = [name for name in dict.fromkeys(names) if name not in self._tried]
        self._tried.update(names)
        environ: Any = os.environ
        sys.path[:] = [*reversed(self._layers), *self._path]
        before, environ._data = environ._data, _Noted(variables, self._notes)
        out, sys.stdout = sys.stdout, sys.stderr  # MiniStack's program does so, and loggers keep the stream.
        for name in names:
            if PathFinder.find_spec(name.partition(".")[0], self._layers):
                try:
                    importlib.import_module(name)
                except BaseException:  # noqa: S112  # The function fails with the same error.
                    continue
        environ._data, sys.stdout = before, out

    def _is_like_new(self, code: list[Path], variables: dict[bytes, bytes]) -> bool:
        """Whether each loaded module is the one that a new Python with these variables would load."""
        is_read_alike = all(variables.get(name) == value for name, value in self._notes.items())
        return is_read_alike and threading.active_count() == 1 and not {file.stem for file in code} & set(sys.modules)


def _imports(file: Path) -> Iterator[str]:
    """The modules that a file imports when it is imported itself."""
    try:
        program = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for statement in program.body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            yield statement.module


def _run(request: dict[str, Any], files: list[int], path: list[str]) -> None:
    """Run the script of the request, MiniStack's program of a worker, as a new Python would."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
        os.close(file)
    os.set_inheritable(files[3], False)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    script = Path(request["script"])
    sys.argv = [str(script)]
    sys.path[:] = [str(script.parent), *path]
    main: Any = type(sys)("__main__")
    main.__file__ = str(script)
    sys.modules["__main__"] = main
    exec(compile(script.read_bytes(), str(script), "exec"), vars(main))  # noqa: S102


def serve_forks(descriptor: int, layers: list[str]) -> None:
    """Fork for each request that comes from a socket, until its other end closes."""
    forker = _Forker(layers)
    with socket.socket(fileno=descriptor) as server:
        while True:
            size, files, _, _ = socket.recv_fds(server, 8, 4)
            if not size:
                return
            request = json.loads(server.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
            pid = forker.fork(request, files, server)
            for file in files:
                os.close(file)
            server.sendall(pid.to_bytes(8, "big"))


if __name__ == "__main__":
    serve_forks(int(sys.argv[1]), sys.argv[2].split(os.pathsep))

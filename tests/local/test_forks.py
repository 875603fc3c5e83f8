"""A copy of a function is a fork of a process with the modules of its layers, and behaves like a new Python."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rolewarden_local.emulated import forks
from rolewarden_local.scenes.account import waited

pytestmark = pytest.mark.skipif(not forks._CAN_FORK, reason="a process is forked only on Linux")

ANSWER = """
import os, sys
for folder in os.environ["_LAMBDA_LAYERS_DIRS"].split(os.pathsep):
    sys.path.insert(0, os.path.join(folder, "python"))
sys.path.insert(0, os.getcwd())
import app
for line in sys.stdin:
    print(app.answer(line.strip()), flush=True)
"""


@pytest.fixture
def started(tmp_path):
    """A function that starts a copy of a function. `layer` is the module `shared` of its layer, `code` is app.py."""
    running = []

    def start(
        layer, code="import os, shared\nanswer = lambda _: [shared.MADE, os.getpid()]\n", *, more="", **variables
    ):
        folder, module = tmp_path / "code", tmp_path / "layer" / "python" / "shared.py"
        for made in (folder, module.parent):
            made.mkdir(parents=True, exist_ok=True)
        script = tmp_path / "script.py"
        files = {
            module: layer,
            folder / "app.py": code,
            script: ANSWER,
            **({folder / f"{more}.py": ""} if more else {}),
        }
        for file, text in files.items():
            if not file.exists():  # An earlier copy may be reading it.
                file.write_text(text)
        process = forks.start(
            [sys.executable, str(script)],
            cwd=str(folder),
            env={**os.environ, "_LAMBDA_LAYERS_DIRS": str(tmp_path / "layer"), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()


def answer(process, question=""):
    process.stdin.write(question + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def is_fork(process):
    return isinstance(process, forks.Fork)


PID = "import os\nMADE = os.getpid()\n"


def test_copies_share_the_modules_of_their_layer_and_are_processes_of_their_own(started):
    first, second = started(PID), started(PID)
    assert is_fork(first)
    (parent, one), (same, two) = (eval(answer(process)) for process in (first, second))  # noqa: S307
    assert parent == same
    assert len({parent, one, two, os.getpid()}) == 4
    assert (one, two) == (first.pid, second.pid)


@pytest.mark.parametrize(
    "read", ["os.environ.get('STAGE')", "os.getenv('STAGE')", "'STAGE' in os.environ", "dict(os.environ).get('STAGE')"]
)
def test_a_copy_with_another_value_of_a_variable_that_a_module_reads_is_a_new_python(started, read):
    layer, code = f"import os\nMADE = {read}\n", "import shared\nanswer = lambda _: shared.MADE\n"
    variables = [{"STAGE": "one"}, {}, {"STAGE": "one"}]
    processes = [started(layer, code, **more) for more in variables]
    expected = ["True", "False", "True"] if " in " in read else ["one", "None", "one"]
    assert [answer(process) for process in processes] == expected
    assert [is_fork(process) for process in processes] == [True, False, True]


def test_a_variable_that_no_module_reads_can_have_another_value_in_each_copy(started):
    code = "import os, shared\nanswer = lambda _: os.environ.get('KEY')\n"
    processes = [started(PID, code, **more) for more in ({"KEY": "one"}, {"KEY": "two"}, {})]
    assert [answer(process) for process in processes] == ["one", "two", "None"]
    assert all(map(is_fork, processes))


@pytest.mark.parametrize("name", ["PYTHONPATH", "TZ", "LC_ALL", "SSL_CERT_FILE"])
def test_a_copy_with_a_variable_that_python_reads_at_its_start_is_a_new_python(started, name):
    assert not is_fork(started(PID, **{name: "/elsewhere"}))


def test_a_copy_whose_code_has_a_module_with_the_name_of_a_loaded_one_is_a_new_python(started):
    code = "import shared, json\nanswer = lambda _: json.__file__\n"
    process = started(PID, code, more="json")
    assert not is_fork(process)
    assert answer(process).endswith("/code/json.py")


def test_a_layer_whose_module_starts_a_thread_is_not_shared(started):
    layer = "import threading\nMADE = 1\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    process = started(layer)
    assert not is_fork(process)
    assert answer(process).startswith("[1, ")


def test_a_copy_whose_layer_does_not_end_its_import_is_a_new_python_that_holds_up_no_other_one(
    started, tmp_path, monkeypatch
):
    monkeypatch.setattr(forks, "PATIENCE", 0.1)
    end = tmp_path / "end"
    layer = f"import pathlib\nMADE = 1\nwhile not pathlib.Path({str(end)!r}).exists(): pass\n"
    processes = [started(layer), started(layer)]
    assert [is_fork(process) for process in processes] == [False, False]
    end.touch()
    assert [answer(process)[:4] for process in processes] == ["[1, ", "[1, "]


def test_a_copy_whose_layer_cannot_be_imported_fails_with_the_error(started):
    process = started("raise ValueError('no such setting')\n")
    assert is_fork(process)
    assert "ValueError: no such setting" in process.stderr.read()
    assert process.wait(10) is not None


def test_a_copy_prints_its_errors_and_ends(started):
    process = started(PID, "import shared\ndef answer(_): raise ValueError('bad input')\n")
    assert answer(process) == ""
    assert process.stderr.read().endswith("ValueError: bad input\n")
    assert process.wait(10) is not None


def test_a_copy_ends_with_its_input(started):
    process = started(PID)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.stdin.close()
    assert process.wait(10) is not None
    assert process.poll() is not None


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_copy_ends_on_demand_and_leaves_no_zombie(started, end):
    process = started(PID)
    answer(process)
    getattr(process, end)()
    assert process.wait(10) is not None
    getattr(process, end)()  # This does nothing, because the ID could be that of another process.
    waited(lambda: not Path(f"/proc/{process.pid}").exists(), "the parent has reaped the copy")


def test_a_copy_has_the_signals_of_a_new_python(started):
    code = (
        "import shared, signal\n"
        "new = (signal.SIG_DFL, signal.default_int_handler)\n"
        "answer = lambda name: signal.getsignal(getattr(signal, name)) in new\n"
    )
    process = started(PID, code)
    assert is_fork(process)
    assert [answer(process, name) for name in (signal.SIGINT.name, signal.SIGCHLD.name)] == ["True", "True"]

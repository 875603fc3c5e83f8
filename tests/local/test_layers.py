"""A layer is unpacked and compiled once for all processes of functions."""

import importlib.util
import io
import os
import zipfile
from pathlib import Path

import pytest
from rolewarden_local.emulated import layers
from rolewarden_local.emulated._ministack import lambda_svc

PYTHON = {"Runtime": "python3.13", "Layers": ["one"], "Environment": {"Variables": {"STAGE": "test"}}}


def archive(text):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr(zipfile.ZipInfo("python/greeting.py"), text)
    return content.getvalue()


@pytest.fixture
def started(monkeypatch):
    """A function that starts a process of a function with these layers, and gives the configuration of its start."""
    contents: dict[str, bytes] = {}
    monkeypatch.setattr(lambda_svc, "_resolve_layer_zip", contents.get)

    class Worker:
        def __init__(self, config):
            self.config = config

    def start(config, **layers_by_name):
        contents.update(layers_by_name)
        seen, worker = [], Worker(config)
        layers._with_unpacked_layers(lambda worker: seen.append(worker.config))(worker)
        assert worker.config is config
        return seen[0]

    return start


def folders(config):
    return config["Environment"]["Variables"]["_LAMBDA_LAYERS_DIRS"].split(os.pathsep)


def test_every_process_gets_the_same_folder_with_bytecode_of_this_python(started):
    first, second = (started(PYTHON, one=archive("hello = 1\n")) for _ in range(2))
    assert first == second
    assert (first["Layers"], first["Environment"]["Variables"]["STAGE"]) == ([], "test")
    [folder] = folders(first)
    assert Path(importlib.util.cache_from_source(f"{folder}/python/greeting.py")).exists()


def test_another_content_of_a_layer_gets_another_folder(started):
    [first] = folders(started(PYTHON, one=archive("hello = 1\n")))
    [second] = folders(started(PYTHON, one=archive("hello = 2\n")))
    assert first != second


def test_a_module_that_does_not_compile_stops_only_a_process_that_imports_it(started):
    [folder] = folders(started(PYTHON, one=archive("hello =\n")))
    assert Path(f"{folder}/python/greeting.py").exists()


def test_the_layers_keep_their_order(started):
    config = {**PYTHON, "Layers": ["two", "one"]}
    found = folders(started(config, one=archive("hello = 1\n"), two=archive("hello = 2\n")))
    [first] = folders(started(PYTHON))
    assert found[1] == first != found[0]


def test_a_layer_that_does_not_exist_stops_the_start(started):
    with pytest.raises(RuntimeError, match="layer three does not exist"):
        started({**PYTHON, "Layers": ["three"]})


def test_a_function_of_another_language_is_left_to_ministack(started):
    config = {"Runtime": "nodejs22.x", "Layers": ["one"]}
    assert started(config) is config

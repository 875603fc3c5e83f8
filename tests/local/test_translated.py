"""The translation of the template is kept in a file, which is never wrong and never needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rolewarden_local.scenes.translated import MOST_FILES, translated

from tests.conftest import ROOT

SMALL = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Name: {Type: String, Default: x}
Resources:
  Queue: {Type: AWS::SQS::Queue}
  Function:
    Type: AWS::Serverless::Function
    Properties: {Runtime: python3.13, Handler: app.handler, CodeUri: here}
"""
REGION = "us-east-1"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "rolewarden"


def test_a_kept_translation_is_the_one_that_was_made(folder):
    made = translated(SMALL, {}, REGION)
    [file] = folder.iterdir()
    before = file.stat().st_ino
    assert translated(SMALL, {}, REGION) == made
    assert made.body["Resources"]["Function"]["Type"] == "AWS::Lambda::Function"
    assert made.source["Resources"]["Function"]["Properties"]["CodeUri"] == "here"
    assert [each.stat().st_ino for each in folder.iterdir()] == [before]


def test_each_input_of_a_translation_has_a_file_of_its_own(folder):
    for inputs in (
        (SMALL, {}, REGION),
        (SMALL.replace("Queue:", "Other:"), {}, REGION),
        (SMALL, {"Name": "y"}, REGION),
        (SMALL, {}, "cn-north-1"),
    ):
        translated(*inputs)
    assert len(list(folder.iterdir())) == 4
    assert "Other" in translated(SMALL.replace("Queue:", "Other:"), {}, REGION).body["Resources"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"body": {}}', '{"source": 1, "body": {}}', "\x00"])
def test_a_file_that_is_no_translation_is_replaced(folder, text):
    made = translated(SMALL, {}, REGION)
    [file] = folder.iterdir()
    file.write_text(text)
    assert translated(SMALL, {}, REGION) == made
    assert len(file.read_text()) > len(text)


def test_a_folder_that_cannot_be_made_is_not_needed(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert translated(SMALL, {}, REGION).body["Resources"]


def test_only_the_files_that_were_used_last_are_kept(folder):
    translated(SMALL, {}, REGION)
    [first] = folder.iterdir()
    for number in range(MOST_FILES + 3):
        old = folder / f"template-{number}.json"
        old.touch()
        os.utime(old, (number, number))
    (folder / "something else").touch()
    translated(SMALL, {"Name": "y"}, REGION)
    kept = {each.name for each in folder.iterdir()}
    assert len(kept) == MOST_FILES + 1
    assert {first.name, "something else"} <= kept
    assert "template-0.json" not in kept


@pytest.mark.long
def test_a_second_replay_does_not_load_the_translator(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    program = "from rolewarden_cli.main import main; main()"
    command = [sys.executable, "-X", "importtime", "-c", program, "replay", "events/detach_role_policy.json"]
    ran = [
        subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, text=True) for _ in range(2)
    ]
    assert ran[0].stdout == ran[1].stdout
    loaded = [{line.rpartition("|")[2].strip() for line in run.stderr.splitlines()} for run in ran]
    assert ["samtranslator" in modules for modules in loaded] == [True, False]
    assert not any("rfc3987_syntax.syntax_helpers" in modules for modules in loaded)
    assert Path(tmp_path, "rolewarden").is_dir()

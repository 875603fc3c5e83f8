"""The build makes GuardrailsLayer's JSON of guardrails.yaml: it prints errors, and both files have the same rules."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rolewarden import yamltext
from rolewarden.guardrails import Assignment, Mode
from rolewarden.guardrails_file import load, read_json

from tests.conftest import ROOT
from tests.guardrail_files import GUARDRAILS, TODAY, assignment, bedrock, exemption, guardrail, yaml


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module layers/guardrails/build.py, which `sam build` runs."""
    spec = importlib.util.spec_from_file_location("guardrails_build", ROOT / "layers" / "guardrails" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def no_network(*_: object) -> str:
        raise AssertionError("PyYAML is there, nothing is to be installed")

    monkeypatch.setattr(module, "get_packages", no_network)
    return module


def test_a_valid_file_is_built_into_json_with_the_same_rules(
    build: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "python" / "rolewarden_rules"
    source = tmp_path / "guardrails.yaml"
    source.write_text(GUARDRAILS.read_text().replace("until: 2027-01-31", "until: 2999-01-31"))
    assert build.main(source, target) == 0
    assert capsys.readouterr() == ("", "")
    assert {path.name for path in target.iterdir()} == {"__init__.py", "guardrails.json", "guardrails.yaml"}
    assert (target / "guardrails.yaml").read_bytes() == source.read_bytes()
    assert load(target / "guardrails.json", today=TODAY) == load(source, today=TODAY)


def test_a_name_of_the_console_is_corrected_to_a_known_model(
    build: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "guardrails.yaml"
    source.write_text(bedrock("Claude Sonnet 4"))
    assert build.main(source, tmp_path / "target") == 1
    assert "write `anthropic.claude-sonnet-4-20250514*`" in capsys.readouterr().err


def test_a_warning_is_printed_and_the_file_is_built(
    build: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "guardrails.yaml"
    source.write_text(exemption("{role: X, until: 2020-01-31}"))
    assert build.main(source, tmp_path / "target") == 0
    assert capsys.readouterr().err.splitlines() == [
        "warning: guardrails.yaml:6: exemptions[1]: ended on 2020-01-31, so `X` needs its guardrails again: "
        "remove the exemption"
    ]
    assert (tmp_path / "target" / "guardrails.json").exists()


TOO_LONG = ", ".join(f"'*.{'x' * 60}{number}'" for number in range(100))


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("mode: [\n", ["error: guardrails.yaml:1: not valid YAML: "]),
        (bedrock("claude-v2, nova-*"), ["error: guardrails.yaml:2: guardrails.a.bedrock.deny[1]: ",
                                        "error: guardrails.yaml:2: guardrails.a.bedrock.deny[2]: "]),
        (exemption("{role: X, until: 2020-01-31}") + "mode: x\n", ["error: guardrails.yaml:7: mode: ",
                                                                   "warning: guardrails.yaml:6: exemptions[1]: "]),
        (guardrail(f"{{bedrock: {{allow: [{TOO_LONG}]}}}}"),
         ["error: guardrails.yaml:2: guardrails.a.bedrock: the allow list does not fit an IAM policy"]),
        (None, ["error: guardrails.yaml: cannot be read: "]),
    ],
    ids=["no YAML", "two mistakes", "a mistake and a warning", "longer than a policy", "no file"],
)  # fmt: skip
def test_a_file_with_an_error_builds_nothing_and_the_error_is_printed(
    build: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, starts: list[str]
) -> None:
    source = tmp_path / "guardrails.yaml"
    if text is not None:
        source.write_text(text)
    assert build.main(source, tmp_path / "python" / "rolewarden_rules") == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith(start) for line, start in zip(said, starts, strict=True)] == [True] * len(starts)
    assert not (tmp_path / "python").exists()


def test_a_build_under_a_python_without_yaml_fetches_it(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, Path, list[str], Path]] = []
    monkeypatch.setattr(build, "get_packages", lambda *arguments: ran.append(arguments) or "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    build.need_yaml()
    assert ran == []
    monkeypatch.setitem(sys.modules, "yaml", None)  # The import then fails, as if PyYAML were not installed.
    build.need_yaml()
    [command] = ran
    verb, folder, options, requirements = command
    assert (verb, options) == ("install", [])
    assert requirements.read_text().startswith("pyyaml==")
    assert sys.path[0] == str(folder)


def test_a_changed_file_of_yaml_ends_the_build(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "get_packages", lambda *_: "the file of pyyaml==6.0.3 does not have its hash")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SystemExit, match="error: the file of pyyaml"):
        build.need_yaml()


SOUND_NAMES = st.sampled_from(["x", "research", "012345678901", "null", "~", "1.5", "yes", "2027-01-31", "a: b", "* #"])


@given(
    st.lists(SOUND_NAMES, min_size=1, max_size=3),
    st.dictionaries(SOUND_NAMES, SOUND_NAMES, min_size=1, max_size=2),
    st.sampled_from(list(Mode)),
)
@settings(max_examples=60)
def test_yaml_and_the_json_made_of_it_give_equal_rules(domains: list[str], tags: dict[str, str], mode: Mode) -> None:
    conditions = json.dumps({"guardrails": ["a"], "domains": domains, "tags": tags})
    text = f"mode: {mode}\n" + assignment(conditions)
    document, _ = yamltext.parse_yaml(text)
    of_yaml, of_json = yaml(text).rules, read_json(json.dumps(document), today=TODAY).rules
    assert of_yaml is not None
    assert of_yaml == of_json
    assert of_yaml.assignments[0] == Assignment(("a",), domains=tuple(domains), tags=tags)

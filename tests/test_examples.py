"""The examples for pipelines and deployments do what they say: their commands run, and their names exist."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from rolewarden_local.aws import LocalAws
from rolewarden_local.scenes.deploy import environment
from rolewarden_local.scenes.seed import seed

from tests.conftest import ROOT

pytestmark = pytest.mark.long

EXAMPLES = ROOT / "examples"
RULES = "layers/guardrails/guardrails.yaml"
STRICT = "guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n"
LOOSER = STRICT.replace("deny: all", "deny: [anthropic.*]")


def parameters():
    """The parameters of the template."""
    text = (ROOT / "template.yaml").read_text(encoding="utf-8").partition("\nParameters:\n")[2]
    own = re.split(r"^\w", text, maxsplit=1, flags=re.MULTILINE)[0]
    return set(re.findall(r"^  (\w+):$", own, re.MULTILINE))


def test_every_example_is_named_by_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    files = [file for file in EXAMPLES.rglob("*") if file.is_file()]
    assert len(files) == 5
    assert [file for file in files if f"examples/{file.relative_to(EXAMPLES)}" not in text] == []


@pytest.fixture(scope="module")
def endpoint():
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url:
        seed(aws)
        yield url
        aws.reset()


@pytest.fixture
def repository(tmp_path, endpoint):
    """A repository whose last commit loosens the rules, and the environment of a runner with a `gh` that prints."""
    folder, tools, results = tmp_path / "repository", tmp_path / "tools", tmp_path / "results"
    results.mkdir()
    (folder / RULES).parent.mkdir(parents=True)
    tools.mkdir()
    (tools / "gh").write_text('#!/bin/sh\necho "gh $*" && cat "$5"\n')
    (tools / "gh").chmod(0o755)
    variables = {
        **environment(endpoint, "us-east-1"),
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        **{f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        "COLUMNS": "80",
        "NUMBER": "7",
        "RUNNER_TEMP": str(results),
    }

    def bash(line, **more):
        made = ["bash", "-e", "-o", "pipefail", "-c", line]
        return subprocess.run(made, cwd=folder, env={**variables, **more}, capture_output=True, text=True, check=False)

    bash("git init -q -b main")
    for text in (STRICT, LOOSER):
        (folder / RULES).write_text(text)
        bash("git add -A && git commit -q -m rules")
    return bash


def test_the_workflow_judges_a_pull_request_and_writes_the_plan_as_a_comment(repository):
    workflow = yaml.safe_load((EXAMPLES / "github-actions/guardrails.yml").read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as a boolean, and GitHub does not.
    assert workflow[True].keys() == {"pull_request"}
    steps = {step["name"]: step["run"] for step in workflow["jobs"]["judge"]["steps"] if "run" in step}
    assert all("${{" not in text for text in steps.values()), "a text of a pull request must not become code"
    base = repository("git rev-parse HEAD^").stdout.strip()
    done = {
        name: repository(text, BASE=base, FILE=workflow["env"]["FILE"], NO_COLOR="1")
        for name, text in steps.items()
        if name != "Install Rolewarden"
    }
    codes = {name: ended.returncode for name, ended in done.items()}
    assert codes == {
        "The file has no error and no warning": 0,
        "What the change means for access": 0,
        "What it means for the account": 2,
        "Write both as a comment": 0,
        "Gained access needs a label": 2,
    }, [ended.stderr for ended in done.values()]
    comment = done["Write both as a comment"].stdout
    assert re.match(r"gh pr comment 7 --body-file \S+/results/comment\.md\n", comment)
    assert "\n### rolewarden diff" in comment
    assert "### rolewarden plan" in comment
    assert "    account 111122223333, us-east-1" in comment


def workflow_steps():
    """The workflow, and the command lines of its steps by name."""
    workflow = yaml.safe_load((EXAMPLES / "github-actions/guardrails.yml").read_text(encoding="utf-8"))
    return workflow, {step["name"]: step["run"] for step in workflow["jobs"]["judge"]["steps"] if "run" in step}


def test_the_workflow_starts_again_when_the_label_is_added_and_an_old_label_approves_no_new_commit():
    workflow, _ = workflow_steps()
    assert {"opened", "synchronize", "labeled"} <= set(workflow[True]["pull_request"]["types"])
    [condition] = [step["if"] for step in workflow["jobs"]["judge"]["steps"] if "label" in step.get("name", "")]
    assert "github.event.action != 'labeled'" in condition
    assert "pull_request.labels" not in condition


def test_the_workflow_judges_a_pull_request_that_adds_the_file(repository):
    base = repository(f"git rm -q {RULES} && git commit -q -m without && git rev-parse HEAD").stdout.strip()
    repository(f"git checkout -q HEAD^ -- {RULES} && git commit -q -m new")
    _, steps = workflow_steps()
    for name in ("What the change means for access", "Write both as a comment", "Gained access needs a label"):
        done = repository(steps[name], BASE=base, FILE=RULES)
        assert done.returncode == 0, (name, done.stderr)
        if "comment" in name:
            assert "The file is new" in done.stdout


@pytest.mark.parametrize("plan", [None, "a role\n" * 30_000])
def test_the_workflow_comments_what_it_has_within_the_limit_of_a_comment(repository, plan, tmp_path):
    _, steps = workflow_steps()
    if plan:
        (tmp_path / "results/plan.txt").write_text(plan)
    done = repository(steps["Write both as a comment"])
    assert done.returncode == 0, done.stderr
    assert ("gh pr comment" in done.stdout) is bool(plan)
    assert len(done.stdout) < 65_536


def test_a_file_of_the_pull_request_is_neither_a_result_nor_the_command_that_judges(repository, tmp_path):
    """A pull request can have a file of each name that the workflow uses, and another wheel."""
    _, steps = workflow_steps()
    wheel = "wheels/rolewarden-1.whl"
    base = repository(
        f"mkdir wheels && echo base > {wheel} && git add -A && git commit -q -m wheel && git rev-parse HEAD"
    ).stdout.strip()
    forged = "before.yaml diff.txt plan.txt comment.md wheels/rolewarden-0.whl"
    repository(f"for name in {forged} {wheel}; do echo forged > $name; done; git add -A && git commit -q -m forged")
    (tmp_path / "tools/pipx").write_text('#!/bin/sh\nshift && cat "$@"\n')
    (tmp_path / "tools/pipx").chmod(0o755)
    installed = repository(steps["Install Rolewarden"], BASE=base)
    assert (installed.stdout, installed.stderr) == ("base\n", "")
    assert repository(steps["Write both as a comment"]).stdout == ""


def test_the_hook_refuses_a_file_with_an_error(repository):
    [repo] = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    [hook] = repo["hooks"]
    assert re.search(hook["files"], RULES)
    # pre-commit gives every changed file that matches to one command, and `rolewarden check` takes one file.
    assert not [
        path for path in ("template.yaml", "guardrails.yaml", f"prod/{RULES}") if re.search(hook["files"], path)
    ]
    line = f"{hook['entry']} {RULES}"
    assert repository(line).returncode == 0
    assert repository(f"echo 'guardrails: {{}}' > {RULES}; {line}").returncode == 2


def test_samconfig_confirms_the_change_set_of_prod_only_and_has_parameters_of_the_template():
    with (EXAMPLES / "samconfig.toml").open("rb") as file:
        config = tomllib.load(file)
    with (ROOT / "samconfig.toml").open("rb") as file:
        own = tomllib.load(file)
    assert config["default"] == {key: value for key, value in own["default"].items() if key != "deploy"}
    for name, confirms in (("dev", False), ("prod", True)):
        given = config[name]["deploy"]["parameters"]
        assert given["confirm_changeset"] is confirms
        assert given.items() >= {**own["default"]["deploy"]["parameters"], "confirm_changeset": confirms}.items()
        assert {text.partition("=")[0] for text in given["parameter_overrides"]} <= parameters()
        assert config[name]["global"] == own["default"]["global"]


def test_the_terraform_recipe_has_parameters_of_the_template_and_the_capabilities_of_its_transform():
    text = (EXAMPLES / "terraform/main.tf").read_text(encoding="utf-8")
    code = re.sub(r"#.*", "", text)
    assert code.count("{") == code.count("}")
    assert code.count('"') % 2 == 0
    block = re.search(r"parameters = \{(.*?)\}", code, re.DOTALL)
    assert block
    assert {*re.findall(r"(\w+)\s+=", block[1])} <= parameters()
    assert '["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]' in code
    assert {*re.findall(r"var\.(\w+)", code)} == {*re.findall(r'variable "(\w+)"', code)}
    assert "aws_s3_object.template" in code


def test_the_cdk_recipe_is_python_and_has_parameters_of_the_template():
    tree = ast.parse((EXAMPLES / "cdk/app.py").read_text(encoding="utf-8"))
    [given] = [word.value for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords
               if word.arg == "parameters"]  # fmt: skip
    assert isinstance(given, ast.Dict)
    assert {ast.literal_eval(key) for key in given.keys if key} <= parameters()


def test_both_recipes_package_the_template_with_the_same_commands():
    for name in ("terraform/main.tf", "cdk/app.py"):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        assert "sam build\n" in text
        assert 'sam package --s3-bucket "$BUCKET" --output-template-file packaged.yaml' in text

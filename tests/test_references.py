"""References in texts: the pages and sections that they cite, and the AWS CLI commands that they recommend."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest
from botocore import xform_name
from rolewarden.alert import anchor, compose
from rolewarden.verdicts import RECOMMENDATIONS, Reason
from rolewarden_cli.main import app
from typer.main import get_group

from tests.conftest import ROOT, sample

CODE = ("layers", "cli", "functions", "local")
CITED = re.compile(r"docs/([\w/-]+\.md)(?:, (?P<section>.*))?")
ENTRY = re.compile(r"\$\{RunbookUrl\}#([\w-]*)")
COMMAND = re.compile(r"\baws [a-z0-9-]+ [a-z0-9-]+(?: (?:--)?[\w-][^\s`]*)*")
"""A command of the AWS CLI up to the end of its line, or to the backtick after it."""


def strings(text: str) -> Iterator[str]:
    """The strings of a Python file except docstrings. Each part of an f-string is one."""
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


EXAMPLES = {"docs/nowhere.md", "docs/x.md"}
"""Missing pages that this module cites to test itself."""


@cache
def said() -> tuple[tuple[str, str], ...]:
    """Each text for users outside of the docs, with the name of its file."""
    found = [(name, (ROOT / name).read_text(encoding="utf-8")) for name in ("template.yaml", "forwarder.yaml")]
    for folder in CODE:
        for file in sorted((ROOT / folder).rglob("*.py")):
            name = str(file.relative_to(ROOT))
            found += [(name, text) for text in strings(file.read_text(encoding="utf-8"))]
    return tuple(found)


@cache
def headings(page: str) -> frozenset[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return frozenset(re.findall(r"^#+ (.+)$", text, re.MULTILINE))


def lacking(text: str) -> list[str]:
    """The references in `text` to a page or a section that does not exist."""
    missing = []
    for cited in CITED.finditer(text):
        page, section = cited[1], cited["section"]
        if not (ROOT / "docs" / page).is_file() or (section and not section.startswith(tuple(headings(page)))):
            missing.append(cited[0])
    return missing


def test_every_page_and_section_that_code_cites_exists():
    missing = {(name, cited) for name, text in said() for line in text.splitlines() for cited in lacking(line)}
    for file in [path for folder in (*CODE, "tests", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]:
        # Comments and docstrings cite a page within a sentence.
        pages = set(re.findall(r"\bdocs/[\w/-]+\.md", file.read_text(encoding="utf-8")))
        missing |= {(file.name, page) for page in pages - EXAMPLES if not (ROOT / page).is_file()}
    entries = {anchor(heading) for heading in headings("how-to/runbook.md")}
    missing |= {(name, entry) for name, text in said() for entry in ENTRY.findall(text) if entry not in entries}
    assert missing == set()
    assert lacking("see docs/how-to/runbook.md, Nowhere.") == ["docs/how-to/runbook.md, Nowhere."]
    assert lacking("see docs/how-to/runbook.md, rolewarden-undelivered") != []
    assert lacking("see docs/nowhere.md") == ["docs/nowhere.md"]


@cache
def services() -> frozenset[str]:
    return frozenset(botocore.session.get_session().get_available_services())


def offered() -> Iterator[tuple[str, str]]:
    """Each AWS CLI command that a text, a page or an alert recommends."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = [*said(), *((page.name, page.read_text(encoding="utf-8")) for page in pages)]
    events = [sample(path.stem) for path in sorted((ROOT / "events").glob("*.json"))]
    deleted = sample("finding_policy_restored")
    deleted["detail"]["remediation"] = "created"
    texts += [("alert", compose(event, "aws").body) for event in [*events, deleted]]
    for name, text in texts:
        for found in COMMAND.findall(re.sub(r"\\\n\s*", "", text)):
            _, service, operation, *_ = found.split()
            # `aws configure` belongs to the AWS CLI itself. A word without a hyphen after another word is prose.
            if service != "configure" and (service in services() or "-" in operation):
                yield name, found


def wrong(command: str) -> str:
    """The unknown or missing parts of a command. A command without options can be only a name."""
    _, service, operation, *rest = command.rstrip(".,;:)").split()
    session = botocore.session.get_session()
    if service not in services():
        return f"no service {service}"
    model = session.get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return f"no operation {operation}"
    shape = model.operation_model(names[operation]).input_shape
    members = {xform_name(name, "-"): name for name in shape.members} if shape else {}
    options = {word[2:].partition("=")[0] for word in rest if word.startswith("--")}
    general = {"region", "profile", "output", "query", "endpoint-url", "cli-binary-format"}
    if unknown := options - members.keys() - general - {f"no-{name}" for name in members}:
        return f"no option {', '.join(sorted(unknown))}"
    required = {xform_name(name, "-") for name in shape.required_members} if shape else set()
    absent = required - options
    # A name or a part of an f-string is not the whole command. The alerts and pages have the whole one.
    is_whole = rest and not rest[-1].startswith("--")
    return f"needs {', '.join(sorted(absent))}" if absent and is_whole else ""


def test_every_recommended_aws_command_exists_with_its_options():
    commands = dict.fromkeys(offered())
    assert {command.split()[1] for _, command in commands} >= {"iam", "cloudtrail", "kms", "cloudformation"}
    found = {(name, command): wrong(command) for name, command in commands}
    assert {what: why for what, why in found.items() if why} == {}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("aws iam get-policy-text --policy-arn ARN", "no operation get-policy-text"),
        ("aws iam get-policy-version --arn ARN", "no option arn"),
        ("aws iam get-policy-version --policy-arn ARN", "needs version-id"),
        ("aws iamx get-policy", "no service iamx"),
    ],
)
def test_a_wrong_command_would_be_found(command, why):
    assert wrong(command) == why


OWN_COMMAND = re.compile(r"[`(](?:\.venv/bin/)?rolewarden ([a-z][^`)]*)[`)]")


def wrong_own(command: str) -> str:
    """The parts of a command of Rolewarden that the command line does not know. Empty if it knows all of them."""
    name, *rest = command.split()
    found = get_group(app).commands.get(name)
    if found is None:
        return f"no command {name}"
    known = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    unknown = {word.partition("=")[0] for word in rest if word.startswith("--")} - known
    return f"no option {', '.join(sorted(unknown))}" if unknown else ""


def test_every_recommended_command_of_rolewarden_exists_with_its_options():
    commands = {(name, command) for name, text in said() for command in OWN_COMMAND.findall(text)}
    assert {command.split()[0] for _, command in commands} >= {"sweep", "doctor", "enforce"}
    assert {found: wrong_own(found[1]) for found in commands if wrong_own(found[1])} == {}
    assert wrong_own("mend") == "no command mend"
    assert wrong_own("sweep --gently") == "no option --gently"


def test_the_commands_of_an_alert_about_an_edited_policy_show_its_text():
    assert "aws iam get-policy-version" in compose(sample("finding_policy_restored"), "aws").body


def test_a_command_in_an_alert_stays_on_one_line():
    for event in [sample(path.stem) for path in sorted((ROOT / "events").glob("*.json"))]:
        for line in compose(event, "aws").body.splitlines():
            assert line.count("`") % 2 == 0, line


@pytest.mark.parametrize("reason", RECOMMENDATIONS)
def test_an_alert_has_the_whole_recommended_action_and_breaks_no_word_of_it(reason):
    event = sample("finding_role")
    event["detail"]["reason"] = str(reason)
    assert RECOMMENDATIONS[reason] in " ".join(compose(event, "aws").body.split())


FINDINGS = sorted(
    path.stem
    for path in (ROOT / "events").glob("finding_*.json")
    if sample(path.stem)["detail"].get("reason") in RECOMMENDATIONS
)


@pytest.mark.parametrize("name", FINDINGS)
def test_a_sample_finding_has_the_recommended_action_of_its_reason(name):
    detail = sample(name)["detail"]
    assert detail["recommendation"] == RECOMMENDATIONS[detail["reason"]]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "events").glob("*.json")))
def test_every_alert_has_an_action_and_an_entry_of_the_runbook(name):
    body = compose(sample(name), "aws").body
    assert re.search(r"^To do {6}\w", body, re.MULTILINE)
    assert re.search(r"^Runbook {4}docs/how-to/runbook\.md, \w", body, re.MULTILINE)


@pytest.mark.parametrize("reason", [Reason.ACCESS_DENIED, Reason.REFUSED])
def test_a_reason_of_any_service_names_no_service_in_its_recommended_action(reason):
    assert not re.search(r"\b(IAM|SageMaker|CloudTrail|SQS|StackSets)\b", RECOMMENDATIONS[reason])


@pytest.mark.parametrize("length", range(40, 70))
def test_an_alert_breaks_no_line_at_a_hyphen(length):
    event = sample("finding_role")
    event["detail"]["message"] = f"{'x' * length} lambda:Invoke-all-but-one"
    assert "lambda:Invoke-all-but-one" in compose(event, "aws").body


FOLDERS = "bench|cli|docs|events|functions|layers|local|tests"
PATHS = re.compile(rf"`(\.?(?:{FOLDERS}|ci)/[\w./*-]*|test_\w+\.py)`")


def nowhere(page: str) -> set[str]:
    """The paths on a page without a file."""
    named = {path if "/" in path else f"tests/{path}" for path in PATHS.findall(page)}
    return {path for path in named if not any(ROOT.glob(path.rstrip("/")))}


def test_every_file_that_a_page_names_exists():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found = {(page.name, path) for page in pages for path in nowhere(page.read_text(encoding="utf-8"))}
    assert found == set()
    assert nowhere("see `tests/test_nothing.py`, `test_none.py` and `tests/`") == {
        "tests/test_nothing.py",
        "tests/test_none.py",
    }


@pytest.mark.parametrize("package", ["layers/rolewarden/rolewarden", "cli/rolewarden_cli"])
def test_the_page_about_architecture_has_every_module_and_no_other(package):
    text = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    page = text.partition("## Modules")[2].partition("\n## ")[0]
    library, _, command_line = page.partition("The command line")
    table = command_line if package.startswith("cli") else library
    cells = re.findall(r"^\| (`.*?`) \|(.*)", table, flags=re.MULTILINE)
    listed = {name for named, _ in cells for name in re.findall(r"`(\w+)`", named)}
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    assert listed <= modules
    assert modules - {name for cell in cells for text in cell for name in re.findall(r"`(\w+)`", text)} == set()


def test_no_message_recommends_a_second_deployment_of_the_same_template():
    """CloudFormation compares a template with the previous one, so such a deployment restores nothing."""
    again = re.compile(r"redeploy|deploy (the|your) (same )?(stack|template) again|sam deploy`? again", re.IGNORECASE)
    roots = ("cli/rolewarden_cli", "layers/rolewarden/rolewarden", "functions")
    files = [ROOT / "template.yaml", *(file for root in roots for file in (ROOT / root).rglob("*.py"))]
    texts = {file: re.sub(r'"\s*f?"', "", file.read_text(encoding="utf-8")) for file in files}
    assert {str(file): found[0] for file, text in texts.items() if (found := again.search(text))} == {}


def test_the_runbook_quotes_messages_and_log_lines_that_the_code_has():
    pages = ("docs/how-to/runbook.md", "docs/how-to/unprotected-role.md")
    page = " ".join(" ".join((ROOT / page).read_text(encoding="utf-8").split()) for page in pages)
    quoted = set(re.findall(r"(?<!\*)\*([a-z][^*|]+)\*(?!\*)", page)) - {reason.value for reason in Reason}
    quoted |= set(re.findall(r"log(?:s)? (?:for|says) `([^`]+)`", page))
    assert {"the role has a permissions boundary that is not Rolewarden's", "the history cannot be audited"} <= quoted
    texts = [text for _, text in said()]
    assert {quote for quote in quoted if not any(quote.rstrip(" …") in text for text in texts)} == set()

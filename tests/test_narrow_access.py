"""Each collaborator can make only the calls that it needs. mypy enforces this, and these tests check mypy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.long

LAYER = ROOT / "layers" / "rolewarden"

CALLS = {
    "attach": '("role", "arn", correlation_id="id")',
    "detach": '("role", "arn", correlation_id="id")',
    "set_boundary": '("role", "arn", correlation_id="id")',
    "remove_boundary": '("role", correlation_id="id")',
    "create_policy": '("name", "text", "description", correlation_id="id")',
    "replace_policy": '("arn", "text", correlation_id="id")',
    "set_default_version": '("arn", "v1", instead_of="v2", correlation_id="id")',
    "delete_policy": '("arn")',
    "write_newer": '("table", (), (), at=0.0)',
    "put_events": "([])",
    "send": '("queue", [])',
    "run": '("function", {})',
}
"""Calls that change IAM, Rolewarden's own tables, its event bus and its queues, with arguments."""

ALLOWED = {
    "rolewarden.reconcile.Reconciler.aws": {"attach", "set_boundary", "remove_boundary"},
    "rolewarden.publish.Publisher.aws": {"create_policy", "replace_policy", "set_default_version", "delete_policy"},
    "rolewarden.detach.Detacher.aws": {"detach", "remove_boundary", "delete_policy"},
    "rolewarden.sweep.Sweeper.aws": {"send"},
    "rolewarden.work.Rechecks.aws": {"send"},
    "rolewarden.publish.Publications.queues": {"send"},
    "rolewarden.history.StoredHistory.aws": set(),
    "rolewarden.alerting.Alerter.aws": set(),
    "rolewarden.alert_limits.AlertLimits.aws": {"write_newer"},
    "rolewarden.held_alerts.HeldAlerts.aws": {"write_newer"},
    "rolewarden.held_alerts.HeldAlerts.calls": set(),
    "rolewarden.sweep_requests.SweepRequests.sends": {"send"},
    "rolewarden.publish.Publications.stacks": set(),
    "rolewarden.rules_log.RulesLog.deployments": set(),
    "rolewarden.history.History.aws": {"write_newer", "put_events"},
    "rolewarden.bindings.BindingsTable.aws": {"write_newer"},
    "rolewarden.reported.ReportedFindings.aws": {"write_newer"},
    "rolewarden.progress.Progress.aws": {"write_newer"},
    "rolewarden.published.PublishedDocuments.aws": {"write_newer"},
    "rolewarden.bindings.StoredBindings.aws": set(),
    "rolewarden.progress.RecordedProgress.aws": set(),
    "rolewarden.progress.CoveredAccounts.aws": set(),
    "rolewarden_cli.connect.Connection.aws": set(),
    "rolewarden.discovery.SubjectReader.aws": set(),
    "rolewarden.reread.Rereader.aws": set(),
    "rolewarden.audit.Auditor.aws": set(),
    "rolewarden.enforce.Enforcer.sessions": set(),
    "rolewarden.enforce.Enforcer.lists": set(),
    "rolewarden.shared_reads.SharedReads.aws": set(),
    "rolewarden.elsewhere.Elsewhere.aws": set(),
    "rolewarden.drill.RecordedDrills.aws": set(),
    "rolewarden.drill.Drills.aws": {"write_newer"},
    "rolewarden.listener.Listener.aws": {"attach"},
    "rolewarden.path.EventPath.aws": set(),
    "rolewarden.needs.Exemptions.aws": set(),
    "rolewarden.own_operations.OwnOperations.aws": set(),
}
"""The collaborators, each with the attribute with which it calls AWS, and the changes that it can make."""

SETTINGS = """
[mypy]
strict = True
[mypy-mypy_boto3_*,boto3,botocore.*,aws_lambda_powertools.*,rich.*,typer.*,click.*]
follow_imports = skip
ignore_missing_imports = True
"""
"""Only the layer's own types count here, because mypy would read the service models for half a minute."""


def errors(folder, *snippets):
    """The errors of mypy in each of `snippets`."""
    for number, text in enumerate(snippets):
        (folder / f"snippet_{number}.py").write_text(text)
    (folder / "mypy.ini").write_text(SETTINGS)
    files = [f"snippet_{number}.py" for number in range(len(snippets))]
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "--cache-dir=cache", *files]
    done = subprocess.run(
        command, cwd=folder, env={"MYPYPATH": f"{LAYER}:{ROOT / 'cli'}"}, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stderr
    found: list[list[str]] = [[] for _ in snippets]
    for line in done.stdout.splitlines():
        if ": error: " in line:
            place = re.match(r"snippet_(\d+)\.py:", line)
            assert place, f"an error outside of the snippets: {line}"
            found[int(place[1])].append(line)
    return found


def snippet(collaborator, call):
    """A module in which a collaborator makes a call."""
    place, _, attribute = collaborator.rpartition(".")
    module, _, name = place.rpartition(".")
    return (
        f"from {module} import {name}\n\n\ndef makes(one: {name}) -> None:\n    one.{attribute}.{call}{CALLS[call]}\n"
    )


def test_mypy_reports_a_call_beyond_the_duty_of_a_collaborator(tmp_path):
    cases = [(collaborator, call) for collaborator in ALLOWED for call in CALLS]
    found = errors(tmp_path, *(snippet(*case) for case in cases))
    for (collaborator, call), lines in zip(cases, found, strict=True):
        expected = 0 if call in ALLOWED[collaborator] else 1
        assert len(lines) == expected, (collaborator, call, lines)
        assert all("has no attribute" in line for line in lines)


def test_every_call_that_changes_iam_is_tried():
    reads = re.compile(r"(get|list|simulate)_")
    changing = set()
    [aws] = [
        node
        for node in ast.parse((LAYER / "rolewarden" / "aws.py").read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Aws"
    ]
    for method in (node for node in aws.body if isinstance(node, ast.FunctionDef)):
        for call in (node.func for node in ast.walk(method) if isinstance(node, ast.Call)):
            if (
                isinstance(call, ast.Attribute)
                and ast.unparse(call.value) == "self._iam"
                and not reads.match(call.attr)
            ):
                changing.add(method.name)
    assert len(changing) > 5
    assert changing - {"_roles_using"} <= CALLS.keys()


def test_every_attribute_that_reaches_aws_is_tried():
    from rolewarden import calls

    protocols = {name for name, value in vars(calls).items() if getattr(value, "_is_protocol", False)}
    found = set()
    for file in sorted((LAYER / "rolewarden").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            named = {ast.unparse(each.target): ast.unparse(each.annotation) for each in fields}
            for method in (each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"):
                named |= {arg.arg: ast.unparse(arg.annotation) for arg in method.args.args if arg.annotation}
            for attribute, annotation in named.items():
                if {annotation} & (protocols | {"Aws"}) and not node.name.startswith("_"):
                    found.add(f"rolewarden.{file.stem}.{node.name}.{attribute}")
    assert found <= ALLOWED.keys() | {
        "rolewarden.aws.Aws.aws",
        "rolewarden.canary_calls.CanaryCalls.aws",
        "rolewarden.in_force.OrganizationSimulator.aws",
        "rolewarden.links.LinkReader.aws",
        "rolewarden.own_parts.OwnParts.aws",
        "rolewarden.runtime.Runtime.aws",
        "rolewarden.stacks.StackReader.aws",
    }
    assert len(found) > 8

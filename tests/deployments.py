"""The parameters of `sam deploy`, the build that all stacks in the local AWS share, and the deletion of a stack."""

import fcntl
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rolewarden.aws import Aws
from rolewarden.record import ACCOUNT_WIDE
from rolewarden.reported import ReportedFindings
from rolewarden_local.scenes.account import Account, waited
from rolewarden_local.scenes.deploy import STACK, build

from tests.conftest import ROOT

NO_NETWORK = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
"""Environment variables with which pip cannot download a package."""


def section(title: str, page: str = "README.md") -> list[str]:
    """The lines of a section of a page. A line that ends in a backslash is joined with the next one."""
    text = (ROOT / page).read_text().replace("\\\n", "")
    found = re.search(rf"\n###? {title}\n(.*?)(?=\n##)", text, re.DOTALL)
    assert found is not None
    return [line.strip() for line in found[1].splitlines()]


def recipe(title: str, page: str = "README.md") -> dict[str, str]:
    """The parameters that a recipe of README.md or of another page gives to `sam deploy`."""
    [command] = [line for line in section(title, page) if line.startswith("sam deploy")]
    words = shlex.split(command)
    given = words[words.index("--parameter-overrides") + 1 :] if "--parameter-overrides" in words else []
    parameters = (word.partition("=") for word in given)
    return {name: value for name, _, value in parameters}


def commands(title: str, page: str = "README.md") -> list[list[str]]:
    """The words of each `aws` command in a section of README.md or of another page."""
    return [shlex.split(line) for line in section(title, page) if line.startswith("aws ")]


def run(command: list[str], client: Callable[[str], Any]) -> Any:
    """Run an `aws` command of the CLI with boto3's `client` for its service. Every option must have a value."""
    _, service, operation, *options = command
    given = zip(options[::2], options[1::2], strict=True)
    parameters = {"".join(map(str.capitalize, name.strip("-").split("-"))): value for name, value in given}
    return getattr(client(service), operation.replace("-", "_"))(**parameters)


def built(folder: Path) -> Path:
    """Run `sam build` once for all processes that name the same folder, and return the folder."""
    made = folder / "build"
    with (folder / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "template.yaml").exists():
            build(ROOT, made, NO_NETWORK)
    return made


def resources(cloudformation: Any, stack: str = STACK) -> list[dict[str, Any]]:
    """The resources of a stack, from every page of the answer. A page has at most 100 of them."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return [each for page in pages for each in page["StackResourceSummaries"]]


def physical(account: Account, logical: str) -> str:
    """The physical ID of a resource of the account's stack."""
    found = {
        each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources(account.client("cloudformation"))
    }
    return str(found[logical])


def left_by_deletion(account: Account) -> tuple[set[str], set[str]]:
    """Delete the stack, and return the remaining guardrail policies on CanvasOmar and in IAM."""
    stacks, iam = account.client("cloudformation"), account.client("iam")
    stacks.delete_stack(StackName=STACK)

    def is_deleted() -> bool:
        [stack] = [each for each in stacks.list_stacks()["StackSummaries"] if each["StackName"] == STACK]
        return stack["StackStatus"] == "DELETE_COMPLETE"

    waited(is_deleted, "the stack is deleted")
    policies = iam.list_policies(Scope="Local", PathPrefix="/rolewarden/")["Policies"]
    left = {policy["Arn"]: policy["PolicyName"] for policy in policies}
    return {left[arn] for arn in account.aws.attached_policies("CanvasOmar") if arn in left}, set(left.values())


def alarms(cloudwatch: Any) -> set[str]:
    """The alarms of the stack that have gone off at any time, by their logical IDs."""
    changes = cloudwatch.describe_alarm_history(HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    return {change["AlarmName"].split("-")[1] for change in changes if "to ALARM" in change["HistorySummary"]}


def account_findings(aws: Aws, outputs: Mapping[str, str], account: str) -> list[str]:
    """The reported findings about an account as a whole."""
    reported = ReportedFindings(aws, outputs["BindingsTable"]).of_account(account)
    return [finding.about for finding in reported if ACCOUNT_WIDE in finding.about]

"""What `sam deploy` is given, the one build that all its stacks in the local AWS share, and their deletion."""

import fcntl
import re
import shlex
from pathlib import Path

from rolewarden_local.scenes.account import Account, waited
from rolewarden_local.scenes.deploy import STACK, build

from tests.conftest import ROOT


def recipe(title: str, page: str = "README.md") -> dict[str, str]:
    """The parameters that a recipe of README.md or of another page gives to `sam deploy`."""
    text = (ROOT / page).read_text().replace("\\\n", "")
    section = re.search(rf"\n###? {title}\n(.*?)(?=\n##)", text, re.DOTALL)
    assert section is not None
    [command] = [line.strip() for line in section[1].splitlines() if line.strip().startswith("sam deploy")]
    words = shlex.split(command)
    given = words[words.index("--parameter-overrides") + 1 :] if "--parameter-overrides" in words else []
    parameters = (word.partition("=") for word in given)
    return {name: value for name, _, value in parameters}


def built(folder: Path) -> Path:
    """What `sam build` makes of this project. Every process that names the same folder waits for the same build."""
    made = folder / "build"
    with (folder / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "template.yaml").exists():
            build(ROOT, made)
    return made


def left_by_deletion(account: Account) -> tuple[set[str], set[str]]:
    """Delete the stack; gives the guardrail policies that CanvasOmar then carries, and those that IAM still has."""
    stacks, iam = account.client("cloudformation"), account.client("iam")
    stacks.delete_stack(StackName=STACK)

    def is_deleted() -> bool:
        [stack] = [each for each in stacks.list_stacks()["StackSummaries"] if each["StackName"] == STACK]
        return stack["StackStatus"] == "DELETE_COMPLETE"

    waited(is_deleted, "the stack is deleted")
    policies = iam.list_policies(Scope="Local", PathPrefix="/rolewarden/")["Policies"]
    left = {policy["Arn"]: policy["PolicyName"] for policy in policies}
    return {left[arn] for arn in account.aws.attached_policies("CanvasOmar") if arn in left}, set(left.values())

"""A case of each command and exit code, on an account in this process."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from rolewarden.policies import policy_arn
from rolewarden_cli.account import OperatorCalls
from rolewarden_cli.main import app
from rolewarden_local.aws import ACCOUNT_ID
from typer.main import get_group
from typer.testing import CliRunner, Result

from tests import commands
from tests.clinic import Clinic
from tests.commands import rolewarden
from tests.company import central_stack, organized
from tests.conftest import ROOT
from tests.drilled import Operated
from tests.drills import one_account
from tests.stacks import deploy, deployed

NONE = "guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\nfallback: boundary\n"
RULES = ROOT / "layers" / "guardrails" / "guardrails.yaml"
EVENT = str(ROOT / "events" / "detach_role_policy.json")
NOVA = "amazon.nova-pro-v1:0"

NAMES = tuple(get_group(app).commands)
PARAMETERS = {
    name: {option for parameter in command.params for option in (*parameter.opts, str(parameter.metavar))}
    for name, command in get_group(app).commands.items()
}
WITH_JSON = [name for name in NAMES if "--json" in PARAMETERS[name]]
ON_AN_ACCOUNT = [name for name in NAMES if "--local" in PARAMETERS[name]]
ON_FILES = [name for name in NAMES if name not in ON_AN_ACCOUNT]
WITH_A_FILE = [name for name in NAMES if "--guardrails" in PARAMETERS[name] or name in ON_FILES]
NEEDED = {
    "erase": ["nobody"],
    "explain": ["CanvasRosa", NOVA],
    "report": ["--out", "report.html", "--model", NOVA],
    "replay": [EVENT],
}
"""Required arguments of a command."""


def run(name: str, *arguments: str) -> Result:
    if name in ON_AN_ACCOUNT:
        return rolewarden(name, *arguments)
    return CliRunner(env={"COLUMNS": commands.COLUMNS}).invoke(app, [name, *arguments])


def needed(name: str) -> list[str]:
    return NEEDED.get(name, [])


@dataclass
class Desk:
    """The objects of a case. The test closes those that a case leaves open."""

    world_with: Callable[..., Any]
    template: Any
    monkeypatch: pytest.MonkeyPatch
    folder: Path
    open: ExitStack = field(default_factory=ExitStack)

    def rules(self, text: str = NONE, *, protected: bool = True) -> list[str]:
        """The options with which a command uses the rules of the account."""
        world = self.world_with(text)
        if protected:
            world.protected()
        self.world = world
        return ["--guardrails", world.environment["GUARDRAILS_FILE"]]

    def file(self, text: str) -> list[str]:
        path = self.folder / "rules.yaml"
        path.write_text(text)
        return [str(path)]

    def two_files(self, other: str) -> list[str]:
        path = self.folder / "other.yaml"
        path.write_text(other)
        return [*self.file(NONE), str(path)]

    def surplus(self) -> list[str]:
        rules = self.rules()
        arn = policy_arn("none", "aws", ACCOUNT_ID)
        self.world.iam.attach_role_policy(RoleName="BuildServer", PolicyArn=arn)
        return rules

    def stays(self) -> list[str]:
        """Like `surplus`, but IAM denies every detachment."""
        rules = self.surplus()
        self.open.enter_context(self.world.aws.failing("DetachRolePolicy", "AccessDenied", "no"))
        return [*rules, "--yes"]

    def unswept(self) -> list[str]:
        self.rules(protected=False)
        deploy(self.template, self.monkeypatch)
        return []

    def swept(self) -> list[str]:
        self.rules()
        deploy(self.template, self.monkeypatch)
        self.world.sweep()
        self.world.end_sweeps()
        return []

    def stack(self) -> list[str]:
        self.rules()
        self.monkeypatch.setattr(OperatorCalls, "stack", lambda _, name: deployed(self.template, name=name))
        return []

    def seen(self, *, is_subscribed: bool = True) -> list[str]:
        """A deployed stack in good order, or one whose alarms have no receiver."""
        self.rules()
        clinic = self.clinic = Clinic(self.world, self.monkeypatch)
        if not is_subscribed:
            clinic.topic = boto3.client("sns").create_topic(Name="other")["TopicArn"]
        return clinic.options

    def drilled(self, *, has_rule: bool = True) -> list[str]:
        """A stack whose drills are heard, or one whose rules select no event."""
        self.rules()
        Operated(one_account(self.world), self.monkeypatch)
        if not has_rule:
            for rule in ("EnforceFunctionRoles", "EnforceFunctionSubjects"):
                boto3.client("events").disable_rule(Name=rule)
        return []

    def verified(self, *, is_subscribed: bool = True) -> list[str]:
        """A stack in good order whose drills are heard, or one whose alarms have no receiver."""
        found = self.seen(is_subscribed=is_subscribed)
        Operated(one_account(self.world), self.monkeypatch, self.clinic)
        return found

    def unreached(self) -> list[str]:
        """A stack that covers a member account, in which the role of the command does not exist."""
        rules = self.rules(protected=False)
        organized(self.world.aws, self.template)
        self.monkeypatch.setattr(OperatorCalls, "stack", lambda _, name: central_stack(name))
        return [*rules, "--all-accounts", "--model", NOVA]

    def remembered(self) -> list[str]:
        """A caller whom a row of the history names, from a moment ago."""
        self.rules()
        self.world.enforce(self.world.detach("CanvasRosa", "none"))
        return [f"arn:aws:iam::{ACCOUNT_ID}:root", "--yes"]

    def full(self) -> list[str]:
        """An event about a role that is at its quota."""
        event = json.loads((ROOT / "events" / "tag_role.json").read_text())
        event["detail"]["requestParameters"]["roleName"] = "CanvasFull"
        path = self.folder / "full.json"
        path.write_text(json.dumps(event))
        return [str(path)]


CASES: dict[tuple[str, int], Callable[[Desk], list[str]]] = {
    ("init", 0): lambda desk: [*desk.rules()[:0], "--yes", "--days", "0"],
    ("plan", 0): lambda desk: desk.rules(),
    ("plan", 2): lambda desk: desk.rules(protected=False),
    ("enforce", 0): lambda desk: [*desk.rules(protected=False), "--yes"],
    ("enforce", 2): lambda desk: [*desk.rules(NONE.replace("fallback: boundary\n", ""), protected=False), "--yes"],
    ("detach", 0): lambda desk: [*desk.surplus(), "--yes"],
    ("detach", 2): Desk.stays,
    ("access", 0): lambda desk: [*desk.rules(), "--model", NOVA],
    ("access", 2): lambda desk: [*desk.rules(protected=False), "--model", NOVA, "--fail-on", "reached"],
    ("explain", 0): lambda desk: [*desk.rules(), "CanvasRosa", NOVA],
    ("explain", 2): lambda desk: [*desk.rules(protected=False), "CanvasRosa", NOVA, "--fail-on", "allowed"],
    ("report", 0): lambda desk: [*desk.rules(), "--out", str(desk.folder / "report.html"), "--model", NOVA],
    ("report", 2): lambda desk: [*desk.unreached(), "--out", str(desk.folder / "report.html")],
    ("history", 0): Desk.swept,
    ("erase", 0): lambda desk: [*desk.swept(), "nobody", "--yes"],
    ("erase", 2): Desk.remembered,
    ("status", 0): Desk.swept,
    ("status", 2): Desk.unswept,
    ("sweep", 0): Desk.unswept,
    ("doctor", 0): Desk.seen,
    ("doctor", 2): lambda desk: desk.seen(is_subscribed=False),
    ("drill", 0): Desk.drilled,
    ("drill", 2): lambda desk: desk.drilled(has_rule=False),
    ("verify", 0): Desk.verified,
    ("verify", 2): lambda desk: desk.verified(is_subscribed=False),
    ("scp", 0): Desk.stack,
    ("check", 0): lambda desk: desk.file(NONE),
    ("check", 2): lambda desk: desk.file("guardrails: {}\n"),
    ("compile", 0): lambda desk: desk.file(NONE),
    ("diff", 0): lambda desk: desk.two_files(f"# a comment\n{NONE}"),
    ("diff", 2): lambda desk: desk.two_files(NONE.replace("deny: all", "deny: [anthropic.*]")),
    ("replay", 0): lambda _: [EVENT],
    ("replay", 2): Desk.full,
}
"""A case for each exit code of each command in the table, except 1."""

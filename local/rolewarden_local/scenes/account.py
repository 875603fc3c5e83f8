"""A deployed account over HTTP, from the point of view of its users and its auditor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rolewarden.aws import Aws
from rolewarden.bindings import BindingsTable, RoleKey
from rolewarden.documents import digest
from rolewarden.errors import RolewardenError
from rolewarden.guardrails_file import load
from rolewarden.needs import Exemptions, Needs
from rolewarden.observing import banner_of
from rolewarden.origin import Origin, Trigger
from rolewarden.policies import compile_rules
from rolewarden.progress import Progress
from rolewarden.reconcile import Reconciler
from rolewarden.verdicts import Outcome, Verdict

from rolewarden_local.aws import ACCOUNT_ID as ACCOUNT
from rolewarden_local.aws import REGION, LocalAws
from rolewarden_local.scenes.deploy import STACK, deploy
from rolewarden_local.scenes.seed import AccessKey, seed

PATIENCE = 180.0
"""Seconds after which a wait ends with an error. The value is high because the machine may be busy."""

COLOURS = {
    "compliant": "green",
    "drifted": "red",
    "exempt": "cyan",
    "out_of_scope": "bright_black",
    "unenforceable": "bold red",
}


FIRST_ROLES = ("CanvasAnalytics", "CanvasOmar", "CanvasResearch", "CanvasRosa")
"""Roles of the seed to which the first sweep can attach whatever guardrails.yaml says. Others are full, or exempt."""


class StayedUnprotectedError(RolewardenError):
    """A role is still unprotected after the time in which Rolewarden attaches its policies."""


@dataclass
class Account:
    """A deployed account, from the point of view of its users and its auditor."""

    outputs: Mapping[str, str]
    people: Mapping[str, AccessKey]
    guardrails: Path

    def __post_init__(self) -> None:
        self._clients: dict[tuple[str, str], Any] = {}
        self.iam = self.client("iam")
        self.sagemaker = self.client("sagemaker")
        self.sqs = self.client("sqs")
        self.aws = Aws(boto3.Session(region_name=REGION))
        rules = load(self.guardrails, today=datetime.now(UTC).date())
        self.rules = rules
        self.policies = {policy.name: policy for policy in compile_rules(rules, "aws")}
        table = self.outputs["BindingsTable"]
        self.progress = Progress(self.aws, table)
        self.bindings = BindingsTable(self.aws, table, lambda _: True)
        exemptions = Exemptions(self.aws, lambda: self.aws.stack_published(STACK))
        self.needs = Needs(rules, self.aws.partition, self.bindings, ACCOUNT, exemptions)
        self.reconciler = Reconciler(self.aws, self.needs, ACCOUNT.__eq__, observe=True)

    def client(self, service: str, person: str = "") -> Any:
        """A client of a service, as one of the seed's people or as root."""
        if (service, person) not in self._clients:
            session = boto3.Session(*self.people.get(person, ("test", "test")), region_name=REGION)
            self._clients[service, person] = session.client(service)  # type: ignore[call-overload]
        return self._clients[service, person]

    def verdict(self, role: str) -> Outcome:
        """Evaluate a role with the product's own code, without writing."""
        return self.reconciler.reconcile(RoleKey(ACCOUNT, role), Origin(Trigger.OPERATOR))

    def is_settled(self, role: str) -> bool:
        """Whether a role has every guardrail that the rules enforce. It may lack others, or be exempt."""
        outcome = self.verdict(role)
        missing = set(outcome.missing) - self.needs.observed()
        return not (outcome.verdict is Verdict.DRIFTED and missing)

    def has_attached(self, role: str, policies: Sequence[str]) -> bool:
        """Whether IAM shows these guardrail policies on a role."""
        try:
            carried = self.aws.attached_policies(role)
        except RolewardenError:  # The role does not exist yet.
            return False
        return all(self.policies[name].arn("aws", ACCOUNT) in carried for name in policies)

    def in_force(self, policy: str) -> bool:
        """Whether IAM's default version of a guardrail policy matches guardrails.yaml."""
        found = self.aws.policy(self.policies[policy].arn("aws", ACCOUNT))
        return found is not None and digest(found.text) == digest(self.policies[policy].document)

    def history(self, about: str) -> list[dict[str, Any]]:
        """The history of a role or policy, oldest first."""
        return self.aws.query(self.outputs["HistoryTable"], {"about": f"{ACCOUNT}/{about}".lower()})

    def is_swept(self) -> bool:
        """Whether every sweep that began has completed, and no queue has a message that waits only for a function."""
        sweeps = self.progress.sweeps(ACCOUNT)
        if not sweeps or not all(sweep.get("completed") for sweep in sweeps):
            return False
        waiting = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        for queue in ("PublishQueue", "SweepQueue", "WorkQueue"):
            found = self.sqs.get_queue_attributes(QueueUrl=self.outputs[queue], AttributeNames=waiting)["Attributes"]
            if any(int(found[name]) for name in waiting):
                return False
        return True

    @classmethod
    def made(
        cls,
        aws: LocalAws,
        endpoint: str,
        root: Path,
        built: Path,
        say: Callable[[str], None],
        *,
        parameters: Mapping[str, str] = MappingProxyType({}),
    ) -> Account:
        """Seed the local AWS, deploy the project at `root` into it, and wait for the first sweep.

        Args:
            aws: The local AWS.
            endpoint: Its URL.
            root: The folder of the project.
            built: A folder for the output of `sam build`. If it already has one, it is deployed as it is.
            say: A function that receives each step.
            parameters: The parameters of the stack.

        Raises:
            DeployError: SAM CLI failed.
            StayedUnprotectedError: The first sweep did not protect the roles in time.
        """
        seeded = seed(aws)
        outputs = deploy(root, endpoint, region=REGION, built=built, say=say, parameters=parameters)
        account = cls(outputs, seeded.access_keys, root / "layers" / "guardrails" / "guardrails.yaml")
        waited(account.is_swept, "the first sweep")
        for role in FIRST_ROLES:
            waited(lambda role=role: account.is_settled(role), f"{role} at the first sweep")  # type: ignore[misc]
        return account


def waited(until: Callable[[], bool], what: str) -> float:
    """Wait until `until` holds, and return the seconds. Raises StayedUnprotectedError."""
    start, pause = time.monotonic(), 0.005
    while not until():
        if time.monotonic() - start > PATIENCE:
            raise StayedUnprotectedError(f"{what}: still not after {PATIENCE:.0f} s: run the command again")
        time.sleep(pause)
        # Each check costs the local AWS some calls, and these delay the awaited result.
        pause = min(1.2 * pause, 0.1)
    return time.monotonic() - start


def print_roles(account: Account, console: Console) -> None:
    """Print every role of the account and its verdict."""
    if line := banner_of(account.rules):
        console.print(Text(line, "bold yellow"))
    # One blank between columns, so that 80 columns have room for the names of most subjects.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("role", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("required guardrails", no_wrap=True)
    table.add_column("used by")
    names = sorted(role.name for role in account.aws.roles() if not role.path.startswith("/rolewarden/"))
    for name in names:
        outcome = account.verdict(name)
        word, reason = outcome.verdict.value, outcome.reason.value if outcome.reason else ""
        if outcome.verdict is Verdict.DRIFTED:
            # This evaluation does not attach, so it cannot find why a role is still unprotected. The function that
            # tried to remediate the role has recorded the reason.
            word, reason = next(((r["verdict"], r.get("reason", "")) for r in account.history(name)[::-1]), (word, ""))
        verdict = Text(f"{word}\n  {reason}" if reason else word, COLOURS[word])
        table.add_row(name, verdict, "\n".join(outcome.required), "\n".join(outcome.subjects))
    console.print(table)

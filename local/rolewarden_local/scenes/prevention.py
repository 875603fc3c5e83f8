"""The second chapter of the demonstration: attacks while service control policies (SCPs) deny models at use.

The account becomes a member of an organization, and the SCPs of its guardrails.yaml are attached to its unit. During
each attack, the role calls a model again and again. The chapter counts the calls that were refused, and those of them
for which only an SCP was left, because the role had no guardrail at this moment.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import boto3
from rich.console import Console
from rich.text import Text
from rolewarden.guardrails_file import load
from rolewarden.prevention import compile_prevention

from rolewarden_local.aws import ACCOUNT_ID as ACCOUNT
from rolewarden_local.aws import REGION, LocalAws
from rolewarden_local.emulated import names
from rolewarden_local.emulated._ministack import iam
from rolewarden_local.emulated.access import role_may
from rolewarden_local.emulated.organization import MANAGEMENT
from rolewarden_local.scenes.account import Account, waited
from rolewarden_local.scenes.seed import TRUST

UNIT = "ou-demo-canvas000"
MODEL = f"arn:aws:bedrock:{REGION}::foundation-model/anthropic.claude-v2:1"
"""A model that every guardrail of the shipped file denies."""

PAUSE = 0.002
"""Seconds between two calls."""

_BEDROCK = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"}]}


@dataclass
class Caller:
    """A role that calls a model until it is stopped.

    - `refused`, `answered`: the numbers of its calls.
    - `bare`: the number of refused calls while the role had no guardrail of Rolewarden.
    """

    name: str
    refused: int = 0
    answered: int = 0
    bare: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Call the model until `stop`."""
        while not self._ended.is_set():
            self.ask_model()
            time.sleep(PAUSE)

    def ask_model(self) -> None:
        """Call the model once. Without the role, no caller exists."""
        found = names.entity(iam._roles, ACCOUNT, self.name)
        if found is None:
            return
        is_bare = not any(":policy/rolewarden/" in arn for arn in found["AttachedPolicies"])
        if role_may(found, "bedrock:InvokeModel", MODEL, {"aws:userid": "AROAEXAMPLE:SageMaker"}):
            self.answered += 1
        else:
            self.refused += 1
            self.bare += is_bare

    def stop(self) -> None:
        """End the calls."""
        self._ended.set()


def attach_scps(aws: LocalAws, account: Account) -> int:
    """Make the account a member of an organization with the SCPs of its guardrails. Give the number of SCPs."""
    aws.organize("o-demoorg001", {UNIT: {ACCOUNT}})
    client = boto3.Session(MANAGEMENT, "-", region_name=REGION).client("organizations")
    policies = compile_prevention(load(account.guardrails, today=datetime.now(UTC).date()), "aws").policies
    for policy in policies:
        made = client.create_policy(
            Name=policy.name, Description="", Type="SERVICE_CONTROL_POLICY", Content=policy.text
        )
        client.attach_policy(PolicyId=made["Policy"]["PolicySummary"]["Id"], TargetId=UNIT)
    return len(policies)


def call_under_attack(name: str, act: Callable[[], object], is_over: Callable[[], bool]) -> Caller:
    """Let a role call the model from before an attack until Rolewarden has remediated it."""
    caller = Caller(name)
    caller.ask_model()
    thread = threading.Thread(target=caller.run)
    thread.start()
    try:
        act()
        waited(is_over, f"{name} under attack")
    finally:
        caller.stop()
        thread.join()
    caller.ask_model()
    return caller


def play_prevention(aws: LocalAws, account: Account, console: Console) -> None:
    """Play the attacks of the day again with the SCPs in force. Raises StayedUnprotectedError."""
    number = attach_scps(aws, account)
    console.print(Text(f"Chapter 2: the same attacks with {number} service control policies in force\n", "bold"))
    alice_iam, alice = account.client("iam", "alice"), account.client("sagemaker", "alice")
    mallory = account.client("iam", "mallory")
    analytics = account.policies["no-generative-ai"].arn("aws", ACCOUNT)

    def make_profile() -> None:
        alice_iam.create_role(RoleName="CanvasPia", AssumeRolePolicyDocument=TRUST)
        alice_iam.put_role_policy(RoleName="CanvasPia", PolicyName="bedrock", PolicyDocument=json.dumps(_BEDROCK))
        settings = {"ExecutionRole": f"arn:aws:iam::{ACCOUNT}:role/CanvasPia"}
        alice.create_user_profile(DomainId="d-analytics0001", UserProfileName="pia", UserSettings=settings)

    def replace_policy() -> None:
        for version in mallory.list_policy_versions(PolicyArn=analytics)["Versions"]:
            if not version["IsDefaultVersion"]:
                mallory.delete_policy_version(PolicyArn=analytics, VersionId=version["VersionId"])
        harmless = {**_BEDROCK, "Statement": [{"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}]}
        mallory.create_policy_version(PolicyArn=analytics, PolicyDocument=json.dumps(harmless), SetAsDefault=True)

    scenes: tuple[tuple[str, str, Callable[[], object], Callable[[], bool]], ...] = (
        (
            "alice creates user profile pia with a new role that allows all of Bedrock",
            "CanvasPia",
            make_profile,
            lambda: account.has_attached("CanvasPia", ["no-generative-ai"]),
        ),
        (
            "mallory detaches the guardrail of domain analytics",
            "CanvasAnalytics",
            lambda: mallory.detach_role_policy(RoleName="CanvasAnalytics", PolicyArn=analytics),
            lambda: account.has_attached("CanvasAnalytics", ["no-generative-ai"]),
        ),
        (
            "mallory edits the policy of the guardrail",
            "CanvasPia",
            replace_policy,
            lambda: account.in_force("no-generative-ai"),
        ),
    )
    for what, name, act, is_over in scenes:
        caller = call_under_attack(name, act, is_over)
        console.print(Text(what, "bold"))
        console.print(
            f"       {name} called Claude {caller.refused + caller.answered:,} times: {caller.refused:,} refused, "
            f"{caller.bare:,} of them with no guardrail attached, {caller.answered:,} answered\n",
            soft_wrap=True,
        )

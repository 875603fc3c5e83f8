"""A demonstration: a deployed stack, and a day of API calls that it answers.

Every call goes over HTTP to the local AWS. The template's own rules deliver its CloudTrail event to the deployed
functions, and these remediate. This module only makes calls, waits, and reads the results.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from rolewarden_local.aws import ACCOUNT_ID as ACCOUNT
from rolewarden_local.aws import REGION, LocalAws
from rolewarden_local.scenes.account import Account, print_roles, waited
from rolewarden_local.scenes.prevention import play_prevention
from rolewarden_local.scenes.seed import TRUST


def run_demo(root: Path) -> None:
    """Deploy, play the scenes, and print the verdicts. Raises StayedUnprotectedError and DeployError."""
    console = Console(highlight=False)
    started = time.monotonic()
    aws = LocalAws.start()
    with aws.authorizing(), aws.serving() as endpoint, tempfile.TemporaryDirectory() as folder:
        show_step(console, f"local AWS on {endpoint}")
        account = Account.made(aws, endpoint, root, Path(folder), lambda what: show_step(console, what))
        show_step(console, "the stack is deployed, and the first sweep has attached the guardrails\n")
        play_story(account, console)
        show_drill(account, console)
        play_prevention(aws, account, console)
        print_roles(account, console)
        # Rechecks may still be running. The server ends before they do, so their errors mean nothing.
        logging.disable(logging.CRITICAL)
    console.print(f"\n{time.monotonic() - started:.0f} s in all.")


def show_step(console: Console, what: str) -> None:
    """Print a step."""
    console.print(Text.assemble(("· ", "bright_black"), what))


def play_story(account: Account, console: Console) -> None:
    """Play a day in six scenes. Each scene is a few API calls by the seed's users."""
    alice_iam, alice = account.client("iam", "alice"), account.client("sagemaker", "alice")
    mallory = account.client("iam", "mallory")
    role = f"arn:aws:iam::{ACCOUNT}:role"
    analytics = account.policies["no-generative-ai"].arn("aws", ACCOUNT)

    def show_scene(
        when: str,
        what: str,
        act: Callable[[], Any],
        subject: str,
        policies: Sequence[str],
        *,
        leaves_unprotected: bool = True,
    ) -> None:
        known = len(account.history(subject))
        act()
        if not leaves_unprotected and account.has_attached(subject, policies):
            how_long = f"{subject} was never unprotected"
            said = "the role is compliant and needs no remediation, because a deny overrides every allow"
        elif account.has_attached(subject, policies):
            how_long = f"{subject} was remediated before the call returned"
            said = _said(account, subject, known)
        else:
            seconds = waited(lambda: account.has_attached(subject, policies), f"{subject} after: {what}")
            how_long = f"{subject} was unprotected for {seconds * 1000:.0f} ms"
            said = _said(account, subject, known)
        _print_record(console, when, what, how_long, said)

    def make_profile() -> None:
        alice_iam.create_role(RoleName="CanvasNadia", AssumeRolePolicyDocument=TRUST)
        alice.create_user_profile(
            DomainId="d-analytics0001",
            UserProfileName="nadia",
            UserSettings={"ExecutionRole": f"{role}/CanvasNadia"},
        )

    def swap_role() -> None:
        alice_iam.create_role(RoleName="CanvasResearch2", AssumeRolePolicyDocument=TRUST)
        alice.update_domain(DomainId="d-research0001", DefaultUserSettings={"ExecutionRole": f"{role}/CanvasResearch2"})

    def remake_role() -> None:
        for policy in alice_iam.list_attached_role_policies(RoleName="CanvasOmar")["AttachedPolicies"]:
            alice_iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=policy["PolicyArn"])
        # Rolewarden may attach the policy again before alice deletes the role, so she detaches it again.
        for _ in range(100):
            try:
                alice_iam.delete_role(RoleName="CanvasOmar")
                break
            except alice_iam.exceptions.DeleteConflictException:
                alice_iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=analytics)
        alice_iam.create_role(RoleName="CanvasOmar", AssumeRolePolicyDocument=TRUST)

    inline = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"}]}
    show_scene(
        "09:12", "alice creates user profile nadia with a new role", make_profile, "CanvasNadia", ["no-generative-ai"]
    )
    show_scene(
        "10:40", "alice gives domain research another role", swap_role, "CanvasResearch2", ["only-nova-and-sonnet"]
    )
    show_scene(
        "11:05",
        "mallory detaches the guardrail of domain analytics",
        lambda: mallory.detach_role_policy(RoleName="CanvasAnalytics", PolicyArn=analytics),
        "CanvasAnalytics",
        ["no-generative-ai"],
    )
    show_scene(
        "13:30",
        "mallory adds an inline policy that allows all of Bedrock",
        lambda: mallory.put_role_policy(RoleName="CanvasRosa", PolicyName="let-me", PolicyDocument=json.dumps(inline)),
        "CanvasRosa",
        ["only-nova-and-sonnet"],
        leaves_unprotected=False,
    )
    show_scene("15:20", "alice deletes a role and creates it again", remake_role, "CanvasOmar", ["no-generative-ai"])
    harmless = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}],
    }
    known = len(account.history("policy/no-generative-ai"))
    mallory.create_policy_version(PolicyArn=analytics, PolicyDocument=json.dumps(harmless), SetAsDefault=True)
    seconds = waited(lambda: account.in_force("no-generative-ai"), "the tampered policy")
    _print_record(
        console,
        "17:45",
        "mallory edits the policy of the guardrail",
        f"policy no-generative-ai was edited for {seconds * 1000:.0f} ms",
        _said(account, "policy/no-generative-ai", known),
    )


def show_drill(account: Account, console: Console) -> None:
    """Drill the account as `rolewarden drill` does, and show the newest full drill that EnforceFunction heard.

    The first sweep has asked for the same. If that was seconds ago, DrillFunction sends neither again.
    """
    kinds = ("role pulse", "subject pulse", "full drill")
    payload = json.dumps({"step": "drill", "account": ACCOUNT})
    account.client("lambda").invoke(FunctionName=account.outputs["DrillFunction"], Payload=payload)
    for kind in kinds:
        waited(partial(_has_drill, account, kind), f"the {kind}")
    newest = {kind: account.history(f"drill/{kind}/{REGION}")[-1] for kind in kinds}
    heard = ", ".join(f"{kind} {row['milliseconds']} ms" for kind, row in newest.items())
    full = newest["full drill"]
    back = f"{full['remediation_milliseconds']} ms later the canary role had its policy again"
    _print_record(
        console, "18:00", "rolewarden drills itself on its canary role", f"EnforceFunction heard {heard}", back
    )


def _has_drill(account: Account, kind: str) -> bool:
    return bool(account.history(f"drill/{kind}/{REGION}"))


def _said(account: Account, about: str, known: int) -> str:
    """Wait until a history has more than `known` entries, and describe the newest one."""
    waited(lambda: len(account.history(about)) > known, f"the record of {about}")
    row = account.history(about)[-1]
    cause = row.get("cause", {})
    actor = cause.get("actor", "").rsplit("/", 1)[-1]
    done = f"attached {', '.join(row['attached'])}" if row.get("attached") else row["remediation"]
    return f"{row['kind']}: {done} (cause: {cause.get('event_name', '')}{f' by {actor}' if actor else ''})"


def _print_record(console: Console, when: str, what: str, how_long: str, said: str) -> None:
    console.print(Text.assemble((when, "bright_black"), "  ", (what, "bold")))
    console.print(f"       {how_long}", soft_wrap=True)
    console.print(f"       rolewarden: {said}\n", soft_wrap=True)

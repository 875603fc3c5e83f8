"""`make local`: the local AWS with a seeded account and the deployed stack, until Ctrl-C."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console
from rolewarden.guardrails import Mode, Subject
from rolewarden.verdicts import Verdict

from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
from rolewarden_local.scenes.account import FIRST_ROLES, Account, print_roles
from rolewarden_local.scenes.demo import show_step
from rolewarden_local.scenes.deploy import write_invoke_environment
from rolewarden_local.scenes.seed import ANALYTICS

_USER = """
In another terminal, with the AWS CLI:

  export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={region}
  export AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret}   # mallory
"""

_DRIFT = """
Cause drift, and list the attached policies a second later:

  aws iam detach-role-policy --role-name {role} \\
    --policy-arn {policy}
  aws iam list-attached-role-policies --role-name {role}
"""

_NO_DRIFT = """
Change a role. {why}:

  aws iam tag-role --role-name {role} --tags Key=touched,Value=yes
"""

_NEW_ROLE = """
Create a user profile with a new role, and list {listed} a second later:

  aws iam create-role --role-name {role} --assume-role-policy-document \\
    '{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole",
      "Principal":{{"Service":"sagemaker.amazonaws.com"}}}}]}}'
  aws sagemaker create-user-profile --domain-id {domain} --user-profile-name {profile} \\
    --user-settings ExecutionRole=arn:aws:iam::{account}:role/{role}
  {look}
"""

_HISTORY = """
List each change, its caller, and Rolewarden's answer:

  .venv/bin/rolewarden history --local

Press Ctrl-C to stop the local AWS. It keeps no data.
"""

_NADIA = Subject(ACCOUNT_ID, "CanvasNadia", ANALYTICS, "analytics", "nadia")
"""A user profile that the seed does not have, with its role."""


def hints(account: Account, url: str) -> str:
    """The commands to try, for the guardrails in use: those of a role that Rolewarden protects, if it protects one."""
    key, secret = account.people["mallory"]
    needs = account.needs
    text = _USER.format(url=url, region=REGION, key=key, secret=secret)
    evaluated = {role: account.verdict(role) for role in FIRST_ROLES}
    enforced = (
        (role, policy)
        for role, outcome in evaluated.items()
        if outcome.verdict in {Verdict.COMPLIANT, Verdict.DRIFTED}
        for policy in outcome.required
        if policy not in needs.observed()
    )
    if found := next(enforced, None):
        role, policy = found
        text += _DRIFT.format(role=role, policy=account.policies[policy].arn("aws", ACCOUNT_ID))
    else:
        why = "Rolewarden attaches no guardrail, because none of these roles needs one that is enforced"
        if needs.rules.observes:
            why = "Rolewarden attaches no guardrail in observe mode, and the history has a finding"
        text += _NO_DRIFT.format(why=why, role=FIRST_ROLES[0])
    gets_policies = any(guardrail.mode is Mode.ENFORCE for guardrail in needs.rules.required(_NADIA))
    listed, look = "what Rolewarden says about it", f".venv/bin/rolewarden history --local --role {_NADIA.role}"
    if gets_policies:
        listed, look = "its attached policies", f"aws iam list-attached-role-policies --role-name {_NADIA.role}"
    text += _NEW_ROLE.format(
        role=_NADIA.role,
        domain=_NADIA.domain_id,
        profile=_NADIA.user_profile,
        account=_NADIA.account,
        listed=listed,
        look=look,
    )
    return text + _HISTORY


def run_playground(root: Path, host: str, port: int) -> None:
    """Serve, deploy, and print the roles and commands to try. Raises DeployError and StayedUnprotectedError."""
    console = Console(highlight=False)
    aws = LocalAws.start()

    def show_ready(url: str) -> None:
        show_step(console, f"local AWS on {url}")
        with tempfile.TemporaryDirectory() as build:
            account = Account.made(aws, url, root, Path(build), lambda what: show_step(console, what))
        outputs = account.outputs
        write_invoke_environment(
            root,
            {
                "ACCOUNT_ID": ACCOUNT_ID,
                "ALARM_TOPIC_ARN": outputs["AlarmTopic"],
                "BINDINGS_TABLE": outputs["BindingsTable"],
                "HISTORY_TABLE": outputs["HistoryTable"],
                "WORK_QUEUE_URL": outputs["WorkQueue"],
                "SWEEP_QUEUE_URL": outputs["SweepQueue"],
                "DETACH_QUEUE_URL": outputs["DetachQueue"],
                "PUBLISH_QUEUE_URL": outputs["PublishQueue"],
            },
        )
        console.print()
        print_roles(account, console)
        console.print(hints(account, url), markup=False, soft_wrap=True)

    with aws.authorizing():
        aws.serve_forever(host, port, ready=show_ready)

"""`make local`: the local AWS with a seeded account and the deployed stack, until Ctrl-C."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
from rolewarden_local.scenes.account import Account, print_roles
from rolewarden_local.scenes.demo import show_step
from rolewarden_local.scenes.deploy import write_invoke_environment

_REMEDIATED = """Cause drift, and list the attached policies a second later:

  aws iam detach-role-policy --role-name CanvasAnalytics \\
    --policy-arn arn:aws:iam::{account}:policy/rolewarden/no-generative-ai"""

_OBSERVED = """Change a role. Rolewarden attaches no guardrail in observe mode, and the history has a finding:

  aws iam tag-role --role-name CanvasAnalytics --tags Key=touched,Value=yes"""

_TRY = """
In another terminal, with the AWS CLI:

  export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={region}
  export AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret}   # mallory

{drift}
  aws iam list-attached-role-policies --role-name CanvasAnalytics

  aws iam create-role --role-name CanvasNadia --assume-role-policy-document \\
    '{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole",
      "Principal":{{"Service":"sagemaker.amazonaws.com"}}}}]}}'
  aws sagemaker create-user-profile --domain-id d-analytics0001 --user-profile-name nadia \\
    --user-settings ExecutionRole=arn:aws:iam::{account}:role/CanvasNadia
  aws iam list-attached-role-policies --role-name CanvasNadia

List each change, its caller, and Rolewarden's answer:

  aws dynamodb scan --table-name {history} \\
    --query 'Items[].[about.S,kind.S,cause.M.event_name.S,cause.M.actor.S]' --output table

Press Ctrl-C to stop the local AWS. It keeps no data.
"""


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


def hints(account: Account, url: str) -> str:
    """The commands to try, with what they show under the rules of `account`."""
    key, secret = account.people["mallory"]
    return _TRY.format(
        url=url,
        drift=(_OBSERVED if account.rules.observed else _REMEDIATED).format(account=ACCOUNT_ID),
        region=REGION,
        key=key,
        secret=secret,
        account=ACCOUNT_ID,
        history=account.outputs["HistoryTable"],
    )

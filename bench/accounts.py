"""The calls and bytes of log that one account needs for a steady sweep with its policy check, and for an event.

The account is alone, or in an organization with one region or with three. This part measures no times and runs only
Rolewarden. docs/explanation/cost.md and docs/explanation/scale.md use its numbers.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import boto3
from figures import Gathered
from rolewarden.aws import Aws
from rolewarden.policies import policy_arn
from rolewarden_local.aws import ACCOUNT_ID, REGION
from rolewarden_local.scenes.seed import TRUST, log, make_stack_set_roles
from rolewarden_local.scenes.stage import stage
from rolewarden_local.scenes.template import Template
from stand import OURS, OUT_OF_SCOPE, ROOT, Contestant, Run, Stand, event_of

REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
MEMBERS = ("222233334444", "333344445555")
ROLES = 100
"""The number of governed roles in each account."""

UNIT = "ou-root-canvas000"
STACK = "rolewarden"

ALONE, CENTRAL, MEMBER = "an account alone", "the central account", "a member"
EVENT = "an event in a member"

FUNCTIONS = ("sweep", "publish", "reconcile", "enforce")
QUEUES = {"publish": "PUBLISH_QUEUE_URL", "sweep": "SWEEP_QUEUE_URL", "reconcile": "WORK_QUEUE_URL"}
BATCH = {"publish": 1, "sweep": 1, "reconcile": 10}

READS = frozenset({"Query", "Scan", "GetItem", "BatchGetItem"})
"""DynamoDB's operations that read. Every other call to DynamoDB writes."""

DATA = frozenset({"SendMessageBatch", "PutEvents"})
"""Operations that CloudTrail logs as data events and not as management events, like all of DynamoDB's item calls."""

Invocation = tuple[str, Run, int]
"""The trigger of an invocation (clock, message, event), its result, and the bytes that it logged."""


def accounts(stand: Stand, gathered: Gathered, _save: Callable[[], None], _rounds: int) -> None:
    """Measure sweeps by new processes. They enter every account again, as hourly sweeps do."""
    for regions, members in ((REGIONS[:1], ()), (REGIONS[:1], MEMBERS), (REGIONS, MEMBERS)):
        _fill(stand, regions, members)
        with _functions(stand) as functions:
            _sweep(stand, functions)
        with _functions(stand) as functions:
            swept = _sweep(stand, functions)
            where = "one region" if len(regions) == 1 else "three regions"
            _add(gathered, f"{CENTRAL if members else ALONE}, {where}", swept[ACCOUNT_ID])
            for account in members:
                _add(gathered, f"{MEMBER}, {where}", swept[account])
            if len(regions) > 1:
                _add_events(stand, gathered, functions["enforce"])


def _add_events(stand: Stand, gathered: Gathered, enforce: Contestant) -> None:
    """Measure events on a member's role. The first one enters the account, and those of the next ten minutes do not."""
    account, (first, second, *_) = MEMBERS[0], _names(MEMBERS[0])
    for case, event, role in (
        ("a role out of scope", "TagRole", OUT_OF_SCOPE),
        ("a compliant role, entering the account", "TagRole", first),
        ("a compliant role", "TagRole", first),
        ("a drifted role", "DetachRolePolicy", second),
    ):
        told = event_of(event, role)
        told["account"] = told["detail"]["recipientAccountId"] = account
        if event == "DetachRolePolicy":
            arn = told["detail"]["requestParameters"]["policyArn"] = policy_arn("approved", "aws", account)
            _client("iam", account).detach_role_policy(RoleName=role, PolicyArn=arn)
        _, run, logged = _invoked(stand, enforce, told)
        gathered.add(f"{EVENT}: {case}", "calls", "calls", OURS, len(run.calls))
        gathered.add(f"{EVENT}: {case}", "logged", "bytes", OURS, logged)


def _add(gathered: Gathered, case: str, invocations: Sequence[Invocation]) -> None:
    calls = [call.split(":") for _, run, _ in invocations for call in run.calls]
    services = Counter(service for service, _ in calls)
    operations = Counter(operation for _, operation in calls)
    reads = sum(service == "dynamodb" and operation in READS for service, operation in calls)
    figures = {
        "calls": len(calls),
        "of them AssumeRole": services["sts"],
        "of them reads of DynamoDB": reads,
        "of them writes of DynamoDB": services["dynamodb"] - reads,
        "of them SQS": services["sqs"],
        "of them PutEvents": operations["PutEvents"],
        "of them LookupEvents": operations["LookupEvents"],
        "of them in CloudTrail": sum(s != "dynamodb" and operation not in DATA for s, operation in calls),
        "invocations": len(invocations),
        "of them by messages": sum(by == "message" for by, _, _ in invocations),
    }
    for figure, number in figures.items():
        gathered.add(case, figure, "calls", OURS, number)
    gathered.add(case, "logged", "bytes", OURS, sum(logged for _, _, logged in invocations))


def _invoked(stand: Stand, function: Contestant, event: Mapping[str, Any], by: str = "event") -> Invocation:
    log = stand.folder / "log"
    before = log.stat().st_size if log.exists() else 0
    run = function.does(event=event)
    return by, run, log.stat().st_size - before


def _sweep(stand: Stand, functions: Mapping[str, Contestant]) -> dict[str, list[Invocation]]:
    """Run a scheduled sweep of all accounts with all its messages, and return the invocations of each account."""
    clock = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
    invocations: dict[str, list[Invocation]] = {account: [] for account in (ACCOUNT_ID, *MEMBERS)}
    invocations[ACCOUNT_ID] += [_invoked(stand, functions[name], clock, "clock") for name in ("publish", "sweep")]
    sqs = boto3.client("sqs", region_name=REGION)
    at_work = True
    while at_work:
        at_work = False
        for name, url in ((name, stand.environment[variable]) for name, variable in QUEUES.items()):
            while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH[name]).get("Messages"):
                at_work = True
                records = [{"messageId": m["MessageId"], "body": m["Body"]} for m in messages]
                account = json.loads(messages[0]["Body"])["account"]
                invocations[account].append(_invoked(stand, functions[name], {"Records": records}, "message"))
                for message in messages:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return invocations


@contextmanager
def _functions(stand: Stand) -> Iterator[dict[str, Contestant]]:
    """Start each function in its own process, which enters accounts with its own role."""
    with ExitStack() as stack:
        started = {}
        for name in FUNCTIONS:
            stand.environment = {**stand.environment, "LOG_TO": str(stand.folder / "log")}
            if "MEMBER_STACK_SET" in stand.environment:
                stand.environment |= {"MEMBER_ROLE": f"rolewarden-{name}"}
            started[name] = stack.enter_context(stand.contestant(OURS, name))
        yield started


def _fill(stand: Stand, regions: Sequence[str], members: Iterable[str]) -> None:
    """Reset, and make the stack, its StackSets, and in each account and region a domain with its share of the roles."""
    stand.aws.reset()
    parameters = {"Regions": ",".join(regions), "RecheckSeconds": "0"}
    if members:
        parameters |= {"OrganizationId": "o-exampleorg1", "OrganizationalUnits": UNIT}
    template = Template(ROOT / "template.yaml", region=REGION, account=ACCOUNT_ID, parameters=parameters)
    stand.environment = stage(template, Aws(), account=ACCOUNT_ID, guardrails=stand.rules)
    for account in (ACCOUNT_ID, *members):
        log(_client("cloudtrail", account))
        _people(account, regions)
    sets = {}
    if members:
        stand.aws.organize("o-exampleorg1", {UNIT: set(members)}, administrator=ACCOUNT_ID)
        make_stack_set_roles(_client("iam", ACCOUNT_ID))
        sets = _stack_sets(stand.environment["CENTRAL_BUS"], regions)
    # With this role, rules in the other regions of the central account send events.
    forward = {**template.resources("AWS::IAM::Role").get("ForwardRole", {}), "RoleName": "ForwardRole"}
    roles = {"ForwardRole": {"Type": "AWS::IAM::Role", "Properties": forward}} if members else {}
    waits = {"Wait": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}
    stand.environment = {**stand.environment, "STACK_ID": _stack({**sets, **roles} or waits)}


def _people(account: str, regions: Sequence[str]) -> None:
    iam = _client("iam", account)
    for name in (OUT_OF_SCOPE, *_names(account)):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    for number, region in enumerate(regions):
        sagemaker = _client("sagemaker", account, region)
        arns = [f"arn:aws:iam::{account}:role/{name}" for name in _names(account)[number :: len(regions)]]
        made = sagemaker.create_domain(
            DomainName="research", AuthMode="IAM", VpcId="vpc-1", SubnetIds=["subnet-1"],
            DefaultUserSettings={"ExecutionRole": arns[0]},
        )  # fmt: skip
        domain = made["DomainArn"].rsplit("/", 1)[-1]
        for arn in arns[1:]:
            sagemaker.create_user_profile(
                DomainId=domain, UserProfileName=arn.rsplit("/", 1)[-1], UserSettings={"ExecutionRole": arn}
            )


def _names(account: str) -> list[str]:
    return [f"person-{account[:4]}-{number}" for number in range(ROLES)]


def _stack_sets(central_bus: str, regions: Sequence[str]) -> dict[str, Any]:
    """The template's StackSets, for forwarders in the other regions, and forwarders and roles in member accounts."""
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket="templates")
    s3.put_object(Bucket="templates", Key="forwarder.yaml", Body=(ROOT / "forwarder.yaml").read_bytes())
    central = {
        "CentralAccount": ACCOUNT_ID,
        "CentralRegion": REGION,
        "CentralBus": central_bus,
        "CentralForwardRole": f"arn:aws:iam::{ACCOUNT_ID}:role/rolewarden/ForwardRole",
        "Regions": ",".join(regions),
    }
    central |= {f"{name}Role": f"arn:aws:iam::{ACCOUNT_ID}:root" for name in _ENTERING}
    targets = {
        "forwarders": ("own-account", "SELF_MANAGED", {"Accounts": [ACCOUNT_ID]}),
        "members": ("members", "SERVICE_MANAGED", {"OrganizationalUnitIds": [UNIT]}),
    }
    return {
        name: {
            "Type": "AWS::CloudFormation::StackSet",
            "Properties": {
                "StackSetName": f"{STACK}-{name}",
                "TemplateURL": "https://s3.us-east-1.amazonaws.com/templates/forwarder.yaml",
                "PermissionModel": model,
                **({"CallAs": "DELEGATED_ADMIN"} if model == "SERVICE_MANAGED" else {}),
                "Capabilities": ["CAPABILITY_NAMED_IAM"],
                "Parameters": [
                    {"ParameterKey": key, "ParameterValue": value}
                    for key, value in {**central, "Covers": covers}.items()
                ],
                "StackInstancesGroup": [{"DeploymentTargets": accounts, "Regions": list(regions)}],
            },
        }
        for name, (covers, model, accounts) in targets.items()
    }


def _stack(resources: Mapping[str, Any]) -> str:
    """Make the central stack with these resources, and return its ID."""
    cloudformation = boto3.client("cloudformation", region_name=REGION)
    made = cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps({"Resources": resources}))
    while (stack := cloudformation.describe_stacks(StackName=STACK)["Stacks"][0])["StackStatus"].endswith("PROGRESS"):
        time.sleep(0.05)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise RuntimeError(f"the StackSets: {stack['StackStatus']}: {stack.get('StackStatusReason')}")
    return made["StackId"]


_ENTERING = re.findall(
    r"^  (\w+)Role:\n    Type: String\n    Description: ARN", (ROOT / "forwarder.yaml").read_text(), re.M
)
"""The functions that can enter an account with forwarder.yaml. Here every caller of the central account can."""


def _client(service: str, account: str, region: str = REGION) -> Any:
    return boto3.client(service, aws_access_key_id=account, aws_secret_access_key="x", region_name=region)  # type: ignore[call-overload]

"""The stack that customers deploy, deployed by `sam deploy` into the local AWS: an API call in, a mended role out."""

import json
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
import yaml
from rolewarden.policies import policy_arn
from rolewarden.verdicts import Verdict
from rolewarden_local.account import Account, waited
from rolewarden_local.aws import ACCOUNT_ID, LocalAws
from rolewarden_local.seed import TRUST

from tests.conftest import ROOT

pytestmark = pytest.mark.deployed

ARN = policy_arn("no-generative-ai", "aws", ACCOUNT_ID)
ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role"


@pytest.fixture(scope="module")
def local():
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url, aws.authorizing() as authorization:
        yield aws, url, authorization
        aws.reset()  # while it is served: a recheck that is still under way must find no queue to come from


@pytest.fixture(scope="module")
def account(local, tmp_path_factory):
    aws, url, _ = local
    return Account.made(aws, url, ROOT, tmp_path_factory.mktemp("build"), lambda _: None)


@pytest.fixture(scope="module")
def listener(account):
    """Bodies of the events from source `rolewarden`, as a customer's own rule gets them."""
    sqs, events = account.client("sqs"), account.client("events")
    queue = sqs.create_queue(QueueName="listener")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="listen", EventPattern=json.dumps({"source": ["rolewarden"]}))
    events.put_targets(Rule="listen", Targets=[{"Id": "1", "Arn": arn}])
    heard = []

    def listen():
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                heard.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return heard

    return listen


def mended(account, role, policies, *causes):
    """Wait until the role carries the policies and the history tells of it with one of these causes.

    Events come unordered and are worked on side by side: of two calls, either's may be the one that finds it bare.
    """
    waited(lambda: account.carries(role, policies), f"{role} carries {policies}")
    waited(
        lambda: any(
            row["cause"]["event_name"] in causes and row["verdict"] == "compliant" for row in account.history(role)
        ),
        f"the history tells of {role}",
    )


def test_the_first_sweep_has_guarded_what_was_there(account):
    for role in ("CanvasAnalytics", "CanvasAnalyticsSpaces", "CanvasBedrockAnalytics", "CanvasOmar"):
        waited(lambda role=role: account.carries(role, ["no-generative-ai"]), role)
    for role in ("CanvasResearch", "CanvasRosa"):
        waited(lambda role=role: account.carries(role, ["approved-models"]), role)
    assert not account.carries("BuildServer", ["no-generative-ai"])


def test_a_new_profile_with_a_fresh_role_is_guarded(account):
    role = account.iam.create_role(RoleName="CanvasNadia", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    account.sagemaker.create_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"ExecutionRole": role}
    )
    mended(account, "CanvasNadia", ["no-generative-ai"], "CreateUserProfile", "CreateRole")


def test_a_domains_new_role_is_guarded(account):
    role = account.iam.create_role(RoleName="CanvasResearch2", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    account.sagemaker.update_domain(DomainId="d-research0001", DefaultUserSettings={"ExecutionRole": role})
    mended(account, "CanvasResearch2", ["approved-models"], "UpdateDomain", "CreateRole")


def test_a_detached_guardrail_is_put_back_and_told_with_the_actor(account, listener):
    account.client("iam", "mallory").detach_role_policy(RoleName="CanvasAnalytics", PolicyArn=ARN)
    mended(account, "CanvasAnalytics", ["no-generative-ai"], "DetachRolePolicy")
    [row] = [row for row in account.history("CanvasAnalytics") if row["cause"]["event_name"] == "DetachRolePolicy"]
    assert row["cause"]["actor"] == f"arn:aws:iam::{ACCOUNT_ID}:user/mallory"
    told = [e for e in listener() if e["detail"]["cause"].get("event_id") == row["cause"]["event_id"]]
    assert [event["detail-type"] for event in told] == ["Role Remedied"]


def test_an_inline_policy_on_a_bare_role_brings_its_guardrail_back(account):
    # The detaching itself goes unseen, as when an event is lost.
    from ministack.services import iam as ministack_iam

    ministack_iam._roles.get_scoped(ACCOUNT_ID, None, "CanvasRosa")["AttachedPolicies"].clear()
    inline = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"}]}
    account.client("iam", "mallory").put_role_policy(
        RoleName="CanvasRosa", PolicyName="let-me", PolicyDocument=json.dumps(inline)
    )
    mended(account, "CanvasRosa", ["approved-models"], "PutRolePolicy")


def test_a_role_made_again_is_guarded_again(account):
    iam = account.iam
    for _ in range(50):
        for policy in iam.list_attached_role_policies(RoleName="CanvasOmar")["AttachedPolicies"]:
            iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=policy["PolicyArn"])
        try:
            iam.delete_role(RoleName="CanvasOmar")
            break
        except iam.exceptions.DeleteConflictException:
            continue
    iam.create_role(RoleName="CanvasOmar", AssumeRolePolicyDocument=TRUST)
    # Events come unordered: that of an earlier call may be the one that finds the new role bare.
    waited(lambda: account.carries("CanvasOmar", ["no-generative-ai"]), "CanvasOmar carries its guardrail")


def test_an_edited_guardrail_policy_is_restored(account):
    hollow = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}]}
    account.client("iam", "mallory").create_policy_version(
        PolicyArn=ARN, PolicyDocument=json.dumps(hollow), SetAsDefault=True
    )
    waited(lambda: account.in_force("no-generative-ai"), "the edited policy")
    waited(lambda: account.history("policy/no-generative-ai"), "the record of it")


def test_a_deleted_guardrail_policy_comes_back_and_so_do_its_attachments(account):
    policy = policy_arn("approved-models", "aws", ACCOUNT_ID)
    for _ in range(50):
        entities = account.iam.list_entities_for_policy(PolicyArn=policy)["PolicyRoles"]
        for role in entities:
            account.iam.detach_role_policy(RoleName=role["RoleName"], PolicyArn=policy)
        try:
            account.iam.delete_policy(PolicyArn=policy)
            break
        except account.iam.exceptions.DeleteConflictException:
            continue
    waited(lambda: account.in_force("approved-models"), "the deleted policy")
    waited(lambda: account.carries("CanvasRosa", ["approved-models"]), "CanvasRosa carries it again")


def test_the_exempt_and_the_full_role_are_what_the_rules_and_iam_make_of_them(account):
    assert account.verdict("CanvasFull").verdict is Verdict.DRIFTED
    assert {row["reason"] for row in account.history("CanvasFull")} == {"quota full"}
    [exemption] = yaml.safe_load((ROOT / "layers" / "guardrails" / "guardrails.yaml").read_text())["exemptions"]
    in_force = datetime.now(UTC).date() <= exemption["until"]
    assert exemption["role"] == "CanvasBreakGlass"
    assert account.verdict("CanvasBreakGlass").verdict is (Verdict.EXEMPT if in_force else Verdict.COMPLIANT)
    assert account.carries("CanvasBreakGlass", ["no-generative-ai"]) is not in_force


def test_the_functions_do_nothing_that_their_own_rules_would_answer(account, local):
    """No loop: every remedy is one AttachRolePolicy of a function, and no function is called by it."""
    aws, *_ = local
    own = [
        event["detail"]["eventName"]
        for event in aws.events
        if "/rolewarden/"
        in event["detail"]["userIdentity"].get("sessionContext", {}).get("sessionIssuer", {}).get("arn", "")
    ]
    assert set(own) <= {"AttachRolePolicy", "CreatePolicy", "CreatePolicyVersion", "DeletePolicyVersion"}
    rows = [row for role in account.aws.roles() for row in account.history(role.name)]
    assert not [row for row in rows if "/rolewarden-" in row["cause"].get("actor", "")]


def test_the_stack_says_that_iam_events_reach_it_here(account):
    assert account.outputs["IamEvents"].startswith("yes")


def test_rules_that_a_deployment_cannot_use_fail_at_sam_build(tmp_path):
    for name in ("guardrails", "rolewarden"):
        shutil.copytree(ROOT / "layers" / name, tmp_path / "layers" / name)
    (tmp_path / "layers" / "guardrails" / "guardrails.yaml").write_text(
        "guardrails: {a: {bedrock: {deny: [claude-v2]}}}\n"
    )
    ran = subprocess.run(
        ["make", "-C", tmp_path / "layers" / "guardrails", "build-GuardrailsLayer"],
        env={"PATH": f"{ROOT / '.venv' / 'bin'}:/usr/bin:/bin", "ARTIFACTS_DIR": str(tmp_path / "out")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "guardrails.yaml:1: guardrails.a.bedrock.deny[1]: `claude-v2` has no provider" in ran.stderr
    assert not (tmp_path / "out").exists()

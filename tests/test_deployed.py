"""The customers' stack, deployed by `sam deploy` into the local AWS: an API call leads to a remediated role."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from functools import partial

import pytest
import yaml
from rolewarden.policies import policy_arn
from rolewarden.record import RULES_CHANGES
from rolewarden.verdicts import Verdict
from rolewarden_cli.account import OperatorCalls
from rolewarden_cli.main import app
from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
from rolewarden_local.emulated.loops import trace
from rolewarden_local.scenes.account import Account, waited
from rolewarden_local.scenes.deploy import STACK
from rolewarden_local.scenes.seed import TRUST
from rolewarden_local.scenes.template import Template
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.deployments import account_findings, alarms, left_by_deletion
from tests.inbox import subscribed
from tests.permissions import lines, of_stack, of_template, who_may
from tests.publishing import GUARDRAIL_ARN
from tests.stacks import RECEIVERS, aliases

pytestmark = pytest.mark.deployed

ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role"


@pytest.fixture(scope="module")
def local():
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url, aws.authorizing():
        yield aws, url
        aws.reset()  # This runs while the account is served, because a running recheck must not find a queue.


ROOT_USER = f"arn:aws:iam::{ACCOUNT_ID}:root"
"""The caller of the commands. Without the parameter, the history of a command could not be written."""


@pytest.fixture(scope="module")
def account(local, build):
    aws, url = local
    return Account.made(
        aws, url, ROOT, build, lambda _: None, parameters={"RecheckSeconds": "1", "OperatorArn": ROOT_USER}
    )


@pytest.fixture(scope="module")
def listener(account):
    """Bodies of the events with the source `rolewarden`, as a customer's own rule receives them."""
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


def remediated(account, role, policies, *causes):
    """Wait until the role has the policies and its history has one of these causes.

    Events arrive unordered and in parallel. The event of either of two calls may find the unprotected role first.
    """
    waited(lambda: account.has_attached(role, policies), f"{role} carries {policies}")
    waited(
        lambda: any(
            row["cause"]["event_name"] in causes and row["verdict"] == "compliant" for row in account.history(role)
        ),
        f"the history has {role}",
    )


def test_the_first_sweep_protects_existing_roles(account):
    for role in ("CanvasAnalytics", "CanvasAnalyticsSpaces", "CanvasBedrockAnalytics", "CanvasOmar"):
        waited(partial(account.has_attached, role, ["no-generative-ai"]), role)
    for role in ("CanvasResearch", "CanvasRosa"):
        waited(partial(account.has_attached, role, ["only-nova-and-sonnet"]), role)
    assert not account.has_attached("BuildServer", ["no-generative-ai"])


def test_a_first_deployment_raises_no_alarm_and_no_finding_about_the_account(account):
    assert alarms(account.client("cloudwatch")) <= {"UnenforceableAlarm"}  # the account has a full role
    assert account_findings(account.aws, account.outputs, ACCOUNT_ID) == []


def test_the_first_rules_are_recorded_with_the_digest_in_the_output_and_their_deployer(account):
    [row] = account.history(RULES_CHANGES)
    assert (row["digest"], row["summary"]) == (account.outputs["RulesDigest"], "first rules")
    assert row["cause"]["event_name"] in {"CreateStack", "ExecuteChangeSet"}
    assert row["cause"]["actor"] == ROOT_USER


def test_a_new_profile_with_a_new_role_is_protected(account):
    role = account.iam.create_role(RoleName="CanvasNadia", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    account.sagemaker.create_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"ExecutionRole": role}
    )
    remediated(account, "CanvasNadia", ["no-generative-ai"], "CreateUserProfile", "CreateRole")


def test_the_new_role_of_a_domain_is_protected(account):
    role = account.iam.create_role(RoleName="CanvasResearch2", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    account.sagemaker.update_domain(DomainId="d-research0001", DefaultUserSettings={"ExecutionRole": role})
    remediated(account, "CanvasResearch2", ["only-nova-and-sonnet"], "UpdateDomain", "CreateRole")


def test_a_detached_guardrail_is_attached_and_reported_with_the_actor(account, listener):
    account.client("iam", "mallory").detach_role_policy(RoleName="CanvasAnalytics", PolicyArn=GUARDRAIL_ARN)
    remediated(account, "CanvasAnalytics", ["no-generative-ai"], "DetachRolePolicy")
    [row] = [row for row in account.history("CanvasAnalytics") if row["cause"]["event_name"] == "DetachRolePolicy"]
    assert row["cause"]["actor"] == f"arn:aws:iam::{ACCOUNT_ID}:user/mallory"
    told = [e for e in listener() if e["detail"]["cause"].get("event_id") == row["cause"]["event_id"]]
    assert [event["detail-type"] for event in told] == ["Role Remediated"]


def test_a_detached_guardrail_is_attached_if_the_event_has_the_role_in_lower_case(account):
    account.client("iam", "mallory").detach_role_policy(RoleName="canvasomar", PolicyArn=GUARDRAIL_ARN)
    remediated(account, "CanvasOmar", ["no-generative-ai"], "DetachRolePolicy")
    [row] = [row for row in account.history("CanvasOmar") if row["cause"]["event_name"] == "DetachRolePolicy"]
    assert (row["role"], row["remediation"]) == ("CanvasOmar", "attached")


def test_an_inline_policy_on_an_unprotected_role_triggers_its_remediation(account):
    # Rolewarden does not get the event of the detachment, as when an event is lost.
    from ministack.services import iam as ministack_iam

    attached = ministack_iam._roles.get_scoped(ACCOUNT_ID, None, "CanvasRosa")["AttachedPolicies"]
    for arn in attached:
        if policy := ministack_iam._policies.get_scoped(ACCOUNT_ID, None, arn):
            policy["AttachmentCount"] -= 1  # A policy with attachments cannot be deleted at the end of the module.
    attached.clear()
    inline = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"}]}
    account.client("iam", "mallory").put_role_policy(
        RoleName="CanvasRosa", PolicyName="let-me", PolicyDocument=json.dumps(inline)
    )
    remediated(account, "CanvasRosa", ["only-nova-and-sonnet"], "PutRolePolicy")


def test_a_recreated_role_is_protected_again(account):
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
    # Events arrive unordered. The event of an earlier call may find the new unprotected role first.
    waited(lambda: account.has_attached("CanvasOmar", ["no-generative-ai"]), "CanvasOmar has its guardrail")


def test_an_edited_guardrail_policy_is_restored(account):
    edited = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}]}
    account.client("iam", "mallory").create_policy_version(
        PolicyArn=GUARDRAIL_ARN, PolicyDocument=json.dumps(edited), SetAsDefault=True
    )
    waited(lambda: account.in_force("no-generative-ai"), "the edited policy")
    waited(lambda: account.history("policy/no-generative-ai"), "the record of it")


def test_a_deleted_guardrail_policy_and_its_attachments_are_restored(account):
    policy = policy_arn("only-nova-and-sonnet", "aws", ACCOUNT_ID)
    for _ in range(50):
        entities = account.iam.list_entities_for_policy(PolicyArn=policy)["PolicyRoles"]
        for role in entities:
            account.iam.detach_role_policy(RoleName=role["RoleName"], PolicyArn=policy)
        try:
            account.iam.delete_policy(PolicyArn=policy)
            break
        except account.iam.exceptions.DeleteConflictException:
            continue
    waited(lambda: account.in_force("only-nova-and-sonnet"), "the deleted policy")
    waited(lambda: account.has_attached("CanvasRosa", ["only-nova-and-sonnet"]), "CanvasRosa has it again")


@pytest.fixture(scope="module")
def inbox(account):
    return subscribed(account.client, account.outputs["AlarmTopic"])


def test_an_edit_of_a_guardrail_sends_an_alert(account, inbox):
    edited = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}]}
    account.client("iam", "mallory").create_policy_version(
        PolicyArn=GUARDRAIL_ARN, PolicyDocument=json.dumps(edited), SetAsDefault=True
    )
    text = inbox("guardrail no-generative-ai was edited and is restored")
    assert f"Who        arn:aws:iam::{ACCOUNT_ID}:user/mallory" in text


def test_a_change_of_rolewardens_own_role_sends_an_alert(account, inbox):
    resources = OperatorCalls(account.aws).stack("rolewarden").resources
    [role] = [physical for logical, _, physical in resources if logical == "PublishFunctionRole"]
    account.client("iam", "mallory").update_role(RoleName=role, Description="mine now")
    text = inbox("Rolewarden itself: user/mallory called UpdateRole on role")
    assert "Done       nothing: Rolewarden cannot repair itself" in text


def test_a_change_of_rolewardens_own_role_in_another_case_sends_an_alert(account, inbox):
    resources = OperatorCalls(account.aws).stack("rolewarden").resources
    [role] = [physical for logical, _, physical in resources if logical == "SweepFunctionRole"]
    account.client("iam", "mallory").update_role(RoleName=role.upper(), Description="mine now")
    text = inbox(f"Rolewarden itself: user/mallory called UpdateRole on role {role.upper()[:20]}")
    assert role.upper() in text


def settled(cloudformation, stack):
    """The status of a stack after its operation."""

    def status():
        return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]

    waited(lambda: not status().endswith("IN_PROGRESS"), f"the operation on {stack} ends")
    return status()


def test_an_operation_on_the_own_stack_raises_no_alert_and_one_on_another_stack_does(account, local, inbox):
    cloudformation = account.client("cloudformation")
    asked = {"StackName": "rolewarden", "LogicalResourceId": "EnforceFunctionRole"}
    role = cloudformation.describe_stack_resource(**asked)["StackResourceDetail"]["PhysicalResourceId"]
    parameters = [
        {"ParameterKey": found["ParameterKey"], "UsePreviousValue": True}
        for found in cloudformation.describe_stacks(StackName="rolewarden")["Stacks"][0]["Parameters"]
        if found["ParameterKey"] != "HistoryDays"
    ]
    aws, _ = local
    aws.records_stack_calls = True
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}
    blind = {"PolicyName": "blind", "Roles": [role], "PolicyDocument": deny}
    template = {"Resources": {"Blind": {"Type": "AWS::IAM::Policy", "Properties": blind}}}
    cloudformation.create_stack(StackName="theirs", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
    assert settled(cloudformation, "theirs") == "CREATE_COMPLETE"
    assert "user/deployer" in inbox(f"Rolewarden itself: user/deployer called PutRolePolicy on role {role[:20]}")
    cloudformation.delete_stack(StackName="theirs")
    inbox(f"Rolewarden itself: user/deployer called DeleteRolePolicy on role {role[:16]}")

    # MiniStack restarts a function that it updates, and the message that the function works on would wait for minutes.
    waited(account.is_swept, "the queues are empty")
    cloudformation.update_stack(
        StackName="rolewarden", UsePreviousTemplate=True,
        Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[*parameters, {"ParameterKey": "HistoryDays", "ParameterValue": "399"}],
    )  # fmt: skip
    assert settled(cloudformation, "rolewarden") == "UPDATE_COMPLETE"
    made = [event["detail"]["eventName"] for event in aws.events if "invokedBy" in event["detail"]["userIdentity"]]
    assert "UpdateFunctionConfiguration20150331v2" in made
    # This alert follows those of the update, if the update raised any.
    account.client("iam", "mallory").update_role(RoleName=role, Description="mine now")
    inbox(f"Rolewarden itself: user/mallory called UpdateRole on role {role[:20]}")
    assert not [subject for subject in inbox.subjects if "called UpdateFunction" in subject]
    aws.records_stack_calls = False


def test_the_service_control_policy_has_the_names_of_the_deployed_stack(account):
    printed = CliRunner().invoke(app, ["scp", "--region", "us-east-1"])
    statements = {s["Sid"]: s for s in json.loads(printed.stdout)["Statement"]}
    [publisher, *_] = statements["GuardrailPolicies"]["Condition"]["ArnNotLike"]["aws:PrincipalArn"]
    functions = account.client("lambda")
    assert functions.get_function(FunctionName=account.outputs["PublishFunction"])["Configuration"]["Role"] == publisher
    queue = account.outputs["DetachQueue"].rsplit("/", 1)[-1]
    assert f"arn:aws:sqs:us-east-1:{ACCOUNT_ID}:{queue}" in statements["OwnWork"]["Resource"]
    for logical, kind, physical in OperatorCalls(account.aws).stack("rolewarden").resources:
        if kind in {"AWS::Lambda::Function", "AWS::Events::Rule", "AWS::CloudWatch::Alarm", "AWS::SQS::Queue"}:
            name = physical.rsplit("/", 1)[-1]
            assert name.startswith(f"rolewarden-{logical}"), f"{logical} is {name}: no pattern covers it"


def test_the_exempt_role_is_exempt_and_the_full_role_is_unenforceable(account):
    assert account.verdict("CanvasFull").verdict is Verdict.DRIFTED
    assert {row["reason"] for row in account.history("CanvasFull")} == {"quota full"}
    [exemption] = yaml.safe_load((ROOT / "layers" / "guardrails" / "guardrails.yaml").read_text())["exemptions"]
    in_force = datetime.now(UTC).date() <= exemption["until"]
    assert exemption["role"] == "CanvasBreakGlass"
    assert account.verdict("CanvasBreakGlass").verdict is (Verdict.EXEMPT if in_force else Verdict.COMPLIANT)
    assert account.has_attached("CanvasBreakGlass", ["no-generative-ai"]) is not in_force


def test_the_calls_of_the_functions_do_not_match_their_own_rules(account, local):
    """Every remediation is one AttachRolePolicy by a function, and this call invokes no function."""
    aws, _ = local
    # The calls of DrillFunction are there to match the rules.
    issuers = [
        (event["detail"]["userIdentity"].get("sessionContext", {}).get("sessionIssuer", {}).get("arn", ""), event)
        for event in aws.events
    ]
    own = [
        event["detail"]["eventName"]
        for arn, event in issuers
        if "/rolewarden/" in arn and "DrillFunctionRole" not in arn
    ]
    assert "AttachRolePolicy" in own
    assert set(own) <= {"AttachRolePolicy", "CreatePolicy", "CreatePolicyVersion", "DeletePolicyVersion"}
    rows = [row for role in account.aws.roles() for row in account.history(role.name)]
    assert not [row for row in rows if "/rolewarden-" in row["cause"].get("actor", "")]


def test_a_missing_permission_stops_a_function_and_is_reported(account, local):
    aws, _ = local
    policies = []
    for rights in of_stack(STACK):
        for name, document in rights.policies.items():
            kept = [statement for statement in document["Statement"] if statement.get("Sid") != "AttachGuardrails"]
            if kept != document["Statement"]:
                policy = {"RoleName": rights.role.rsplit("/", 1)[-1], "PolicyName": name}
                policies.append({**policy, "PolicyDocument": json.dumps(document)})
                account.iam.put_role_policy(**policy, PolicyDocument=json.dumps({**document, "Statement": kept}))
    account.client("iam", "mallory").detach_role_policy(RoleName="CanvasAnalytics", PolicyArn=GUARDRAIL_ARN)
    waited(lambda: "access denied" in {row.get("reason") for row in account.history("CanvasAnalytics")}, "it is told")
    assert not account.has_attached("CanvasAnalytics", ["no-generative-ai"])
    refused = [e["detail"] for e in aws.events if e["detail"].get("errorCode") == "AccessDenied"]
    assert {(e["eventName"], e["requestParameters"]) for e in refused} == {("AttachRolePolicy", None)}

    for policy in policies:
        account.iam.put_role_policy(**policy)
    account.iam.tag_role(RoleName="CanvasAnalytics", Tags=[{"Key": "again", "Value": "please"}])
    remediated(account, "CanvasAnalytics", ["no-generative-ai"], "TagRole")


@pytest.mark.parametrize("queue", ["SweepQueue", "WorkQueue", "PublishQueue"])
def test_a_function_continues_a_chain_of_messages_with_many_invocations(account, local, queue):
    """As a sweep of many steps does: Lambda would stop another function after 16 invocations."""
    aws, _ = local
    body = {
        "SweepQueue": {"account": ACCOUNT_ID, "step": "begin"},
        "WorkQueue": {"role": "CanvasOmar", "role_account": ACCOUNT_ID, "account": ACCOUNT_ID},
        "PublishQueue": {"account": ACCOUNT_ID, "step": "publish"},
    }[queue]
    function = account.outputs[RECEIVERS[queue]]
    arn = account.client("lambda").get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace(arn, 40)}}
    account.sqs.send_message(
        QueueUrl=account.outputs[queue], MessageBody=json.dumps(body), MessageSystemAttributes=header
    )
    waited(lambda: aws.longest_chains.get(function, 0) > 40, f"{function} works on the message")


def test_the_tables_are_encrypted_with_the_key_that_aws_owns(account):
    for table in ("BindingsTable", "HistoryTable"):
        described = account.client("dynamodb").describe_table(TableName=account.outputs[table])["Table"]
        assert "SSEDescription" not in described


def test_a_deleted_domain_has_no_bindings(account):
    role = account.iam.create_role(RoleName="CanvasPilot", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    domain = account.sagemaker.create_domain(
        DomainName="pilot", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": role}
    )["DomainId"]
    waited(lambda: account.bindings.of_domain(ACCOUNT_ID, REGION, domain), "CanvasPilot bound")
    account.sagemaker.delete_domain(DomainId=domain)
    waited(lambda: not account.bindings.of_domain(ACCOUNT_ID, REGION, domain), "CanvasPilot no longer bound")


def test_an_output_of_the_stack_shows_that_iam_events_reach_it(account):
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


def test_the_templates_that_sam_uploads_have_no_aliases_because_cloudformation_rejects_them(account):
    s3 = account.client("s3")
    uploaded = [
        s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read().decode()
        for bucket in s3.list_buckets()["Buckets"]
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
        if item["Key"].endswith(".template")
    ]
    assert len([text for text in uploaded if "EnforceFunctionRole:" in text]) == 1
    for text in uploaded:
        assert not aliases(text)


@pytest.fixture(scope="module")
def rights(account):
    """The policies of the functions' roles, read from IAM."""
    return of_stack(STACK)


def test_the_deployed_roles_have_the_permissions_of_the_template(rights):
    assert not any(of_one.managed for of_one in rights)
    assert lines(rights) == lines(of_template(Template(ROOT / "template.yaml", region=REGION, account=ACCOUNT_ID)))


def test_the_deployed_roles_can_only_attach_write_or_detach_guardrails(rights):
    """A part of the checks that tests/test_permissions.py makes of the template."""
    attach, bound = "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"
    boundary = policy_arn("boundary.no-generative-ai", "aws", ACCOUNT_ID)
    linked = f"{ROLE}/aws-service-role/sagemaker.amazonaws.com/AWSServiceRoleForAmazonSageMakerNotebooks"
    omar = f"{ROLE}/CanvasOmar"
    enforcing = {"EnforceFunction", "ReconcileFunction"}

    assert who_may(rights, attach, omar, {"iam:PolicyARN": GUARDRAIL_ARN}) == enforcing
    # The stack does not have the parameter Fallback=boundary.
    assert who_may(rights, bound, omar, {"iam:PermissionsBoundary": boundary}) == set()
    assert who_may(rights, "iam:DetachRolePolicy", omar, {"iam:PolicyARN": GUARDRAIL_ARN}) == {"DetachFunction"}
    assert who_may(rights, "iam:CreatePolicyVersion", GUARDRAIL_ARN, {}) == {"PublishFunction"}
    for policy in (boundary, f"arn:aws:iam::{ACCOUNT_ID}:policy/theirs", "arn:aws:iam::aws:policy/AdministratorAccess"):
        assert who_may(rights, attach, omar, {"iam:PolicyARN": policy}) == set()
    for policy in (GUARDRAIL_ARN, f"arn:aws:iam::{ACCOUNT_ID}:policy/theirs"):
        assert who_may(rights, bound, omar, {"iam:PermissionsBoundary": policy}) == set()
    for role in (linked, *(of_one.role for of_one in rights)):
        assert who_may(rights, attach, role, {"iam:PolicyARN": GUARDRAIL_ARN}) == set()
        assert who_may(rights, bound, role, {"iam:PermissionsBoundary": boundary}) == set()
    for role in (omar, linked, *(of_one.role for of_one in rights)):
        assert who_may(rights, "iam:PassRole", role, {}) == set()


@pytest.fixture
def other_rules(tmp_path):
    """The project's guardrails.yaml with a typo in the id of a model."""
    text = (ROOT / "layers" / "guardrails" / "guardrails.yaml").read_text()
    assert "amazon.nova-" in text
    path = tmp_path / "guardrails.yaml"
    path.write_text(text.replace("amazon.nova-", "amazon.nvoa-", 1))
    return path


def command(*arguments):
    """Run `rolewarden` on the deployed account with 80 columns, and return its output."""
    result = CliRunner().invoke(app, [*arguments, "--region", REGION], env={"COLUMNS": "80"})
    # `report` prints the path from its option.
    wide = {"--json", "report"} & set(arguments)
    assert wide or all(len(line) <= 80 for line in result.stdout.splitlines())
    return result


def states(account):
    """The default version of each policy under /rolewarden/, the policies of each role, and the restored policies."""
    policies = {name: account.aws.policy(policy_arn(name, "aws", ACCOUNT_ID)) for name in account.aws.own_policies()}
    roles = {role.name: role.attached for role in OperatorCalls(account.aws).role_details()}
    return policies, roles, [account.history(f"policy/{name}") for name in policies]


def test_a_plan_by_other_rules_than_the_stacks_names_the_deployment_as_the_next_command(account, other_rules):
    waited(account.is_swept, "the last sweep")
    result = command("plan", "--guardrails", str(other_rules))
    assert result.exit_code == 2
    assert result.stdout.rsplit("\n`", 1)[-1].startswith("sam build && sam deploy`")
    told = json.loads(command("plan", "--guardrails", str(other_rules), "--json").stdout)
    assert (told["stack"], told["next"]["command"]) == ("other", "sam build && sam deploy")
    assert json.loads(command("plan", "--json").stdout)["stack"] == "same"


@pytest.mark.parametrize("name", ["enforce", "detach"])
def test_a_command_that_writes_refuses_other_rules_than_the_stacks_and_changes_nothing(account, other_rules, name):
    before = states(account)
    result = command(name, "--yes", "--guardrails", str(other_rules))
    assert result.exit_code == 1
    assert "the deployed stack has other rules" in result.stderr
    assert "`sam build && sam deploy`" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert states(account) == before


def test_a_stack_without_a_fingerprint_of_its_rules_counts_as_one_with_other_rules(account, monkeypatch):
    monkeypatch.setattr("rolewarden_cli.account.OperatorCalls.run", lambda *_: {"probes": []})
    result = command("enforce", "--yes")
    assert result.exit_code == 1
    assert "its rules are not known" in result.stderr


def test_a_stack_that_the_options_do_not_find_does_not_count_as_missing(account):
    result = command("enforce", "--yes", "--stack", "another")
    assert result.exit_code == 1
    assert "--stack and --region" in result.stderr


def sweeps_completed(account):
    return sum("completed" in sweep for sweep in account.progress.sweeps(ACCOUNT_ID))


def test_surplus_policies_are_shown_and_detached_without_an_alert(account, listener, tmp_path):
    surplus = {"BuildServer", "CanvasResearch2"}  # CanvasPilot also loses its policy, because its domain was deleted.
    for role in surplus:
        account.iam.attach_role_policy(RoleName=role, PolicyArn=GUARDRAIL_ARN)
    waited(account.is_swept, "the last sweep")
    before = sweeps_completed(account)
    assert command("sweep").exit_code == 0
    waited(lambda: sweeps_completed(account) > before, "a sweep has found the surplus")
    assert surplus <= set(json.loads(command("status", "--json").stdout)["last_sweep"]["surplus_roles"])
    assert "`rolewarden detach`" in command("status").stdout
    plan = command("plan")
    assert plan.stdout.count("`rolewarden detach` detaches it") == len(surplus) + 1
    assert plan.stdout.splitlines()[-1] == "`rolewarden detach` removes the policies that no role needs"
    report = tmp_path / "report.html"
    assert command("report", "-o", str(report), "--model", "amazon.nova-pro-v1:0").exit_code == 0
    assert "3 roles have policies or boundaries of Rolewarden that they do not need" in report.read_text()
    assert command("detach").exit_code == 1  # The command asks a question, and the test has no terminal.
    listener().clear()

    done = json.loads(command("detach", *surplus, "--yes", "--json").stdout)
    assert (set(done["detached"]), done["left"]) == (surplus, [])
    for role in surplus:
        assert GUARDRAIL_ARN not in account.aws.attached_policies(role)
        [row] = [row for row in account.history(role) if row["cause"]["event_name"] == "rolewarden detach"]
        assert row["cause"]["actor"] == f"arn:aws:iam::{ACCOUNT_ID}:root"
    assert account.has_attached("CanvasResearch2", ["only-nova-and-sonnet"])
    # The stack has processed both events once it has processed a later one.
    account.client("iam", "mallory").detach_role_policy(RoleName="CanvasAnalytics", PolicyArn=GUARDRAIL_ARN)
    waited(lambda: account.has_attached("CanvasAnalytics", ["no-generative-ai"]), "CanvasAnalytics has its guardrail")
    waited(account.is_swept, "the work queue is empty")
    told = {event["detail-type"] for event in listener() if event["detail"].get("role") in surplus}
    assert told == {"Surplus Detached"}
    rest = json.loads(command("detach", "--yes", "--json").stdout)["detached"]
    assert rest == {"CanvasPilot": ["no-generative-ai"]}
    assert json.loads(command("detach", "--yes", "--json").stdout)["detached"] == {}


def test_the_stack_leaves_its_policies_on_the_roles_when_it_is_deleted(account):
    # This is the last test of the module, because it deletes the stack.
    carried, published = left_by_deletion(account)
    assert carried == {"no-generative-ai"}
    assert published == set(account.policies)
    # What it leaves, `rolewarden detach --all` removes without the stack.
    result = CliRunner().invoke(app, ["detach", "--all", "--delete-policies", "--yes", "--region", REGION])
    assert result.exit_code == 0, result.output
    assert account.client("iam").list_policies(Scope="Local", PathPrefix="/rolewarden/")["Policies"] == []
    assert not any("/rolewarden/" in arn for arn in account.aws.attached_policies("CanvasOmar"))

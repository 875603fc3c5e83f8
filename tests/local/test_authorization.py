"""Authorization of calls by their caller's policies."""

import json
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from rolewarden_local.scenes.seed import TRUST, AccessKey, seed

from tests.local.conftest import policy, refusal

ACCOUNT = "111122223333"
ANALYST = f"arn:aws:iam::{ACCOUNT}:role/service-role/analyst"
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
OURS = f"arn:aws:iam::{ACCOUNT}:policy/rolewarden/ours"


@pytest.fixture
def authorization(aws):
    with aws.authorizing() as authorization:
        yield authorization


@pytest.fixture
def sqs(aws):
    return boto3.client("sqs", region_name="us-east-1")


@pytest.fixture
def eve(iam, authorization):
    """A function that gives an IAM user only these statements, and returns a session of hers."""
    iam.create_user(UserName="eve")
    key = iam.create_access_key(UserName="eve")["AccessKey"]
    session = AccessKey(key["AccessKeyId"], key["SecretAccessKey"]).session()

    def may(*statements):
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **s} for s in statements]}
        iam.put_user_policy(UserName="eve", PolicyName="may", PolicyDocument=json.dumps(document))
        return session

    may.session = session  # type: ignore[attr-defined]
    return may


def test_a_call_is_authorized_for_the_entity_it_reaches_regardless_of_case(eve, iam, role):
    iam.create_policy(PolicyName="ours", Path="/rolewarden/", PolicyDocument=policy())
    session = eve(
        {"Action": "iam:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:DeleteRole", "Resource": ANALYST},
        {"Effect": "Deny", "Action": "iam:AttachRolePolicy", "Resource": "*",
         "Condition": {"ArnEquals": {"iam:PolicyARN": OURS}}},
    )  # fmt: skip
    hers = session.client("iam")
    assert refusal(hers.delete_role, RoleName="ANALYST")[0] == "AccessDenied"
    assert refusal(hers.attach_role_policy, RoleName="Analyst", PolicyArn=OURS.replace("ours", "OURS"))[0] == (
        "AccessDenied"
    )


def test_a_caller_without_policies_is_denied_with_the_message_of_aws(eve, role):
    code, message, status = refusal(eve.session.client("iam").get_role, RoleName=role)
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: arn:aws:iam::{ACCOUNT}:user/eve is not authorized to perform: iam:GetRole on resource: {ANALYST} "
        "because no identity-based policy allows the iam:GetRole action"
    )


def test_root_and_the_users_of_the_seed_can_do_everything(aws, authorization):
    people = seed(aws).access_keys
    for session in (boto3.Session(region_name="us-east-1"), people["alice"].session(), people["mallory"].session()):
        assert session.client("sagemaker").list_domains()["Domains"]
        session.client("iam").attach_role_policy(RoleName="CanvasOmar", PolicyArn=READ_ONLY)
        session.client("lambda").list_functions()
        session.client("cloudformation").list_stacks()


@pytest.mark.parametrize(
    ("service", "call", "parameters", "code"),
    [
        ("sagemaker", "describe_domain", {"DomainId": "d-1"}, "AccessDeniedException"),
        ("resourcegroupstaggingapi", "get_resources", {}, "AccessDeniedException"),
        ("dynamodb", "scan", {"TableName": "t"}, "AccessDeniedException"),
        ("sqs", "list_queues", {}, "AccessDenied"),
        ("events", "list_rules", {}, "AccessDeniedException"),
        ("cloudtrail", "describe_trails", {}, "AccessDeniedException"),
        ("sns", "list_topics", {}, "AuthorizationError"),
        ("cloudformation", "list_stacks", {}, "AccessDenied"),
        ("lambda", "list_functions", {}, "AccessDeniedException"),
        ("s3", "list_buckets", {}, "AccessDenied"),
    ],
)
def test_authorization_covers_every_service(eve, service, call, parameters, code):
    assert refusal(getattr(eve.session.client(service), call), **parameters)[0] == code


def test_a_denied_call_changes_nothing_and_its_event_has_no_parameters(aws, iam, eve, role):
    refusal(eve.session.client("iam").attach_role_policy, RoleName=role, PolicyArn=READ_ONLY)
    detail = aws.events[-1]["detail"]
    assert (detail["eventName"], detail["errorCode"]) == ("AttachRolePolicy", "AccessDenied")
    assert detail["requestParameters"] is None
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []


def test_the_policy_to_be_attached_is_a_condition_key(iam, eve, role):
    iam.create_policy(PolicyName="ours", Path="/rolewarden/", PolicyDocument=policy())
    ours = {"ArnLike": {"iam:PolicyARN": f"arn:aws:iam::{ACCOUNT}:policy/rolewarden/*"}}
    her = eve({"Action": "iam:AttachRolePolicy", "Resource": ANALYST, "Condition": ours}).client("iam")
    her.attach_role_policy(RoleName=role, PolicyArn=OURS)
    assert refusal(her.attach_role_policy, RoleName=role, PolicyArn=READ_ONLY)[0] == "AccessDenied"


def test_the_requested_or_attached_boundary_is_a_condition_key(iam, eve, role):
    iam.create_policy(PolicyName="ours", Path="/rolewarden/", PolicyDocument=policy())
    actions = ["iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"]
    ours = {"StringEquals": {"iam:PermissionsBoundary": OURS}}
    her = eve({"Action": actions, "Resource": ANALYST, "Condition": ours}).client("iam")
    refusal(her.put_role_permissions_boundary, RoleName=role, PermissionsBoundary=READ_ONLY)
    her.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=OURS)
    her.delete_role_permissions_boundary(RoleName=role)
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=READ_ONLY)
    refusal(her.delete_role_permissions_boundary, RoleName=role)
    assert iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == READ_ONLY


def test_every_entry_on_the_bus_is_authorized_by_its_source(eve):
    bus = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"
    mine = {"StringEquals": {"events:source": "mine"}}
    events = eve({"Action": "events:PutEvents", "Resource": bus, "Condition": mine}).client("events")
    entry = {"Source": "mine", "DetailType": "x", "Detail": "{}"}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    assert refusal(events.put_events, Entries=[entry, {**entry, "Source": "theirs"}])[0] == "AccessDeniedException"


def test_the_caller_is_a_condition_key_a_role_as_itself_and_not_as_its_session(iam, authorization):
    iam.create_role(RoleName="ops", Path="/team/", AssumeRolePolicyDocument=TRUST)
    arn = f"arn:aws:iam::{ACCOUNT}:role/team/ops"
    as_itself = {"ArnEquals": {"aws:PrincipalArn": arn}}
    document = policy({"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}, Condition=as_itself)
    iam.put_role_policy(RoleName="ops", PolicyName="may", PolicyDocument=document)
    given = boto3.client("sts", "us-east-1").assume_role(RoleArn=arn, RoleSessionName="night")["Credentials"]
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1")
    assert session.client("iam").list_roles()["Roles"]
    _, message, _ = refusal(session.client("iam").list_users)
    assert message.startswith(f"User: arn:aws:sts::{ACCOUNT}:assumed-role/ops/night is not authorized")
    assert {(j.principal, j.action, j.allowed) for j in authorization.judged} == {
        (arn, "iam:ListRoles", True),
        (arn, "iam:ListUsers", False),
    }


def test_managed_policies_and_groups_count_and_a_boundary_limits_them(iam, eve):
    iam.create_policy(PolicyName="lists", PolicyDocument=policy(Action="iam:List*"))
    iam.create_group(GroupName="admins")
    iam.put_group_policy(GroupName="admins", PolicyName="all", PolicyDocument=policy(Action="*"))
    her = eve.session.client("iam")
    refusal(her.list_roles)
    iam.attach_user_policy(UserName="eve", PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/lists")
    her.list_roles()
    refusal(her.get_account_summary)
    iam.add_user_to_group(UserName="eve", GroupName="admins")
    her.get_account_summary()
    iam.put_user_permissions_boundary(
        UserName="eve", PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/lists"
    )  # fmt: skip
    her.list_roles()
    assert refusal(her.get_account_summary)[1].endswith(
        "because no permissions boundary allows the iam:GetAccountSummary action"
    )


def test_a_transaction_is_authorized_item_by_item_and_a_batch_of_messages_as_messages(eve):
    queue = boto3.client("sqs", "us-east-1").create_queue(QueueName="q")["QueueUrl"]
    boto3.client("dynamodb", "us-east-1").create_table(
        TableName="table",
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    her = eve(
        {"Action": "dynamodb:PutItem", "Resource": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/table"},
        {"Action": "sqs:SendMessage", "Resource": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"},
    )
    put = {"Put": {"TableName": "table", "Item": {"k": {"S": "1"}}}}
    delete = {"Delete": {"TableName": "table", "Key": {"k": {"S": "2"}}}}
    her.client("dynamodb").transact_write_items(TransactItems=[put])
    _, message, _ = refusal(her.client("dynamodb").transact_write_items, TransactItems=[put, delete])
    assert "dynamodb:DeleteItem" in message
    her.client("sqs").send_message_batch(QueueUrl=queue, Entries=[{"Id": "1", "MessageBody": "x"}])
    assert "sqs:receivemessage" in refusal(her.client("sqs").receive_message, QueueUrl=queue)[1].lower()


def queue_with(sqs, *statements):
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"
    document = {"Version": "2012-10-17", "Statement": [{"Resource": arn, **each} for each in statements]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(document)})
    return queue


def test_the_policy_of_a_queue_denies_what_the_callers_own_policies_allow(sqs, eve):
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage"}
    others = {"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/sender"}}
    queue = queue_with(sqs, {**deny, "Condition": others})
    her = eve({"Action": "sqs:*", "Resource": "*"}).client("sqs")
    code, message, _ = refusal(her.send_message, QueueUrl=queue, MessageBody="x")
    assert code == "AccessDenied"
    assert message.endswith("with an explicit deny in a resource-based policy")
    her.receive_message(QueueUrl=queue)


def test_the_policy_of_a_queue_allows_what_the_callers_own_policies_do_not(sqs, eve):
    user = f"arn:aws:iam::{ACCOUNT}:user/eve"
    queue = queue_with(sqs, {"Effect": "Allow", "Principal": {"AWS": user}, "Action": "sqs:SendMessage"})
    her = eve({"Action": "iam:GetUser", "Resource": "*"}).client("sqs")
    her.send_message(QueueUrl=queue, MessageBody="x")
    assert refusal(her.receive_message, QueueUrl=queue)[0] == "AccessDenied"


@pytest.mark.parametrize(("rule", "arrives"), [("ours", 1), ("other", 0)])
def test_eventbridge_delivers_to_a_queue_whose_policy_names_the_rule(aws, sqs, rule, arrives):
    source = {"ArnLike": {"aws:SourceArn": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/ours"}}
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    queue = queue_with(sqs, {**allow, "Condition": source})
    events = boto3.client("events", region_name="us-east-1")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["mine"]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"}])
    events.put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": "{}"}])
    assert len(sqs.receive_message(QueueUrl=queue).get("Messages", [])) == arrives


def test_subjects_are_authorized_by_their_arns(aws, authorization, eve):
    seed(aws)
    profiles = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:user-profile/*"
    her = eve({"Action": ["sagemaker:Describe*", "sagemaker:ListTags"], "Resource": profiles}).client("sagemaker")
    arn = her.describe_user_profile(DomainId="d-research0001", UserProfileName="rosa")["UserProfileArn"]
    assert her.list_tags(ResourceArn=arn)["Tags"]
    assert refusal(her.describe_domain, DomainId="d-research0001")[0] == "AccessDeniedException"


def test_an_issued_key_that_no_longer_exists_is_rejected(iam, eve):
    for key in iam.list_access_keys(UserName="eve")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="eve", AccessKeyId=key["AccessKeyId"])
    assert refusal(eve.session.client("iam").list_roles)[0] == "InvalidClientTokenId"


def test_a_session_of_a_deleted_role_is_rejected(aws, authorization):
    aws.lend("ASIADELETED", "Deleted")
    deleted = boto3.Session("ASIADELETED", "secret", "token", region_name="us-east-1")
    assert refusal(deleted.client("iam").list_roles)[0] == "InvalidClientTokenId"


def test_every_caller_can_call_get_caller_identity(eve):
    assert eve.session.client("sts").get_caller_identity()["Arn"].endswith(":user/eve")


def test_a_call_that_the_evaluator_is_not_known_to_decide_correctly_fails_with_a_message(iam, eve, role):
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    once = Config(retries={"total_max_attempts": 1})
    her = eve({"Action": "iam:GetRole", "Resource": ANALYST, "Condition": condition}).client("iam", config=once)
    code, message, status = refusal(her.get_role, RoleName=role)
    assert (code, status) == ("InternalFailure", 500)
    assert "condition operator IpAddress" in message
    # MiniStack would invent a policy that allows everything.
    unknown = "arn:aws:iam::aws:policy/AmazonForecastFullAccess"
    iam.attach_user_policy(UserName="eve", PolicyArn=unknown)
    assert unknown in refusal(her.list_roles)[1]


def test_unsigned_calls_and_calls_after_the_block_are_not_authorized(aws):
    with aws.authorizing(), aws.serving() as url:
        with urllib.request.urlopen(f"{url}/_ministack/health") as health:  # noqa: S310
            assert health.status == 200
        boto3.client("iam").create_user(UserName="eve")
        key = boto3.client("iam").create_access_key(UserName="eve")["AccessKey"]
        her = AccessKey(key["AccessKeyId"], key["SecretAccessKey"]).session()
        refusal(her.client("iam").list_roles)
    her.client("iam").list_roles()


def test_a_new_name_of_a_user_needs_permission_on_the_new_name_too(eve, iam):
    iam.create_user(UserName="bob")
    of_bob = {"Action": "iam:UpdateUser", "Resource": [f"arn:aws:iam::{ACCOUNT}:user/bob"]}
    hers = eve(of_bob).client("iam")
    assert refusal(hers.update_user, UserName="bob", NewUserName="robert")[0] == "AccessDenied"
    assert refusal(hers.update_user, UserName="bob", NewPath="/ci/")[0] == "AccessDenied"
    eve({**of_bob, "Resource": [*of_bob["Resource"], f"arn:aws:iam::{ACCOUNT}:user/robert"]})
    assert not is_denied(hers.update_user, UserName="bob", NewUserName="robert")


def is_denied(call, **parameters):
    """Whether authorization denies a call. The local AWS may refuse an allowed call for another reason."""
    try:
        call(**parameters)
    except ClientError as error:
        return "AccessDenied" in error.response["Error"]["Code"]
    return False


def test_a_member_of_a_group_or_profile_is_authorized_on_the_group_or_profile(eve, iam, role):
    iam.create_group(GroupName="team")
    iam.create_instance_profile(InstanceProfileName="build")
    hers = eve({"Action": "iam:*", "Resource": f"arn:aws:iam::{ACCOUNT}:group/team"}).client("iam")
    hers.add_user_to_group(GroupName="team", UserName="eve")
    hers.remove_user_from_group(GroupName="team", UserName="eve")
    of_profile = {"Action": "iam:*", "Resource": f"arn:aws:iam::{ACCOUNT}:instance-profile/build"}
    hers = eve(of_profile).client("iam")
    added = {"InstanceProfileName": "build", "RoleName": role}
    assert "perform: iam:PassRole on resource" in refusal(hers.add_role_to_instance_profile, **added)[1]
    eve(of_profile, {"Action": "iam:PassRole", "Resource": ANALYST})
    hers.add_role_to_instance_profile(**added)


PASSING: dict[tuple[str, str], dict[str, object]] = {
    ("lambda", "create_function"): {"FunctionName": "f", "Runtime": "python3.13", "Handler": "a.b", "Role": ANALYST,
                                    "Code": {"ZipFile": b"-"}},
    ("lambda", "update_function_configuration"): {"FunctionName": "f", "Role": ANALYST},
    ("events", "put_rule"): {"Name": "r", "ScheduleExpression": "rate(1 day)", "RoleArn": ANALYST},
    ("events", "put_targets"): {"Rule": "r", "Targets": [{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:1:q",
                                                          "RoleArn": ANALYST}]},
    ("cloudformation", "create_stack"): {"StackName": "s", "TemplateBody": "{}", "RoleARN": ANALYST},
}  # fmt: skip


@pytest.mark.parametrize(("service", "operation"), PASSING)
def test_a_caller_who_gives_a_role_to_a_service_needs_permission_to_pass_it(eve, role, service, operation):
    every = {"Action": f"{service}:*", "Resource": "*"}
    of_service = {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}
    call = getattr(eve(every).client(service), operation)
    code, message, _ = refusal(call, **PASSING[service, operation])
    assert code in {"AccessDenied", "AccessDeniedException"}
    assert f"iam:PassRole on resource: {ANALYST}" in message
    eve(every, {"Action": "iam:PassRole", "Resource": ANALYST, "Condition": of_service})
    assert not is_denied(call, **PASSING[service, operation])

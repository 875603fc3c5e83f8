"""Service control policies: their administration, their effect on calls, and their part in simulations."""

import contextlib
import json
from datetime import date

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden.guardrails_file import read_yaml
from rolewarden.prevention import compile_prevention
from rolewarden_local.emulated import _ministack
from rolewarden_local.emulated.organization import FULL_ACCESS, MANAGEMENT, ROOT
from rolewarden_local.scenes.seed import TRUST

from tests.local.conftest import policy, refusal

MEMBER, CENTRAL, OUTSIDE = "222222222222", "111122223333", "999999999999"
UNIT = "ou-root-canvas000"
ALLOW_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
NO_IAM = {"Sid": "NoIam", "Effect": "Deny", "Action": "iam:*", "Resource": "*"}
REGIONS = {
    "Effect": "Deny", "Action": "bedrock:*", "Resource": "*",
    "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["us-east-1"]}},
}  # fmt: skip
MODEL = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"


def client(service, account=MANAGEMENT, region="us-east-1"):
    return boto3.client(service, region, aws_access_key_id=account, aws_secret_access_key="-")


@pytest.fixture
def company(aws):
    aws.organize("o-exampleorg1", {UNIT: {MEMBER}}, administrator=CENTRAL)
    return aws


@pytest.fixture
def attach(company):
    """Attach a new policy with these statements to a root, a unit or an account, and return its ID."""
    organizations = client("organizations")

    def attached(target, *statements):
        name = f"policy-{len(organizations.list_policies(Filter='SERVICE_CONTROL_POLICY')['Policies'])}"
        content = json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, separators=(",", ":"))
        made = organizations.create_policy(Name=name, Description="", Type="SERVICE_CONTROL_POLICY", Content=content)
        policy_id = made["Policy"]["PolicySummary"]["Id"]
        organizations.attach_policy(PolicyId=policy_id, TargetId=target)
        return policy_id

    return attached


def admin(account, name="admin", path="/"):
    """A session of a role with an administrator's policy."""
    iam, trust = client("iam", account), json.loads(TRUST)
    trust["Statement"].append({**trust["Statement"][0], "Principal": {"AWS": f"arn:aws:iam::{account}:root"}})
    role = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    # No caller can change a service-linked role.
    _ministack.iam._roles.get_scoped(account, None, name)["InlinePolicies"]["all"] = policy(ALLOW_ALL)
    given = client("sts", account).assume_role(RoleArn=role["Arn"], RoleSessionName="visit")["Credentials"]
    return boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1")


def is_allowed(session):
    """Whether a session can list the roles of its account."""
    with contextlib.suppress(ClientError):
        return bool(session.client("iam").list_roles())
    return False


@pytest.mark.parametrize("target", [ROOT, UNIT, MEMBER])
def test_a_deny_at_any_level_stops_the_role_of_a_member_and_says_so(company, attach, target):
    session = admin(MEMBER)
    with company.authorizing() as authorization:
        assert is_allowed(session)
        attach(target, NO_IAM)
        code, message, status = refusal(session.client("iam").list_roles)
    assert (code, status) == ("AccessDenied", 403)
    assert message.endswith("with an explicit deny in a service control policy")
    assert [judged.allowed for judged in authorization.judged if judged.action == "iam:ListRoles"].count(False) == 1


@pytest.mark.parametrize("target", [ROOT, UNIT, MEMBER])
def test_every_level_has_to_allow_a_call(company, attach, target):
    session, organizations = admin(MEMBER), client("organizations")
    attach(target, {**ALLOW_ALL, "Action": "s3:*"})
    organizations.detach_policy(PolicyId=FULL_ACCESS, TargetId=target)
    with company.authorizing():
        message = refusal(session.client("iam").list_roles)[1]
        assert message.endswith("because no service control policy allows the iam:ListRoles action")
        session.client("s3").list_buckets()
        organizations.attach_policy(PolicyId=FULL_ACCESS, TargetId=target)
        assert is_allowed(session)


def test_a_policy_that_allows_grants_nothing(company, attach):
    attach(MEMBER, ALLOW_ALL)
    session = admin(MEMBER)
    client("iam", MEMBER).delete_role_policy(RoleName="admin", PolicyName="all")
    with company.authorizing():
        assert "no identity-based policy" in refusal(session.client("iam").list_roles)[1]


def test_the_root_user_of_a_member_is_restricted_and_a_user_is(company, attach):
    attach(ROOT, NO_IAM)
    iam = client("iam", MEMBER)
    iam.create_user(UserName="eve")
    iam.put_user_policy(UserName="eve", PolicyName="all", PolicyDocument=policy(ALLOW_ALL))
    key = iam.create_access_key(UserName="eve")["AccessKey"]
    with company.authorizing():
        assert not is_allowed(boto3.Session(MEMBER, "-", region_name="us-east-1"))
        assert not is_allowed(boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1"))


def test_the_management_account_other_accounts_and_service_linked_roles_are_not_restricted(company, attach):
    attach(ROOT, NO_IAM)
    attach(UNIT, NO_IAM)
    linked = admin(MEMBER, "AWSServiceRoleForX", "/aws-service-role/x.amazonaws.com/")
    restricted = admin(MEMBER)
    exempt = [admin(MANAGEMENT), boto3.Session(MANAGEMENT, "-", region_name="us-east-1"), admin(OUTSIDE), linked]
    with company.authorizing():
        assert [is_allowed(session) for session in exempt] == [True] * 4
        assert not is_allowed(restricted)


def test_the_conditions_of_a_policy_count(company, attach):
    session, another = admin(MEMBER), admin(MEMBER, "another")
    attach(UNIT, {**NO_IAM, "Action": "sns:*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}})
    attach(UNIT, {**NO_IAM, "Condition": {"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{MEMBER}:role/admin"}}})
    with company.authorizing():
        session.client("sns", "us-east-1").list_topics()
        assert refusal(session.client("sns", "eu-west-1").list_topics)[0] == "AuthorizationError"
        assert is_allowed(session)
        assert not is_allowed(another)


def test_a_role_that_is_assumed_in_a_member_account_is_restricted_there_and_so_is_assuming(company, attach):
    ours = admin(CENTRAL, "ours")
    trust = json.loads(TRUST)
    trust["Statement"][0]["Principal"] = {"AWS": f"arn:aws:iam::{CENTRAL}:role/ours"}
    iam = client("iam", MEMBER)
    theirs = iam.create_role(RoleName="theirs", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="theirs", PolicyName="all", PolicyDocument=policy(ALLOW_ALL))
    given = ours.client("sts").assume_role(RoleArn=theirs, RoleSessionName="visit")["Credentials"]
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1")
    denied = attach(UNIT, NO_IAM)
    with company.authorizing():
        assert not is_allowed(session)
        client("organizations").detach_policy(PolicyId=denied, TargetId=UNIT)
        assert is_allowed(session)
    attach(CENTRAL, {**NO_IAM, "Action": "sts:AssumeRole"})
    assert refusal(ours.client("sts").assume_role, RoleArn=theirs, RoleSessionName="visit")[0] == "AccessDenied"


def test_a_new_organization_has_nothing_of_the_previous_one(company, attach):
    attach(ROOT, NO_IAM)
    company.organize("o-another0001", {UNIT: {MEMBER}})
    with company.authorizing():
        assert is_allowed(admin(MEMBER))


def test_an_account_keeps_its_policies_where_the_organization_changes_and_follows_its_unit(company, attach):
    attach(MEMBER, NO_IAM)
    attach("ou-root-canvas000", {**NO_IAM, "Action": "s3:*"})
    company.organize("o-exampleorg1", {UNIT: set(), "ou-root-others00": {MEMBER}})
    session = admin(MEMBER)
    with company.authorizing():
        assert not is_allowed(session)
        session.client("s3").list_buckets()


@pytest.mark.parametrize("last", [ROOT, UNIT, MEMBER])
def test_the_last_policy_stays_attached(company, last):
    organizations = client("organizations")
    refused = refusal(organizations.detach_policy, PolicyId=FULL_ACCESS, TargetId=last)
    assert refused[0] == "ConstraintViolationException"


def test_administrators_read_policies_members_do_not_and_only_the_management_account_writes(company, attach):
    policy_id = attach(UNIT, NO_IAM)
    for account in (MANAGEMENT, CENTRAL):
        organizations = client("organizations", account)
        assert organizations.list_parents(ChildId=MEMBER)["Parents"] == [{"Id": UNIT, "Type": "ORGANIZATIONAL_UNIT"}]
        listed = organizations.list_policies_for_target(TargetId=UNIT, Filter="SERVICE_CONTROL_POLICY")["Policies"]
        assert {one["Id"] for one in listed} == {FULL_ACCESS, policy_id}
        content = organizations.describe_policy(PolicyId=policy_id)["Policy"]["Content"]
        assert json.loads(content)["Statement"] == [NO_IAM]
    member, asked = client("organizations", MEMBER), {"PolicyId": policy_id}
    assert member.describe_organization()["Organization"]["Id"] == "o-exampleorg1"
    assert refusal(member.describe_policy, **asked)[0] == "AccessDeniedException"
    assert refusal(client("organizations", CENTRAL).detach_policy, TargetId=UNIT, **asked)[0] == "AccessDeniedException"
    outside = client("organizations", OUTSIDE)
    assert refusal(outside.describe_organization)[0] == "AWSOrganizationsNotInUseException"


def simulated(account, *resources, context=(), **more):
    iam = client("iam", account)
    try:
        arn = iam.get_role(RoleName="canvas")["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        arn = iam.create_role(RoleName="canvas", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        iam.put_role_policy(RoleName="canvas", PolicyName="all", PolicyDocument=policy(ALLOW_ALL))
    entries = [{"ContextKeyName": k, "ContextKeyValues": [v], "ContextKeyType": "string"} for k, v in context]
    answer = iam.simulate_principal_policy(
        PolicySourceArn=arn,
        ActionNames=["bedrock:InvokeModel"],
        ResourceArns=list(resources or [MODEL]),
        ContextEntries=entries,
        **more,
    )
    return answer["EvaluationResults"][0]


def test_a_simulation_evaluates_the_policies_and_names_neither_their_statements_nor_their_keys(company, attach):
    assert simulated(MEMBER)["OrganizationsDecisionDetail"] == {"AllowedByOrganizations": True}
    attach(UNIT, REGIONS)
    denied = simulated(MEMBER)
    assert denied["EvalDecision"] == "implicitDeny"
    assert denied["OrganizationsDecisionDetail"] == {"AllowedByOrganizations": False}
    assert (denied["MatchedStatements"], denied["MissingContextValues"]) == ([], [])
    allowed = simulated(MEMBER, context=[("aws:RequestedRegion", "us-east-1")])
    assert (allowed["EvalDecision"], allowed["OrganizationsDecisionDetail"]) == (
        "allowed",
        {"AllowedByOrganizations": True},
    )


def test_a_simulation_knows_who_it_is_about_and_each_resource_has_its_own_decision(company, attach):
    attach(UNIT, {"Effect": "Deny", "Action": "bedrock:*", "Resource": MODEL, "Condition": {
        "ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{MEMBER}:role/canvas"}}})  # fmt: skip
    result = simulated(MEMBER, MODEL, MODEL.replace("nova-pro", "nova-lite"))
    decisions = [one["EvalResourceDecision"] for one in result["ResourceSpecificResults"]]
    assert decisions == ["implicitDeny", "allowed"]
    assert result["OrganizationsDecisionDetail"] == {"AllowedByOrganizations": False}


def test_a_policy_that_was_never_attached_restricts_nothing(company):
    text = json.dumps({"Version": "2012-10-17", "Statement": [NO_IAM]})
    client("organizations").create_policy(Name="draft", Description="", Type="SERVICE_CONTROL_POLICY", Content=text)
    assert simulated(MEMBER)["EvalDecision"] == "allowed"


def test_a_simulation_in_the_management_account_or_outside_is_not_restricted(company, attach):
    attach(ROOT, REGIONS)
    assert simulated(MANAGEMENT)["EvalDecision"] == "allowed"
    outside = simulated(OUTSIDE)
    assert (outside["EvalDecision"], "OrganizationsDecisionDetail" in outside) == ("allowed", False)


PREVENTION = f"""
guardrails:
  none: {{jumpstart: {{deny: all}}}}
assignments:
  - guardrails: []
    accounts: ["{MEMBER}"]
    principals: ["arn:aws:iam::{MEMBER}:role/apps/*"]
  - guardrails: [none]
exemptions:
  - {{role: ended, account: "{MEMBER}", until: 2020-01-31}}
  - {{role: exempt, account: "{MEMBER}", until: 2120-01-31}}
"""


def test_the_policies_of_prevention_decide_by_the_role_of_a_session_and_by_the_day(company, attach):
    rules = read_yaml(PREVENTION, today=date(2020, 1, 1)).rules
    assert rules is not None
    for found in compile_prevention(rules, "aws").policies:
        attach(UNIT, *found.document["Statement"])
    roles = {
        "unknown": admin(MEMBER, "unknown"),
        "an application": admin(MEMBER, "chat", "/apps/"),
        "an application's name with another path": admin(MEMBER, "chat-2", "/x/apps/"),
        "the root user": boto3.Session(MEMBER, "-", region_name="us-east-1"),
        "exempt": admin(MEMBER, "exempt", "/deep/path/"),
        "exempt no more": admin(MEMBER, "ended"),
        "service-linked": admin(MEMBER, "AWSServiceRoleForX", "/aws-service-role/x.amazonaws.com/"),
        "the management account": admin(MANAGEMENT),
    }
    variant = {"VariantName": "a", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    jumpstart = [{"Key": "sagemaker-sdk:jumpstart-model-id", "Value": "huggingface-llm-mistral-7b"}]

    def can_deploy(session, tags):
        call = {"EndpointConfigName": "c", "ProductionVariants": [variant], "Tags": tags}
        try:
            session.client("sagemaker").create_endpoint_config(**call)
        except ClientError as error:
            return "service control policy" not in str(error)
        session.client("sagemaker").delete_endpoint_config(EndpointConfigName="c")
        return True

    with company.authorizing():
        assert {name for name, session in roles.items() if can_deploy(session, jumpstart)} == {
            "an application", "exempt", "service-linked", "the management account",
        }  # fmt: skip
        assert all(can_deploy(session, [{"Key": "team", "Value": "research"}]) for session in roles.values())

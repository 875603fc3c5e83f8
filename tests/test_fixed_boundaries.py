"""Fixed boundaries: prevention for accounts without room for the service control policies of models."""

import json
from typing import Any

import boto3
import pytest
from rolewarden.packing import POLICY_SIZE, SCP_SIZE, Document, size
from rolewarden.prevention import TooManyPrincipals, compile_prevention
from rolewarden_cli.fixed_boundaries import FixedBoundaries, compile_fixed_boundaries
from rolewarden_cli.main import app
from rolewarden_cli.protect import compact
from rolewarden_local.emulated.judge import judge, require_proven_documents
from rolewarden_local.emulated.organization import MANAGEMENT
from typer.testing import CliRunner

from tests.admission import APPROVE, BATCH, CHAT, FILE, IAM, OLD, OTHER, RULES, SCIENCE, SOME, STRICT, THERE, VISITOR
from tests.answers import wrong
from tests.becoming import ALLOW_ALL, BY_POLICY, error_of, trust
from tests.callers import user_with
from tests.guardrails import prevention
from tests.guardrails.prevention import attached, is_denied
from tests.guardrails.probes import REQUESTS, Request
from tests.stacks import ACCOUNT
from tests.volume import volume

FIXED = compile_fixed_boundaries(RULES, "aws")
[SOME_BOUNDARY] = [one for one in FIXED.boundaries if one.name == "boundary.some"]
STATEMENTS = [statement for document in FIXED.scps.values() for statement in document["Statement"]]
HOLDING = ("WithoutBoundary", "BoundariesStay", "BoundaryPolicies", "Keepers")
KEEPER = f"{IAM}:role/stacksets-exec-0123"
ADMIN = f"{IAM}:role/Admin"
LATER, NOW = "2126-02-01T00:00:00Z", "2026-12-01T00:00:00Z"
GUARDRAILS_OF = {
    **dict.fromkeys((SOME, OTHER, OLD, THERE), ("some",)),
    **dict.fromkeys((CHAT, VISITOR), ()),
    **dict.fromkeys((ADMIN, STRICT, BATCH, SCIENCE, APPROVE), ("none", "some")),
}
"""The guardrails of each caller with its boundary. Users and permission sets have no boundary and get all of them."""


def allowed(caller: str, request: Request, *, boundary: Document | None, time: str = NOW) -> bool:
    """Whether the SCPs and the boundary allow a caller with all permissions the request."""
    keys = {**request.context, "aws:PrincipalArn": caller, "aws:CurrentTime": time, "aws:userid": "AROA:me"}
    everything = {"all": json.loads(ALLOW_ALL)}
    return all(
        judge({**everything, **FIXED.scps}, request.action, resource, keys, boundary=boundary).allowed
        for resource in request.resources
    )


@pytest.mark.volume
@pytest.mark.parametrize("caller", GUARDRAILS_OF)
def test_a_caller_with_its_boundary_reaches_exactly_what_its_guardrails_leave(caller):
    boundary = SOME_BOUNDARY.document if caller in {SOME, OTHER, OLD, THERE} else None
    policies = {name: attached(RULES.guardrails[name]) for name in GUARDRAILS_OF[caller]}
    for request in REQUESTS[:: volume(17, 1)]:
        assert allowed(caller, request, boundary=boundary) is not is_denied(policies, request, request.context), request


def test_an_exempt_role_is_under_all_guardrails_after_its_exemption():
    request = Request("", "bedrock:InvokeModel", ["arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2"])
    assert [allowed(VISITOR, request, boundary=None, time=time) for time in (NOW, LATER)] == [True, False]


BOUND = {"iam:PermissionsBoundary": SOME_BOUNDARY.arns[0]}
OTHERS = {"iam:PermissionsBoundary": f"{IAM}:policy/mine"}
MOVES: dict[str, list[tuple[str, str, dict[str, str]]]] = {
    "WithoutBoundary": [
        (action, role, keys)
        for role in (SOME, OTHER, OLD)
        for action in ("iam:CreateRole", "iam:PutRolePermissionsBoundary")
        for keys in ({}, OTHERS, {"iam:PermissionsBoundary": f"{IAM}:policy/boundary.some"})
    ],
    "BoundariesStay": [("iam:DeleteRolePermissionsBoundary", role, BOUND) for role in (SOME, OTHER, OLD, THERE)],
    "BoundaryPolicies": [
        (f"iam:{name}", arn, {})
        for name in ("CreatePolicy", "CreatePolicyVersion", "DeletePolicy", "SetDefaultPolicyVersion")
        for arn in SOME_BOUNDARY.arns
    ],
    "Keepers": [(f"{name}", KEEPER, {}) for name in ("iam:CreateRole", "iam:PassRole", "sts:AssumeRole",
                                                     "iam:UpdateAssumeRolePolicy")],
}  # fmt: skip


def denies(move: tuple[str, str, dict[str, str]], caller: str = ADMIN, without: str = "") -> bool:
    action, resource, keys = move
    kept = [one for one in STATEMENTS if not without or not one["Sid"].startswith(without)]
    documents = {"all": json.loads(ALLOW_ALL), "scps": {"Version": "2012-10-17", "Statement": kept}}
    return not judge(documents, action, resource, {"aws:PrincipalArn": caller, "aws:userid": "AIDA", **keys}).allowed


@pytest.mark.parametrize("sid", HOLDING)
def test_each_statement_that_holds_the_boundaries_is_needed(sid):
    assert sorted(MOVES) == sorted(HOLDING)
    for move in MOVES[sid]:
        assert denies(move), move
        assert not denies(move, without=sid), move


def test_a_role_can_be_created_with_its_boundary_and_other_roles_are_not_restricted():
    for role in (SOME, OTHER, OLD):
        for caller in (ADMIN, SOME, BATCH):
            assert not denies(("iam:CreateRole", role, BOUND), caller)
            assert not denies(("iam:PutRolePermissionsBoundary", role, BOUND), caller)
            assert not denies(("iam:AttachRolePolicy", role, {}), caller)
    for action in ("iam:CreateRole", "iam:DeleteRolePermissionsBoundary", "iam:PutRolePermissionsBoundary"):
        assert not denies((action, f"{IAM}:role/service-role/Canvas", {}))
    assert not denies(("iam:CreatePolicyVersion", f"{IAM}:policy/mine", {}))
    for move in (*MOVES["BoundaryPolicies"], *MOVES["Keepers"]):
        assert not denies(move, KEEPER)


def test_principals_without_a_boundary_are_named_with_the_reason():
    reasons = dict(FIXED.left_out)
    assert reasons.keys() == {BATCH, f"{SCIENCE[:-16]}*"}
    of_organization = compile_fixed_boundaries(prevention.organization(), "aws")
    assert {one for _, one in of_organization.left_out if "of the 6,144 characters" in one}


@pytest.mark.parametrize("rules", [prevention.shipped, prevention.organization, lambda: RULES])
def test_the_documents_fit_and_take_no_more_slots_than_the_policies_of_models(rules):
    found: FixedBoundaries = compile_fixed_boundaries(rules(), "aws")
    assert all(size(one.document) <= POLICY_SIZE for one in found.boundaries)
    assert all(size(document) <= SCP_SIZE for document in found.scps.values())
    assert len(found.scps) <= len(compile_prevention(rules(), "aws").policies)
    require_proven_documents([*found.scps.values(), *(one.document for one in found.boundaries)])


def test_a_list_that_does_not_fit_is_an_error_with_a_correction():
    roles = tuple(f"{IAM}:role/service-role/AmazonSageMaker-ExecutionRole-{number:0>15}" for number in range(140))
    first, second, *rest = RULES.assignments
    with pytest.raises(TooManyPrincipals, match=r"principals takes .* cannot be divided: name paths"):
        compile_fixed_boundaries(RULES._replace(assignments=(first, second._replace(principals=roles), *rest)), "aws")


def test_in_an_account_under_the_policies_a_role_has_its_boundary_at_each_moment(aws):
    aws.reset()
    with aws.authorizing():
        iam = boto3.client("iam")
        mallory = user_with(iam, "mallory", "*")
        arn = iam.create_policy(
            PolicyName="boundary.some", Path="/rolewarden-boundaries/",
            PolicyDocument=compact(SOME_BOUNDARY.document),
        )["Policy"]["Arn"]  # fmt: skip
        assert arn == SOME_BOUNDARY.arns[0]
        # Without an organization, an administrator removes a boundary, and creates a role without one.
        bound: Any = {"RoleName": "before", "AssumeRolePolicyDocument": trust(Service="sagemaker.amazonaws.com")}
        mallory.client("iam").create_role(**bound, PermissionsBoundary=arn)
        mallory.client("iam").delete_role_permissions_boundary(RoleName="before")
        aws.organize("o-exampleorg1", {"ou-root-canvas000": {ACCOUNT}})
        organizations: Any = boto3.client("organizations", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")
        for name, document in FIXED.scps.items():
            made = organizations.create_policy(
                Name=name, Description="", Type="SERVICE_CONTROL_POLICY", Content=compact(document)
            )
            organizations.attach_policy(PolicyId=made["Policy"]["PolicySummary"]["Id"], TargetId="ou-root-canvas000")
        role = {"RoleName": "x", "Path": "/canvas/some/",
                "AssumeRolePolicyDocument": trust(Service="sagemaker.amazonaws.com")}  # fmt: skip
        of_role = {"RoleName": "x"}
        for call, parameters, is_denied_ in (
            ("create_role", role, True),
            ("create_role", {**role, "PermissionsBoundary": arn}, False),
            ("delete_role_permissions_boundary", of_role, True),
            (
                "put_role_permissions_boundary",
                {**of_role, "PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"},
                True,
            ),
            ("put_role_permissions_boundary", {**of_role, "PermissionsBoundary": arn}, False),
            ("create_policy_version", {"PolicyArn": arn, "PolicyDocument": ALLOW_ALL, "SetAsDefault": True}, True),
            ("delete_policy", {"PolicyArn": arn}, True),
            ("delete_role", of_role, False),
        ):
            assert (error_of(mallory, "iam", call, **parameters) or "").endswith(BY_POLICY) is is_denied_, call


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guardrails.yaml").write_text(FILE)
    return lambda *arguments: CliRunner().invoke(app, ["compile", str(tmp_path / "guardrails.yaml"), *arguments])


def test_the_command_writes_the_policies_and_names_what_is_left_out(command, tmp_path):
    written = command("--boundaries", "--out", "policies")
    assert written.exit_code == 0, written.output
    assert json.loads((tmp_path / "policies" / "boundary.some.json").read_text()) == SOME_BOUNDARY.document
    for name, document in FIXED.scps.items():
        assert (tmp_path / "policies" / f"{name}.json").read_text().strip() == compact(document)
    notes = " ".join(written.stderr.split())
    assert f"{BATCH} gets the strictest rules: a user can be renamed" in notes
    printed = json.loads(command("--boundaries", "--json").stdout)
    assert wrong("compile", printed) == []
    assert printed["roles"]["boundary.some"] == list(SOME_BOUNDARY.roles)
    assert printed["policies"] == FIXED.scps


@pytest.mark.parametrize("arguments", [("--scp",), ("--partition", "aws-cn")])
def test_boundaries_with_options_that_exclude_them_are_an_error(command, arguments):
    result = command("--boundaries", *arguments)
    assert result.exit_code != 0
    assert "give it without --scp" in " ".join(result.stderr.split())

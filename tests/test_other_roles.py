"""Roles that settings name for EMR, RStudio and the models of another account: commands show them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape, Shape, StructureShape
from rolewarden.bindings import OTHER_VIAS, Binding, RoleKey
from rolewarden.discovery import SubjectReader
from rolewarden_cli import options
from rolewarden_local.aws import ACCOUNT_ID

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY

ARN = f"arn:aws:iam::{ACCOUNT_ID}:role/%s"


# Every field of the service model


def paths(shape: Shape, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths to the ARNs of roles in `shape`; `*` stands for the place in a list."""
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from paths(member, (*path, name))
    elif isinstance(shape, ListShape):
        yield from paths(shape.member, (*path, "*"))
    elif shape.name == "RoleArn":
        yield path


def described(operation: str) -> list[tuple[str, ...]]:
    shape = botocore.session.get_session().get_service_model("sagemaker").operation_model(operation).output_shape
    assert shape is not None
    return sorted(paths(shape))


def with_role(path: tuple[str, ...], arn: str) -> Any:
    """A description that names a role at `path`."""
    value: Any = arn
    for name in reversed(path):
        value = [value] if name == "*" else {name: value}
    return value


class Describing:
    """SageMaker with one description for everything, and rules without tags."""

    asks_for_tags = False

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description

    def within(self, _account: str) -> Describing:
        return self

    def domain(self, *_named: str) -> dict[str, Any]:
        return {"DomainName": "research", **self.description}

    def user_profile(self, *_named: str) -> dict[str, Any]:
        return {"UserProfileName": "rosa", **self.description}


def reading(description: dict[str, Any]) -> SubjectReader:
    """A reader to which SageMaker gives this description."""
    sagemaker: Any = Describing(description)
    return SubjectReader(sagemaker, sagemaker)


def named(bindings: tuple[Binding, ...]) -> set[str]:
    """The names of all roles that the bindings know."""
    own = {binding.role.name for binding in bindings if binding.role}
    return own | {other.role.name for binding in bindings for other in binding.other_roles}


@pytest.mark.parametrize("path", described("DescribeDomain"), ids=".".join)
def test_every_role_field_of_a_domain_is_read(path):
    reader = reading(with_role(path, ARN % "Named"))
    assert named(reader.read_domain(ACCOUNT_ID, "us-east-1", "d-1").bindings) == {"Named"}


@pytest.mark.parametrize("path", described("DescribeUserProfile"), ids=".".join)
def test_every_role_field_of_a_user_profile_is_read(path):
    reader = reading(with_role(path, ARN % "Named"))
    assert named(reader.profile(ACCOUNT_ID, "us-east-1", "d-1", "rosa").bindings) == {"Named"}


def test_the_service_model_has_the_fields_that_the_test_is_about():
    assert len(described("DescribeDomain")) == 11
    assert len(described("DescribeUserProfile")) == 7


def test_a_binding_keeps_its_other_roles_in_the_table():
    settings = {"JupyterLabAppSettings": {"EmrSettings": {"ExecutionRoleArns": [ARN % "One", ARN % "Two"]}}}
    reader = reading({"UserSettings": settings})
    [binding] = reader.profile(ACCOUNT_ID, "us-east-1", "d-1", "rosa").bindings
    assert [other.role.name for other in binding.other_roles] == ["One", "Two"]
    assert Binding.of_row(json.loads(json.dumps(binding.as_row()))) == binding


@pytest.mark.parametrize("forged", ["text", [["emr-runtime"]], [["emr-runtime", 1]], [["a", "b", "c"]], [{}]])
def test_a_row_with_other_roles_of_another_shape_is_no_binding(forged):
    row = Binding(ACCOUNT_ID, "us-east-1", "d-1", "user-profile", "execution", None, user_profile="rosa").as_row()
    with pytest.raises(TypeError):
        Binding.of_row({**row, "other_roles": forged})


# What the deployed stack and the commands do with them


EMR_AND_RSTUDIO = {
    "rstudio": "RStudioRole",
    "emr-runtime": "EmrJobs",
    "emr-assumable": "EmrAccess",
    "model-register": "Register",
}


@pytest.fixture
def naming(world, monkeypatch):
    """The seeded account, in which the domain `research` and the user profile rosa name a role by every setting."""
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)
    arns = {via: world.role(role) for via, role in EMR_AND_RSTUDIO.items()}
    for role in EMR_AND_RSTUDIO.values():
        world.iam.put_role_policy(RoleName=role, PolicyName="may", PolicyDocument=json.dumps(ALLOW))
    emr = {"AssumableRoleArns": [arns["emr-assumable"]], "ExecutionRoleArns": [arns["emr-runtime"]]}
    [research] = [d for d in world.sagemaker.list_domains()["Domains"] if d["DomainName"] == "research"]
    profile = {"DomainId": research["DomainId"], "UserProfileName": "rosa"}
    found = world.sagemaker.describe_user_profile(**profile)["UserSettings"]
    canvas = {"ModelRegisterSettings": {"CrossAccountModelRegisterRoleArn": arns["model-register"]}}
    settings = {"JupyterLabAppSettings": {"EmrSettings": emr}, "CanvasAppSettings": canvas}
    world.sagemaker.update_user_profile(**profile, UserSettings={**found, **settings})
    world.sagemaker.update_domain(
        DomainId=research["DomainId"],
        DomainSettingsForUpdate={
            "RStudioServerProDomainSettingsForUpdate": {"DomainExecutionRoleArn": arns["rstudio"]}
        },
    )
    return world


ALLOW = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": "*"}],
}


def planned():
    plan = json_answer("plan", exit_code=2)
    return {role["via"]: role for role in plan["other_roles"]}, {role["role"] for role in plan["roles"]}


@pytest.mark.long
@pytest.mark.parametrize("swept", [True, False])
def test_a_plan_shows_the_roles_that_settings_name_before_and_after_a_sweep(naming, swept):
    if swept:
        naming.sweep()
        naming.sweep()
    others, evaluated = planned()
    assert {via: role["role"] for via, role in others.items()} == EMR_AND_RSTUDIO
    assert others["emr-runtime"]["subjects"] == ["research/rosa"]
    assert others["rstudio"]["subjects"] == ["research default-user"]
    assert {role["governed"] for role in others.values()} == {False}
    assert not evaluated & set(EMR_AND_RSTUDIO.values())
    assert set(others) == set(OTHER_VIAS)


@pytest.mark.long
def test_a_plan_says_in_words_what_each_role_is_for(naming):
    text = " ".join(rolewarden("plan").output.split())
    assert "RStudioRole runs RStudio, for research default-user" in text
    assert "EmrJobs runs jobs of EMR, for research/rosa" in text
    assert "it gets no guardrail, unless `also_govern` covers it" in text


@pytest.mark.long
def test_the_stack_attaches_nothing_to_them_and_reports_nothing(naming):
    for _ in range(2):
        naming.sweep()
    assert {name for role in EMR_AND_RSTUDIO.values() for name in naming.attached(role)} == set()
    assert [naming.history(role) for role in EMR_AND_RSTUDIO.values()] == [[], [], [], []]
    assert naming.bindings.of_role(RoleKey(ACCOUNT_ID, "EmrJobs")) == ()


@pytest.mark.long
def test_access_has_a_row_for_each_of_them(naming):
    model = "anthropic.claude-v2"
    found = json_answer("access", "--model", model)
    rows = {one["kind"]: one for one in found["decisions"] if one["kind"] in OTHER_VIAS}
    assert {via: one["role"] for via, one in rows.items()} == EMR_AND_RSTUDIO
    assert all(one["allowed"] for one in rows.values())


@pytest.mark.long
def test_the_report_has_a_finding_about_each_that_reaches_a_model_and_is_not_covered(naming, tmp_path):
    naming.iam.delete_role_policy(RoleName="EmrAccess", PolicyName="may")
    page = tmp_path / "report.html"
    result = rolewarden("report", "--out", str(page))
    assert result.exit_code == 0, result.output
    html = page.read_text()
    for role in ("EmrJobs", "RStudioRole", "Register"):
        assert f"also_govern: {{roles: [{role}]}}" in html
    assert "roles: [EmrAccess]" not in html


RULES = """
guardrails: {none: {bedrock: {deny: all}}}
assignments: [{guardrails: [none]}]
also_govern: {roles: ["Emr*", RStudioRole, Register]}
"""


@pytest.mark.long
def test_also_govern_covers_them_and_ends_the_findings(naming, tmp_path):
    rules = tmp_path / "guardrails.yaml"
    rules.write_text(RULES)
    covered = naming.under(rules)
    covered.sweep()
    assert covered.attached("EmrJobs") == {"none"}
    others = {role["via"]: role for role in json_answer("plan", "--guardrails", str(rules), exit_code=2)["other_roles"]}
    assert {role["governed"] for role in others.values()} == {True}
    page = tmp_path / "report.html"
    rolewarden("report", "--guardrails", str(rules), "--out", str(page))
    assert "roles: [EmrJobs]" not in page.read_text()

"""A rule change never removes a deny from a role that has it and still needs it, not even between two calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rolewarden.bindings import RoleKey
from rolewarden.guardrails import Mode
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK
from rolewarden.placement import may_overlap, rearranged
from rolewarden.policies import SID_FAMILIES, Document, compile_guardrail, compile_rules, policy_arn
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.judge import judge

from tests.guardrails.strategies import guardrails
from tests.volume import volume
from tests.world import World

pytestmark = pytest.mark.long

EVERYTHING: Document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
WRITES = {
    "AttachRolePolicy",
    "CreatePolicyVersion",
    "DeletePolicy",
    "DeletePolicyVersion",
    "DeleteRolePermissionsBoundary",
    "DetachRolePolicy",
    "PutRolePermissionsBoundary",
    "SetDefaultPolicyVersion",
}
BEDROCK = [f"meta.llama-{number:02}-v1:0" for number in range(40)]
JUMPSTART = [f"pytorch-model-{number:02}" for number in range(40)]


def request(action: str, resource: str = "*", **context: str) -> tuple[str, str, Mapping[str, str]]:
    return action, resource, context


def requests() -> Iterator[tuple[str, str, Mapping[str, str]]]:
    for number in (0, 5, 13, 39):
        model, entry = BEDROCK[number], JUMPSTART[number]
        yield request("bedrock:InvokeModel", f"arn:aws:bedrock:us-east-1::foundation-model/{model}")
        yield request("bedrock:CreateModelInvocationJob", f"arn:aws:bedrock:us-east-1::foundation-model/{model}")
        yield ("bedrock-mantle:CreateInference", "*", {"bedrock-mantle:Model": model})
        for tag in ("sagemaker-sdk:jumpstart-model-id", "sagemaker-studio:jumpstart-model-id", "sm-jumpstart-id"):
            for action, key in (
                ("CreateEndpoint", "RequestTag"),
                ("InvokeEndpoint", "ResourceTag"),
            ):
                yield (
                    f"sagemaker:{action}",
                    "arn:aws:sagemaker:us-east-1:111122223333:endpoint/it",
                    {f"aws:{key}/{tag}": entry},
                )
        hub = f"arn:aws:sagemaker:us-east-1:aws:hub-content/SageMakerPublicHub/Model/{entry}"
        yield request("sagemaker:DeployHubModel", hub)
    yield request("bedrock:CreateModelCustomizationJob", f"arn:aws:bedrock:us-east-1::foundation-model/{BEDROCK[0]}")
    yield request("bedrock:CreateModelImportJob")
    yield request("bedrock:InvokeAgent")
    yield request("aws-external-anthropic:CreateInference")
    yield request("sagemaker:CreateTrainingSession")
    yield request("q:SendMessage")
    yield request("datazone:GenerateCode")
    passed = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    yield request("iam:PassRole", "arn:aws:iam::111122223333:role/Admin", **passed)


REQUESTS = list(requests())


def denied(documents: Mapping[str, Document], boundary: Document | None = None) -> set[int]:
    """The numbers of the requests that these policies and this boundary deny to an administrator."""
    held = {"everything": EVERYTHING, **documents}
    return {
        number
        for number, (action, resource, context) in enumerate(REQUESTS)
        if not judge(held, action, resource, context, boundary=boundary).allowed
    }


class Watch:
    """The denied requests of each role at every moment, read from IAM."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.iam = boto3.client("iam")
        self.known: dict[str, set[int]] = {}

    def document(self, arn: str) -> Document:
        version = self.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found: Any = self.iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return found if isinstance(found, dict) else json.loads(unquote(found))

    def roles(self) -> list[str]:
        bound = self.world.bindings.all()
        return sorted({binding.role.name for binding in bound if binding.role and binding.role.account == ACCOUNT_ID})

    def denied(self) -> dict[str, set[int]]:
        """The requests that each role is currently denied."""
        found = {}
        for role in self.roles():
            attached = self.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
            arns = [policy["PolicyArn"] for policy in attached if ":policy/rolewarden/" in policy["PolicyArn"]]
            bounded = self.iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {})
            documents = {arn: self.document(arn) for arn in arns}
            boundary = (
                self.document(arn) if "/rolewarden/" in (arn := bounded.get("PermissionsBoundaryArn", "")) else None
            )
            key = json.dumps([documents, boundary], sort_keys=True)
            if key not in self.known:
                self.known[key] = denied(documents, boundary)
            found[role] = self.known[key]
        return found

    def required(self) -> dict[str, set[int]]:
        """The requests that the current rules deny to each role."""
        needs, found = self.world.runtime.needs, {}
        texts = {policy.name: policy.document for policy in compile_rules(needs.rules, "aws")}
        for role in self.roles():
            required = needs.of_role(RoleKey(ACCOUNT_ID, role))
            names = sorted(name for name, guardrail in required.items() if guardrail.mode is Mode.ENFORCE)
            key = json.dumps([{name: texts[name] for name in names}, None], sort_keys=True)
            if key not in self.known:
                self.known[key] = denied({name: texts[name] for name in names})
            found[role] = self.known[key]
        return found

    @contextmanager
    def keeping(self, stays: Mapping[str, set[int]]) -> Iterator[None]:
        """Assert after each call to IAM in the block that none of these denies is removed."""
        lost: list[str] = []

        def after_a_call(model: Any, **_: Any) -> None:
            if model.name not in WRITES or lost:
                return
            now = self.denied()
            lost.extend(
                f"after {model.name}, {role} may {REQUESTS[number]}"
                for role, numbers in stays.items()
                for number in sorted(numbers - now[role])
            )

        hooks = self.world.runtime.aws._iam.meta.events
        hooks.register("after-call.iam", after_a_call)
        try:
            yield
        finally:
            hooks.unregister("after-call.iam", after_a_call)
        assert lost == []


def carried_out(world: World) -> None:
    """Run all steps after a deployment: sweep, queues, detachment, scheduled check."""
    for _ in range(3):
        world.sweep()
        world.work()
        world.detach_surplus()
        world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    world.work()


def lists(kind: str, models: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.integers(1, len(models)).map(lambda number: models[:number])
    return st.just({"deny": "all"}) | some.map(lambda listed: {kind: listed})


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """A guardrails.yaml of one or two guardrails, each short or with several policies."""
    named = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True))
    defined: dict[str, dict[str, Any]] = {}
    for name in named:
        families = draw(st.sampled_from([("bedrock",), ("jumpstart",), ("bedrock", "jumpstart")]))
        kind = draw(st.sampled_from(["deny", "allow"]))
        pools = {"bedrock": BEDROCK, "jumpstart": JUMPSTART[:16]}
        defined[name] = {family: draw(lists(kind, pools[family])) for family in families}
        if draw(st.booleans()):
            defined[name]["assistants"] = {"deny": "all"}
        if draw(st.booleans()):
            defined[name]["pass_roles"] = ["Canvas*"]
    special = draw(st.lists(st.sampled_from(named), min_size=1, unique=True))
    file: dict[str, Any] = {
        "guardrails": defined,
        "assignments": [{"guardrails": special, "domains": ["research"]}, {"guardrails": named}],
    }
    if draw(st.booleans()):
        file["fallback"] = "boundary"
    if draw(st.booleans()):
        file["surplus"] = "detach"
    return file


def changed(world: World, folder: str, number: int, file: Mapping[str, Any]) -> World:
    """The world after a deployment of other rules, checked at every call."""
    path = Path(folder) / f"{number}.yaml"
    path.write_text(yaml.safe_dump(dict(file)))
    after = world.under(path, publish=False)
    watch = Watch(after)
    before, required = watch.denied(), watch.required()
    with watch.keeping({role: before[role] & required[role] for role in before}):
        after.publications.run(ACCOUNT_ID, DEPLOYMENT)
        carried_out(after)
    return after


def settle(world: World) -> World:
    """Sweep and process all queues of a new world, so that its roles match its rules."""
    world.publications.run(ACCOUNT_ID, DEPLOYMENT)
    carried_out(world)
    return world


SHORT, LONG = ({"bedrock": {"deny": BEDROCK[:n]}} for n in (4, 24))


def of(guardrail: Mapping[str, Any]) -> dict[str, Any]:
    return {"guardrails": {"g": guardrail}, "assignments": [{"guardrails": ["g"]}]}


def grown(world_with: Any, tmp_path: Path) -> tuple[World, World]:
    before = settle(world_with(yaml.safe_dump(of(SHORT))))
    return before, changed(before, str(tmp_path), 0, of(LONG))


def test_a_guardrail_that_needs_a_second_policy_stays_in_effect(world_with: Any, tmp_path: Path) -> None:
    before, after = grown(world_with, tmp_path)
    assert {policy.name for policy in compile_rules(before.runtime.rules, "aws")} == {"g"}
    assert {policy.name for policy in compile_rules(after.runtime.rules, "aws")} == {"g", "g-2"}


def test_after_the_change_every_policy_matches_the_rules(world_with: Any, tmp_path: Path) -> None:
    _, after = grown(world_with, tmp_path)
    assert after.in_force() == {"g", "g-2"}
    watch = Watch(after)
    required = watch.required()
    assert {role: found & required[role] for role, found in watch.denied().items() if role != "CanvasFull"} == {
        role: found for role, found in required.items() if role != "CanvasFull"
    }


def test_the_end_of_a_change_is_no_finding(world_with: Any, tmp_path: Path) -> None:
    _, after = grown(world_with, tmp_path)
    assert after.history("policy/g") == []


def test_a_check_that_restores_one_policy_of_a_guardrail_leaves_the_other_alone(world_with: Any) -> None:
    world = settle(world_with(yaml.safe_dump(of(LONG))))
    edited = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]})
    for tampered, other in (("g-2", "g"), ("g", "g-2")):
        arn = policy_arn(tampered, "aws", ACCOUNT_ID)
        world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=edited, SetAsDefault=True)
        done = world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)["policies"]
        assert done == {tampered: "replaced", other: "unchanged"}
        assert world.in_force() == {"g", "g-2"}


def test_a_deployment_that_keeps_statements_asks_for_its_completion(world_with: Any, tmp_path: Path) -> None:
    before = settle(world_with(yaml.safe_dump(of(SHORT)))).with_immediate_rechecks()
    path = tmp_path / "longer.yaml"
    path.write_text(yaml.safe_dump(of(LONG)))
    after = before.under(path).with_immediate_rechecks()
    after.publications.run(ACCOUNT_ID, DEPLOYMENT)
    after.sweep()
    for body in after.queued("PUBLISH_QUEUE_URL"):
        after.publications.handle_message(body)
    assert after.in_force() == {"g", "g-2"}


@settings(max_examples=volume(2, 60), suppress_health_check=list(HealthCheck))
@given(st.lists(files(), min_size=2, max_size=volume(2, 4)))
@pytest.mark.volume
def test_no_sequence_of_rule_changes_removes_a_required_deny(
    aws: Any, template: Any, steps: list[dict[str, Any]]
) -> None:
    with TemporaryDirectory() as folder:
        first = Path(folder) / "first.yaml"
        first.write_text(yaml.safe_dump(steps[0]))
        world = settle(World(aws, template, first))
        for number, file in enumerate(steps[1:]):
            world = changed(world, folder, number, file)


@given(guardrails())
def test_every_deny_has_a_sid_of_rolewarden(guardrail: Any) -> None:
    for policy in compile_guardrail(guardrail, "aws"):
        assert all(statement["Sid"].startswith(SID_FAMILIES) for statement in policy.document["Statement"])


def test_a_statement_of_another_caller_is_never_kept() -> None:
    foreign = {"Sid": "Mine", "Effect": "Deny", "Action": "bedrock:*", "Resource": "*"}
    needed = {"Sid": "BedrockModels", "Effect": "Deny", "Action": "bedrock:InvokeModel*", "Resource": "*"}
    assert rearranged([foreign], [], {"key": needed}) == ()
    assert rearranged([{**foreign, "Sid": "BedrockIndirect"}], [], {"key": needed}) != ()


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("bedrock:InvokeModel*", "bedrock:InvokeModelWithResponseStream", True),
        ("bedrock:InvokeModel", "BEDROCK:invokemodel", True),
        ("sagemaker:Create*", "sagemaker:CreateJob", True),
        ("sagemaker:Create*", "sagemaker:*Endpoint", True),
        ("sagemaker:Create*", "sagemaker:AddTags", False),
        ("bedrock:Rerank", "bedrock:InvokeAgent", False),
    ],
)
def test_statements_can_overlap_if_one_action_matches_both(one: str, other: str, meet: bool) -> None:
    assert may_overlap({"Action": one}, {"Action": [other]}) is meet

"""A rule change never removes a deny from a role that has it and still needs it, not even between two calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK
from rolewarden.placement import may_overlap
from rolewarden.policies import compile_rules, policy_arn
from rolewarden_local.aws import ACCOUNT_ID

from tests.changes import BEDROCK, JUMPSTART, LONG, SHORT, Watch, carried_out, of, settle, settled
from tests.volume import volume
from tests.world import World

pytestmark = pytest.mark.long


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


def grown(world_with: Any, tmp_path: Path) -> tuple[World, World]:
    before = settled(world_with(yaml.safe_dump(of(SHORT))))
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
    world = settled(world_with(yaml.safe_dump(of(LONG))))
    edited = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]})
    for tampered, other in (("g-2", "g"), ("g", "g-2")):
        arn = policy_arn(tampered, "aws", ACCOUNT_ID)
        world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=edited, SetAsDefault=True)
        done = world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)["policies"]
        assert done == {tampered: "replaced", other: "unchanged"}
        assert world.in_force() == {"g", "g-2"}


def test_a_deployment_that_keeps_statements_asks_for_its_completion(world_with: Any, tmp_path: Path) -> None:
    before = settled(world_with(yaml.safe_dump(of(SHORT)))).with_immediate_rechecks()
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

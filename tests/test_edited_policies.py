"""An edit of a guardrail's policy never stays, whatever it looks like and whatever policies a role lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from rolewarden.errors import Refused
from rolewarden.guardrails import BedrockRule, Guardrail
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK
from rolewarden.packing import POLICY_SIZE, Document, Statement, document_of, size
from rolewarden.placement import rearranged, statements_of
from rolewarden.policies import compile_guardrail, compile_rules, policy_arn
from rolewarden.published import NoDocuments, PublishedDocuments
from rolewarden.statement_forms import is_ours
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.judge import judge

from tests.changes import EVERYTHING, LONG, Watch, carried_out, of, settled
from tests.guardrails.strategies import guardrails
from tests.volume import volume
from tests.world import World

WorldWith = Callable[[str], World]

TWO = {
    "guardrails": {"a": {"bedrock": {"deny": ["anthropic.claude-*"]}}, "b": {"bedrock": {"deny": ["meta.*"]}}},
    "assignments": [{"guardrails": ["a", "b"], "user_profiles": ["fatima"]}, {"guardrails": ["a"]}],
}
"""Rules under which CanvasFull, the full role of fatima, gets `a` and lacks `b` for ever."""

CLAUDE = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2"
EVERY = {"Effect": "Deny", "Action": "*", "Resource": "*"}


def filler() -> Document:
    """A policy that is full of a deny of models that nobody has."""
    arns = [f"arn:aws:bedrock:*::foundation-model/none.{number:04}" for number in range(125)]
    text = document_of(
        [{"Sid": "BedrockListedModels", "Effect": "Deny", "Action": "bedrock:InvokeModel", "Resource": arns}]
    )
    assert POLICY_SIZE - 100 < size(text) <= POLICY_SIZE
    return text


def edit(world: World, policy: str, document: Document) -> None:
    arn = policy_arn(policy, "aws", ACCOUNT_ID)
    text = json.dumps(document, separators=(",", ":"))
    for version in world.iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:  # A policy has five versions at most.
            world.iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
    world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)


def in_iam(world: World, policy: str) -> Document:
    return Watch(world).document(policy_arn(policy, "aws", ACCOUNT_ID))


def free_a_slot(world: World) -> None:
    """Detach a policy of another team from CanvasFull, so that it gets one guardrail and lacks the next one."""
    attached = world.iam.list_attached_role_policies(RoleName="CanvasFull")["AttachedPolicies"]
    world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=attached[0]["PolicyArn"])
    carried_out(world)


def may(world: World, role: str, action: str, resource: str = "*") -> bool:
    documents = {name: in_iam(world, name) for name in world.attached(role)}
    return judge({"everything": EVERYTHING, **documents}, action, resource, {}).allowed


EDITS: dict[str, Callable[[Document], Document]] = {
    "a filler that leaves no room": lambda _: filler(),
    "a deny of everything": lambda found: document_of([*found["Statement"], {"Sid": "BedrockBomb", **EVERY}]),
    "a deny of classic endpoints": lambda found: document_of(
        [*found["Statement"], {**EVERY, "Sid": "JumpStartCreateSdk", "Action": "sagemaker:Create*"}]
    ),
    "no deny at all": lambda _: document_of([{**EVERY, "Sid": "BedrockModels", "Action": "bedrock:Rerank"}]),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edit_is_restored_and_reported_although_a_role_lacks_a_policy(
    world_with: WorldWith, change: Callable[[Document], Document]
) -> None:
    world = settled(world_with(yaml.safe_dump(TWO)))
    free_a_slot(world)
    assert world.attached("CanvasFull") == {"a"}
    whole = in_iam(world, "a")
    edit(world, "a", change(whole))
    assert world.publications.handle_event(world.event("CreatePolicyVersion"))["policies"] == {"a": "replaced"}
    assert in_iam(world, "a") == whole
    assert [row["kind"] for row in world.history("policy/a")] == ["Policy Restored"]
    assert not may(world, "CanvasOmar", "bedrock:InvokeModel", CLAUDE)
    assert may(world, "CanvasOmar", "s3:GetObject")


@pytest.mark.parametrize("missing", ["a full role lacks g-2", "a caller detached g-2 from a role"])
@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_a_scheduled_check_reports_an_edit_that_no_event_showed(
    world_with: WorldWith, change: Callable[[Document], Document], missing: str
) -> None:
    world = settled(world_with(yaml.safe_dump(of(LONG))))
    if missing.startswith("a full role"):
        free_a_slot(world)
    else:
        world.detach("CanvasOmar", "g-2")
    whole = in_iam(world, "g")
    edit(world, "g", change(whole))
    assert world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)["policies"] == {"g": "replaced", "g-2": "unchanged"}
    assert in_iam(world, "g") == whole
    assert [row["kind"] for row in world.history("policy/g")] == ["Policy Restored"]


@pytest.fixture
def changing(world_with: WorldWith, tmp_path: Path) -> World:
    """A world during a rule change: no role has `g-2` yet, so `g` keeps statements of the earlier rules."""
    before = settled(world_with(yaml.safe_dump(of({"bedrock": {"deny": "all"}}))))
    path = tmp_path / "longer.yaml"
    path.write_text(yaml.safe_dump(of(LONG)))
    after = before.under(path, publish=False)
    after.publications.run(ACCOUNT_ID, DEPLOYMENT)
    assert after.in_force() != {"g", "g-2"}
    return after


def new_text(world: World) -> Document:
    return next(policy.document for policy in compile_rules(world.runtime.rules, "aws") if policy.name == "g")


@pytest.mark.parametrize("kind", [*EDITS, "only the statements of the new rules"])
def test_an_edit_during_a_rule_change_is_undone_and_reported(changing: World, kind: str) -> None:
    during = in_iam(changing, "g")
    edit(changing, "g", EDITS[kind](during) if kind in EDITS else new_text(changing))
    assert changing.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)["policies"]["g"] == "replaced"
    assert in_iam(changing, "g") == during
    assert [row["kind"] for row in changing.history("policy/g")] == ["Policy Restored"]


@st.composite
def documents(draw: st.DrawFn, known: list[Statement]) -> Document:
    """A document of a caller: statements of Rolewarden's, some of them with another action, resource or Sid."""

    def altered(statement: Statement) -> Statement:
        changes = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "Sid": st.sampled_from([str(one["Sid"]) for one in known]),
                    "Action": st.sampled_from(["*", "bedrock:*", "bedrock:InvokeModel", "s3:GetObject"]),
                    "Resource": st.sampled_from(["*", CLAUDE, "arn:aws:s3:::*"]),
                },
            )
        )
        changed = {**statement, **changes}
        return {key: value for key, value in changed.items() if not (key == "NotResource" and "Resource" in changed)}

    chosen = draw(st.lists(st.sampled_from(known), min_size=1, max_size=6))
    distinct = {str(one["Sid"]): one for one in map(altered, chosen)}
    return document_of(distinct.values())


@pytest.mark.volume
@settings(max_examples=volume(3, 200), suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_edit_during_a_rule_change_stays(changing: World, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["g", "g-2"]))
    before = in_iam(changing, name)
    earlier = compile_guardrail(Guardrail("g", BedrockRule("deny-all")), "aws")[0].document["Statement"]
    found = data.draw(documents([*earlier, *in_iam(changing, "g")["Statement"], *in_iam(changing, "g-2")["Statement"]]))
    assume(size(found) <= POLICY_SIZE)
    edit(changing, name, found)
    changing.publications.handle_event(changing.event("CreatePolicyVersion"))
    assert in_iam(changing, name) == before


def test_statements_that_a_caller_wrote_into_another_policy_take_no_deny_away(
    world_with: WorldWith, tmp_path: Path
) -> None:
    def both(rule: dict[str, Any]) -> dict[str, Any]:
        defined = {"g": rule, "x": {"assistants": {"deny": "all"}}}
        return {"guardrails": defined, "assignments": [{"guardrails": ["g", "x"]}]}

    before = settled(world_with(yaml.safe_dump(both({"bedrock": {"deny": "all"}}))))
    path = tmp_path / "longer.yaml"
    path.write_text(yaml.safe_dump(both(LONG)))
    after = before.under(path, publish=False)
    after.publications.run(ACCOUNT_ID, DEPLOYMENT)
    during = in_iam(after, "g")
    edit(after, "x", document_of([*in_iam(after, "x")["Statement"], *in_iam(after, "g-2")["Statement"]]))
    assert after.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)["policies"]["x"] == "replaced"
    assert in_iam(after, "g") == during


def test_a_forged_note_keeps_no_statement_that_the_compiler_cannot_write(changing: World) -> None:
    notes = PublishedDocuments(changing.runtime.aws, changing.environment["BINDINGS_TABLE"])
    bomb = document_of([*in_iam(changing, "g")["Statement"], {"Sid": "BedrockBomb", **EVERY}])
    notes.note(ACCOUNT_ID, "g", json.dumps(bomb))
    carried_out(changing)
    assert changing.in_force() == {"g", "g-2"}


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"Statement": 1}', '{"Statement": [{"Effect": "Deny"}]}', 7])
def test_a_note_of_another_form_counts_as_none(world_with: WorldWith, text: Any) -> None:
    world = settled(world_with(yaml.safe_dump(of(LONG))))
    table = world.environment["BINDINGS_TABLE"]
    world.runtime.aws.put(table, {"scope": f"published/{ACCOUNT_ID}", "item": "g", "text": text})
    edit(world, "g", filler())
    carried_out(world)
    assert world.in_force() == {"g", "g-2"}


def test_a_check_notes_the_documents_of_a_table_without_notes(world_with: WorldWith) -> None:
    world = settled(world_with(yaml.safe_dump(of(LONG))))
    notes = PublishedDocuments(world.runtime.aws, world.environment["BINDINGS_TABLE"])
    for policy in ("g", "g-2"):
        notes.note(ACCOUNT_ID, policy, "")
    world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert {name: statements_of(text) for name, text in notes.of_account(ACCOUNT_ID).items()} == {
        policy.name: statements_of(policy.document) for policy in compile_rules(world.runtime.rules, "aws")
    }


def test_a_deployment_that_is_undone_undoes_its_notes(world_with: WorldWith, tmp_path: Path) -> None:
    world = settled(world_with(yaml.safe_dump(TWO)))
    notes = PublishedDocuments(world.runtime.aws, world.environment["BINDINGS_TABLE"])
    before = notes.of_account(ACCOUNT_ID)
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**TWO, "guardrails": dict.fromkeys("ab", LONG)}))
    other = world.under(path, publish=False)
    with world.aws.failing("CreatePolicy", "AccessDenied"), pytest.raises(Refused):
        other.publications.run(ACCOUNT_ID, DEPLOYMENT)
    assert notes.of_account(ACCOUNT_ID) | before == before


def test_a_policy_is_restored_although_the_note_is_refused(world_with: WorldWith) -> None:
    world = settled(world_with(yaml.safe_dump(TWO)))
    notes = PublishedDocuments(world.runtime.aws, world.environment["BINDINGS_TABLE"])
    notes.note(ACCOUNT_ID, "a", "")
    edit(world, "a", filler())
    with world.aws.failing("PutItem", "AccessDenied"):
        assert world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)["policies"]["a"] == "replaced"
    assert world.in_force() >= {"a", "b"}


def test_a_command_without_a_stack_knows_only_its_own_documents() -> None:
    documents = NoDocuments()
    documents.note(ACCOUNT_ID, "g", "text")
    assert documents.of_account(ACCOUNT_ID) == {"g": "text"}
    assert documents.of_account("444455556666") == {}


@pytest.mark.volume
@settings(max_examples=volume(100, 2000))
@given(guardrails())
def test_the_compiler_writes_only_statements_of_its_forms(guardrail: Any) -> None:
    for partition in ("aws", "aws-cn"):
        for policy in compile_guardrail(guardrail, partition):
            assert [one["Sid"] for one in policy.document["Statement"] if not is_ours(one)] == []


def own(**changes: Any) -> Statement:
    statement = {"Sid": "BedrockModels", "Effect": "Deny", "Action": "bedrock:InvokeModel", "Resource": "*"}
    return {key: value for key, value in {**statement, **changes}.items() if value is not None}


def test_a_statement_of_earlier_rules_can_have_fewer_actions_and_a_number() -> None:
    assert is_ours(own())
    assert is_ours(own(Sid="BedrockModels2Kept1"))
    assert is_ours(own(Action=["bedrock:InvokeModel*", "BEDROCK:INVOKEMODEL"]))


@pytest.mark.parametrize(
    "foreign",
    [
        own(Effect="Allow"),
        own(Sid="Mine"),
        own(Sid="BedrockFiller"),
        own(Sid=None),
        own(Sid=7),
        own(Action="*"),
        own(Action="bedrock:*Model"),
        own(Action=["bedrock:InvokeModel", "s3:GetObject"]),
        own(Action=None, NotAction="bedrock:InvokeModel"),
        own(Resource=["*", "*x"]),
        own(Resource="arn:aws:bedrock:*:*:agent/*"),
        own(Principal="*"),
        own(Condition={"Bool": {"aws:SecureTransport": "true"}}),
        own(Condition={"Null": 1}),
        own(Sid="JumpStartWeights", Action="s3:GetObject"),
        own(Sid="JumpStartWeights", Action="s3:GetObject", Resource="arn:aws:s3:::payroll/*"),
        own(Sid="JumpStartWeights", Action="s3:GetObject", Resource="arn:*:s3:::jumpstart-cache-prod-*/*"),
        own(Sid="JumpStartCreateSdk", Action="sagemaker:CreateEndpoint"),
        own(
            Sid="JumpStartCreateSdk",
            Action="sagemaker:CreateEndpoint",
            Condition={"Null": {"aws:RequestTag/sagemaker-sdk:jumpstart-model-id": "true"}},
        ),
        own(Sid="BedrockPassRole", Action="iam:PassRole"),
    ],
)
def test_a_deny_that_no_guardrail_can_express_is_not_rolewardens(foreign: Statement) -> None:
    assert not is_ours(foreign)
    needed = {"Sid": "BedrockModels", "Effect": "Deny", "Action": "*", "Resource": "*"}
    assert rearranged([foreign], [], {"key": needed}) == ()
    assert rearranged([own()], [], {"key": needed}) != ()

"""The service control policies of a file: they deny exactly what the guardrails of the caller deny.

The judge is MiniStack's evaluator, which Rolewarden's authors did not write.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rolewarden.errors import RulesError
from rolewarden.guardrails import Assignment, BedrockRule, Exemption, Guardrail, JumpStartRule, Mode, Rules
from rolewarden.guardrails_file import read_yaml
from rolewarden.packing import SCP_SIZE, Document, Statement, size
from rolewarden.prevention import NAME, SLOTS, Scope, TooManyPrincipals, compile_prevention
from rolewarden_local.emulated._ministack import evaluator
from rolewarden_local.emulated.judge import Unsupported, require_proven_documents

from tests.guardrails import prevention
from tests.guardrails.prevention import (
    DAYS,
    HERE,
    INSIDE,
    OUTSIDE,
    PERMISSION_SET,
    PRINCIPALS,
    THERE,
    TIMES,
    VISITORS,
    Call,
    calls,
    files,
    is_denied,
    must_deny,
    scps,
)
from tests.guardrails.probes import REQUESTS, Request
from tests.guardrails.strategies import bedrock_ids, matching
from tests.volume import volume

NOVA = Request("", "bedrock:InvokeModel", ["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"])
CLAUDE_2 = Request("", "bedrock:InvokeModel", ["arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2:1"])


AT_ONCE = [Phase.explicit, Phase.reuse, Phase.generate]
"""A failure is shown as it was found, because to make a file smaller takes minutes."""

SOME = REQUESTS[:: volume(9, 1)]
"""The requests of probes.yaml, or a part of them."""


def on_demand(model: str) -> Request:
    return Request("", "bedrock:InvokeModel", [f"arn:aws:bedrock:eu-west-1::foundation-model/{model}"])


@st.composite
def runs(draw: st.DrawFn) -> tuple[Rules, list[Call]]:
    """A file, and calls: requests of probes.yaml, and calls of models that the file's own lists match."""
    rules = draw(files())
    listed = [p for one in rules.guardrails.values() if one.bedrock for p in one.bedrock.patterns]
    own = st.builds(on_demand, (st.sampled_from(listed).flatmap(matching) if listed else bedrock_ids) | bedrock_ids)
    found = draw(st.lists(calls, min_size=12, max_size=20))
    more = draw(st.lists(st.builds(lambda call, request: replace(call, request=request), calls, own), max_size=6))
    return rules, [*found, *more]


def deniers(documents: dict[str, Document], call: Call) -> int:
    """The number of statements that deny a call."""
    found = prevention.judged(documents, call.request, call.context)
    return len({(m.policy, m.index) for one in found if one.decision == "explicitDeny" for m in one.matched})


@pytest.mark.long
@pytest.mark.volume
def test_an_scp_denies_exactly_what_the_guardrails_of_the_caller_deny(capsys: pytest.CaptureFixture[str]) -> None:
    tally: Counter[str] = Counter()

    # The same files each time, because the shares of the two sides vary too much in a few files.
    @settings(max_examples=volume(60, 1000), phases=AT_ONCE, derandomize=volume(True, False), database=None)
    @given(runs())
    def compare(run: tuple[Rules, list[Call]]) -> None:
        rules, made = run
        documents = scps(rules)
        tally["files"] += 1
        for call in made:
            try:
                wanted, found = must_deny(rules, call), deniers(documents, call)
            except Unsupported:  # a wildcard in a generated pattern would have to match a colon
                tally["undecided"] += 1
                continue
            assert bool(found) == wanted, (call, wanted)
            tally["denied" if wanted else "allowed"] += 1
            tally["by one statement"] += found == 1

    compare()
    with capsys.disabled():
        sys.stdout.write(f"\nprevention: {dict(tally)}\n")
    asked = tally["denied"] + tally["allowed"]
    assert tally["denied"] >= asked / 4
    assert tally["allowed"] >= asked / 4
    assert tally["by one statement"] >= asked / 20
    assert tally["undecided"] <= asked / 20


def test_the_evaluator_decides_the_same_without_the_corrections_of_the_local_aws(monkeypatch) -> None:
    documents = scps(prevention.organization())
    made = [Call(request, caller, time) for request in (NOVA, CLAUDE_2) for caller in CALLERS for time in TIMES]
    corrected = [deniers(documents, call) for call in made]
    own = {"arnlike": evaluator._op_arn_like, "arnnotlike": evaluator._op_arn_not_like}
    monkeypatch.setattr(evaluator, "_CONDITION_OPS", {**evaluator._CONDITION_OPS, **own})
    assert [deniers(documents, call) for call in made] == corrected
    assert 0 < corrected.count(0) < len(corrected)


def listed(values: str | list[str]) -> list[str]:
    return [values] if isinstance(values, str) else values


def in_force(statement: Statement) -> tuple[Statement, list[str], str]:
    """A statement as a guardrail has it, its exceptions, and the time from which it applies ("" for always)."""
    bare: dict[str, Any] = json.loads(json.dumps(statement))
    condition = bare.get("Condition", {})
    exceptions = listed(condition.get("ArnNotLike", {}).pop("aws:PrincipalArn", []))
    condition.get("ArnLike", {}).pop("aws:PrincipalArn", None)
    condition.get("StringNotEquals", {}).pop("aws:SourceIdentity", None)
    time = condition.get("DateGreaterThanEquals", {}).pop("aws:CurrentTime", "")
    bare["Condition"] = {operator: block for operator, block in condition.items() if block}
    bare["Sid"] = re.sub(r"^After\d{8}|^Others\d+(?=[A-Z])|\d+$", "", bare["Sid"])
    return bare, exceptions, time


def is_part(statement: Statement, whole: Statement) -> bool:
    """Whether `statement` is `whole`, perhaps with fewer actions."""
    rests = [{**one, "Action": "", "Sid": re.sub(r"\d+$", "", one["Sid"])} for one in (statement, whole)]
    rests[1].setdefault("Condition", {})
    return rests[0] == rests[1] and set(listed(statement["Action"])) <= set(listed(whole["Action"]))


def statements(documents: dict[str, Document]) -> Iterator[Statement]:
    for document in documents.values():
        yield from document["Statement"]


def assert_exceptions_are_the_assignments_without_the_statement(rules: Rules) -> None:
    exempt = {
        f"arn:aws:iam::{one.account}:role/{place}{one.role}"
        for one in rules.exemptions
        if one.account
        for place in ("", "*/")
    }
    has = {name: prevention.attached(guardrail)["Statement"] for name, guardrail in rules.guardrails.items()}
    once = Counter[str]()
    for statement in statements(scps(rules)):
        bare, exceptions, time = in_force(statement)
        if "aws:SourceIdentity" in statement.get("Condition", {}).get("StringNotEquals", {}):
            assert set(exceptions) == exempt
            continue
        # Two guardrails may have statements that differ only in their actions.
        possible = []
        for whole in (whole for found in has.values() for whole in found if is_part(bare, whole)):
            without = [one for one in rules.assignments if all(whole not in has[name] for name in one.guardrails)]
            wider = {pattern(principal) for one in without for principal in one.principals}
            paths = tuple(one[:-1] for one in wider if one.endswith("/*"))
            # A path stands for the exempt roles under it.
            possible.append(wider | {one for one in exempt if not one.startswith(paths)})
        assert possible, statement["Sid"]
        assert exceptions == [] if time else set(exceptions) in possible, statement["Sid"]
        assert len(exceptions) == len(set(exceptions))
        once[json.dumps([bare, sorted(exceptions), time])] += 1
    assert set(once.values()) <= {1}


def pattern(principal: str) -> str:
    """The pattern of a principal in an SCP."""
    return f"{PERMISSION_SET}{'?' * 16}" if principal.startswith(PERMISSION_SET) else principal


@given(files())
@settings(max_examples=volume(40, 1000), phases=AT_ONCE)
@pytest.mark.long
@pytest.mark.volume
def test_the_exceptions_of_a_statement_are_the_assignments_without_it(rules: Rules) -> None:
    assert_exceptions_are_the_assignments_without_the_statement(rules)


@pytest.mark.parametrize("rules", [prevention.shipped, prevention.organization])
def test_each_statement_of_an_example_has_the_exceptions_of_its_assignments(rules) -> None:
    assert_exceptions_are_the_assignments_without_the_statement(rules())


APPROVED = f"arn:aws:iam::{HERE}:role/canvas/only-nova-and-sonnet/Nova"
BREAK_GLASS = f"arn:aws:iam::{HERE}:role/break/CanvasBreakGlass"
INSIDE_EXAMPLE = (
    APPROVED,
    f"arn:aws:iam::{HERE}:role/canvas/only-nova-and-sonnet/deeper/Nova",
    "arn:aws:iam::222233334444:role/canvas/only-nova-and-sonnet/Nova",
    "arn:aws:iam::222233334444:role/canvas/open-weights/Llama",
    f"arn:aws:iam::{HERE}:role/service-role/AmazonSageMaker-ExecutionRole-20260101T000000",
    f"arn:aws:iam::{HERE}:role/canvas/trainees/Kim",
    f"arn:aws:iam::{THERE}:role/apps/SupportChat",
)
STRICTEST = {
    "the root user": f"arn:aws:iam::{HERE}:root",
    "a user": f"arn:aws:iam::{HERE}:user/alice",
    "a user with the path of an approved role": f"arn:aws:iam::{HERE}:user/canvas/only-nova-and-sonnet/Nova",
    "a federated user who chose a name": f"arn:aws:sts::{HERE}:federated-user/canvas-only-nova-and-sonnet-Nova",
    "a federated user with slashes": f"arn:aws:sts::{HERE}:federated-user/canvas/only-nova-and-sonnet/Nova",
    "a chained role: the last role counts": f"arn:aws:iam::{HERE}:role/LastOfTheChain",
    "a session in place of its role": f"arn:aws:sts::{HERE}:assumed-role/Nova/SageMaker",
    "a role that was created again without its path": f"arn:aws:iam::{HERE}:role/Nova",
    "a user who was renamed to the name of a role": f"arn:aws:iam::{HERE}:user/SupportChat",
    "an unknown role": f"arn:aws:iam::{HERE}:role/Unknown",
    "an unknown account": "arn:aws:iam::123123123123:role/canvas/only-nova-and-sonnet/Nova",
    "a role of IAM Identity Center": f"{PERMISSION_SET}0123456789abcdef",
    "a role in another partition": f"arn:aws-cn:iam::{HERE}:role/canvas/only-nova-and-sonnet/Nova",
}
CALLERS = (*INSIDE_EXAMPLE, *STRICTEST.values(), BREAK_GLASS)


@pytest.mark.volume
@pytest.mark.parametrize("caller", STRICTEST.values(), ids=STRICTEST)
def test_a_caller_that_the_file_does_not_name_is_under_every_guardrail(caller: str) -> None:
    rules = prevention.organization()
    every = {name: prevention.attached(guardrail) for name, guardrail in rules.guardrails.items()}
    documents = scps(rules)
    for request in SOME:
        found = is_denied(documents, request, Call(request, caller).context)
        assert found == is_denied(every, request, request.context), request.why


def test_a_role_below_a_path_is_under_the_guardrails_of_its_assignment() -> None:
    documents = scps(prevention.organization())
    for caller in INSIDE_EXAMPLE[:3]:
        assert not is_denied(documents, NOVA, Call(NOVA, caller).context)
        assert is_denied(documents, CLAUDE_2, Call(CLAUDE_2, caller).context)


def only(principal: str) -> dict[str, Document]:
    """The SCP of a file that denies all models of Bedrock to everybody but `principal`."""
    everything = Guardrail("all", BedrockRule("deny-all"))
    return scps(Rules({"all": everything}, (Assignment((), (HERE,), principals=(principal,)), Assignment(("all",)))))


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_no_arn_outside_of_a_principal_matches_it(principal: str) -> None:
    documents = only(principal)
    for caller in (*INSIDE, *OUTSIDE, *VISITORS):
        is_inside = prevention.belongs(caller, principal)
        assert is_denied(documents, NOVA, Call(NOVA, caller).context) != is_inside, caller


def test_a_caller_inside_and_a_caller_outside_of_each_principal_are_tried() -> None:
    for principal in PRINCIPALS:
        assert any(prevention.belongs(caller, principal) for caller in INSIDE)
    assert not any(prevention.belongs(caller, principal) for caller in OUTSIDE for principal in PRINCIPALS)


@pytest.mark.long
@pytest.mark.parametrize("rules", [prevention.shipped, prevention.organization])
def test_each_statement_left_out_alone_lets_a_request_through(rules) -> None:
    documents = scps(rules())
    callers = (f"arn:aws:iam::{HERE}:role/Unknown", APPROVED, INSIDE_EXAMPLE[3])
    later = [Call(request, BREAK_GLASS, "2027-02-01T00:00:00Z") for request in REQUESTS]
    needed = {one["Sid"] for one in statements(documents)}
    for call in itertools.chain(later, (Call(request, caller) for request in REQUESTS for caller in callers)):
        for found in prevention.judged(documents, call.request, call.context):
            if found.decision == "explicitDeny" and len(found.matched) == 1:
                needed.discard(found.matched[0].sid)
        if not needed:
            return
    raise AssertionError(needed)


def test_an_exempt_role_is_free_until_the_end_of_its_last_day() -> None:
    documents = scps(prevention.shipped())
    denied = [is_denied(documents, NOVA, Call(NOVA, BREAK_GLASS, time).context) for time in TIMES]
    assert denied == [False, False, False, True]


def test_an_exemption_without_an_account_exempts_no_role() -> None:
    rules = prevention.shipped()._replace(exemptions=(Exemption("CanvasBreakGlass", DAYS[1]),))
    found = compile_prevention(rules, "aws")
    assert found.exemptions_without_account == ("CanvasBreakGlass",)
    assert all("ArnNotLike" not in one.get("Condition", {}) for one in statements(scps(rules)))


def test_the_longest_exemption_of_a_role_counts() -> None:
    rules = prevention.shipped()
    [one] = rules.exemptions
    shorter = one._replace(until=DAYS[0])
    assert scps(rules._replace(exemptions=(shorter, one))) == scps(rules)
    assert scps(rules._replace(exemptions=(one, shorter))) == scps(rules)


def test_a_guardrail_in_observe_mode_is_not_in_an_scp() -> None:
    rules = prevention.shipped()
    guardrails = {name: one._replace(mode=Mode.OBSERVE) for name, one in rules.guardrails.items()}
    found = compile_prevention(rules._replace(guardrails=guardrails), "aws")
    assert (found.policies, found.observed) == ((), tuple(guardrails))


@pytest.mark.volume
def test_the_scope_sagemaker_denies_only_to_sessions_that_sagemaker_names() -> None:
    documents = scps(prevention.organization(), Scope.SAGEMAKER)
    whole = scps(prevention.organization())
    for request in SOME:
        call = Call(request, f"arn:aws:iam::{HERE}:role/Unknown")
        assert is_denied(documents, request, call.context) == is_denied(whole, request, call.context)
        other = replace(call, session="AROAEXAMPLE:alice")
        assert not is_denied(documents, request, other.context)


def test_the_same_file_compiles_to_the_same_bytes_on_every_day() -> None:
    rules = prevention.shipped()
    ended = rules._replace(exemptions=(rules.exemptions[0]._replace(until=DAYS[0]),))
    assert json.dumps(scps(rules)) == json.dumps(scps(rules))
    assert [one["Sid"] for one in statements(scps(ended)) if one["Sid"].startswith("After")]


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn", "aws-eusc"])
def test_an_scp_has_no_not_resource_where_aws_does_not_document_it(partition: str) -> None:
    allow = Guardrail("some", BedrockRule("allow", ("amazon.nova-*",)), JumpStartRule("deny-all"))
    found = compile_prevention(Rules({"some": allow}, (Assignment(("some",)),)), partition)
    has = any("NotResource" in one for policy in found.policies for one in policy.document["Statement"])
    assert has == (partition in {"aws", "aws-us-gov"})
    assert bool(found.without_not_resource) != has
    assert found.policies[0].name == NAME


def test_a_statement_that_another_makes_superfluous_is_not_reported_as_left_out() -> None:
    assert compile_prevention(prevention.shipped(), "aws-cn").without_not_resource == ()


def test_a_principal_of_another_partition_is_an_error() -> None:
    with pytest.raises(RulesError, match=r"assignments\[1\].*is not in the partition aws-cn: write an ARN"):
        compile_prevention(prevention.organization(), "aws-cn")


def test_exceptions_that_do_not_fit_an_scp_are_an_error_with_a_correction() -> None:
    roles = tuple(f"arn:aws:iam::{HERE}:role/service-role/CanvasResearch{number:03}" for number in range(200))
    all_models = Guardrail("all", BedrockRule("deny-all"))
    rules = Rules({"all": all_models}, (Assignment((), (HERE,), principals=roles), Assignment(("all",))))
    with pytest.raises(TooManyPrincipals, match=r"200 principals takes .* name paths"):
        compile_prevention(rules, "aws")


@pytest.mark.parametrize("rules", [prevention.shipped, prevention.organization])
@pytest.mark.parametrize("scope", Scope)
def test_the_documents_of_an_example_fit_the_slots_that_are_usually_free(rules, scope: Scope) -> None:
    documents = scps(rules(), scope)
    assert len(documents) <= SLOTS / 2
    for document in documents.values():
        assert size(document) <= SCP_SIZE
        assert len({one["Sid"] for one in document["Statement"]}) == len(document["Statement"])
    require_proven_documents(documents.values())


@given(files())
@settings(max_examples=volume(20, 500), phases=AT_ONCE)
@pytest.mark.long
@pytest.mark.volume
def test_every_document_fits_and_names_each_statement_once(rules: Rules) -> None:
    documents = scps(rules)
    assert all(size(document) <= SCP_SIZE for document in documents.values())
    sids = [one["Sid"] for one in statements(documents)]
    assert len(sids) == len(set(sids))
    assert list(documents) == [NAME, *(f"{NAME}-{number}" for number in range(2, len(documents) + 1))][: len(documents)]
    require_proven_documents(documents.values())
    assert all(one["Effect"] == "Deny" for one in statements(documents))
    assert not any(prevention.NOT_ABOUT_MODELS.search(sid) for sid in sids)


SHARED = f"arn:aws:iam::{HERE}:role/CanvasResearch"


@pytest.mark.parametrize(
    ("caller", "identity", "is_denied"),
    [
        (SHARED, "ana", False),
        (SHARED, "ben", False),
        (SHARED, "", True),
        (SHARED, "Ana", True),
        (SHARED, "ana-2", True),
        (SHARED, "*", True),
        (f"arn:aws:iam::{HERE}:role/path/CanvasResearch", "ana", True),
        (f"arn:aws:iam::{HERE}:user/ana", "ana", True),
    ],
)
@pytest.mark.parametrize("scope", list(Scope))
def test_a_session_of_a_shared_role_is_an_exception_only_with_a_named_source_identity(
    caller: str, identity: str, is_denied: bool, scope: Scope
) -> None:
    text = f"""
guardrails:
  none: {{bedrock: {{deny: all}}}}
assignments:
  - guardrails: []
    accounts: ["{HERE}"]
    principals: ["{SHARED}"]
    source_identities: [ana, ben]
  - guardrails: [none]
"""
    rules = read_yaml(text, today=date(2026, 1, 1)).rules
    assert rules is not None
    assert bool(deniers(scps(rules, scope), Call(NOVA, caller, identity=identity))) is is_denied

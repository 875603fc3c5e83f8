"""The service control policies of a file: they deny exactly what the guardrails of the caller deny.

The judge is MiniStack's evaluator, which Rolewarden's authors did not write. `test_prevention_elsewhere.py` asks a
second one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rolewarden.errors import RulesError
from rolewarden.guardrails import Assignment, BedrockRule, Exemption, Guardrail, JumpStartRule, Mode, Rules
from rolewarden.placement import identity
from rolewarden.policies import SCP_SIZE, Document, Statement, document_of, size
from rolewarden.prevention import NAME, SLOTS, Scope, TooManyPrincipals, compile_prevention
from rolewarden_local.emulated._ministack import evaluator
from rolewarden_local.emulated.judge import Unsupported, require_proven_documents
from rolewarden_local.emulated.scps import organizations_decision

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

    # A failure shows all calls of the file, and to shrink them takes minutes.
    @settings(max_examples=volume(60, 3000), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
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
        print(f"\nprevention: {dict(tally)}")
    asked = tally["denied"] + tally["allowed"]
    assert tally["denied"] >= asked / 4
    assert tally["allowed"] >= asked / 4
    assert tally["by one statement"] >= asked / 20
    assert tally["undecided"] <= asked / 20

"""Each guardrail of probes.yaml with each request, decided by an independent evaluator."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from tests.guardrails.probes import PAGE, REQUESTS, denying, emitted_sids, sids_of


@pytest.mark.parametrize("guardrail", PAGE["guardrails"])
def test_a_guardrail_denies_the_expected_requests_and_no_others(guardrail: str) -> None:
    wrong = []
    for request in REQUESTS:
        by = denying(guardrail, request)
        if bool(by) != request.must_be_denied_by(guardrail):
            wrong.append(f"{request.action}, {request.why}: {'denied by ' + ', '.join(by) if by else 'let through'}")
    assert not wrong, "\n".join(wrong)


def test_every_access_path_has_probes() -> None:
    assert len(REQUESTS) * len(PAGE["guardrails"]) >= 250
    unmet = emitted_sids()
    for guardrail in PAGE["guardrails"]:
        for request in REQUESTS:
            if not unmet & sids_of(guardrail):
                break
            unmet -= set(denying(guardrail, request))
    assert not unmet, "a statement that no probe meets"


def test_guardrail_patterns_of_the_page_name_guardrails_of_the_page() -> None:
    for request in REQUESTS:
        for pattern in request.denied:
            assert any(fnmatchcase(name, pattern.lstrip("!")) for name in PAGE["guardrails"]), (request.why, pattern)

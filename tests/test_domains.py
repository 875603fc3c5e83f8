"""A pattern of domains matches IDs, which AWS assigns, or names, which callers choose. It never matches both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rolewarden.guardrails import Assignment, Exemption, Subject

from tests.conftest import TODAY

HOME = "111122223333"
ID = "d-abc123def456"


@pytest.mark.parametrize(
    ("pattern", "domain_id", "name", "matched"),
    [
        (ID, ID, "research", True),
        (ID, "d-attacker0001", ID, False),
        ("d-*", ID, "research", True),
        ("d-*", "d-attacker0001", "d-looks-like-one", True),
        ("d-abc*", "d-attacker0001", "d-abc123def456", False),
        ("research", ID, "research", True),
        ("research", "research", "else", False),
        ("*", ID, "research", True),
        ("?-abc123def456", ID, "research", False),
        ("*abc123def456", ID, "research", False),
        ("*abc123def456", "d-attacker0001", ID, True),  # a pattern of names, which a caller chooses anyway
        (ID.upper(), "d-attacker0001", ID.upper(), True),
        ("*", "", "", False),
    ],
)
def test_a_pattern_of_domains_matches_ids_or_names_and_never_both(
    pattern: str, domain_id: str, name: str, matched: bool
) -> None:
    subject = Subject(HOME, "X", domain_id=domain_id, domain_name=name)
    assert Assignment((), domains=(pattern,)).matches(subject) is matched
    assert Exemption("X", TODAY, domains=(pattern,)).covers(subject) is (matched or not domain_id)


@given(st.from_regex(r"d-[a-z0-9*?]{1,14}", fullmatch=True), st.text(min_size=1), st.text(min_size=1))
def test_no_name_of_a_domain_changes_an_assignment_by_id(pattern: str, one: str, other: str) -> None:
    assignment = Assignment((), domains=(pattern,))
    for domain_id in (ID, pattern.replace("*", "x").replace("?", "y")):
        subjects = [Subject(HOME, "X", domain_id=domain_id, domain_name=name) for name in (one, other, pattern, ID)]
        assert len({assignment.matches(subject) for subject in subjects}) == 1

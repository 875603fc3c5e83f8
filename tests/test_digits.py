"""Digits of other scripts than ASCII are no digits: AWS never writes an account, a region or a version with them."""

import ast

import pytest
from rolewarden.events import ACCOUNT, DOMAIN_ID, REGION, Ignored, matched, parse_event
from rolewarden.trust import principal_of, trust_of
from rolewarden.work import Recheck, Work

from tests.conftest import ROOT

ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
ACCOUNT_ID = "111122223333"
SOURCES = [path for folder in ("layers", "cli", "functions") for path in sorted((ROOT / folder).rglob("*.py"))]
FOR_ALL_SCRIPTS = ROOT / "layers/rolewarden/rolewarden/plaintext.py"
"""It finds numbers in texts of callers, in whatever script, so that no program makes a link of them."""


def other_digits(path):
    """Each expression of a module that accepts digits of all scripts, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and r"\d" in node.value:
            yield f"{path.relative_to(ROOT)}:{node.lineno}: write [0-9]"
        if isinstance(node, ast.Attribute) and node.attr in {"isdigit", "isdecimal", "isnumeric"}:
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.attr}"


def test_no_validation_accepts_digits_of_other_scripts():
    assert [found for path in SOURCES if path != FOR_ALL_SCRIPTS for found in other_digits(path)] == []
    assert list(other_digits(FOR_ALL_SCRIPTS)), "the search finds nothing at all"


@pytest.mark.parametrize(
    ("form", "text"), [(ACCOUNT, ACCOUNT_ID), (REGION, "us-east-1"), (DOMAIN_ID, "d-abc123def456")]
)
def test_a_value_with_other_digits_is_not_valid(form, text):
    assert matched(form, text) == text
    assert matched(form, text.translate(ARABIC)) == ""


@pytest.mark.parametrize("where", ["account", "region"])
def test_an_event_or_message_with_other_digits_names_nothing(where):
    call = {"eventSource": "iam.amazonaws.com", "eventName": "TagRole", "requestParameters": {"roleName": "X"}}
    event = {"source": "aws.iam", "detail-type": "AWS API Call via CloudTrail", "detail": call}
    named = {"account": ACCOUNT_ID, "region": "us-east-1"}
    message = {"request": {"role": "X"}, "rechecks": 1}
    work = {"role": "X", "role_account": ACCOUNT_ID}
    assert parse_event({**event, **named}).role == "X"
    assert Recheck.from_dict({**message, **named})
    assert Work.from_dict({**work, **named})
    named[where] = named[where].translate(ARABIC)
    assert parse_event({**event, **named}).ignored is Ignored.NOT_AN_API_CALL
    assert Recheck.from_dict({**message, **named}) is None
    assert where == "region" or Work.from_dict({**work, **named}) is None


def test_an_account_with_other_digits_is_no_principal():
    foreign = f"arn:aws:iam::{ACCOUNT_ID.translate(ARABIC)}:root"
    assert principal_of(foreign) == foreign
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": foreign}}
    assert not trust_of({"Statement": statement}).includes(ACCOUNT_ID)

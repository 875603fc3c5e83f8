"""Events trigger evaluations by their keys, and the parser handles every input."""

import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rolewarden.events import (
    DOMAIN_EVENTS,
    IAM_EVENTS,
    POLICY_EVENTS,
    PROFILE_EVENTS,
    ROLE_EVENTS,
    SAGEMAKER_EVENTS,
    Ignored,
    SubjectKey,
    parse_event,
)
from rolewarden.origin import Cause

from tests.conftest import ROOT, sample


def snake(event_name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in event_name).lstrip("_")


@pytest.mark.parametrize("name", sorted(ROLE_EVENTS))
def test_a_role_event_triggers_an_evaluation_of_only_its_role(name):
    event = sample(snake(name))
    request = parse_event(event)
    named = (
        event["detail"]["responseElements"]["role"] if name == "AcquireRole" else event["detail"]["requestParameters"]
    )
    assert request.role == named["roleName"]
    assert (request.subject, request.policy, request.ignored) == (None, "", None)


@pytest.mark.parametrize("name", sorted(POLICY_EVENTS))
def test_a_policy_event_triggers_a_check_of_the_policy_by_its_name(name):
    assert parse_event(sample(snake(name))).as_dict() == {"policy": "no-generative-ai"}


@pytest.mark.parametrize("name", sorted(PROFILE_EVENTS))
def test_a_profile_event_triggers_an_evaluation_of_the_profile(name):
    parameters = sample(snake(name))["detail"]["requestParameters"]
    assert parse_event(sample(snake(name))).subject == SubjectKey(parameters["domainId"], parameters["userProfileName"])


@pytest.mark.parametrize("name", sorted(DOMAIN_EVENTS - {"CreateDomain"}))
def test_a_domain_event_triggers_an_evaluation_of_the_domain(name):
    assert parse_event(sample(snake(name))).subject == SubjectKey("d-research0001")


def test_the_id_of_a_created_domain_is_read_from_the_response():
    assert parse_event(sample("create_domain")).subject == SubjectKey("d-analytics0001")


def test_an_acquired_role_without_a_response_is_unreadable():
    event = sample("acquire_role")
    event["detail"]["responseElements"] = None
    assert parse_event(event).ignored is Ignored.UNREADABLE


def test_tag_events_trigger_an_evaluation_of_a_domain_or_profile():
    assert parse_event(sample("add_tags")).subject == SubjectKey("d-analytics0001")
    assert parse_event(sample("delete_tags")).subject == SubjectKey("d-research0001", "rosa")


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-2", "us-gov-west-1", "cn-northwest-1", "eusc-de-east-1"])
def test_an_event_of_any_partitions_region_is_read(region):
    assert parse_event({**sample("detach_role_policy"), "region": region}).role == "CanvasAnalytics"


def test_tag_events_of_other_resources_trigger_nothing():
    event = sample("add_tags")
    event["detail"]["requestParameters"]["resourceArn"] = "arn:aws:sagemaker:us-east-1:111122223333:endpoint/churn"
    assert parse_event(event).ignored is Ignored.OTHER_RESOURCE


def test_every_event_of_the_rules_has_a_sample():
    assert {snake(name) for name in SAGEMAKER_EVENTS | IAM_EVENTS} <= {p.stem for p in (ROOT / "events").glob("*.json")}


def test_the_cause_has_the_caller_the_call_the_time_and_the_address():
    assert parse_event(sample("detach_role_policy")).origin.cause == Cause(
        event_id=sample("detach_role_policy")["detail"]["eventID"],
        event_name="DetachRolePolicy",
        time=sample("detach_role_policy")["detail"]["eventTime"],
        actor="arn:aws:iam::111122223333:user/mallory",
        source_address="198.51.100.66",
        user_agent=sample("detach_role_policy")["detail"]["userAgent"],
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("awkward_denied_call", Ignored.FAILED_CALL),
        ("awkward_cut_parameters", Ignored.UNREADABLE),
        ("awkward_other_service", Ignored.OTHER_SERVICE),
    ],
)
def test_an_awkward_event_has_a_named_outcome(name, reason):
    assert parse_event(sample(name)).ignored is reason


@pytest.mark.parametrize("name", ["DetachRolePolicy", "UpdateDomain", "CreateUserProfile", "DeletePolicy", "AddTags"])
@pytest.mark.parametrize("parameters", [None, [], "text", 7, {}, {"omitted": True}])
def test_missing_truncated_or_wrong_parameters_are_unreadable(name, parameters):
    event = sample(snake(name))
    event["detail"] |= {"requestParameters": parameters, "responseElements": None}
    assert parse_event(event).ignored is Ignored.UNREADABLE


@pytest.mark.parametrize("value", [None, 7, ["CanvasOmar"], {"name": "x"}, "", "a/b", "x" * 65, "Canvas\n"])
def test_an_invalid_role_name_is_unreadable(value):
    event = sample("put_role_policy")
    event["detail"]["requestParameters"]["roleName"] = value
    assert parse_event(event).ignored is Ignored.UNREADABLE


def test_an_unknown_event_name_is_reported_as_unknown():
    event = sample("put_role_policy")
    event["detail"]["eventName"] = "CreateUser"
    assert parse_event(event).ignored is Ignored.UNKNOWN_EVENT


def test_a_record_with_different_source_and_event_source_is_rejected():
    event = sample("awkward_other_service")
    event["source"] = "aws.sagemaker"
    assert parse_event(event).ignored is Ignored.OTHER_SERVICE


def test_a_policy_of_another_path_triggers_nothing():
    event = sample("delete_policy")
    event["detail"]["requestParameters"]["policyArn"] = "arn:aws:iam::111122223333:policy/other/no-generative-ai"
    assert parse_event(event).ignored is Ignored.OTHER_POLICY


CAPTURES = ROOT / "tests" / "captures"
"""Events as EventBridge delivered them in 2023, from public code; account, user, address and key ids are replaced."""


@pytest.mark.parametrize(
    ("name", "nominated"),
    [
        ("detach_role_policy", {"role": "practicum_test_role1"}),
        ("delete_role", {"role": "practicum_test_role1"}),
        ("create_policy_version", {"ignored": Ignored.OTHER_POLICY.value}),
    ],
)
def test_a_captured_event_is_parsed(name, nominated):
    request = parse_event(json.loads((CAPTURES / f"{name}.json").read_text()))
    assert request.as_dict() == nominated
    assert (request.account, request.region) == ("111122223333", "us-east-1")
    assert request.origin.cause.actor == "arn:aws:iam::111122223333:user/alice"
    assert request.origin.cause.time.startswith("2023-")


@pytest.mark.parametrize("name", ["detach_role_policy", "delete_role", "create_policy_version"])
def test_a_sample_has_every_part_that_the_real_capture_of_its_kind_has(name):
    capture, ours = json.loads((CAPTURES / f"{name}.json").read_text()), sample(name)
    assert ours.keys() == capture.keys()
    assert ours["detail"]["requestParameters"].keys() == capture["detail"]["requestParameters"].keys()
    assert {"eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "eventID"} <= ours["detail"].keys()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_every_input_gets_a_result(value):
    assert parse_event(value).ignored is Ignored.NOT_AN_API_CALL


@given(
    name=st.sampled_from(sorted(SAGEMAKER_EVENTS | IAM_EVENTS)),
    path=st.lists(st.sampled_from(["detail", "requestParameters", "responseElements", "userIdentity", "roleName"])),
    value=JSON,
)
def test_an_event_with_any_part_replaced_gets_a_result(name, path, value):
    event = deepcopy(sample(snake(name)))
    at = event
    for key in path:
        if isinstance(at.get(key), dict):
            at = at[key]
        else:
            at[key] = value
    request = parse_event(event)
    named = [bool(request.role), request.subject is not None, bool(request.policy)]
    assert sum(named) + (request.ignored is not None) == 1


@given(st.dictionaries(st.text(), JSON))
def test_a_cause_survives_the_queue(fields):
    cause = Cause.from_dict(fields)
    assert Cause.from_dict(json.loads(json.dumps(cause.as_dict()))) == cause

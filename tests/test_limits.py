"""AWS's limits on the calls of Rolewarden: long lists, long names and characters of many bytes lose nothing."""

import json
import re
from collections import Counter
from datetime import UTC, datetime

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rolewarden import events, forms
from rolewarden.bindings import EXECUTION, USER_PROFILE, Binding, RoleKey
from rolewarden.cloudformation import answer_request
from rolewarden.confirm import confirmed_row
from rolewarden.history import History, HistoryTable
from rolewarden.origin import Cause
from rolewarden.own_events import AccountFinding, FindingResolved, RoleFinding, RulesChanged, SubjectFinding
from rolewarden.rules_log import MOST_LINES, cut
from rolewarden.securityhub import finding
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated import limits
from rolewarden_local.emulated.constraints import RESOURCE_CALLS, broken
from rolewarden_local.scenes.template import Template

from tests.conftest import ROOT
from tests.handlers import deployment_request
from tests.hostile import HOSTILE
from tests.stacks import EVERYTHING, forwarder, made, translated
from tests.volume import volume

WIDE = "\u65e5"
"""A character of three bytes in UTF-8, and of six in JSON's escaped form."""


@pytest.mark.parametrize("hostile", [{"event_id": "x" * 1_024}, {"actor": "\ud800", "event_id": "\udfff"}])
def test_a_message_with_a_hostile_cause_loses_no_row_of_the_history(world, counted, hostile):
    world.protected().queued()
    cause = {"event_name": "DetachRolePolicy", **hostile}
    message = {"role": "CanvasFull", "role_account": ACCOUNT_ID, "account": ACCOUNT_ID, "cause": cause}
    before = len(world.history("CanvasFull"))
    world.enforcer.handle_message(message)
    assert counted("RecordFailed") == 0
    assert len(world.history("CanvasFull")) > before


def test_rows_about_one_thing_in_one_moment_are_all_kept(world, counted):
    history = History(world.runtime.aws, HistoryTable(world.environment["HISTORY_TABLE"], 400))
    at = datetime(2027, 1, 15, tzinfo=UTC)
    row = {"about": f"{ACCOUNT_ID}/role", "at": at.isoformat(timespec="milliseconds"), "kind": "x"}
    history.put([{**row, "message": text} for text in ("one", "two", "three", "one")])
    found = history.rows(f"{ACCOUNT_ID}/role", at)
    assert sorted(each["message"] for each in found) == ["one", "three", "two"]


def test_subjects_with_the_longest_tags_are_all_bound(world):
    world.protected()
    tags = {f"{WIDE * 120}{number}": WIDE * 256 for number in range(50)}
    bound = [
        Binding(
            ACCOUNT_ID,
            "us-east-1",
            "d-long",
            USER_PROFILE,
            EXECUTION,
            RoleKey(ACCOUNT_ID, "CanvasOmar"),
            user_profile=f"p{number}",
            tags=tags,
        )
        for number in range(80)
    ]
    world.bindings.write(bound)
    assert sum(one.domain_id == "d-long" for one in world.bindings.all()) == len(bound)


def test_cloudformation_accepts_a_reason_in_any_language(answers):
    def work():
        raise ValueError(WIDE * 5_000)

    answer_request(deployment_request(answers), work, seconds_left=60)
    [answer] = answers.heard
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith(f"ValueError: {WIDE * 300}")


def test_a_forged_event_about_a_long_name_is_unconfirmed(world):
    world.protected()
    detail = {"account": ACCOUNT_ID, "role": WIDE * 2000}
    event = {"source": "rolewarden", "detail-type": "Role Finding", "account": ACCOUNT_ID, "detail": detail}
    history = History(world.runtime.aws, HistoryTable(world.environment["HISTORY_TABLE"], 400))
    assert confirmed_row(event, ACCOUNT_ID, history, datetime.now(UTC).timestamp()) is None


LONGEST_STACK = "s" * 100
"""The longest name of a stack that docs/how-to/deploy.md allows."""

LARGEST = {
    **EVERYTHING,
    "Regions": ",".join(sorted(boto3.Session().get_available_regions("sagemaker"))),
    "OrganizationalUnits": ",".join(f"ou-{number:032}-{number:032}" for number in range(56)),
    "OrganizationId": f"o-{'a' * 32}",
    "RunbookUrl": f"https://{'r' * 200}",
    "KmsKeyArn": f"arn:aws:kms:us-east-1:{ACCOUNT_ID}:key/mrk-{'a' * 32}",
    "OperatorArn": f"arn:aws:iam::{ACCOUNT_ID}:role/{'p' * 300}/{'o' * 64}",
    "RolePermissionsBoundary": f"arn:aws:iam::{ACCOUNT_ID}:policy/{'p' * 500}/{'b' * 128}",
}
"""The largest values of the parameters of the template."""

LONGEST_NAMES = {
    "AWS::IAM::Role": 64,
    "AWS::KMS::Key": 36,
    "AWS::Lambda::EventSourceMapping": 36,
    "AWS::Lambda::Function": 64,
    "AWS::Lambda::LayerVersion": 40,
    "AWS::SQS::Queue": 80,
}
"""Characters of the names that CloudFormation generates, by type. Other names have the name of the stack, the logical
ID and a suffix."""


def in_full(region):
    """The stack with the largest parameters and the longest names in a region."""
    partition = boto3.Session().get_partition_for_region(region)
    parameters = {name: value.replace("arn:aws:", f"arn:{partition}:") for name, value in LARGEST.items()}
    kinds = {name: resource["Type"] for name, resource in translated(region).body["Resources"].items()}

    def physical(logical):
        name = f"{LONGEST_STACK}-{logical}-{'A' * 13}"
        return name[-LONGEST_NAMES.get(kinds.get(logical, ""), len(name)) :]

    return Template(
        ROOT / "template.yaml",
        region=region,
        account=ACCOUNT_ID,
        parameters=parameters,
        stack=LONGEST_STACK,
        physical=physical,
    )


def inline(template):
    """The number of characters of all inline policies of each role."""
    found: Counter[str] = Counter()
    roles = template.resources("AWS::IAM::Role")
    for name, role in roles.items():
        found[template.resolve({"Ref": name})] += sum(dense(policy) for policy in role.get("Policies", ()))
    for policy in template.resources("AWS::IAM::Policy").values():
        found.update(dict.fromkeys(policy["Roles"], dense(policy)))
    return found


def dense(policy):
    return limits.dense(json.dumps(policy["PolicyDocument"]))


@pytest.mark.parametrize("region", ["us-gov-west-1", "ap-southeast-1"])
def test_the_largest_stack_is_within_the_limits_of_every_service(region):
    template = in_full(region)
    stacks = [
        template,
        *(forwarder(template, name, "222222222222", region, LONGEST_STACK) for name in ("Forwarders", "Members")),
    ]
    for stack in stacks:
        wrong = [
            (logical, found)
            for logical, kind, properties in made(stack)
            for service, operation in RESOURCE_CALLS.get(kind, ())
            for found in broken(service, operation, properties)
        ]
        assert wrong == []
        assert max(inline(stack).values(), default=0) <= limits.INLINE_SIZE
        assert limits.size(json.dumps(stack.body)) <= 1_000_000
    for name in ("template.yaml", "forwarder.yaml"):
        assert (ROOT / name).stat().st_size <= 1_000_000


def stretched(pattern):
    """Texts of a form, each also with a hyphen repeated beyond every limit."""
    return st.from_regex(pattern, fullmatch=True).flatmap(
        lambda text: st.sampled_from(
            [text, text.replace("-", "-" * 70), f"{text}-", f"{text[:-1]}{'-' * 70}{text[-1:]}"]
        )
    )


@pytest.mark.parametrize(
    ("pattern", "service", "operation", "parameter"),
    [
        (events.DOMAIN_ID, "sagemaker", "DescribeDomain", "DomainId"),
        (events.PROFILE_NAME, "sagemaker", "DescribeUserProfile", "UserProfileName"),
        (events.ROLE_NAME, "iam", "GetRole", "RoleName"),
        (events.POLICY_NAME, "iam", "CreatePolicy", "PolicyName"),
        (re.compile(forms.GUARDRAIL_NAME), "iam", "CreatePolicy", "PolicyName"),
        (re.compile(forms.HUB), "sagemaker", "CreateHub", "HubName"),
        (re.compile(forms.ACCOUNT_ID), "cloudformation", "DescribeStackInstance", "StackInstanceAccount"),
        (events.REGION, "cloudformation", "ListStackInstances", "StackInstanceRegion"),
    ],
)
@pytest.mark.volume
@given(data=st.data())
@settings(max_examples=volume(20, 500), deadline=None)
def test_every_name_that_rolewarden_accepts_is_one_that_aws_accepts(pattern, service, operation, parameter, data):
    text = data.draw(stretched(pattern))
    if pattern.fullmatch(text):
        assert broken(service, operation, {parameter: text}) == []


FIELDS = ("role", "domain", "user_profile", "message", "reason", "finding", "was")
TEXTS = st.one_of(st.just(""), st.sampled_from([WIDE * 5_000, "x" * 5_000, "a\nb", " ", HOSTILE]), st.text(max_size=40))


@pytest.mark.volume
@given(
    kind=st.sampled_from([RoleFinding, SubjectFinding, AccountFinding, FindingResolved]),
    texts=st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXTS)),
    missing=st.lists(TEXTS, max_size=3),
    verdict=st.sampled_from(["unenforceable", "drifted"]),
)
@settings(max_examples=volume(50, 2_000), deadline=None)
def test_security_hub_accepts_every_finding(kind, texts, missing, verdict):
    detail = {"account": "222222222222", "verdict": verdict, "missing": missing, **texts}
    event = {
        "source": "rolewarden",
        "detail-type": kind.detail_type,
        "account": ACCOUNT_ID,
        "region": "us-east-1",
        "time": "2027-01-15T00:00:00Z",
        "detail": detail,
    }
    if found := finding(event, "aws"):
        assert broken("securityhub", "BatchImportFindings", {"Findings": [found]}) == []


def test_an_event_about_rules_in_any_script_is_one_that_eventbridge_accepts():
    line = cut("\U0001f9ed" * 5_000)
    event = RulesChanged(
        account=ACCOUNT_ID,
        cause=Cause(actor=WIDE * 5_000, user_agent=WIDE * 5_000).limited(),
        digest="0" * 64,
        summary=line,
        changes=(line,) * MOST_LINES,
    )
    entry = {"Source": "rolewarden", "DetailType": event.detail_type, "Detail": json.dumps(event.detail)}
    assert broken("events", "PutEvents", {"Entries": [entry]}) == []

"""Events in files are read in every form in which people have them, and replayed as if they had happened here."""

import gzip
import json
import time
from pathlib import Path

import pytest
from rolewarden_cli.recorded import UnusableInputError, read_events, values_in
from rolewarden_cli.replay import moved

from tests.conftest import sample

EVENT, OTHER = sample("detach_role_policy"), sample("tag_role")
RECORD = EVENT["detail"]
LOOKED_UP = {"Events": [{"EventId": RECORD["eventID"], "CloudTrailEvent": json.dumps(RECORD)}]}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def read(folder: Path, content: bytes) -> list[str]:
    path = folder / "input.json"
    path.write_bytes(content)
    return [event["detail"]["eventName"] for event in read_events(path)]


@pytest.mark.parametrize(
    "content",
    [
        as_json(EVENT),
        as_json(RECORD),
        as_json([EVENT]),
        as_json({"Records": [RECORD]}),
        as_json(LOOKED_UP),
        as_json({"Messages": [{"MessageId": "1", "Body": json.dumps(EVENT)}]}),
        b"\xef\xbb\xbf" + as_json(RECORD),
        json.dumps(RECORD).encode("utf-16"),
        gzip.compress(as_json({"Records": [RECORD]})),
        b"\n" + as_json(RECORD) + b"\r\n\r\n",
    ],
    ids=["event", "record", "list", "log", "looked up", "queue", "mark", "powershell", "gzip", "lines"],
)
def test_an_event_is_read_in_each_form(tmp_path, content):
    assert read(tmp_path, content) == ["DetachRolePolicy"]


@pytest.mark.parametrize(
    "content",
    [
        as_json(EVENT) + b"\n" + as_json(OTHER["detail"]) + b"\n",
        as_json({"Records": [EVENT, OTHER["detail"]]}),
        json.dumps(EVENT, indent=1).encode() + json.dumps(OTHER, indent=1).encode(),
        as_json([{"Records": [RECORD]}, OTHER]),
    ],
    ids=["lines", "mixed records", "pretty", "mixed list"],
)
def test_several_events_keep_their_order_and_may_differ_in_form(tmp_path, content):
    assert read(tmp_path, content) == ["DetachRolePolicy", "TagRole"]


def test_the_time_for_many_values_is_proportional_to_their_number(tmp_path):
    text = "\n".join([json.dumps({"padding": "x" * 2_000})] * 8_000)
    started = time.process_time()
    assert sum(1 for _ in values_in(tmp_path, text)) == 8_000
    assert time.process_time() - started < 1  # A copy of the rest for each value would take several seconds.


def test_a_record_that_is_no_call_has_the_detail_type_of_eventbridge(tmp_path):
    path = tmp_path / "input.json"
    path.write_bytes(as_json({"Records": [{**RECORD, "eventType": "AwsServiceEvent"}, RECORD]}))
    assert [event["detail-type"] for event in read_events(path)] == [
        "AWS Service Event via CloudTrail",
        "AWS API Call via CloudTrail",
    ]


def lacking(value: dict, *names: str) -> dict:
    return {key: inside for key, inside in value.items() if key not in names}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (as_json(lacking(RECORD, "eventName")), "input.json: lacks `eventName`: give the whole record"),
        (as_json({"Records": [RECORD, lacking(RECORD, "eventSource")]}), "input.json: entry 2: lacks `eventSource`"),
        (as_json(lacking(EVENT, "detail")), "lacks `detail`: give the whole event"),
        (as_json(lacking(EVENT, "detail-type")), "lacks `detail-type`: give the whole event"),
        (as_json({"Records": [RECORD, 7]}), "entry 2: is no JSON object"),
        (as_json({"Records": []}), "has no event"),
        (b"", "has no event"),
        (as_json(RECORD) + b"{", "is not valid JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a":' * 100_000, "is nested too deeply"),
        (as_json({"Events": [{"CloudTrailEvent": "[" * 100_000}]}), "is nested too deeply"),
        (b"\xff\xfa", "is not text"),
        (b"\x1f\x8b\x08\x00", "cannot be read"),
    ],
)
def test_an_entry_that_is_no_event_is_named_with_the_field_that_it_lacks(tmp_path, content, says):
    with pytest.raises(UnusableInputError, match=r"input\.json") as raised:
        read(tmp_path, content)
    assert says in str(raised.value)


FOREIGN = {
    "account": "222233334444",
    "region": "us-west-2",
    "detail": {
        "recipientAccountId": "222233334444",
        "awsRegion": "us-west-2",
        "userIdentity": {"accountId": "222233334444", "arn": "arn:aws:iam::222233334444:user/us-west-2"},
        "requestParameters": {
            "roleName": "canvas-exec-222233334444-us-west-2",
            "description": "222233334444",
            "executionRole": "arn:aws:iam::222233334444:role/canvas-222233334444",
            "other": "arn:aws:iam::333344445555:role/theirs",
            "policyDocument": '{"Resource": "arn:aws:sagemaker:us-west-2:222233334444:domain/d-us-west-2"}',
        },
    },
}


def test_an_event_moves_to_the_local_account_and_every_name_stays_as_it_is():
    assert moved(FOREIGN, "111122223333", "us-east-1") == {
        "account": "111122223333",
        "region": "us-east-1",
        "detail": {
            "recipientAccountId": "111122223333",
            "awsRegion": "us-east-1",
            "userIdentity": {"accountId": "111122223333", "arn": "arn:aws:iam::111122223333:user/us-west-2"},
            "requestParameters": {
                "roleName": "canvas-exec-222233334444-us-west-2",
                "description": "222233334444",
                "executionRole": "arn:aws:iam::111122223333:role/canvas-222233334444",
                "other": "arn:aws:iam::333344445555:role/theirs",
                "policyDocument": '{"Resource": "arn:aws:sagemaker:us-east-1:111122223333:domain/d-us-west-2"}',
            },
        },
    }


def test_an_event_without_account_and_region_happened_here():
    event = moved({"account": "", "region": "", "detail": {}}, "111122223333", "us-east-1")
    assert (event["account"], event["region"]) == ("111122223333", "us-east-1")

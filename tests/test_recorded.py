"""Events in files are read in every form in which people have them, and replayed as if they had happened here."""

import csv
import gzip
import io
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rolewarden_cli.recorded import HOLDERS, UnusableInputError, files_in, read_events, values_in
from rolewarden_cli.replay import moved, replay_files

from tests.conftest import sample

EVENT, OTHER = sample("detach_role_policy"), sample("tag_role")
RECORD = EVENT["detail"]
LOOKED_UP = {"Events": [{"EventId": RECORD["eventID"], "CloudTrailEvent": json.dumps(RECORD)}]}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def read(folder: Path, content: bytes) -> list[str]:
    path = folder / "input.json"
    path.write_bytes(content)
    return [event["detail"].get("eventName") for event in read_events(path)]


@pytest.mark.parametrize(
    "content",
    [
        as_json(EVENT),
        as_json(RECORD),
        as_json([EVENT]),
        as_json({"Records": [RECORD]}),
        as_json(LOOKED_UP),
        as_json({"Messages": [{"MessageId": "1", "Body": json.dumps(EVENT)}]}),
        as_json({"Messages": [{"Body": json.dumps({"Type": "Notification", "Message": json.dumps(EVENT)})}]}),
        as_json({"Type": "Notification", "TopicArn": "arn:x", "Message": json.dumps(EVENT)}),
        as_json({"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": json.dumps(EVENT)}]}),
        as_json({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(EVENT)}}]}),
        as_json({"Records": [{"eventSource": "aws:sqs", "body": json.dumps({"Message": json.dumps(EVENT)})}]}),
        as_json(LOOKED_UP["Events"][0]),
        as_json({"events": [{"timestamp": 1, "message": json.dumps(RECORD)}], "searchedLogStreams": []}),
        as_json({"results": [[{"field": "@message", "value": json.dumps(RECORD)}, {"field": "@ptr", "value": "x"}]]}),
        as_json([{"Source": "aws.iam", "DetailType": "AWS API Call via CloudTrail", "Detail": json.dumps(RECORD)}]),
        as_json({**EVENT, "detail": json.dumps(RECORD)}),
        as_json({"QueryResultRows": [[{"eventJson": json.dumps(RECORD)}]], "QueryStatus": "FINISHED"}),
        as_json({"QueryResultRows": [[{"eventname": RECORD["eventName"]}, {"eventsource": RECORD["eventSource"]}]]}),
        b"\xef\xbb\xbf" + as_json(RECORD),
        *(json.dumps(RECORD).encode(code) for code in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le")),
        gzip.compress(as_json({"Records": [RECORD]})),
        gzip.compress(gzip.compress(as_json({"Records": [RECORD]}))),
        b"\n" + as_json(RECORD) + b"\r\n\r\n",
    ],
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


def as_csv(*rows: dict) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_struct(value: object) -> str:
    """A value as Athena prints it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={as_struct(inside)}" for key, inside in value.items()) + "}"
    return "null" if value is None else str(value)


def lowered(value: object) -> object:
    if isinstance(value, dict):
        return {key.lower(): lowered(inside) for key, inside in value.items()}
    return value


CELLS = {
    "json": {key: json.dumps(value) if isinstance(value, dict) else value for key, value in RECORD.items()},
    "athena": {
        **{key.lower(): "" if value is None else value for key, value in RECORD.items()},
        "useridentity": as_struct(lowered(RECORD["userIdentity"])),
        "requestparameters": json.dumps(RECORD["requestParameters"]),
    },
    "lake": {key: as_struct(value) for key, value in RECORD.items()},
    "whole": {"eventTime": RECORD["eventTime"], "eventJson": json.dumps(RECORD, indent=1)},
    "logs": {"@timestamp": "1", "@message": json.dumps(RECORD)},
}


@pytest.mark.parametrize("form", CELLS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda raw: raw.decode().encode("utf-16")])
def test_the_rows_of_a_query_are_records_with_their_caller_and_parameters(tmp_path, form, pack):
    path = tmp_path / "result.csv"
    path.write_bytes(pack(as_csv(CELLS[form], CELLS[form])))
    for event in read_events(path):
        assert event["detail"]["requestParameters"] == RECORD["requestParameters"]
        assert event["detail"]["userIdentity"]["arn"] == RECORD["userIdentity"]["arn"]
        assert (event["source"], event["region"]) == ("aws.iam", RECORD["awsRegion"])


def test_a_folder_stands_for_its_files_of_events_and_a_dash_for_standard_input(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    for name in ("c.json", "b/a.json.gz", "b/read.me"):
        (tmp_path / name).write_bytes(gzip.compress(as_json(EVENT)))
    assert [str(path.relative_to(tmp_path)) for path in files_in(tmp_path)] == ["b/a.json.gz", "c.json"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnusableInputError, match=r"empty: has no \.json"):
        files_in(tmp_path / "empty")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(as_json(RECORD))))
    assert [event["detail"] for event in read_events(Path("-"))] == [RECORD]


def test_the_digests_of_a_trail_next_to_its_logs_are_passed_over(tmp_path):
    digest = tmp_path / "digest.json.gz"
    digest.write_bytes(gzip.compress(as_json({"digestStartTime": "2026-11-25T00:00:00Z", "logFiles": []})))
    assert read_events(digest, must=False) == []
    with pytest.raises(UnusableInputError, match="has no event"):
        read_events(digest)
    with pytest.raises(UnusableInputError, match="no file in it has an event"):
        next(replay_files([tmp_path]))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=60).map(lambda raw: gzip.compress(as_json(RECORD), mtime=0)[:12] + raw),
        st.text(max_size=60).map(str.encode),
        st.recursive(
            st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just(json.dumps(RECORD)), st.just(RECORD)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from([*HOLDERS, "QueryResultRows", "results", "field", "eventName", "detail-type"]),
                    inner,
                    max_size=3,
                ),
            ),
            max_leaves=8,
        ).map(as_json),
    )
)
def test_any_content_gives_events_or_one_line_that_names_the_file(tmp_path, content):
    said = "input.json: "
    try:
        assert read(tmp_path, content) != []
    except UnusableInputError as error:
        said = str(error)
    assert "input.json: " in said
    assert "\n" not in said


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
        (gzip.compress(as_json(RECORD), mtime=0)[:12] + b"x" * 40, "cannot be read"),
        (b"[" * 100_000, "more than 100 levels"),
        (b"[" * 400 + b"]" * 400, "more than 100 levels"),
        (
            as_json({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}]}),
            "download that",
        ),
        (as_json({"Message": json.dumps({"s3Bucket": "logs", "s3ObjectKey": ["a"]})}), "download that file"),
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

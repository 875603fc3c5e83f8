"""AWS's limits on the calls of Rolewarden: long lists, long names and characters of many bytes lose nothing."""

from datetime import UTC, datetime

from rolewarden.bindings import EXECUTION, USER_PROFILE, Binding, RoleKey
from rolewarden.cloudformation import answer_request
from rolewarden.confirm import confirmed_row
from rolewarden.history import History, HistoryTable
from rolewarden_local.aws import ACCOUNT_ID

from tests.handlers import deployment_request

WIDE = "\u65e5"
"""A character of three bytes in UTF-8, and of six in JSON's escaped form."""


def test_a_message_with_a_long_id_of_its_call_loses_no_row_of_the_history(world, counted):
    world.protected().queued()
    cause = {"event_name": "DetachRolePolicy", "event_id": "x" * 1024}
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

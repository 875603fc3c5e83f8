"""The history's sort key, and the history of a command without a deployed stack."""

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rolewarden.history import HistoryKey, NoHistory

AT = datetime(2027, 1, 15, 3, 0, 0, 250_000, tzinfo=UTC)

times = st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)
)
words = st.text(string.ascii_letters + string.digits + " -.", max_size=40)
keys = st.builds(HistoryKey, times, words, words, words)


@given(keys)
def test_a_key_is_read_unchanged(key):
    assert HistoryKey.of(key.text) == key
    assert HistoryKey.of(key.text).text == key.text


@given(keys, keys)
def test_keys_of_different_times_sort_in_the_table_as_their_times_do(one, other):
    assert one.time == other.time or (one.text < other.text) == (one.time < other.time)


def test_the_key_of_a_remediation_has_the_time_the_correlation_id_and_the_kind():
    key = HistoryKey(AT, "DetachRolePolicy.1a2b3c4d", "Role Remediated")
    assert key.text == "2027-01-15T03:00:00.250+00:00#DetachRolePolicy.1a2b3c4d#Role Remediated"


def test_the_key_of_a_row_without_a_correlation_id_has_an_empty_part():
    key = HistoryKey(AT, kind="Role Finding")
    assert key.text == "2027-01-15T03:00:00.250+00:00##Role Finding"
    assert HistoryKey.of(key.text) == key


@pytest.mark.parametrize(
    ("text", "origin"),
    [("2027-01-15T03:00:00.250+00:00", ""), ("2027-01-15T03:00:00.250+00:00#event-1", "event-1")],
)
def test_a_row_of_an_earlier_version_has_no_kind_in_its_key(text, origin):
    assert HistoryKey.of(text) == HistoryKey(AT, origin)
    assert HistoryKey.of(text).text == text


def test_a_hash_in_the_id_of_an_event_does_not_make_a_row_unreadable():
    assert HistoryKey.of(HistoryKey(AT, "a#b#c#d", "Role Finding").text).time == AT


def test_a_time_alone_is_less_than_every_key_of_that_time():
    assert HistoryKey(AT).text < HistoryKey(AT, "", "Role Finding").text
    assert HistoryKey(AT).text > HistoryKey(AT - timedelta(milliseconds=1), "z", "z", "z").text


def test_without_a_stack_no_history_is_kept():
    history = NoHistory()
    history.put([{"about": "a", "at": HistoryKey(AT).text}])
    history.put_events([("Role Finding", {})])
    assert not history.put_once({"about": "a", "at": HistoryKey(AT).text})
    assert (history.newest("a", 1), history.rows("a", AT)) == ([], [])

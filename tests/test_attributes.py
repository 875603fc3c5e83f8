"""DynamoDB's attribute values in boto3's format."""

from decimal import Decimal

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st
from rolewarden.attributes import attribute, plain

values = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(10**30), 10**30) | st.sets(st.text(), min_size=1, max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_an_item_is_written_as_boto3_writes_it_and_reads_back_unchanged(value):
    written = attribute(value)
    expected = TypeSerializer().serialize(value)
    assert _ordered(written) == _ordered(expected)
    assert plain(written) == TypeDeserializer().deserialize(expected) == value


def test_a_decimal_is_a_number_and_a_tuple_a_list():
    assert attribute(Decimal("1.50")) == {"N": "1.50"}
    assert attribute(("a", 1)) == {"L": [{"S": "a"}, {"N": "1"}]}


@pytest.mark.parametrize("value", [1.5, set(), {1}, b"bytes", object()])
def test_a_value_that_the_table_cannot_store_is_an_error(value):
    with pytest.raises(TypeError, match="DynamoDB does not store a"):
        attribute(value)


def test_a_type_that_is_never_written_is_an_error():
    with pytest.raises(TypeError, match="kind NS"):
        plain({"NS": ["1"]})


def _ordered(written):
    [(kind, found)] = written.items()
    if kind == "SS":
        return kind, sorted(found)
    if kind == "L":
        return kind, [_ordered(one) for one in found]
    return (kind, {name: _ordered(one) for name, one in found.items()}) if kind == "M" else (kind, found)

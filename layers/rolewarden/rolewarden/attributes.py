"""Conversion of plain values to DynamoDB's attribute values and back.

boto3 contains the same conversion (`boto3.dynamodb.types`), but the layer contains only botocore. boto3 would take more
time at each cold start than Rolewarden itself.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from decimal import Decimal
from typing import Any


def attribute(value: Any) -> dict[str, Any]:
    """The attribute value of a text, int, Decimal, bool, None, list, tuple, mapping, or set of texts.

    Raises TypeError for other types, for example a float, because the numbers of DynamoDB are decimal. It also raises
    TypeError for an empty set, which DynamoDB does not store.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | Decimal():
            return {"N": str(value)}
        case Mapping():
            return {"M": {name: attribute(one) for name, one in value.items()}}
        case list() | tuple():
            return {"L": [attribute(one) for one in value]}
        case Set() if value and all(isinstance(one, str) for one in value):
            return {"SS": sorted(value)}
    raise TypeError(f"DynamoDB does not store a {type(value).__name__} such as {value!r}")


def plain(attribute: Mapping[str, Any]) -> Any:
    """The plain value of an attribute value, the inverse of `attribute`. A number becomes a Decimal.

    Raises TypeError for a kind of attribute value that `attribute` does not make.
    """
    [(kind, value)] = attribute.items()
    match kind:
        case "NULL":
            return None
        case "BOOL" | "S":
            return value
        case "N":
            return Decimal(value)
        case "M":
            return {name: plain(one) for name, one in value.items()}
        case "L":
            return [plain(one) for one in value]
        case "SS":
            return set(value)
    raise TypeError(f"Rolewarden does not write attributes of kind {kind}")

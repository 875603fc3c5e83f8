"""DynamoDB's attribute values from plain ones and back.

boto3 has the same (`boto3.dynamodb.types`), but the layer carries botocore alone: boto3 would cost each cold start more
than all of Rolewarden.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from decimal import Decimal
from typing import Any


def attribute(value: Any) -> dict[str, Any]:
    """The attribute value of a text, number (DynamoDB's are decimal: no float), bool, None, list, mapping, set of text.

    Raises TypeError for anything else, an empty set too: DynamoDB has none.
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
    raise TypeError(f"DynamoDB keeps no {type(value).__name__}: {value!r}")


def plain(attribute: Mapping[str, Any]) -> Any:
    """The inverse; a number is a Decimal. Raises TypeError for a kind that `attribute` makes none of."""
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
    raise TypeError(f"an attribute of kind {kind} is none of Rolewarden's")

"""The JSON Schema of guardrails.yaml for editors, made from the classes of its rules.

A key of the file is a field of a class in `rolewarden.guardrails`, so a new field is a new key of the schema. The
descriptions are those of the tables in docs/reference/guardrails.md. An editor reads YAML with types, and Rolewarden
reads each value as text. The schema therefore accepts a number or a boolean for a text, such as the ID of an account
without quotes.

The schema is the draft that all editors support (draft-07). It describes each key for itself; `rolewarden check` also
compares keys with each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from rolewarden.forms import (
    ACCOUNT_ID,
    ACCOUNT_PATTERN,
    APPLICATION_PROFILE_ARN,
    BEDROCK_ARN,
    BEDROCK_GUARDRAIL_ARN,
    BEDROCK_PATTERN,
    DAY,
    GEOGRAPHY_NAME,
    GUARDRAIL_NAME,
    HUB,
    JUMPSTART_PATTERN,
    REGION_PATTERN,
    ROLE_ID,
    ROLE_PATTERN,
)
from rolewarden.guardrails import (
    AlsoGovern,
    Assignment,
    AssistantsRule,
    BedrockRule,
    Exemption,
    Guardrail,
    JumpStartRule,
    Mode,
    NeverGoverned,
    Rules,
)

Schema = dict[str, Any]

PAGE = Path(__file__).parent / "reference/guardrails.md"

NO_KEYS: Mapping[type, tuple[str, ...]] = {
    BedrockRule: ("kind", "patterns"),
    JumpStartRule: ("kind", "patterns"),
    AssistantsRule: ("kind",),
    Guardrail: ("name", "exempt_roles", "fixed_tags", "trusted_taggers", "except_users", "only_users"),
}
"""The fields that are not keys of the file: the reader makes them from other keys."""

FORMS: Mapping[tuple[type, str], str] = {
    (BedrockRule, "allow_arns"): BEDROCK_ARN,
    (BedrockRule, "profiles"): GEOGRAPHY_NAME,
    (BedrockRule, "regions"): REGION_PATTERN,
    (BedrockRule, "only_through"): APPLICATION_PROFILE_ARN,
    (BedrockRule, "require_bedrock_guardrail"): BEDROCK_GUARDRAIL_ARN,
    (JumpStartRule, "hubs"): HUB,
    (Guardrail, "pass_roles"): ROLE_PATTERN,
    (Assignment, "accounts"): ACCOUNT_PATTERN,
    (Assignment, "roles"): ROLE_PATTERN,
    (Exemption, "role"): ROLE_PATTERN,
    (Exemption, "account"): ACCOUNT_ID,
    (Exemption, "role_id"): ROLE_ID,
    (NeverGoverned, "role"): ROLE_PATTERN,
    (NeverGoverned, "account"): ACCOUNT_ID,
    (AlsoGovern, "roles"): ROLE_PATTERN,
}
"""The form of each text that has one."""

MODELS: Mapping[type, str] = {BedrockRule: BEDROCK_PATTERN, JumpStartRule: JUMPSTART_PATTERN}

MAY_BE_EMPTY = {(Assignment, "guardrails"), (Rules, "exemptions"), (Rules, "never_govern")}
"""The lists that can be empty."""

MAY_BE_NULL = {
    (Rules, "exemptions"),
    (Rules, "never_govern"),
    (Rules, "also_govern"),
    *((Exemption, key) for key in ("reason", "ticket", "approved_by")),
}
"""The keys that can stand without a value. A choice can, too, and then has its default."""


def rules_schema() -> Schema:
    """The JSON Schema of guardrails.yaml."""
    top = _object(Rules, "")
    top["properties"] = {"mode": _choice(Mode, Mode.ENFORCE, _described("mode")), **top["properties"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "guardrails.yaml of Rolewarden",
        **top,
    }


def _object(cls: type, path: str) -> Schema:
    properties = {key: _value(cls, key, hint, f"{path}{key}") for key, hint in _keys(cls)}
    defaults = getattr(cls, "_field_defaults", {})
    found: Schema = {
        "type": "object",
        "additionalProperties": False,
        "required": [key for key, _ in _keys(cls) if key not in defaults],
        "properties": properties,
    }
    if cls in MODELS:
        found["properties"] = {**_lists(cls, path), **properties}
        found["oneOf"] = [{"required": ["deny"]}, {"required": ["allow"]}]
    if cls is AssistantsRule:
        found |= {"required": ["deny"], "properties": {"deny": {"const": "all"}}}
    if cls is Guardrail:
        found["minProperties"] = 1
    return found


def _keys(cls: type) -> Iterator[tuple[str, Any]]:
    """The keys of a mapping of the file, each with the type of its value."""
    for name, hint in get_type_hints(cls).items():
        if name not in NO_KEYS.get(cls, ()):
            yield name, hint


def _lists(cls: type, path: str) -> Schema:
    """The two lists of models."""
    models = {"type": "array", "minItems": 1, "items": _text(rf"{MODELS[cls]}|[*?.]+|[Aa][Ll][Ll]")}
    return {
        "deny": {**_described(f"{path}deny"), "anyOf": [{"const": "all"}, models]},
        "allow": {
            **_described(f"{path}allow"),
            "anyOf": [{"type": "string", "pattern": r"^([Aa][Ll][Ll]|[*?.]+)$"}, models],
        },
    }


def _value(cls: type, key: str, hint: Any, path: str) -> Schema:
    told = _described(path)
    form = FORMS.get((cls, key), "")
    if (cls, key) == (Rules, "guardrails"):
        names = {f"^(?:{GUARDRAIL_NAME})$": _object(Guardrail, "guardrails.<name>.")}
        return {**told, "type": "object", "minProperties": 1, "additionalProperties": False, "patternProperties": names}
    found = _by_type(cls, key, hint, form, path)
    if "enum" in found:
        return {**told, **found}
    if (cls, key) in MAY_BE_NULL:
        types = found["type"] if isinstance(found["type"], list) else [found["type"]]
        found["type"] = [*types, "null"]
    return {**told, **found}


def _by_type(cls: type, key: str, hint: Any, form: str, path: str) -> Schema:
    arguments = [one for one in get_args(hint) if one is not NoneType]
    if NoneType in get_args(hint):
        return _by_type(cls, key, arguments[0], form, path)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _choice(hint, getattr(cls, "_field_defaults", {}).get(key), {})
    if get_origin(hint) is tuple:
        items = _text(form) if arguments[0] is str else _object(arguments[0], f"{path}[].")
        return {"type": "array", "items": items, **({} if (cls, key) in MAY_BE_EMPTY else {"minItems": 1})}
    if get_origin(hint) is not None:  # a mapping of texts
        return {"type": "object", "minProperties": 1, "additionalProperties": _text("", empty=True)}
    if hint is date:
        return {"type": "string", "pattern": f"^{DAY}$"}
    if hint is bool:
        return {"type": ["boolean", "string"]}
    if hint is str:
        return _text(form, empty=key in {"reason", "ticket", "approved_by"})
    return _object(hint, f"{path}.")


def _choice(kinds: type[StrEnum], default: StrEnum | None, told: Schema) -> Schema:
    value = {"default": default.value} if default is not None else {}
    return {**told, "enum": [*(kind.value for kind in kinds), None], **value}


def _text(form: str = "", *, empty: bool = False) -> Schema:
    found: Schema = {"type": ["string", "number", "boolean"]}
    if form:
        # JavaScript has no names of groups in the form of Python.
        found["pattern"] = f"^(?:{re.sub('[(][?]P<[a-z]+>', '(?:', form)})$"
    elif not empty:
        found["minLength"] = 1
    return found


def _described(path: str) -> Schema:
    text = descriptions().get(path, "")
    return {"description": text} if text else {}


def descriptions() -> dict[str, str]:
    """The descriptions of the page, by the path of the key, such as `exemptions[].role`."""
    found: dict[str, str] = {}
    head: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] if line.startswith("|") else []
        if not cells:
            head = []
        elif not head:
            head = cells
        elif not set(line) <= set("|-: "):
            for path in _paths(head, cells[0]):
                found.setdefault(path, _plain(head, cells))
    return found


def _paths(head: list[str], cell: str) -> Iterator[str]:
    """The keys that a row of a table is about."""
    base = ""
    for key in re.findall(r"`([^`]+)`", cell):
        if head[0] == "Option":
            yield f"guardrails.<name>.{key.partition(':')[0]}"
        elif head[:2] == ["Key", "Meaning"]:
            for family in ("bedrock", "jumpstart"):
                yield f"guardrails.<name>.{family}.{key.partition(':')[0]}"
        elif head[0] == "Key":
            path = f"{base.rpartition('.')[0]}{key}" if key.startswith(".") else key
            base = path
            yield path


def _plain(head: list[str], cells: list[str]) -> str:
    """The description in a row, without the marks of Markdown."""
    parts = cells[1:] if head[:2] == ["Option", "What stays usable"] else cells[-1:]
    if head[:2] == ["Option", "Default"]:
        values = zip(head[2:], cells[2:], strict=True)
        parts = [f"{name.rpartition(' ')[2].strip('`')}: {cell}" for name, cell in values if cell != "(not applicable)"]
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(parts))
    return text.replace("**", "").replace("`", "").strip()

"""Write the parts of docs/ that repeat what the code or the template says.

Run `make pages` after a change to an event, a reason, a command, a parameter, an alarm or a metric. In a page, this
script replaces the text between the comments `generated: NAME` and `end of generated text`. The rest of the page,
including the sample events, is written by hand.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import answers_schema
import census_page
import command_pages
import expected_rules
import local_pages
import prevention_page
import rules_schema
import template_pages
import verified_page
from rolewarden.origin import Cause, Trigger
from rolewarden.own_events import OWN_EVENTS, OwnEvent
from rolewarden.path import PathLink
from rolewarden.reach import PROBE_RECOMMENDATIONS
from rolewarden.reported import ReportedKind
from rolewarden.verdicts import RECOMMENDATIONS, Reason, Remediation, Verdict
from rolewarden_cli.drill import LINK_RECOMMENDATIONS
from rolewarden_cli.report.model import FindingKind

FOLDER = Path(__file__).parent
SHARED: dict[type, str] = {Cause: "cause", Verdict: "verdict", Remediation: "remediation", Trigger: "trigger"}
"""The types that several events have, with their names in the schema's `$defs`."""
PAGES = (
    "explanation/limits.md",
    "explanation/local-aws.md",
    "how-to/prevention.md",
    "reference/alarms.md",
    "reference/cli.md",
    "reference/events.md",
    "reference/exit-codes.md",
    "reference/findings.md",
    "reference/metrics.md",
    "reference/personal-data.md",
    "reference/parameters.md",
    "reference/verified.md",
)
"""The pages with generated blocks."""

BLOCK = re.compile(r"(<!-- generated: (?P<name>[^>]+) -->\n).*?(\n<!-- end of generated text -->)", re.DOTALL)


class Field(NamedTuple):
    """A field of a class: `hint` is its type, and `text` its description."""

    name: str
    hint: Any
    required: bool
    text: str


def texts(cls: type) -> dict[str, str]:
    """The docstring of each attribute that the body of `cls` or of one of its base classes assigns or annotates."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.split(".")[0] not in {"rolewarden", "rolewarden_cli"}:
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for statement, following in pairwise(ast.iter_child_nodes(definition)):
            match statement, following:
                case (
                    (ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)])),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
    return found


def fields(cls: type) -> Iterator[Field]:
    """The fields of an event's class or of a named tuple. A field without a description raises KeyError."""
    described = texts(cls)
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if name != "detail_type":
            # A named tuple has an attribute for each field.
            has_default = name in getattr(cls, "_field_defaults", ()) if issubclass(cls, tuple) else hasattr(cls, name)
            yield Field(name, hint, not has_default and NoneType not in get_args(hint), described[name])


def schema() -> dict[str, Any]:
    """The JSON Schema of all events."""
    names = [event.detail_type for event in OWN_EVENTS]
    shared = {
        name: {
            "description": _paragraph(cls),
            **({"enum": [value.value for value in cls]} if issubclass(cls, Enum) else _object(cls)),
        }
        for cls, name in SHARED.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rolewarden's events on the default bus",
        "type": "object",
        "required": ["source", "detail-type", "detail"],
        "properties": {"source": {"const": "rolewarden"}, "detail-type": {"enum": names}},
        "oneOf": [
            {"properties": {"detail-type": {"const": name}, "detail": {"$ref": f"#/$defs/{_key(name)}"}}}
            for name in names
        ],
        "$defs": shared
        | {
            _key(event.detail_type): {
                "title": event.detail_type,
                "description": " ".join(_docstring(event).split()),
                **_object(event),
            }
            for event in OWN_EVENTS
        },
    }


def _key(detail_type: str) -> str:
    return detail_type.replace(" ", "")


def _docstring(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "")


def _paragraph(cls: type) -> str:
    return " ".join(_docstring(cls).partition("\n\n")[0].split())


def _object(cls: type) -> dict[str, Any]:
    found = list(fields(cls))
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [field.name for field in found if field.required],
        "properties": {field.name: {**_type(field.hint), "description": field.text} for field in found},
    }


def _type(hint: Any) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *keywords = arguments
        return _type(base) | {key: value for some in keywords for key, value in some.items()}
    if NoneType in arguments:
        [one] = [argument for argument in arguments if argument is not NoneType]
        return _type(one)
    if origin is Literal:
        [value] = arguments
        return {"const": value.value if isinstance(value, Enum) else value}
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _type(arguments[1])}
    if hint in SHARED:
        return {"$ref": f"#/$defs/{SHARED[hint]}"}
    if hint is int:
        return {"type": "integer", "minimum": 0}
    return {"type": "string"} if hint is str else _object(hint)


def _table(cls: type, prefix: str = "") -> str:
    rows = ["| field | present | type | meaning |", "|---|---|---|---|"] if not prefix else []
    for field in fields(cls):
        described = _type(field.hint)
        present = "always" if field.required else "if not empty"
        rows.append(f"| `{prefix}{field.name}` | {present} | {_word(described)} | {field.text}{_values(described)} |")
        if "properties" in described.get("items", {}):
            rows.append(_table(get_args(get_args(field.hint)[0])[0], f"{field.name}[]."))
    return "\n".join(rows)


def _word(described: Mapping[str, Any]) -> str:
    match described:
        case {"$ref": "#/$defs/cause"}:
            return "[cause](#cause)"
        case {"const": bool()}:
            return "boolean"
        case {"type": "array", "items": {"type": kind}}:
            return f"list of {kind}s"
        case {"type": kind}:
            return str(kind)
    return "string"


def _values(described: Mapping[str, Any]) -> str:
    match described:
        case {"$ref": "#/$defs/cause"}:
            return ""
        case {"$ref": shared}:
            values: list[str] = next(
                [value.value for value in cls]
                for cls, name in SHARED.items()
                if issubclass(cls, Enum) and shared.endswith(f"/{name}")
            )
        case {"enum": list(values)} | {"additionalProperties": {"enum": list(values)}}:
            pass
        case {"const": value}:
            return f" Always `{json.dumps(value).strip(chr(34))}`."
        case _:
            return ""
    return f" One of {', '.join(f'`{value}`' for value in values)}."


def _event(event: type[OwnEvent]) -> str:
    return f"{_docstring(event)}\n\n{_table(event)}"


def _reasons() -> str:
    meanings = texts(Reason)
    rows = ["| reason | meaning | recommended action |", "|---|---|---|"]
    for reason in Reason:
        advice = RECOMMENDATIONS.get(reason, "no action is needed")
        rows.append(f"| {reason} | {_linked(meanings[reason.name])} | {_linked(advice)} |")
    return "\n".join(rows)


def _kinds(cls: type[Enum], heading: str) -> str:
    meanings = texts(cls)
    rows = [f"| {heading} | meaning |", "|---|---|"]
    return "\n".join(rows + [f"| {kind.value} | {_linked(meanings[kind.name])} |" for kind in cls])


def _probes() -> str:
    rows = ["| `rolewarden doctor` reports | recommended action |", "|---|---|"]
    return "\n".join(rows + [f"| {probe} | {_linked(advice)} |" for probe, advice in PROBE_RECOMMENDATIONS.items()])


def _links() -> str:
    rows = ["| link | meaning | recommended action |", "|---|---|---|"]
    meanings = texts(PathLink)
    rows += [f"| {link.value} | {meanings[link.name]} | {_linked(LINK_RECOMMENDATIONS[link])} |" for link in PathLink]
    return "\n".join(rows)


def _linked(text: str) -> str:
    """The text with a link in place of each `docs/PAGE.md, HEADING`, for a page in docs/reference."""
    return re.sub(
        r"docs/(?P<page>[\w/-]+\.md), (?P<heading>\w[\w -]*\w)",
        lambda found: f"[{found['heading']}](../{found['page']}#{found['heading'].lower().replace(' ', '-')})",
        text,
    )


BLOCKS: dict[str, Callable[[], str]] = {
    **{event.detail_type: partial(_event, event) for event in OWN_EVENTS},
    "cause": partial(_table, Cause),
    "local AWS": local_pages.table,
    "open paths": census_page.open_paths,
    "prevention figures": prevention_page.figures,
    "reasons": _reasons,
    "reported kinds": partial(_kinds, ReportedKind, "kind"),
    "report findings": partial(_kinds, FindingKind, "finding"),
    "probes": _probes,
    "links": _links,
    "shared options": command_pages.shared_options,
    "commands": command_pages.command_sections,
    "exit codes": command_pages.exit_codes,
    "conditions": command_pages.conditions,
    "parameters": template_pages.parameters,
    "alarms": template_pages.alarms,
    "metrics": template_pages.metrics,
    "kept data": template_pages.kept,
    "verified kinds": verified_page.kinds,
    "verified unsettled": verified_page.unsettled,
    "verified claims": verified_page.all_claims,
}
"""The text of each generated block of a page, by its name."""


def _filled(page: str) -> str:
    return BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found['name']]()}\n{found[3]}", page)


def generated() -> dict[Path, str]:
    """The expected text of each file."""
    pages = {name: (FOLDER / name).read_text(encoding="utf-8") for name in PAGES}
    return {
        expected_rules.FILE: expected_rules.text(),
        expected_rules.DEFINITIONS: expected_rules.definitions_text(),
        FOLDER / "reference/events.schema.json": json.dumps(schema(), indent=2) + "\n",
        FOLDER / "reference/answers.schema.json": json.dumps(answers_schema.answers_schema(), indent=2) + "\n",
        FOLDER / "reference/guardrails.schema.json": json.dumps(rules_schema.rules_schema(), indent=2) + "\n",
        **{FOLDER / name: _filled(page) for name, page in pages.items()},
    }


def main() -> None:
    """Write the files that are stale, and print their names."""
    for path, text in generated().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(FOLDER.parent)} is rewritten\n")


if __name__ == "__main__":
    main()

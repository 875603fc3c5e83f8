"""The figures of docs/how-to/prevention.md: the size of the service control policies of two files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from rolewarden.guardrails import Rules
from rolewarden.guardrails_file import read_yaml
from rolewarden.packing import SCP_SIZE
from rolewarden.prevention import SLOTS, Scope, compile_prevention

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "layers" / "guardrails" / "guardrails.yaml"
HOW_TO = ROOT / "docs" / "how-to" / "prevention.md"


def figures() -> str:
    """A table with a row for each file and scope."""
    head = (
        f"| File | Scope | SCPs (of {SLOTS}) | Characters (of {SCP_SIZE:,} each) | Statements |\n|---|---|---|---|---|"
    )
    return "\n".join([head, *_rows()])


def _rows() -> Iterator[str]:
    shipped = _rules(SHIPPED.read_text(encoding="utf-8"))
    [example] = re.findall(r"```yaml\n(guardrails:.*?)```", HOW_TO.read_text(encoding="utf-8"), flags=re.DOTALL)
    files = {
        "the shipped `guardrails.yaml`": shipped,
        "the same without its exemption": shipped._replace(exemptions=()),
        "the five assignments above": _rules(example),
    }
    for name, rules in files.items():
        for scope in Scope:
            policies = compile_prevention(rules, "aws", scope).policies
            sizes = ", ".join(f"{len(policy.text):,}" for policy in policies)
            statements = sum(len(policy.document["Statement"]) for policy in policies)
            yield f"| {name} | `{scope}` | {len(policies)} | {sizes} | {statements} |"


def _rules(text: str) -> Rules:
    # The day decides only about warnings.
    reading = read_yaml(text, today=date(2026, 1, 1))
    if reading.rules is None:
        raise ValueError(reading.errors)
    return reading.rules

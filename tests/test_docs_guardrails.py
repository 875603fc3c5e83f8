"""The pages about guardrails.yaml match the compiler."""

from __future__ import annotations

import json
import re
from datetime import date
from itertools import chain
from pathlib import Path

import pytest
from rolewarden.guardrails import (
    AlsoGovern,
    Assignment,
    BedrockRule,
    Exemption,
    Guardrail,
    JumpStartRule,
    NeverGoverned,
    Rules,
)
from rolewarden.guardrails_file import read_yaml
from rolewarden.packing import POLICY_SIZE, SCP_SIZE, size
from rolewarden.policies import SID_FAMILIES, compile_rules
from rolewarden_cli import protect
from rolewarden_cli.protect import Protection
from rolewarden_cli.rules import left_open

from tests.guardrails.probes import PAGE, REQUESTS, emitted_sids
from tests.stacks import deployed, translated, whole

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE_TEXT = (DOCS / "reference/guardrails.md").read_text(encoding="utf-8")
RECIPE_TEXT = (DOCS / "how-to/write-guardrails.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```yaml\n(.*?)```(?:\n\n```json\n(.*?)```)?", RECIPE_TEXT, flags=re.DOTALL)


def emitted(text: str) -> list[dict[str, object]]:
    reading = read_yaml(text, today=date(2026, 1, 1))
    assert reading.rules is not None, reading.errors
    assert reading.warnings == ()
    return list(chain.from_iterable(policy.document["Statement"] for policy in compile_rules(reading.rules, "aws")))


@pytest.mark.parametrize(("text", "shown"), RECIPES)
def test_a_recipe_compiles_to_the_statements_on_the_page(text: str, shown: str) -> None:
    statements = emitted(text)
    for statement in json.loads(f"[{shown}]"):
        assert statement in statements


def test_the_page_has_recipes() -> None:
    assert len(RECIPES) == 16
    assert sum(bool(shown) for _, shown in RECIPES) == 11


def test_the_recipe_against_all_generative_ai_names_each_path_that_stays_open() -> None:
    section = RECIPE_TEXT.partition("## Deny all generative AI\n")[2].partition("\n## ")[0]
    [text] = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    reading = read_yaml(text, today=date(2026, 1, 1))
    assert reading.rules is not None
    [guardrail] = reading.rules.guardrails.values()
    options = [re.findall(r"\(`([\w.]+)`\)", path) for path in left_open(guardrail)]
    assert re.findall(r"\(`([\w.]+)`\)", section) == list(chain.from_iterable(options))


def test_the_table_of_access_paths_has_each_statement_and_no_other() -> None:
    table = PAGE_TEXT.partition("## Access paths")[2]
    told = set(
        re.findall(
            rf"`((?:{'|'.join(SID_FAMILIES)})\w*)`",
            "\n".join(re.findall(r"^\| (.*?) \|", table, flags=re.MULTILINE)),
        )
    )
    assert told == emitted_sids()
    assert all(sid.startswith(SID_FAMILIES) for sid in emitted_sids())


def test_the_page_has_the_number_of_probes_that_run() -> None:
    assert f"{len(REQUESTS) * len(PAGE['guardrails']):,} probes" in PAGE_TEXT


def test_reference_has_every_option_of_a_guardrail() -> None:
    options = {*Guardrail._fields, *BedrockRule._fields, *JumpStartRule._fields} - {"name", "kind", "patterns"}
    options -= {"exempt_roles", "fixed_tags", "except_users", "only_users"}  # They come from the rest of the file.
    for option in options:
        assert re.search(rf"[`.]{option}[`:]", PAGE_TEXT), option


def test_the_reference_has_every_key_of_the_file_and_no_other() -> None:
    table = PAGE_TEXT.partition("## Reference")[2].partition("\n\nWithin an assignment")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
    named = {re.split(r"[.\]>]", key)[-1] for cell in cells for key in re.findall(r"`([^`]+)`", cell)}
    below = {
        *Guardrail._fields, *Assignment._fields, *Exemption._fields, *AlsoGovern._fields, *NeverGoverned._fields
    }  # fmt: skip
    below -= {"name", "exempt_roles", "fixed_tags", "except_users", "only_users"}
    assert named == {"mode", *Rules._fields, *below} - {"also_govern"}  # It has its own keys there.


def test_the_companion_policy_of_the_page_is_the_one_that_the_command_prints() -> None:
    section = (DOCS / "how-to/scp.md").read_text(encoding="utf-8")
    [deployer] = re.findall(r"rolewarden scp --deployer (\S+)", section)
    [printed] = re.findall(r"```json\n(.*?)\n```", section, flags=re.DOTALL)
    protection = Protection(deployed(whole()), (deployer,))
    document = protection.service_control_policy()
    assert printed == protect.text(document)
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == [s["Sid"] for s in document["Statement"]]
    text = " ".join(section.split())
    alone = Protection(deployed(translated()), (deployer,))
    assert (
        f"{SCP_SIZE:,} characters since May 2026. "
        f"This one has {size(document):,} characters without white space" in text
    )
    assert f"the SCP of a stack with one account and region has {size(alone.service_control_policy()):,}" in text
    assert f"({size(protection.boundary()):,} of the {POLICY_SIZE:,}" in text
    assert f"--policy-name {protect.BOUNDARY_NAME} " in section


def test_the_readme_shows_the_guardrails_and_assignments_of_the_shipped_file() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(# layers/guardrails/guardrails.yaml.*?)```", readme, flags=re.DOTALL)
    shipped = (DOCS.parent / "layers/guardrails/guardrails.yaml").read_text(encoding="utf-8")
    assert shown
    of_readme, of_file = (read_yaml(text, today=date(2026, 1, 1)).rules for text in (shown[1], shipped))
    assert of_readme is not None
    assert of_file is not None
    assert of_readme.assignments == of_file.assignments
    without_exemptions = {name: rule._replace(exempt_roles=()) for name, rule in of_file.guardrails.items()}
    assert of_readme.guardrails == without_exemptions

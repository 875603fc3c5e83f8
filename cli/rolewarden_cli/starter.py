"""The guardrails.yaml that `rolewarden init` writes: its text, made from the answers and the content of an account.

Domains, roles and models have names that callers choose. The text has them only after a comparison with their form, and
every name in a comment is visible and on one line.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from rolewarden.forms import GEOGRAPHY, GUARDRAIL_NAME
from rolewarden.guardrails import Mode
from rolewarden.plaintext import visible

BEDROCK_ID = re.compile(r"[a-z0-9-]{1,63}\.[a-z0-9.:-]{1,256}", re.ASCII)
"""The form of the ID of one Bedrock model, without wildcards."""

JUMPSTART_ID = re.compile(r"[A-Za-z0-9._-]{1,256}", re.ASCII)
"""The form of the ID of one JumpStart model, without wildcards."""

DOMAIN_ID = re.compile(r"d-[a-z0-9]{1,61}", re.ASCII)
"""The form of the ID of a domain."""

MOST_NAMES = 3
"""The number of roles that a comment names."""

LONGEST_NAME = 60
"""Characters of a name in a comment, and of a domain's name in the name of a guardrail."""

SCHEMA = "../../docs/reference/guardrails.schema.json"
"""The path of the JSON Schema from the folder of the file, if the folder has the files of the stack."""


class Usable(StrEnum):
    """The models of a family that stay usable: those that a domain used, none, or any."""

    USED = "used"
    NONE = "none"
    ANY = "any"


class UsableAnswers(StrEnum):
    """Whether the answers of AWS's assistants stay usable."""

    NONE = "none"
    ANY = "any"


@dataclass(frozen=True)
class Choices:
    """The answers to the questions of `rolewarden init`."""

    mode: Mode = Mode.OBSERVE
    bedrock: Usable = Usable.USED
    jumpstart: Usable = Usable.USED
    assistants: UsableAnswers = UsableAnswers.NONE

    @property
    def restrict(self) -> bool:
        """Whether a guardrail denies anything."""
        return not (self.bedrock is self.jumpstart is Usable.ANY and self.assistants is UsableAnswers.ANY)


@dataclass(frozen=True)
class UsedModel:
    """A model that roles of a group of domains called.

    - `calls`, `last`: the number of calls, and the day of the last one.
    - `roles`: the names of the roles.
    """

    id: str
    calls: int
    last: date
    roles: tuple[str, ...]


class FoundDomain(NamedTuple):
    """A domain of the account."""

    id: str
    name: str
    region: str


@dataclass(frozen=True)
class DomainGroup:
    """Domains that share roles, so that each of them gets the guardrails of the others.

    - `roles`: the names of their roles.
    - `bedrock`, `jumpstart`: the models that these roles called.
    - `hidden`: the names in calls that the file cannot have, for example the ARN of a custom model.
    """

    domains: tuple[FoundDomain, ...]
    roles: tuple[str, ...] = ()
    bedrock: tuple[UsedModel, ...] = ()
    jumpstart: tuple[UsedModel, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundAccount:
    """The findings of `rolewarden init` in an account.

    - `since`: the day from which on CloudTrail's event history was read. None if it was not read.
    - `unread`: a line for each part that could not be read.
    """

    account: str
    regions: tuple[str, ...]
    groups: tuple[DomainGroup, ...]
    since: date | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class StartingFile:
    """The text of a guardrails.yaml.

    - `found`: None for a file that is written without an account.
    - `has_schema`: whether the folder of the file leads to the JSON Schema.
    - `by_provider`: whether an allow list has every model of a provider, because the single models need too many
      policies.
    """

    answers: Choices
    today: date
    found: FoundAccount | None = None
    has_schema: bool = False
    by_provider: bool = False

    @property
    def text(self) -> str:
        """The whole file."""
        return "\n".join([*self._top(), *self._guardrails(), *self._assignments(), *_REST]) + "\n"

    @property
    def denying(self) -> str:
        """The name of the guardrail for subjects of no group, made from the families that it denies."""
        denied = [family for family, choice in self._choices if choice is not Usable.ANY]
        if len(denied) == 2:
            return "deny-generative-ai"
        return f"deny-{denied[0]}" if denied else "deny-assistants"

    @property
    def groups(self) -> tuple[DomainGroup, ...]:
        """The groups that get a guardrail of their own, because they used models that stay usable."""
        groups = self.found.groups if self.found else ()
        return tuple(group for group in groups if self._allowed(group))

    def _allowed(self, group: DomainGroup) -> dict[str, tuple[UsedModel, ...]]:
        """The models of a group that its guardrail allows, by family."""
        used = {"bedrock": group.bedrock, "jumpstart": group.jumpstart}
        return {family: used[family] for family, choice in self._choices if choice is Usable.USED and used[family]}

    @property
    def _choices(self) -> tuple[tuple[str, Usable], ...]:
        return ("bedrock", self.answers.bedrock), ("jumpstart", self.answers.jumpstart)

    def _top(self) -> Iterator[str]:
        if self.has_schema:
            yield f"# yaml-language-server: $schema={SCHEMA}"
        yield "# Which generative AI models the users of SageMaker Canvas can reach. Rolewarden keeps the guardrails of"
        yield "# this file, which are sets of deny policies, attached to the roles that Canvas uses."
        yield "#"
        yield from self._origin()
        yield "# After an edit, run `rolewarden check`, which names mistakes. Then run `rolewarden plan`, which shows"
        yield "# the effect in an account."
        yield ""
        if self.answers.mode is Mode.OBSERVE:
            yield "# observe: Rolewarden reports the roles that lack a guardrail, and changes no role. If the reports"
            yield "# of some days show only effects that you want, write `enforce`."
        else:
            yield "# enforce: Rolewarden attaches the guardrails. With `observe`, it only reports missing guardrails."
        yield f"mode: {self.answers.mode.value}"

    def _origin(self) -> Iterator[str]:
        if self.found is None:
            yield f"# `rolewarden init` wrote this file on {self.today} without an account."
            return
        regions, account = ", ".join(map(comment, self.found.regions)), comment(self.found.account)
        yield f"# `rolewarden init` wrote this file on {self.today} from account {account} in {regions}."
        if self.found.since:
            yield f"# The models are those of the calls in CloudTrail's event history from {self.found.since} on. Every"
            yield "# caller who can use a role of a domain can add calls to it, so read each list before you deploy."
        for line in self.found.unread:
            yield f"# Not read: {comment(line, 90)}"

    def _guardrails(self) -> Iterator[str]:
        yield ""
        yield "# The name of a guardrail becomes the name of an IAM policy under /rolewarden/. Choose the names"
        yield "# before you deploy: a later rename makes a new policy."
        yield "guardrails:"
        yield f"  {self.denying}:"
        yield "    # Canvas keeps working for these users, except for its features of generative AI."
        yield from self._families({})
        for group in self.groups:
            yield ""
            yield f"  {self._names[group.domains]}:"
            names = _named([domain.name or domain.id for domain in group.domains])
            yield f"    # The models that the roles of {names} called."
            yield "    # Remove the models that these users must not reach, and add those that they will need."
            yield from self._families(self._allowed(group))
            for hidden in group.hidden:
                yield f"    # Denied, because the record does not show its model: {comment(hidden, 120)}"
        if not self.groups:
            yield from _EXAMPLE_GUARDRAIL

    def _families(self, allowed: Mapping[str, Sequence[UsedModel]]) -> Iterator[str]:
        for family, choice in self._choices:
            if family in allowed:
                yield f"    {family}:"
                yield "      allow:"
                yield from self._patterns(allowed[family])
            elif choice is not Usable.ANY:
                yield f"    {family}: {{deny: all}}"
        if self.answers.assistants is UsableAnswers.NONE:
            yield "    assistants: {deny: all}   # the answers of AWS's assistants, for example Amazon Q in Canvas"

    def _patterns(self, used: Iterable[UsedModel]) -> Iterator[str]:
        if self.by_provider:
            for pattern in sorted({_provider_pattern(one.id) for one in used}):
                yield f'        - "{pattern}"'
            return
        for one in used:
            calls = f"{one.calls:,} call{'s' * (one.calls != 1)}, last on {one.last}"
            yield f'        - "{one.id}"   # {calls}, by {_named(one.roles)}'

    def _assignments(self) -> Iterator[str]:
        yield from ("", "# The first assignment that matches a domain or user profile decides. The last one must match")
        yield "# every domain and user profile."
        yield "assignments:"
        for group in self.groups:
            yield f"  - guardrails: [{self._names[group.domains]}]"
            yield "    domains:"
            for domain in group.domains:
                yield f'      - "{domain.id}"   # {comment(domain.name)} in {comment(domain.region)}'
        yield f"  - guardrails: [{self.denying}]"

    @cached_property
    def _names(self) -> dict[tuple[FoundDomain, ...], str]:
        """The name of each group's guardrail, by its domains. IAM compares names without regard to case.

        No name ends in a number, because the second policy of the guardrail NAME is NAME-2.
        """
        named: dict[tuple[FoundDomain, ...], str] = {}
        taken = {self.denying}
        for group in self.groups:
            first = group.domains[0]
            plain = re.sub(r"[^A-Za-z0-9]+", "-", first.name).strip("-")[:LONGEST_NAME] or first.id
            more = f"-and-{len(group.domains) - 1}-more" if len(group.domains) > 1 else ""
            numbered = (f"{first.id}-{number}" for number in itertools.count(2))
            names = (f"allow-{text}{more}-models-only" for text in itertools.chain((plain, first.id), numbered))
            name = next(one for one in names if re.fullmatch(GUARDRAIL_NAME, one) and one.lower() not in taken)
            taken.add(name.lower())
            named[group.domains] = name
        return named


def comment(text: str, most: int = LONGEST_NAME) -> str:
    """A text of AWS for a comment: visible, on one line, and not longer than `most` characters."""
    shown = visible(text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(comment(name) for name in names[:MOST_NAMES])
    return shown + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _provider_pattern(model: str) -> str:
    """The pattern of all models of a provider (Bedrock) or of a source (JumpStart)."""
    separator = "." if BEDROCK_ID.fullmatch(model) and "." in model else "-"
    return f"{model.partition(separator)[0]}{separator}*"


def model_id(called: str) -> str:
    """The ID of the Bedrock model that a call names by its ID, a profile or an ARN. Empty if it hides the model."""
    kind, _, name = called.rpartition("/")
    if kind and not re.search(r":(foundation-model|inference-profile)$", kind):
        return ""
    name = re.sub(f"^{GEOGRAPHY}", "", name)
    return name if BEDROCK_ID.fullmatch(name) else ""


_EXAMPLE_GUARDRAIL = (
    "",
    "  # A guardrail that allows some models and denies all others. To use it, remove each `#` of the block, write",
    "  # your models, and add an assignment for the domains that get it.",
    "  # allow-approved-models:",
    "  #   bedrock: {allow: [amazon.nova-*, anthropic.claude-sonnet-4*]}",
    "  #   jumpstart: {deny: all}",
    "  #   assistants: {deny: all}",
)

_REST = (
    "",
    "# The blocks below do nothing until you remove their `#`.",
    "",
    "# A role that needs no guardrail until the end of a day:",
    "# exemptions:",
    "#   - role: CanvasBreakGlass",
    '#     account: "111122223333"',
    "#     until: 2030-01-31",
    '#     reason: "break-glass access, ticket SEC-123"',
    "",
    "# Roles to which Rolewarden attaches nothing, even if a domain names them:",
    "# never_govern:",
    "#   - role: payments-*",
    "",
    "# Roles that get guardrails although no domain uses them:",
    "# also_govern:",
    "#   trusting: [sagemaker.amazonaws.com]",
    "",
    "# A permissions boundary for roles that have no room for another policy. Deploy it with the parameter",
    "# Fallback=boundary:",
    "# fallback: boundary",
)
"""The end of the file: settings that an operator may need later."""

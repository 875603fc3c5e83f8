"""`rolewarden init`: read the domains, roles and models in use of an account, and write a guardrails.yaml for them."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from rolewarden.bindings import Binding
from rolewarden.check import Checked, check
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.guardrails import Rules
from rolewarden.known import KnownModels, known_models
from rolewarden.names import folded
from rolewarden.vocabulary import JUMPSTART_TAGS

from rolewarden_cli import inventory, shipped
from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Progress, ignore_progress
from rolewarden_cli.observed import Made, ObservedCalls
from rolewarden_cli.rollout import Turns, turns_in
from rolewarden_cli.starter import (
    DOMAIN_ID,
    JUMPSTART_ID,
    Choices,
    DomainGroup,
    FoundAccount,
    FoundDomain,
    StartingFile,
    UsedModel,
    model_id,
)

BEDROCK_CALLS = ("InvokeModel", "InvokeModelWithResponseStream", "Converse", "ConverseStream")
"""The names of the events of a call to a Bedrock model. They are management events:
https://docs.aws.amazon.com/bedrock/latest/userguide/logging-using-cloudtrail.html"""

JUMPSTART_CALLS = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")
"""The names of the events by which Canvas and Studio deploy a JumpStart model."""

MOST_PAGES = 100
"""The number of pages of CloudTrail's event history that `init` reads for each name of an event in each region."""

STACK_FILES = (
    "template.yaml",
    "forwarder.yaml",
    "samconfig.toml",
    "functions",
    "layers/guardrails/Makefile",
    "layers/guardrails/build.py",
    "layers/guardrails/requirements.txt",
    "layers/rolewarden/Makefile",
    "layers/rolewarden/bom.py",
    "layers/rolewarden/packages.py",
    "layers/rolewarden/requirements.txt",
    "layers/rolewarden/trim.py",
    "docs/reference/guardrails.schema.json",
)
"""The files and folders that `sam build` and `sam deploy` need, without the package of the layer."""

PACKAGE = "layers/rolewarden/rolewarden"
"""The folder of the package of the layer. A wheel installs the same package for the command."""


class ExistsError(RolewardenError):
    """A file exists, and the user did not allow to replace it; the message names the option."""


class UnusableStartError(RolewardenError):
    """Each file that `init` can write fails its check; the message has the next step."""


@dataclass
class _Use:
    calls: int = 0
    last: date = date.min
    roles: set[str] = field(default_factory=set)


@dataclass
class Uses:
    """The models that the roles of a group of domains called.

    `hidden`: the names in calls that a file cannot allow: an ARN that hides its model, or a model that no list has.
    """

    hidden: set[str] = field(default_factory=set)
    by_family: dict[str, dict[str, _Use]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(_Use)))

    def add(self, family: str, name: str, called: str, listed: Collection[str], made: Made, role: str) -> None:
        """Count calls of the model `name`, which the caller named as `called`."""
        if name not in listed:
            self.hidden.add(called)
            return
        use = self.by_family[family][name]
        use.calls += made.count
        use.last = max(use.last, made.last.date())
        use.roles.add(role)

    def of(self, family: str) -> tuple[UsedModel, ...]:
        """The models of a family, in the order of their IDs."""
        return tuple(
            UsedModel(name, use.calls, use.last, tuple(sorted(use.roles)))
            for name, use in sorted(self.by_family[family].items())
        )


def read_account(
    connection: Connection, rules: Rules, since: datetime | None, progress: Progress = ignore_progress
) -> FoundAccount:
    """Read the domains, their roles, and the models that these called since a time; without a time, no models.

    A part that AWS refuses becomes a line of the result. Raises Refused if IAM refuses its list of roles, and
    RetryLater.
    """
    found = inventory.take(connection, rules, progress)
    groups, unread = [*grouped(found.bindings)], [*found.unread]
    calls = ObservedCalls(since or found.at)
    for region in connection.regions if since else ():
        unread += _read_calls(connection, region, calls, turns_in(connection.place), progress)
    uses = counted_uses(calls, connection.account, [roles for _, roles in groups], _listed_models(connection))
    return FoundAccount(
        connection.account,
        connection.regions,
        tuple(
            DomainGroup(domains, roles, used.of("bedrock"), used.of("jumpstart"), tuple(sorted(used.hidden)))
            for (domains, roles), used in zip(groups, uses, strict=True)
        ),
        since.date() if since else None,
        tuple(unread),
    )


def grouped(bindings: Iterable[Binding]) -> Iterator[tuple[tuple[FoundDomain, ...], tuple[str, ...]]]:
    """The domains, together with those that share a role with them, and the roles of each group.

    A role that several domains use needs the guardrails of all of them. Two allow lists on one role allow only the
    models of both, so domains that share a role get one list.
    """
    domains: dict[tuple[str, str], FoundDomain] = {}
    leader: dict[tuple[str, str], tuple[str, str]] = {}
    user: dict[str, tuple[str, str]] = {}
    roles: dict[tuple[str, str], set[str]] = defaultdict(set)

    def first(key: tuple[str, str]) -> tuple[str, str]:
        while leader[key] != key:
            key = leader[key]
        return key

    for binding in bindings:
        if not DOMAIN_ID.fullmatch(binding.domain_id):
            continue
        key = binding.region, binding.domain_id
        known = domains.get(key)
        if known is None or not known.name:
            domains[key] = FoundDomain(binding.domain_id, binding.domain_name, binding.region)
        leader.setdefault(key, key)
        if binding.role and binding.role.account == binding.account:
            name = binding.role.name
            roles[key].add(name)
            leader[first(key)] = first(user.setdefault(folded(name), key))
    together: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for key in sorted(domains, key=lambda each: (domains[each].name, each)):
        together[first(key)].append(key)
    for keys in together.values():
        yield tuple(domains[key] for key in keys), tuple(sorted({name for key in keys for name in roles[key]}))


def _listed_models(connection: Connection) -> KnownModels:
    """The models that Bedrock offers here, together with those that were known when this version was made."""
    known = known_models()
    live: set[str] = set(known.bedrock)
    for region in connection.regions:
        try:
            live |= {*connection.calls.foundation_models(region)}
        except (Refused, RetryLater):
            continue
    return known._replace(bedrock=tuple(sorted(live)))


def _read_calls(
    connection: Connection, region: str, calls: ObservedCalls, turns: Turns, progress: Progress
) -> Iterator[str]:
    """Read the calls of one region. Gives a line for each part of the history that was not read."""
    names = (*BEDROCK_CALLS, *JUMPSTART_CALLS)
    for number, name in enumerate(names):
        progress(f"event history of {region}", number, len(names))
        try:
            pages = connection.calls.event_history(region, "EventName", name, calls.since, turns.take)
            for count, page in enumerate(pages, start=1):
                for record in page:
                    calls.add(record)
                if count == MOST_PAGES:
                    yield f"calls of {name} in {region} before the newest {MOST_PAGES * 50:,}: add their models by hand"
                    break
        except (Refused, RetryLater) as error:
            yield f"event history of {region}: {error}"
            break
    progress(f"event history of {region}", len(names), len(names))


def counted_uses(
    calls: ObservedCalls, account: str, groups: Sequence[tuple[str, ...]], listed: KnownModels
) -> list[Uses]:
    """The models that the roles of each group called, in the order of `groups`, which are the names of roles."""
    by_role = {folded(role): number for number, roles in enumerate(groups) for role in roles}
    found = [Uses() for _ in groups]
    for call, made in calls.made.items():
        role = call.principal.rpartition("/")[2]
        number = by_role.get(folded(role))
        if number is None or f"::{account}:role/" not in call.principal or call.service not in {"bedrock", "sagemaker"}:
            continue
        uses = found[number]
        for called in call.models if call.service == "bedrock" else ():
            uses.add("bedrock", model_id(called), called, listed.bedrock, made, role)
        for called in dict.fromkeys(value for key, value in call.tags if key in JUMPSTART_TAGS):
            name = called if JUMPSTART_ID.fullmatch(called) else ""
            uses.add("jumpstart", name, called, listed.jumpstart, made, role)
    return found


def starting_file(answers: Choices, found: FoundAccount | None, today: date, *, has_schema: bool) -> StartingFile:
    """A file that passes `rolewarden check`. Raises UnusableStartError if no attempt does.

    If single models need more policies than a role can have, the lists have the providers of these models instead. If
    these are too many, too, the file allows no model.
    """
    whole = StartingFile(answers, today, found, has_schema=has_schema)
    ungrouped = replace(found, groups=()) if found else None
    attempts = (whole, replace(whole, by_provider=True), replace(whole, found=ungrouped))
    for attempt in attempts:
        checked = _checked(attempt.text, today)
        if not checked.errors:
            return attempt
    raise UnusableStartError(
        f"the file would have an error: {checked.errors[0]}: run `rolewarden init --without-account`, and report this"
    )


def _checked(text: str, today: date) -> Checked:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guardrails.yaml"
        path.write_text(text, encoding="utf-8")
        return check(path, today=today, known=known_models())


def write_new_file(path: Path, text: str, *, replaces: bool) -> None:
    """Write a file. Raises ExistsError if it exists and `replaces` is false, also if another program just made it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExistsError(f"{path.parent}: cannot be made: {error.strerror}: name a file in another folder") from None
    try:
        with path.open("w" if replaces else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ExistsError(f"{path} exists: give --force to replace it, or name another file") from None
    except OSError as error:
        raise ExistsError(f"{path}: cannot be written: {error.strerror}: name another file") from None


def stack_files() -> Iterator[tuple[Path, Path]]:
    """The files of the stack: each with its path in the folder of the user. guardrails.yaml is not among them."""
    for name in STACK_FILES:
        source = shipped.ROOT / name
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield file, Path(name) / file.relative_to(source) if source.is_dir() else Path(name)
    package = Path(str(files("rolewarden")))
    for file in sorted(package.rglob("*")):
        if file.is_file() and file.suffix in {".py", ".json"}:
            yield file, Path(PACKAGE) / file.relative_to(package)


def write_stack(folder: Path, *, replaces: bool) -> int:
    """Write the files of the stack, and return their number. Raises ExistsError before the first one is written.

    A file that exists with the same content is no obstacle.
    """
    wanted = [*stack_files()]
    if not replaces:
        for source, name in wanted:
            target = folder / name
            if target.exists() and target.read_bytes() != source.read_bytes():
                raise ExistsError(f"{target} exists with another content: give --force to replace it")
    for source, name in wanted:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return len(wanted)


def no_rules(today: date) -> Rules:
    """Rules by which every domain and user profile is a subject, for an account without a guardrails.yaml."""
    checked = _checked(StartingFile(Choices(), today).text, today)
    if checked.rules is None:
        raise UnusableStartError(f"the starting file has an error: {checked.errors[0]}: report this")
    return checked.rules


def start_of_history(days: int, now: datetime | None = None) -> datetime | None:
    """The time from which on the event history is read. None if no day is read."""
    return (now or datetime.now(UTC)) - timedelta(days=days) if days else None

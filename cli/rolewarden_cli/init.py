"""`rolewarden init`: read the domains, roles and models in use of an account, and write a guardrails.yaml for them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from rolewarden.bindings import Binding
from rolewarden.check import Checked, check
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.events import mapping
from rolewarden.guardrails import Rules
from rolewarden.known import KnownModels, known_models
from rolewarden.names import folded
from rolewarden.vocabulary import JUMPSTART_TAGS

from rolewarden_cli import inventory, shipped
from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Progress, ignore_progress
from rolewarden_cli.starter import (
    DOMAIN_ID,
    JUMPSTART_ID,
    Answers,
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

BETWEEN_REQUESTS = 0.5
"""Seconds between two requests, because CloudTrail takes two a second in each region of an account."""

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
    """No file that `init` can write passes its check; the message says what to do."""


@dataclass
class _Use:
    calls: int = 0
    last: date = date.min
    roles: set[str] = field(default_factory=set)


@dataclass
class _Uses:
    """The models that the roles of a group of domains called, by family and ID."""

    by_family: dict[str, dict[str, _Use]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(_Use)))
    hidden: set[str] = field(default_factory=set)

    def of(self, family: str) -> tuple[UsedModel, ...]:
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
    groups = [*grouped(found.bindings)]
    unread = [*found.unread]
    uses: dict[int, _Uses] = defaultdict(_Uses)
    if since:
        by_role = {folded(role): number for number, (_, roles) in enumerate(groups) for role in roles}
        listed = _listed_models(connection)
        for region in connection.regions:
            unread += _read_uses(connection, region, since, by_role, uses, listed, progress)
    return FoundAccount(
        connection.account,
        connection.regions,
        tuple(
            DomainGroup(
                domains,
                roles,
                uses[number].of("bedrock"),
                uses[number].of("jumpstart"),
                tuple(sorted(uses[number].hidden)),
            )
            for number, (domains, roles) in enumerate(groups)
        ),
        since.date() if since else None,
        tuple(unread),
    )


def grouped(bindings: Iterable[Binding]) -> Iterator[tuple[tuple[FoundDomain, ...], tuple[str, ...]]]:
    """The domains, together with those that share a role with them, and the roles of each group.

    A role that several domains use needs the guardrails of all of them. Two allow lists on one role allow only what
    both have, so domains that share a role get one list.
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


def _read_uses(
    connection: Connection,
    region: str,
    since: datetime,
    by_role: Mapping[str, int],
    uses: Mapping[int, _Uses],
    listed: KnownModels,
    progress: Progress,
) -> Iterator[str]:
    """Count the calls of one region. Gives a line for each part of the history that was not read."""
    names = (*BEDROCK_CALLS, *JUMPSTART_CALLS)
    turn = Turns(BETWEEN_REQUESTS).take
    for number, name in enumerate(names):
        progress(f"event history of {region}", number, len(names))
        try:
            pages = connection.calls.event_history(region, "EventName", name, since, turn)
            for count, page in enumerate(pages, start=1):
                for record in page:
                    _count(record, connection.account, by_role, uses, listed)
                if count == MOST_PAGES:
                    yield f"calls of {name} in {region} before the newest {MOST_PAGES * 50:,}: add models by hand"
                    break
        except (Refused, RetryLater) as error:
            yield f"CloudTrail's event history of {region}: {error}"
            break
    progress(f"event history of {region}", len(names), len(names))


@dataclass
class Turns:
    """Waits between two requests, so that they are not too many."""

    between: float
    _next: float = 0.0

    def take(self) -> None:
        """Wait for the turn of the next request."""
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + self.between


def _count(
    record: Mapping[str, Any],
    account: str,
    by_role: Mapping[str, int],
    uses: Mapping[int, _Uses],
    listed: KnownModels,
) -> None:
    """Count a call that succeeded, if a role of a group made it."""
    identity = mapping(record.get("userIdentity"))
    issuer = mapping(mapping(identity.get("sessionContext")).get("sessionIssuer"))
    arn = str(issuer.get("arn") or "")
    role = arn.rpartition("/")[2]
    if record.get("errorCode") or f"::{account}:role/" not in arn or folded(role) not in by_role:
        return
    uses_of_group = uses[by_role[folded(role)]]
    parameters = mapping(record.get("requestParameters"))
    day = str(record.get("eventTime", ""))[:10]
    try:
        last = date.fromisoformat(day)
    except ValueError:
        return
    if record.get("eventName") in BEDROCK_CALLS:
        called = str(parameters.get("modelId") or "")
        name, family, known = model_id(called), "bedrock", listed.bedrock
    else:
        called = next(_jumpstart_ids(parameters), "")
        name, family, known = called if JUMPSTART_ID.fullmatch(called) else "", "jumpstart", listed.jumpstart
    if not called:
        return
    if name not in known:
        uses_of_group.hidden.add(called)
        return
    use = uses_of_group.by_family[family][name]
    use.calls += 1
    use.last = max(use.last, last)
    use.roles.add(role)


def _jumpstart_ids(parameters: Mapping[str, Any]) -> Iterator[str]:
    tags = parameters.get("tags")
    for tag in tags if isinstance(tags, list) else ():
        if mapping(tag).get("key") in JUMPSTART_TAGS:
            yield str(mapping(tag).get("value") or "")


def starting_file(answers: Answers, found: FoundAccount | None, today: date, *, has_schema: bool) -> StartingFile:
    """A file that passes `rolewarden check`. Raises UnusableStartError if no attempt does.

    If single models need more policies than a role can have, the lists have the providers of these models instead. If
    these are too many, too, the file allows no model.
    """
    whole = StartingFile(answers, today, found, has_schema=has_schema)
    bare = replace(found, groups=()) if found else None
    attempts = (whole, replace(whole, by_provider=True, _names={}), replace(whole, found=bare, _names={}))
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


def write_file(path: Path, text: str, *, replaces: bool) -> None:
    """Write a file. Raises ExistsError if it exists and `replaces` is false, also if another program just made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


Ask = Callable[[str, str], str]
"""A function that asks a question with a default answer, and gives the answer."""


def no_rules(today: date) -> Rules:
    """Rules by which every domain and user profile is a subject, for an account without a guardrails.yaml."""
    checked = _checked(StartingFile(Answers(), today).text, today)
    if checked.rules is None:
        raise UnusableStartError(f"the starting file has an error: {checked.errors[0]}: report this")
    return checked.rules


def start_of_history(days: int, now: datetime | None = None) -> datetime | None:
    """The time from which on the event history is read. None if no day is read."""
    return (now or datetime.now(UTC)) - timedelta(days=days) if days else None

"""The settings that the template passes to a function. The function reads and checks them at its cold start."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from rolewarden.clock import Clock
from rolewarden.errors import RulesError, SettingsError
from rolewarden.guardrails import Fallback
from rolewarden.guardrails_file import load
from rolewarden.history import HistoryTable
from rolewarden.listed import CentralPath
from rolewarden.observing import banner_of


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that all functions for roles and policies have. A subclass adds those of one function.

    - `account`: the account of the function. The function works in other accounts only if the stack covers an
      organization.
    - `member_role`: the name of the role that the function assumes in a member account. Empty without an organization.
    - `bindings_table`: the name of the bindings table.
    - `history`: the history table.
    - `guardrails_file`: the path of the compiled rules.
    - `stack_id`: the ARN of the function's stack.
    """

    account: str
    member_role: str
    bindings_table: str
    history: HistoryTable
    guardrails_file: Path
    stack_id: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings of this class, and no others, from environment variables. Raises SettingsError."""
        return cls(**{field.name: _READERS[field.name](environment) for field in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class EnforceSettings(Settings):
    """The settings of EnforceFunction and ReconcileFunction.

    - `recheck_seconds`: the delay of a recheck, 0 to 900 seconds: the range that SQS allows.
    - `own_roles`: the names of the functions' roles, which `also_govern` does not cover.
    - `regions`: the regions whose domains the stack covers.
    - `drill_role`: the name of DrillFunction's role.
    """

    work_queue_url: str
    recheck_seconds: int
    own_roles: frozenset[str]
    regions: tuple[str, ...]
    drill_role: str


@dataclass(frozen=True, kw_only=True)
class PublishSettings(Settings):
    """The settings of PublishFunction; see EnforceSettings.

    - `fallback`: the fallback for which the functions of the stack have permissions.
    """

    publish_queue_url: str
    sweep_queue_url: str
    recheck_seconds: int
    regions: tuple[str, ...]
    fallback: Fallback


@dataclass(frozen=True, kw_only=True)
class DetachSettings(Settings):
    """The settings of DetachFunction; see EnforceSettings. `member_stack_set` and `call_as` are as in SweepSettings."""

    work_queue_url: str
    recheck_seconds: int
    own_roles: frozenset[str]
    regions: tuple[str, ...]
    member_stack_set: str
    call_as: str


@dataclass(frozen=True, kw_only=True)
class SweepSettings(Settings):
    """The settings of SweepFunction; see EnforceSettings.

    - `member_stack_set`, `call_as`: the StackSet that covers the member accounts, and how StackSets is called. Empty
      without an organization.
    - `central_bus`: the ARN of the event bus for events of other regions and accounts. Empty if no other sends events.
    - `sweep_seconds`: the seconds from one scheduled sweep to the next.
    - `drill_limit_minutes`: the minutes after which a drill that was not heard is missed.
    - `organization_id`: the ID of the organization; empty without one.
    - `path`: the parts of the central stack through which events pass.
    """

    sweep_queue_url: str
    work_queue_url: str
    detach_queue_url: str
    publish_queue_url: str
    own_roles: frozenset[str]
    regions: tuple[str, ...]
    member_stack_set: str
    call_as: str
    central_bus: str
    sweep_seconds: int
    drill_limit_minutes: int
    organization_id: str
    path: CentralPath


@dataclass(frozen=True, kw_only=True)
class DrillSettings:
    """The settings of DrillFunction; see Settings and EnforceSettings.

    - `drill_limit_minutes`: the minutes in which no second full drill of an account begins.
    """

    account: str
    member_role: str
    bindings_table: str
    stack_id: str
    regions: tuple[str, ...]
    drill_limit_minutes: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables. Raises SettingsError."""
        return cls(**{field.name: _READERS[field.name](environment) for field in fields(cls)})


def central_path(environment: Mapping[str, str]) -> CentralPath:
    """The parts of the central stack through which events pass. Raises SettingsError."""
    forwarded = environment.get("FORWARDED_RULE", "")
    return CentralPath(
        function=_text(environment, "ENFORCE_FUNCTION"),
        subjects_rule=_text(environment, "SUBJECTS_RULE"),
        roles_rule=_text(environment, "ROLES_RULE"),
        # CloudFormation's physical ID of a rule on a bus is the name of the bus, a line and the name of the rule.
        forwarded_rule=forwarded.rpartition("|")[2],
        queue=_text(environment, "EVENTS_DEAD_LETTER_QUEUE"),
    )


def history(environment: Mapping[str, str]) -> HistoryTable:
    """The history table. Raises SettingsError."""
    return HistoryTable(_text(environment, "HISTORY_TABLE"), _number(environment, "HISTORY_DAYS", 1, 3653))


@dataclass(frozen=True)
class AlertSettings:
    """The settings of AlertFunction. `regions`, `member_stack_set` and `call_as` are as in SweepSettings.

    - `account`: the function's own account.
    - `member_role`: the name of the function's role in other accounts. Empty if it cannot enter any.
    - `topic`: the ARN of the alarm topic.
    - `alerts_table`, `bindings_table`: the names of the tables.
    - `queues`: the name of the queue of each event source mapping, as `queues_of_mappings` gives it.
    - `runbook`: the URL of the runbook, or the name of its file.
    - `banner`: the line that names the guardrails in observe mode; empty without one.
    """

    account: str
    member_role: str
    topic: str
    alerts_table: str
    bindings_table: str
    history: HistoryTable
    regions: tuple[str, ...]
    member_stack_set: str
    call_as: str
    queues: Mapping[str, str]
    runbook: str
    banner: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables. Raises SettingsError."""
        names = ("account", "member_role", "bindings_table", "history", "regions", "member_stack_set", "call_as")
        return cls(
            banner=_banner(environment),
            topic=alarm_topic(environment),
            alerts_table=_text(environment, "ALERTS_TABLE"),
            queues=queues_of_mappings(environment),
            runbook=_text(environment, "RUNBOOK_URL"),
            **{name: _READERS[name](environment) for name in names},
        )


def _banner(environment: Mapping[str, str]) -> str:
    """The line that names the guardrails in observe mode. Empty if the rules cannot be used: alerts come without it."""
    try:
        return banner_of(load(_guardrails_file(environment), today=Clock().today()))
    except (RulesError, SettingsError, OSError):
        return ""


def alarm_topic(environment: Mapping[str, str]) -> str:
    """The ARN of the alarm topic, to which AlertFunction sends. Raises SettingsError."""
    return _text(environment, "ALARM_TOPIC_ARN")


def own_account(environment: Mapping[str, str]) -> str:
    """The account of the function. Raises SettingsError."""
    return _text(environment, "ACCOUNT_ID")


def queues_of_mappings(environment: Mapping[str, str]) -> dict[str, str]:
    """The name of the queue of each event source mapping, by the mapping's ID in lower case. Raises SettingsError."""
    pairs = (pair.partition("=") for pair in _text(environment, "EVENT_SOURCES").split(","))
    return {mapping.lower(): queue for mapping, _, queue in pairs}


def own_operations(environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The ARN of the own stack, and its StackSets with how each is called. Raises SettingsError."""
    stack_sets = {}
    if name := environment.get("FORWARDERS_STACK_SET"):
        stack_sets[name] = "SELF"
    if name := environment.get("MEMBER_STACK_SET"):
        stack_sets[name] = _text(environment, "CALL_AS")
    return _text(environment, "STACK_ID"), stack_sets


def _text(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise SettingsError(f"the environment variable {name} is not set: template.yaml sets it")
    return environment[name]


def _number(environment: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = _text(environment, name)
    if not re.fullmatch("[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise SettingsError(f"the environment variable {name} is `{text}`: give a number from {low} to {high}")
    return int(text)


def _guardrails_file(environment: Mapping[str, str]) -> Path:
    """GUARDRAILS_FILE if it is set (not on Lambda), otherwise the file of GuardrailsLayer."""
    if environment.get("GUARDRAILS_FILE"):
        return Path(environment["GUARDRAILS_FILE"])
    spec = importlib.util.find_spec("rolewarden_rules")
    if spec is None or spec.origin is None:
        raise SettingsError("no guardrails found: add GuardrailsLayer to the function, or set GUARDRAILS_FILE")
    return Path(spec.origin).with_name("guardrails.json")


_READERS: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "account": lambda found: _text(found, "ACCOUNT_ID"),
    "stack_id": lambda found: _text(found, "STACK_ID"),
    "fallback": lambda found: Fallback(_text(found, "FALLBACK")),
    "member_role": lambda found: found.get("MEMBER_ROLE", ""),
    "bindings_table": lambda found: _text(found, "BINDINGS_TABLE"),
    "history": history,
    "guardrails_file": _guardrails_file,
    "work_queue_url": lambda found: _text(found, "WORK_QUEUE_URL"),
    "sweep_queue_url": lambda found: _text(found, "SWEEP_QUEUE_URL"),
    "detach_queue_url": lambda found: _text(found, "DETACH_QUEUE_URL"),
    "publish_queue_url": lambda found: _text(found, "PUBLISH_QUEUE_URL"),
    "recheck_seconds": lambda found: _number(found, "RECHECK_SECONDS", 0, 900),
    "sweep_seconds": lambda found: _number(found, "SWEEP_SECONDS", 60, 7 * 24 * 3600),
    "own_roles": lambda found: frozenset(_text(found, "OWN_ROLES").split(",")),
    "regions": lambda found: tuple(dict.fromkeys(_text(found, "REGIONS").replace(" ", "").split(","))),
    "member_stack_set": lambda found: found.get("MEMBER_STACK_SET", ""),
    "call_as": lambda found: found.get("CALL_AS", ""),
    "central_bus": lambda found: found.get("CENTRAL_BUS", ""),
    "drill_role": lambda found: _text(found, "DRILL_ROLE"),
    "drill_limit_minutes": lambda found: _number(found, "DRILL_LIMIT_MINUTES", 1, 720),
    "organization_id": lambda found: found.get("ORGANIZATION_ID", ""),
    "path": central_path,
}
"""The function that reads each setting, by the name of the field."""

"""What the template tells a function, read once and checked at its cold start."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rolewarden.errors import SettingsError
from rolewarden.history import HistoryTable


class Settings(NamedTuple):
    """The environment of a function.

    - `account`: the account that the function is deployed in. It works in others only if the stack covers an
      organization.
    - `member_role`, `member_stack_set`, `call_as`: the name of the role by which the function enters a member account,
      the StackSet that creates this role there, and how StackSets is called. Empty without an organization.
    - `regions`: the regions in which the function looks for domains.
    - `central_bus`: the ARN of the event bus for events of other regions and accounts. Empty if none send events.
    - `recheck_seconds`: the delay of a recheck, 0 to 900 seconds, which is what SQS allows.
    - `own_roles`: the names of the functions' roles, which `also_govern` leaves out.
    """

    account: str
    bindings_table: str
    history: HistoryTable
    work_queue_url: str
    sweep_queue_url: str
    detach_queue_url: str
    publish_queue_url: str
    guardrails_file: Path
    recheck_seconds: int
    own_roles: frozenset[str]
    regions: tuple[str, ...]
    member_role: str = ""
    member_stack_set: str = ""
    call_as: str = ""
    central_bus: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """From environment variables. Raises SettingsError."""
        return cls(
            account=_text(environment, "ACCOUNT_ID"),
            bindings_table=_text(environment, "BINDINGS_TABLE"),
            history=history(environment),
            work_queue_url=_text(environment, "WORK_QUEUE_URL"),
            sweep_queue_url=_text(environment, "SWEEP_QUEUE_URL"),
            detach_queue_url=_text(environment, "DETACH_QUEUE_URL"),
            publish_queue_url=_text(environment, "PUBLISH_QUEUE_URL"),
            guardrails_file=_guardrails_file(environment),
            recheck_seconds=_number(environment, "RECHECK_SECONDS", 0, 900),
            own_roles=frozenset(_text(environment, "OWN_ROLES").split(",")),
            regions=tuple(dict.fromkeys(_text(environment, "REGIONS").replace(" ", "").split(","))),
            member_role=environment.get("MEMBER_ROLE", ""),
            member_stack_set=environment.get("MEMBER_STACK_SET", ""),
            call_as=environment.get("CALL_AS", ""),
            central_bus=environment.get("CENTRAL_BUS", ""),
        )


def history(environment: Mapping[str, str]) -> HistoryTable:
    """The history table. Raises SettingsError."""
    return HistoryTable(_text(environment, "HISTORY_TABLE"), _number(environment, "HISTORY_DAYS", 1, 3653))


def alarm_topic(environment: Mapping[str, str]) -> str:
    """The ARN of the topic that people listen to: all that AlertFunction needs. Raises SettingsError."""
    return _text(environment, "ALARM_TOPIC_ARN")


def _text(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise SettingsError(f"the environment variable {name} is not set: template.yaml sets it")
    return environment[name]


def _number(environment: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = _text(environment, name)
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingsError(f"the environment variable {name} is `{text}`: give a number from {low} to {high}")
    return int(text)


def _guardrails_file(environment: Mapping[str, str]) -> Path:
    """GUARDRAILS_FILE where it is set (not on Lambda), else what GuardrailsLayer carries."""
    if environment.get("GUARDRAILS_FILE"):
        return Path(environment["GUARDRAILS_FILE"])
    spec = importlib.util.find_spec("rolewarden_rules")
    if spec is None or spec.origin is None:
        raise SettingsError("there are no guardrails here: the function needs GuardrailsLayer, or GUARDRAILS_FILE")
    return Path(spec.origin).with_name("guardrails.json")

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

    `account` is the one that the function is deployed in; what happens in another is its business only where the stack
    covers an organization: then `member_role` is the name of the role by which the function enters, and `members` the
    StackSet that puts it there, looked at as `call_as`. `regions` are those that domains are looked for in, and
    `central_bus` the ARN of the bus that events of elsewhere come to, where there is an elsewhere.
    `recheck_seconds` (0 to 900, what SQS can delay) pass before a mended role is looked at again; `own_roles`
    are the names of the functions' roles, which `also_govern` leaves out.
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
    members: str = ""
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
            members=environment.get("MEMBERS", ""),
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

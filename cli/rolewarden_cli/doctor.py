"""The checks of `rolewarden doctor`: everything that can only be seen on the deployed stack, a line for each check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from packaging.version import InvalidVersion, Version
from rolewarden import __version__
from rolewarden.errors import Refused
from rolewarden.events import mapping as as_mapping
from rolewarden.guardrails import Rules
from rolewarden.in_force import equal_texts
from rolewarden.reach import PREVENTION
from rolewarden.verdicts import RECOMMENDATIONS, Reason
from rolewarden.work import DOCTOR, RULES

from rolewarden_cli.connect import Connection
from rolewarden_cli.documents import Document
from rolewarden_cli.organization import member_accounts
from rolewarden_cli.protect import OPERATOR_WORK
from rolewarden_cli.scps import read_control_policies
from rolewarden_cli.stack import DEPLOY, OtherRulesError, StackRules, asked

ALARM, RULE, MAPPING = "AWS::CloudWatch::Alarm", "AWS::Events::Rule", "AWS::Lambda::EventSourceMapping"
QUEUE, FUNCTION, STACK_SET = "AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::CloudFormation::StackSet"

STATUSES = {"SUCCEEDED", "CURRENT"}
"""The statuses of a stack instance whose last operation succeeded (CloudFormation API Reference, StackInstance)."""

OF_STACK = {"OUTDATED", "INOPERABLE"}
"""The statuses of a stack that an operation did not update or delete."""

RUNNING = {"PENDING", "RUNNING"}
"""The statuses of a stack instance while an operation works on it."""

BESIDE_WORKERS = 8
"""Executions that the functions need at the same time, in addition to `Concurrency` for each of SweepFunction and
ReconcileFunction: DetachFunction and PublishFunction take two messages at a time, and the other functions one event."""


class Level(StrEnum):
    """The result of a check. A warning needs a look, and perhaps no action."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """A check and its result.

    - `what`: the part that was checked.
    - `account`, `region`: its place. Empty for the stack as a whole.
    - `message`: the problem, or what is in order. `recommendation` is empty if the level is OK.
    """

    level: Level
    what: str
    account: str = ""
    region: str = ""
    message: str = ""
    recommendation: str = ""


def checks(connection: Connection, rules: Rules | None) -> Iterator[Check]:
    """Make all checks. `rules` are those of the local file, None without a file. Raises RetryLater.

    A check that AWS refuses has failed, because nothing shows that the part works.
    """
    for what, check in (
        ("version", partial(_version, connection)),
        ("rules", partial(_rules, connection, rules)),
        ("subscriptions", partial(_subscriptions, connection)),
        ("alarms", partial(_alarms, connection)),
        ("dead-letter queues", partial(_queues, connection)),
        ("schedules and rules", partial(_triggers, connection)),
        ("functions", partial(_functions, connection)),
        ("StackSets", partial(_stack_sets, connection)),
        ("operator", partial(_operator, connection)),
        ("event path", partial(_probes, connection)),
        (PREVENTION, partial(_texts, connection, rules)),
    ):
        yield from _refusals_as_failures(what, check)


def _refusals_as_failures(what: str, check: Callable[[], Iterable[Check]]) -> list[Check]:
    try:
        return list(check())
    except (Refused, OtherRulesError) as refused:
        return [Check(Level.FAIL, what, message=f"could not be checked: {refused}", recommendation=ALLOW)]


ALLOW = "let your role make this call"


def _found(what: str, problems: list[Check], in_order: str) -> list[Check]:
    """The problems, or one line that says what is in order."""
    return problems or [Check(Level.OK, what, message=in_order)]


def _of(connection: Connection, kind: str) -> dict[str, str]:
    """The physical IDs of the stack's resources of a type, by logical ID."""
    return {logical: physical for logical, found, physical in connection.deployed().resources if found == kind}


def _version(connection: Connection) -> list[Check]:
    """Whether the stack has the version of this command, which reads its tables and judges by the same code."""
    what = "version"
    function = _of(connection, FUNCTION).get("SweepFunction", "")
    answer = connection.calls.run(function, {"step": RULES}) if function else {}
    deployed = as_mapping(answer).get("version")
    if deployed == __version__:
        return [Check(Level.OK, what, message=f"the stack and this command have version {deployed}")]
    stack = _as_version(deployed)
    if stack is None or stack < Version(__version__):
        has = f"has version {deployed}" if stack else "does not say its version"
        message = f"the stack {has}, and this command is for {__version__}"
        fix = f"upgrade the stack (docs/how-to/upgrade.md) with `{DEPLOY}` in the files of version {__version__}"
    else:
        message = f"the stack has version {stack}, and this command is for {__version__}"
        fix = f"install the command of the stack: `pipx install --force ./rolewarden-{stack}-py3-none-any.whl`"
    return [Check(Level.FAIL, what, message=message, recommendation=fix)]


def _as_version(answer: object) -> Version | None:
    """A version that a function answered. None if it is no version."""
    try:
        return Version(answer) if isinstance(answer, str) else None
    except InvalidVersion:
        return None


def _rules(connection: Connection, rules: Rules | None) -> list[Check]:
    what = "rules"
    if rules is None:
        message, fix = "no local file to compare the deployed rules with", "name the file with --guardrails"
        return [Check(Level.WARN, what, message=message, recommendation=fix)]
    state = asked(connection, rules)
    if state is StackRules.SAME:
        return [Check(Level.OK, what, message="the deployed rules equal the local file")]
    message = "the deployed rules differ from the local file"
    if state is not StackRules.OTHER:
        message = "the stack does not say which rules it runs"
    fix = f"deploy the file with `{DEPLOY}`, or name the deployed file with --guardrails"
    return [Check(Level.FAIL, what, message=message, recommendation=fix)]


def _subscriptions(connection: Connection) -> list[Check]:
    what = "subscriptions"
    topic = _of(connection, "AWS::SNS::Topic").get("AlarmTopic", "")
    confirmed = connection.calls.subscriptions(topic)
    pending = f"{confirmed.count(False)} of {len(confirmed)} subscriptions are not confirmed"
    confirm = "confirm the subscription by the link in the email from AWS, or delete it"
    if any(confirmed):
        problems = [Check(Level.WARN, what, message=pending, recommendation=confirm)] if not all(confirmed) else []
        return _found(what, problems, f"{len(confirmed)} confirmed subscriptions get the alarms")
    if confirmed:
        return [Check(Level.FAIL, what, message=f"alarms have no receiver: {pending}", recommendation=confirm)]
    fix = f"set the parameter AlarmEmail and deploy, or run `aws sns subscribe --topic-arn {topic}`"
    return [
        Check(Level.FAIL, what, message="alarms have no receiver: the topic has no subscription", recommendation=fix)
    ]


def _alarms(connection: Connection) -> list[Check]:
    what = "alarms"
    names, topic = _of(connection, ALARM), _of(connection, "AWS::SNS::Topic").get("AlarmTopic", "")
    found = {alarm.name: alarm for alarm in connection.calls.alarms(sorted(names.values()))}
    problems = []
    for logical, name in sorted(names.items()):
        alarm = found.get(name)
        runbook = f"follow docs/how-to/runbook.md, {_runbook(logical)}"
        if alarm is None:
            problems.append(Check(Level.FAIL, what, message=f"{logical} does not exist", recommendation=RESTORE_STACK))
        elif topic not in alarm.notifies:
            fix = f"run `aws cloudwatch enable-alarm-actions --alarm-names {name}`, or restore the stack"
            problems.append(Check(Level.FAIL, what, message=f"{logical} does not notify the topic", recommendation=fix))
        elif alarm.state == "ALARM":
            problems.append(Check(Level.FAIL, what, message=f"{logical} is in ALARM", recommendation=runbook))
        elif alarm.state == "INSUFFICIENT_DATA" and alarm.needs_data:
            fix = f"after a deployment, run it again in 30 minutes; otherwise {runbook}"
            problems.append(Check(Level.FAIL, what, message=f"{logical} has no data", recommendation=fix))
    return _found(what, problems, f"{len(names)} alarms notify the topic, and none is in ALARM")


RESTORE_STACK = "restore the stack (docs/how-to/runbook.md, Restore the stack)"


def _runbook(logical: str) -> str:
    """The heading of the runbook about an alarm: all functions share one for errors and one for throttles."""
    return next(
        (name for name in ("DeadLettersHeldAlarm", "ErrorsAlarm", "ThrottlesAlarm") if logical.endswith(name)), logical
    )


def _queues(connection: Connection) -> list[Check]:
    what = "dead-letter queues"
    names = {logical: url for logical, url in _of(connection, QUEUE).items() if logical.endswith("DeadLetterQueue")}
    problems = []
    for logical, url in sorted(names.items()):
        waiting = connection.aws.messages_in(connection.aws.region, url.rpartition("/")[2])
        if waiting is None:
            problems.append(Check(Level.FAIL, what, message=f"{logical} does not exist", recommendation=RESTORE_STACK))
        elif waiting:
            fix = f"follow docs/how-to/runbook.md, {logical}Alarm"
            problems.append(Check(Level.FAIL, what, message=f"{logical} has {waiting} messages", recommendation=fix))
    return _found(what, problems, f"{len(names)} queues are empty")


def _triggers(connection: Connection) -> list[Check]:
    """The schedules and rules, and the mappings by which functions read their queues."""
    what = "schedules and rules"
    problems = []
    rules, mappings = _of(connection, RULE), _of(connection, MAPPING)
    for logical, physical in sorted(rules.items()):
        # CloudFormation gives a rule of another bus than the default one as `BUS|RULE`. Not verified: that it always
        # does, so a name alone may be that of a rule on any bus of the stack.
        bus, _, name = physical.rpartition("|")
        buses = [bus] if bus else ["default", *_of(connection, "AWS::Events::EventBus").values()]
        if not any(connection.calls.is_rule_enabled(name, each) for each in buses):
            fix = (
                f"run `aws events enable-rule --event-bus-name {bus or 'default'} --name {name}`, or restore the stack"
            )
            message = f"{logical} is disabled or does not exist"
            problems.append(Check(Level.FAIL, what, message=message, recommendation=fix))
    for logical, mapping in sorted(mappings.items()):
        if not connection.calls.is_mapping_enabled(mapping):
            fix = f"run `aws lambda update-event-source-mapping --uuid {mapping} --enabled`, or restore the stack"
            message = f"{logical} does not read its queue"
            problems.append(Check(Level.FAIL, what, message=message, recommendation=fix))
    return _found(what, problems, f"{len(rules) + len(mappings)} schedules, rules and mappings are enabled")


def _functions(connection: Connection) -> list[Check]:
    what = "functions"
    problems = []
    functions = _of(connection, FUNCTION)
    for logical, name in sorted(functions.items()):
        if connection.calls.reserved_concurrency(name) == 0:
            fix = f"run `aws lambda delete-function-concurrency --function-name {name}`"
            message = f"{logical} cannot run: its reserved concurrency is 0"
            problems.append(Check(Level.FAIL, what, message=message, recommendation=fix))
    needed = 2 * int(connection.deployed().parameters.get("Concurrency", "5")) + BESIDE_WORKERS
    unreserved = connection.calls.unreserved_concurrency()
    if unreserved < needed:
        message = f"Lambda has {unreserved} unreserved executions in this region, and Rolewarden may need {needed}"
        fix = "raise the quota Concurrent executions of Lambda, or lower the parameter Concurrency"
        problems.append(Check(Level.WARN, what, message=message, recommendation=fix))
    return _found(what, problems, f"{len(functions)} functions can run, {unreserved} executions are available")


def _stack_sets(connection: Connection) -> list[Check]:
    what = "StackSets"
    problems, number = [], 0
    call_as = connection.deployed().parameters.get("StackSetsCallAs", "DELEGATED_ADMIN")
    for logical, physical in sorted(_of(connection, STACK_SET).items()):
        # The StackSet of this account's own regions is self-managed, so it is never a delegated administrator's.
        name = physical.partition(":")[0]
        instances = connection.calls.stack_instances(name, call_as if logical == "Members" else "SELF")
        number += len(instances)
        for instance in instances:
            if instance.status in STATUSES:
                continue
            level = Level.WARN if instance.status in RUNNING else Level.FAIL
            reason = f" ({instance.reason})" if instance.reason else ""
            subject = "the stack" if instance.status in OF_STACK else "the last operation"
            message = f"{name}: {subject} is {instance.status}{reason}"
            fix = "wait for its end" if level is Level.WARN else f"fix the reason, then run `{DEPLOY}` again"
            problems.append(Check(level, what, instance.account, instance.region, message, fix))
    return _found(what, problems, f"the last operation succeeded in {number} places")


def _operator(connection: Connection) -> list[Check]:
    """Whether the attached service control policies let OperatorArn work. No line without OperatorArn."""
    what = "operator"
    operator = connection.deployed().parameters.get("OperatorArn", "")
    if not operator:
        return []
    name = _of(connection, QUEUE)["WorkQueue"].rpartition("/")[2]
    queue = f"arn:{connection.aws.partition}:sqs:{connection.aws.region}:{connection.account}:{name}"
    found = read_control_policies(connection.calls, connection.account)
    fix = f"print the policy of `rolewarden scp` again, with --deployer {operator}, and attach it"
    if found.documents is None:
        message = "this caller cannot read the service control policies, which may deny the work of OperatorArn"
        return [Check(Level.WARN, what, message=message, recommendation=f"compare them; if they do, {fix}")]
    denying = sorted({d.name for d in found.known if _denies(d, operator, "sqs:SendMessage", queue)})
    message = f"the service control policy {', '.join(denying)} denies OperatorArn {OPERATOR_WORK}"
    problems = [Check(Level.WARN, what, message=message, recommendation=fix)] if denying else []
    return _found(what, problems, "no service control policy denies the work of OperatorArn")


def _denies(document: Document, principal: str, action: str, resource: str) -> bool:
    """Whether a policy denies a call of `principal`. A condition of another kind than Rolewarden's counts as true."""
    for statement in document.covering("Deny", action, resource):
        exempt = statement.get("Condition", {}).get("ArnNotLike", {}).get("aws:PrincipalArn", [])
        if not any(fnmatchcase(principal, pattern) for pattern in ([exempt] if isinstance(exempt, str) else exempt)):
            return True
    return False


def _texts(connection: Connection, rules: Rules | None) -> list[Check]:
    """Whether the texts of the SCPs equal the local file. No line if no assignment names principals.

    The account of the caller can read those of each account if it is the management account or a delegated
    administrator.
    """
    if rules is None or not rules.names_principals:
        return []
    found = []
    accounts = [connection.account, *sorted(member_accounts(connection))]
    for account in accounts:
        read = read_control_policies(connection.calls, account)
        if read.documents is None:
            message, fix = "the texts of the SCPs could not be read, so only the simulation counts", read.unread
            found.append(Check(Level.WARN, PREVENTION, account, message=message, recommendation=fix))
        elif not read.documents:
            continue  # the probe of SweepFunction says that no SCP restricts this account
        elif equal_texts(rules, connection.aws.partition, [{"Statement": list(one.statements)} for one in read.known]):
            found.append(Check(Level.OK, PREVENTION, account, message="the SCPs equal those of the local file"))
        else:
            message = "the SCPs lack statements that the local file compiles to"
            fix = RECOMMENDATIONS[Reason.NOT_PREVENTED]
            found.append(Check(Level.FAIL, PREVENTION, account, message=message, recommendation=fix))
    return found


def _probes(connection: Connection) -> list[Check]:
    """The probes that SweepFunction makes with its own permissions, as in every sweep."""
    function = _of(connection, FUNCTION).get("SweepFunction", "")
    return [_of_probe(probe) for probe in connection.calls.run(function, {"step": DOCTOR})["probes"]]


def _of_probe(probe: Mapping[str, Any]) -> Check:
    level = Level.WARN if probe.get("warning") else Level.FAIL if "message" in probe else Level.OK
    return Check(
        level,
        probe["what"],
        probe["account"],
        probe["region"],
        probe.get("message", probe.get("in_order", "")),
        probe.get("recommendation", ""),
    )

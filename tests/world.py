"""A seeded account with Rolewarden in this process. A test acts through boto3 and reads the attached policies."""

from __future__ import annotations

import json
import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import boto3
from rolewarden import yamltext
from rolewarden.aws import Aws
from rolewarden.canary import CANARY_POLICY
from rolewarden.clock import Clock
from rolewarden.detach import Detacher
from rolewarden.documents import digest
from rolewarden.enforce import Enforcer
from rolewarden.guardrails_file import ShowProgress, show_nothing
from rolewarden.origin import DEPLOYMENT
from rolewarden.policies import Policy, compile_rules, policy_arn
from rolewarden.publish import Publications
from rolewarden.rotation import Rotation
from rolewarden.runtime import Runtime
from rolewarden.settings import DetachSettings, EnforceSettings, PublishSettings, SweepSettings
from rolewarden.sweep import Sweeper
from rolewarden_local.aws import ACCOUNT_ID, LocalAws
from rolewarden_local.scenes.seed import TRUST, Seeded, seed, trusting
from rolewarden_local.scenes.stage import stage
from rolewarden_local.scenes.template import Template

from tests.conftest import ROOT, TODAY

GUARDRAILS = ROOT / "layers" / "guardrails" / "guardrails.yaml"
EC2_TRUST = trusting("ec2.amazonaws.com")
OWN_ROLE = "ReconcileFunctionRole"
_OWN_KEY = "ASIAROLEWARDENSOWNKEY"


# Every World reads its guardrails.yaml twice or more, and most files are the same. A function reads JSON.
_parse_yaml = yamltext.parse_yaml


@lru_cache(maxsize=256)
def _parsed(text: str) -> bytes:
    return pickle.dumps(_parse_yaml(text))


def _parse_once(text: str, progress: ShowProgress = show_nothing) -> Any:
    return pickle.loads(_parsed(text)) if progress is show_nothing else _parse_yaml(text, progress)  # noqa: S301


yamltext.parse_yaml = _parse_once


@cache
def _aws() -> Aws:
    session = boto3.Session(_OWN_KEY, "secret", "token")
    return Aws(session)


@cache
def _onlooker() -> Aws:
    return Aws()


@cache
def _client(service: str) -> Any:
    return boto3.client(service)  # type: ignore[call-overload]


class _Account(NamedTuple):
    """An account after `stage`, with a function that restores it."""

    restore: Callable[[], None]
    seeded: Seeded
    environment: Mapping[str, str]


@cache
def _seeded(aws: LocalAws) -> tuple[Callable[[], None], Seeded]:
    aws.reset()
    seeded = seed(aws)
    return aws.saved(), seeded


@lru_cache(maxsize=32)
def _staged(aws: LocalAws, template: Template, guardrails: str) -> _Account:
    """Make the account with guardrails of this text. Restoring it takes a fortieth of the time to make it."""
    restore, seeded = _seeded(aws)
    restore()
    aws.lend(_OWN_KEY, OWN_ROLE)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(guardrails)
        file.flush()
        environment = stage(template, _aws(), account=ACCOUNT_ID, guardrails=Path(file.name))
    return _Account(aws.saved(), seeded, environment)


USED = -1
"""The mark of a World that is no longer as it was made, although it made no call."""
_AFTER: dict[str, Callable[[], None]] = {}
"""Functions that restore an account after a step that many tests begin with."""


@dataclass(frozen=True)
class _Ahead:
    """A clock that is some seconds ahead of another one. A test can advance it hundreds of times."""

    before: Callable[[], float]
    seconds: float

    def __call__(self) -> float:
        return self.before() + self.seconds


class NoRotation(Rotation):
    """A rotation in which no unchanged subject is due."""

    def is_due(self, subject: str, began: float) -> bool:  # noqa: ARG002
        return False


class Assembled:
    """The collaborators of every function, in one process with one clock."""

    environment: Mapping[str, str]

    def assemble(self, aws: Aws) -> None:
        """Make the collaborators, as each function does at its cold start."""
        enforce, publish = EnforceSettings.read(self.environment), PublishSettings.read(self.environment)
        self.runtime = Runtime(enforce, aws, Clock(today=lambda: TODAY))
        self.enforcer = Enforcer.of(self.runtime, enforce)
        self.publications = Publications.of(self.runtime, publish)
        self.sweeper = Sweeper.of(self.runtime, SweepSettings.read(self.environment))
        # Which subjects are due depends on the time of day. Tests of the rotation set the real one.
        self.sweeper.rotation = NoRotation(0)
        # Many tests sweep often within a minute. Tests of the limit set the real one.
        self.sweeper.requests.burst = 1000
        self.detacher = Detacher.of(self.runtime, DetachSettings.read(self.environment))
        self.bindings, self.progress, self.reported = (
            self.runtime.bindings,
            self.sweeper.progress,
            self.sweeper.reported,
        )


class World(Assembled):
    """The account of `stage`, with published guardrails, bound subjects and unprotected roles.

    Every World restores the same saved account. The log does not have the calls that made it, or their events.
    """

    def __init__(
        self,
        aws: LocalAws,
        template: Template,
        guardrails: Path = GUARDRAILS,
        *,
        restore: Callable[[], None] | None = None,
    ) -> None:
        """Restore the account, or with `restore` the account that another World became."""
        account = _staged(aws, template, guardrails.read_text())
        (restore or account.restore)()
        self.aws = aws
        self.lend()
        self.seeded = account.seeded
        self.environment = {**account.environment, "GUARDRAILS_FILE": str(guardrails)}
        self.iam, self.sagemaker, self.sqs = map(_client, ("iam", "sagemaker", "sqs"))
        # Every World uses the same clients, because they have no state and making them takes longer than an account.
        self.assemble(_aws())
        self._made = aws.mark()

    def lend(self) -> None:
        """Assign Rolewarden's access key to its own role, so that its calls differ from those of the test."""
        self.aws.lend(_OWN_KEY, OWN_ROLE)

    def under(self, guardrails: Path, *, publish: bool = True) -> World:
        """Return the same account after a deployment of other guardrails."""
        other = copy(self)
        other.environment = {**self.environment, "GUARDRAILS_FILE": str(guardrails)}
        other.assemble(self.runtime.aws)
        if publish:
            other.publications.run(ACCOUNT_ID, DEPLOYMENT)
        return other

    def protected(self, *, afresh: bool = False) -> Self:
        """Attach to every governed role the policies that it needs, and empty the work queue.

        If it is the first step in this World, the functions are cold after it, and the log does not have its calls.
        With `afresh`, the functions are warm, and the log has the calls.
        """
        if afresh:
            self._protect()
            return self
        return self.once("protected", self._protect)

    def _protect(self) -> None:
        for binding in list(self.bindings.all()):
            if binding.role:
                self.enforce(self.role_event(binding.role.name))
        self.work()

    def swept(self) -> Self:
        """Sweep and process the messages, before anything else is done in this World. The functions are cold then."""
        return self.once("swept", self.sweep)

    def once(self, name: str, step: Callable[[], object]) -> Self:
        """Take a step, or restore the account of another World after it.

        Nothing may have been done yet in this World, and the other one had the same rules and settings. The functions
        are cold then.
        """
        if self.aws.mark() != self._made:
            step()
            return self
        rules = Path(self.environment["GUARDRAILS_FILE"]).read_text()
        settings = sorted({**self.environment, "GUARDRAILS_FILE": rules}.items())
        key = f"{type(self).__name__} {name} {settings}"
        if key not in _AFTER:
            step()
            # A recheck that waits would become visible in another test after a minute.
            self.sqs.purge_queue(QueueUrl=self.environment["WORK_QUEUE_URL"])
            _AFTER[key] = self.aws.saved()
        _AFTER[key]()
        self.lend()
        self.assemble(self.runtime.aws)
        self._made = USED
        return self

    def event(self, name: str) -> dict[str, Any]:
        """The newest CloudTrail event with this name."""
        return next(event for event in reversed(self.aws.events) if event["detail"]["eventName"] == name)

    def role_event(self, role: str) -> dict[str, Any]:
        """Tag `role`, and return the event, which triggers an evaluation of it."""
        self.iam.tag_role(RoleName=role, Tags=[{"Key": "touched", "Value": "yes"}])
        return self.event("TagRole")

    def enforce(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Pass an event to EnforceFunction's code, and return the outcomes."""
        return self.enforcer.handle_event(event)["outcomes"]

    def verdict(self, role: str) -> dict[str, Any]:
        """Trigger an evaluation of a role, and return its outcome."""
        [outcome] = [o for o in self.enforce(self.role_event(role)) if o["role"] == role]
        return outcome

    def attached(self, role: str) -> set[str]:
        """Names of the guardrail policies that IAM shows on a role."""
        pages = self.iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
        arns = [policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]]
        prefix = policy_arn("", "aws", ACCOUNT_ID)
        return {arn.removeprefix(prefix) for arn in arns if arn.startswith(prefix)}

    def bound(self) -> dict[str, str | None]:
        """The bindings table: the name of each subject's role, by the subject's key. None means no role."""
        return {"/".join(b.key): b.role.name if b.role else None for b in self.bindings.all()}

    def listed_policies(self) -> set[str]:
        """Names of the policies in IAM under Rolewarden's path, without the policy of the canary."""
        listed = self.iam.list_policies(Scope="Local", PathPrefix="/rolewarden/")["Policies"]
        return {policy["PolicyName"] for policy in listed} - {CANARY_POLICY}

    def in_force(self, policies: Iterable[Policy] | None = None) -> set[str]:
        """Names of the policies whose default version in IAM has their text. None means all guardrail policies."""
        return {
            policy.name
            for policy in (compile_rules(self.runtime.rules, "aws") if policies is None else policies)
            if (found := _onlooker().policy(policy.arn("aws", ACCOUNT_ID)))
            and digest(found.text) == digest(policy.document)
        }

    def detach(self, role: str, policy: str) -> dict[str, Any]:
        """Detach a guardrail, and return the event."""
        self.iam.detach_role_policy(RoleName=role, PolicyArn=policy_arn(policy, "aws", ACCOUNT_ID))
        return self.event("DetachRolePolicy")

    def remediate_by_hand(self) -> str:
        """Detach a policy from CanvasFull and attach its guardrail, without an event for Rolewarden.

        Return the ARN of the detached policy.
        """
        [first, *_] = self.iam.list_attached_role_policies(RoleName="CanvasFull")["AttachedPolicies"]
        self.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=first["PolicyArn"])
        self.iam.attach_role_policy(
            RoleName="CanvasFull", PolicyArn=policy_arn("only-nova-and-sonnet", "aws", ACCOUNT_ID)
        )
        return first["PolicyArn"]

    def role(self, name: str, trust: str = TRUST) -> str:
        """Make a role, and return its ARN."""
        return self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]

    def history(self, about: str) -> list[dict[str, Any]]:
        """The history of a role or policy."""
        return _onlooker().query(self.environment["HISTORY_TABLE"], {"about": f"{ACCOUNT_ID}/{about}".lower()})

    def queued(self, queue: str = "WORK_QUEUE_URL") -> list[dict[str, Any]]:
        """Receive and delete the messages of a queue, and return them."""
        bodies = []
        url = self.environment[queue]
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def sweep(self) -> list[dict[str, Any]]:
        """Run a whole sweep and process its messages, and return the outcomes."""
        self.sweeper.start()
        return self.end_sweeps()

    def end_sweeps(self) -> list[dict[str, Any]]:
        """Process the remaining messages of started sweeps and their work, and return the outcomes."""
        while bodies := self.queued("SWEEP_QUEUE_URL"):
            for body in bodies:
                self.sweeper.handle_message(body)
        return self.work()

    def audit(self, *, later: timedelta = timedelta(hours=1), again: bool = False) -> dict[str, Any]:
        """Run an audit of Rolewarden's calls, `later` than now. With `again`, it starts an hour ago."""
        if again:
            self.progress.set_audited(ACCOUNT_ID, datetime.now(UTC) - timedelta(hours=1))
        return self.sweeper.auditor.run(ACCOUNT_ID, time.time() + later.total_seconds())

    def calls_of_a_sweep(self) -> Counter[str]:
        """Count the calls of a sweep and of its work by operation, without the calls with which Lambda polls."""
        mark = self.aws.mark()
        self.sweep()
        operations = (call.operation for call in self.aws.calls(mark))
        return Counter(operation for operation in operations if operation not in {"ReceiveMessage", "DeleteMessage"})

    def detach_surplus(self) -> list[dict[str, Any]]:
        """Process the messages of DetachQueue."""
        return [self.detacher.handle_message(body) for body in self.queued("DETACH_QUEUE_URL")]

    def listening(self, pattern: Mapping[str, Any]) -> Callable[[], list[dict[str, Any]]]:
        """Make a rule with this pattern on the default bus, and return a function that returns its new events."""
        events = _client("events")
        url = self.sqs.create_queue(QueueName="listener")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name="listen", EventPattern=json.dumps(pattern))
        events.put_targets(Rule="listen", Targets=[{"Id": "1", "Arn": arn}])
        return lambda: [
            json.loads(message["Body"])
            for message in self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        ]

    def work(self) -> list[dict[str, Any]]:
        """Process the visible messages of the work queue in batches of ten, as Lambda does, and return the outcomes."""
        bodies = self.queued()
        outcomes: list[dict[str, Any]] = []
        for start in range(0, len(bodies), 10):
            with self.enforcer.recorder.together():
                answers = [self.enforcer.handle_message(body) for body in bodies[start : start + 10]]
            for answer in answers:
                outcomes += answer["outcomes"] if answer.keys() == {"outcomes"} else [answer]
        return outcomes

    def with_immediate_rechecks(self) -> World:
        """Make rechecks due immediately instead of after a minute."""
        self.environment = {**self.environment, "RECHECK_SECONDS": "0"}
        self.assemble(self.runtime.aws)
        return self

    def wait(self, seconds: float) -> None:
        """Advance the clock of all functions."""
        self._made = USED
        now = self.runtime.clock.now
        before, ahead = (now.before, now.seconds) if isinstance(now, _Ahead) else (now, 0.0)
        self.runtime.clock.now = _Ahead(before, ahead + seconds)

    def calls(self, event: dict[str, Any]) -> list[str]:
        """Pass an event to a warm function, and return its AWS calls."""
        mark = self.aws.mark()
        self.enforcer.handle_event(event)
        return [f"{call.service}:{call.operation}" for call in self.aws.calls(mark)]

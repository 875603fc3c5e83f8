"""The test stand: one local AWS over HTTP with the same company for all contestants, each in its own process."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from rolewarden import yamltext
from rolewarden.aws import Aws
from rolewarden.bindings import EXECUTION, ROLE, USER_PROFILE, Binding, BindingsTable, RoleKey
from rolewarden.listed import ListedProfile
from rolewarden.policies import policy_arn
from rolewarden.reach import PREVENTION
from rolewarden.sweep_messages import AUDIT, REGIONS
from rolewarden.work import DRILLS
from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
from rolewarden_local.emulated.regions import enable_every_region
from rolewarden_local.scenes.crowd import GUARDRAILS, Crowd, attach_all, crowd, detach_all
from rolewarden_local.scenes.seed import TRUST
from rolewarden_local.scenes.stage import stage
from rolewarden_local.scenes.template import Template

ROOT = Path(__file__).resolve().parents[1]
CONTESTANTS = ROOT / "bench" / "contestants"
CUSTODIAN_PYTHON = ROOT / ".venv-c7n" / "bin" / "python"

OURS, CUSTODIAN, PRECOMPILED, FLOOR = "rolewarden", "custodian", "custodian, precompiled", "floor"
ALL = (OURS, CUSTODIAN, FLOOR)
"""Custodian with bytecode. Its Lambda package has none, so cases in which this matters measure both."""

BEFORE, BEFORE_COMMIT = "before", "c8475f1"
"""Rolewarden before the commands loaded only what they need, and its commit."""

PEOPLE_POLICY = policy_arn("approved", "aws", ACCOUNT_ID)
OTHERS_POLICY = policy_arn("strict", "aws", ACCOUNT_ID)

DOMAIN_ROLE, OUT_OF_SCOPE = "domain", "build-server"
"""The role that the crowd's domains share, and a role that SageMaker does not use."""

COMPARISON, PROOFS, PULSES = "the comparison", "proofs", "pulses"
"""The purposes of a sweep's calls. Proofs show that events arrive, that the history is complete and that sweeps end.
Pulses and drills show how fast events are, and restore the canary. The comparison is everything that protects roles."""

PURPOSES = {AUDIT: PROOFS, REGIONS: PROOFS, PREVENTION: PROOFS, DRILLS: PULSES}
"""The steps of a sweep that have one purpose. Those of the other steps' calls are the result of `purposes_of`."""

_POLLS = frozenset({"ReceiveMessage", "DeleteMessage", "DeleteMessageBatch"})
"""Lambda's own calls to a queue. No contestant's code makes them, so no contestant's count has them."""


def purposes_of(calls: Sequence[str]) -> Iterator[str]:
    """The purpose of each call of an invocation that lists, compares or attaches.

    The comparison also probes the event path, claims each finding about it, and looks the finding up in the history.
    After it has announced its end, it records the heartbeat and sends the messages of the other steps.
    """
    has_ended = False
    before = ""
    for call in calls:
        is_probe = call.startswith(("cloudformation:", "cloudtrail:", "events:Describe", "events:List"))
        is_claim = before == "probe" and call == "dynamodb:PutItem"
        is_lookup = before == "claim" and call == "dynamodb:Query"
        before = "probe" if is_probe else "claim" if is_claim else ""
        yield PROOFS if is_probe or is_claim or is_lookup or has_ended else COMPARISON
        has_ended = has_ended or call == "events:PutEvents"


@dataclass(frozen=True)
class Run:
    """The result of one order.

    It has the milliseconds until the end, until the answer to the first call about a role, and until the last
    attachment (None without one). It has the number of calls until that attachment, all calls by operation, the
    contestant's peak memory so far in MB, and its milliseconds of a CPU. `by_purpose` has the number of calls for each
    purpose, if the contestant's sweep has several.
    """

    milliseconds: float
    until_asked: float | None
    until_attached: float | None
    calls_until_attached: int | None
    calls: tuple[str, ...]
    peak: float
    cpu: float
    by_purpose: Mapping[str, int] = field(default_factory=dict)


class Contestant:
    """A process that takes orders. `ready` has the milliseconds of its start, and `cpu` the CPU milliseconds."""

    def __init__(self, stand: Stand, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self._aws = stand.aws
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        told = self._heard()
        self.ready, self.cpu = 1000 * told["ready"], 1000 * told["cpu"]

    def _heard(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"{self._process.args!r} gave up:\n{self._errors.read().decode()[-4000:]}")
        told: dict[str, float] = json.loads(line)
        return told

    def does(self, **order: Any) -> Run:
        """Send an order: handle `event`, or sweep if the order has no event."""
        assert self._process.stdin is not None
        mark = self._aws.mark()
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        told = self._heard()
        calls = [call for call in self._aws.calls(mark) if call.operation not in _POLLS]
        attached = [call.operation == "AttachRolePolicy" and call.status == 200 for call in calls]
        last = len(attached) - attached[::-1].index(True) if any(attached) else None
        # Custodian gets its caller identity before it is ready, so this call does not count as one about a role.
        asked = next((call.at for call in calls if call.service != "sts"), None)
        return Run(
            1000 * (told["ended"] - told["began"]),
            1000 * (asked - told["began"]) if asked else None,
            1000 * (calls[last - 1].at - told["began"]) if last else None,
            last,
            tuple(f"{call.service}:{call.operation}" for call in calls),
            told["peak"],
            1000 * told["cpu"],
        )

    def sweeps(self) -> Run:
        """Order a sweep of every role."""
        return self.does()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._errors.close()


class Ours(Contestant):
    """Rolewarden. It delivers its functions' messages as Lambda's pollers do, one batch after the other."""

    def __init__(self, stand: Stand, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        super().__init__(stand, command, environment)
        self._sqs = boto3.client("sqs")
        self._queues = [
            (environment["SWEEP_QUEUE_URL"], "sweep", 1),
            (environment["WORK_QUEUE_URL"], "reconcile", 10),
        ]

    def sweeps(self) -> Run:
        """Run one sweep with all its messages. The time of the pollers does not count."""
        runs = [self.does(function="sweep", event={"detail-type": "Scheduled Event"})]
        purposes = Counter(purposes_of(runs[0].calls))
        for queue, function, batch in self._queues:
            while messages := self._sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=batch).get("Messages"):
                records = [{"messageId": m["MessageId"], "body": m["Body"]} for m in messages]
                runs.append(self.does(function=function, event={"Records": records}))
                step = json.loads(messages[0]["Body"]).get("step", "")
                found = runs[-1].calls
                if function == "sweep" and step not in PURPOSES:
                    purposes.update(purposes_of(found))
                else:
                    purposes[PURPOSES.get(step, COMPARISON)] += len(found)
                done: list[Any] = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
                self._sqs.delete_message_batch(QueueUrl=queue, Entries=done)
        calls = tuple(call for run in runs for call in run.calls)
        milliseconds, cpu = sum(run.milliseconds for run in runs), sum(run.cpu for run in runs)
        return Run(milliseconds, None, None, None, calls, runs[-1].peak, cpu, purposes)


class Stand:
    """The local AWS with a company, unprotected roles, the stack's resources, and an empty bindings table."""

    def __init__(self, aws: LocalAws, url: str, folder: Path, layer: Path) -> None:
        self.aws = aws
        self.url = url
        self.folder = folder
        self.layer = layer
        self.rules = folder / "guardrails.json"
        self.rules.write_text(json.dumps(yamltext.parse_yaml(GUARDRAILS)[0]), encoding="utf-8")

    @cached_property
    def custodian_package(self) -> Path:
        """The unpacked package that Custodian's Lambda mode uploads. The runtime has everything else that it needs."""
        package = self.folder / "custodian"
        program = "import sys, c7n.mu as mu; sys.stdout.buffer.write(mu.custodian_archive().close().get_bytes())"
        archive = subprocess.run([CUSTODIAN_PYTHON, "-c", program], check=True, capture_output=True).stdout
        zipfile.ZipFile(io.BytesIO(archive)).extractall(package)
        return package

    def fill(self, roles: int) -> Crowd:
        """Reset, and make a crowd: user profiles use half of the roles, and `also_govern` names the others."""
        self.aws.reset()
        template = Template(ROOT / "template.yaml", region=REGION, account=ACCOUNT_ID)
        self.environment = stage(template, Aws(), account=ACCOUNT_ID, guardrails=self.rules)
        boto3.client("iam").create_role(RoleName=OUT_OF_SCOPE, AssumeRolePolicyDocument=TRUST)
        return crowd(domains=max(1, roles // 500), profiles=roles // 2, also=roles - roles // 2)

    def bind(self, people: Crowd) -> None:
        """Fill the bindings table as a first sweep does, except for the domains' own roles."""
        aws = Aws()
        table = BindingsTable(aws, self.environment["BINDINGS_TABLE"], lambda _: True)
        names = {domain.id: domain.name for domain in aws.domains(REGION)}

        def binding(domain: str, profile: ListedProfile) -> Binding:
            role, name = RoleKey(ACCOUNT_ID, profile.name), names[domain]
            where = (ACCOUNT_ID, REGION, domain, USER_PROFILE, EXECUTION)
            return Binding(*where, role, name, profile.name, modified=profile.modified)

        table.write(
            [binding(domain, profile) for domain in people.domains for profile in aws.user_profiles(REGION, domain)]
        )
        table.write([Binding(ACCOUNT_ID, "", "", ROLE, EXECUTION, RoleKey(ACCOUNT_ID, name)) for name in people.also])

    def guard(self, people: Crowd) -> None:
        """Attach to every governed role the policy that it needs."""
        detach_all([DOMAIN_ROLE, *people.roles, *people.also])
        attach_all([DOMAIN_ROLE, *people.roles], PEOPLE_POLICY)
        attach_all(people.also, OTHERS_POLICY)

    def contestant(self, name: str, *arguments: str) -> Contestant:
        """Start a contestant. The arguments name Rolewarden's functions, or Custodian's `lambda` or `pull`."""
        path = f"{self.layer}" if name == OURS else f"{self.custodian_package}" if name == CUSTODIAN else ""
        environment = {
            **{key: value for key, value in os.environ.items() if key.startswith("AWS_") or key in {"PATH", "HOME"}},
            **self.environment,
            "GUARDRAILS_FILE": str(self.rules),
            "PEOPLE_POLICY": PEOPLE_POLICY,
            "OTHERS_POLICY": OTHERS_POLICY,
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if name in {CUSTODIAN, PRECOMPILED}:
            folder = self.folder / f"custodian-{arguments[0]}"
            folder.mkdir(exist_ok=True)
            policies = custodian_policies(arguments[0])
            (folder / "config.json").write_text(json.dumps({"policies": policies, "execution-options": {}}))
            command: list[str | Path] = [CUSTODIAN_PYTHON, CONTESTANTS / "custodian.py", arguments[0], folder]
        else:
            command = [sys.executable, CONTESTANTS / ("ours.py" if name == OURS else "floor.py"), *arguments]
        return (Ours if name == OURS else Contestant)(self, command, environment)


def custodian_policies(mode: str) -> list[dict[str, Any]]:
    """The guardrails of the crowd as Custodian's policies."""
    of = {"approved": "^(person-|domain$)", "strict": "^also-"}
    arns = {"approved": PEOPLE_POLICY, "strict": OTHERS_POLICY}
    watched = ("AttachRolePolicy", "CreateRole", "DetachRolePolicy", "PutRolePolicy", "TagRole")
    events = [{"source": "iam.amazonaws.com", "event": event, "ids": "requestParameters.roleName"} for event in watched]
    listens = {"mode": {"type": "cloudtrail", "role": "arn:aws:iam::{account_id}:role/custodian", "events": events}}
    return [
        {
            "name": f"keep-{name}",
            "resource": "aws.iam-role",
            **(listens if mode == "lambda" else {}),
            "filters": [
                {"type": "value", "key": "RoleName", "op": "regex", "value": names},
                {"type": "no-specific-managed-policy", "value": name},
            ],
            "actions": [{"type": "set-policy", "state": "attached", "arn": arns[name]}],
        }
        # A function of Custodian has one policy. An event on a user profile's role needs this one.
        for name, names in (list(of.items())[:1] if mode == "lambda" else of.items())
    ]


def event_of(name: str, role: str) -> dict[str, Any]:
    """The event of a call about a role: "TagRole", or "DetachRolePolicy" of its guardrail."""
    event: dict[str, Any] = json.loads((ROOT / "events" / "detach_role_policy.json").read_text())
    detail = event["detail"]
    detail["eventID"] = event["id"] = str(uuid.uuid4())
    detail["eventTime"] = event["time"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    detail["eventName"] = name
    detail["requestParameters"] = {"roleName": role}
    if name == "DetachRolePolicy":
        detail["requestParameters"]["policyArn"] = PEOPLE_POLICY
    return event


@contextmanager
def standing() -> Iterator[Stand]:
    """Serve the stand while the block runs, with the layer as `sam build` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        layer = build_layer(Path(folder))
        aws = LocalAws.start()
        enable_every_region()
        with aws.serving() as url:
            yield Stand(aws, url, Path(folder), layer)


def build_layer(folder: Path) -> Path:
    """Build RolewardenLayer with bytecode for this Python, and return the folder that Lambda has as /opt/python."""
    target = folder / "layer"
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(
        [
            "make", "--silent", "-C", ROOT / "layers" / "rolewarden", "build-RolewardenLayer",
            f"ARTIFACTS_DIR={target}", f"BYTECODE={sys.executable}", f"PYTHON={sys.executable}",
        ],
        check=True,
    )  # fmt: skip
    return target / "python"

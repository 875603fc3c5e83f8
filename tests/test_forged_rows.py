"""A row of the bindings table that no function wrote unprotects no role, and hides nothing for longer than a day."""

import time
from collections import Counter
from datetime import timedelta
from itertools import count
from typing import Any

import boto3
import pytest
from rolewarden.policies import policy_arn
from rolewarden.reported import ReportedFinding, ReportedKind
from rolewarden.rotation import DAY_SECONDS, Rotation
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import ANALYTICS

from tests.guardrail_texts import BY_DOMAIN
from tests.publishing import UNRELATED
from tests.volume import some, volume

OMAR = {"scope": {"S": ACCOUNT_ID}, "item": {"S": "us-east-1/d-analytics0001/user-profile#omar#execution"}}
DETACH = "surplus: detach\n" + BY_DOMAIN


class Table:
    """The bindings table as an attacker sees it who can write to it."""

    def __init__(self, world):
        self.name = world.environment["BINDINGS_TABLE"]
        self.client: Any = boto3.client("dynamodb")

    def set(self, key, **attributes):
        """UpdateItem. An attribute of None is removed."""
        values = {name: value for name, value in attributes.items() if value is not None}
        gone = [f"#{name}" for name, value in attributes.items() if value is None]
        parts = [f"SET {', '.join(f'#{name} = :{name}' for name in values)}"] if values else []
        parts += [f"REMOVE {', '.join(gone)}"] if gone else []
        self.client.update_item(
            TableName=self.name,
            Key=key,
            UpdateExpression=" ".join(parts),
            ExpressionAttributeNames={f"#{name}": name for name in attributes},
            **({"ExpressionAttributeValues": {f":{name}": value for name, value in values.items()}} if values else {}),
        )

    def delete(self, key):
        """DeleteItem."""
        self.client.delete_item(TableName=self.name, Key=key)

    def keys(self, scope):
        """The keys of all rows of a partition."""
        rows = self.client.scan(TableName=self.name)["Items"]
        return [{name: row[name] for name in ("scope", "item")} for row in rows if row["scope"]["S"] == scope]


def other_role(name="BuildServer"):
    return {"role": {"S": f"{ACCOUNT_ID}/{name}".lower()}, "role_name": {"S": name}}


def swept_for_a_day(world, interval):
    """Sweep at this interval for a day, as the rotation chooses the subjects by the time."""
    world.sweeper.rotation = Rotation(interval)
    for _ in range(DAY_SECONDS // interval):
        world.wait(interval)
        world.sweep()


@pytest.mark.parametrize("interval", volume([6 * 3600], [900, 3600, 6 * 3600, 12 * 3600, DAY_SECONDS]))
@pytest.mark.volume
def test_a_wrong_role_in_a_row_is_corrected_within_a_day(world, interval):
    world.swept()
    Table(world).set(OMAR, **other_role())
    world.detach("CanvasOmar", "no-generative-ai")
    swept_for_a_day(world, interval)
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
    assert world.bound()["/".join(value["S"] for value in OMAR.values())] == "CanvasOmar"


@pytest.mark.parametrize(
    "read_at",
    [{"N": "99999999999"}, {"N": "1E125"}, {"S": "tomorrow"}, {"BOOL": True}, {"M": {}}, {"NS": ["1"]}, None],
)
def test_a_wrong_time_of_reading_does_not_keep_the_correction_out(world, read_at):
    world.swept()
    Table(world).set(OMAR, **other_role(), read_at=read_at)
    world.wait(60)
    world.sagemaker.update_user_profile(DomainId="d-analytics0001", UserProfileName="omar", UserSettings={})
    world.enforce(world.event("UpdateUserProfile"))
    assert "CanvasOmar" in world.bound().values()


WRONG = {
    "a role for the index only": {"role": other_role()["role"]},
    "no role for the index": {"role": None},
    "the name of another user profile": {"user_profile": {"S": "rosa"}},
    "another domain": {"domain_id": {"S": "d-research0001"}},
    "no domain": {"domain_id": {"S": ""}, "region": {"S": ""}},
    "another account": {"account": {"S": "444455556666"}},
    "another kind": {"kind": {"S": "role"}},
    "another setting": {"via": {"S": "bedrock"}},
    "no kind": {"kind": None},
    "tags of another type": {"tags": {"L": []}},
    "bytes": {"tags": {"B": b"x"}},
    "a number": {"role_name": {"N": "1"}},
    "an expiry": {"expires": {"N": "1"}},
    "an account for the index": {"role_account": {"S": "444455556666"}},
    "another name of the domain": {"domain_name": {"S": "research"}},
    "other roles that are no pairs": {"other_roles": {"L": [{"S": "x"}]}},
}


@pytest.mark.volume
@pytest.mark.parametrize("case", some(6, WRONG))
def test_a_row_that_contradicts_itself_counts_as_missing_and_the_next_sweep_corrects_it(world, case):
    world.swept()
    before = world.bound()
    Table(world).set(OMAR, **WRONG[case])
    world.detach("CanvasOmar", "no-generative-ai")
    world.wait(3600)
    world.sweep()
    assert (world.attached("CanvasOmar"), world.bound()) == ({"no-generative-ai"}, before)


@pytest.mark.parametrize("wrong", [{"domain_name": None}, {"domain_name": {"B": b"x"}}, {"via": {"S": "x"}}], ids=str)
def test_a_wrong_row_of_a_profile_that_no_longer_exists_stops_no_work_message_of_a_sweep(world, wrong):
    """The work messages of a sweep name rows, and ReconcileFunction reads the following rows with each."""
    key = {**OMAR, "item": {"S": "us-east-1/d-analytics0001/user-profile#ana#execution"}}
    world.sagemaker.delete_user_profile(DomainId=ANALYTICS, UserProfileName="ana")
    Table(world).set(key, **wrong)
    world.sweep()
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}


def test_a_deleted_row_is_written_again_by_the_next_sweep(world):
    world.swept()
    Table(world).delete(OMAR)
    world.detach("CanvasOmar", "no-generative-ai")
    world.sweep()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_row_with_a_wrong_role_and_a_message_detach_nothing(world_with):
    world = world_with(DETACH)
    world.sweep()
    Table(world).set(OMAR, **other_role())
    body = {"account": ACCOUNT_ID, "role": "CanvasOmar", "policies": ["no-generative-ai"]}
    assert world.detacher.handle_message(body)["detached"] == []
    world.sweep()
    world.detach_surplus()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


@pytest.mark.parametrize("operation", ["ListDomains", "ListUserProfiles", "DescribeUserProfile", "DescribeDomain"])
def test_a_role_keeps_its_policies_if_sagemaker_cannot_be_read_again(world_with, operation):
    world = world_with(DETACH)
    world.sweep()
    world.iam.attach_role_policy(RoleName="BuildServer", PolicyArn=policy_arn("no-generative-ai", "aws", ACCOUNT_ID))
    body = {"account": ACCOUNT_ID, "role": "BuildServer", "policies": ["no-generative-ai"]}
    with world.aws.failing(operation, "AccessDeniedException"):
        assert world.detacher.handle_message(body)["waits"].startswith("not everything could be read again")
    assert world.attached("BuildServer") == {"no-generative-ai"}
    assert world.detacher.handle_message(body)["detached"] == ["no-generative-ai"]


@pytest.mark.parametrize("move", ["a chunk that does not exist", "a deleted row"])
def test_a_sweep_whose_row_was_changed_does_not_claim_to_be_complete_and_the_next_one_protects_its_roles(world, move):
    world.swept()
    table, completed = Table(world), len([s for s in world.progress.sweeps(ACCOUNT_ID) if s.get("completed")])
    world.detach("CanvasOmar", "no-generative-ai")
    begin = world.progress.begin

    def begun(row, *arguments):
        begin(row, *arguments)
        key = {"scope": {"S": row[0]}, "item": {"S": row[1]}}
        if move == "a deleted row":
            table.delete(key)
        else:
            table.set(key, pending={"SS": ["nothing"]})

    world.progress.begin = begun
    world.sweep()
    assert len([s for s in world.progress.sweeps(ACCOUNT_ID) if s.get("completed")]) == completed
    # The caller does the same to the next sweep, which asks for the comparison of the last one.
    world.wait(3600)
    world.sweep()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_row_about_a_reported_finding_does_not_hide_the_finding(world):
    table = Table(world)
    world.sweep()
    [key] = [key for key in table.keys(f"reported/{ACCOUNT_ID}") if "canvasfull" in key["item"]["S"]]
    history = boto3.client("dynamodb")
    for row in history.scan(TableName=world.environment["HISTORY_TABLE"])["Items"]:
        if "canvasfull" in row["about"]["S"]:  # The finding was not reported yet.
            history.delete_item(
                TableName=world.environment["HISTORY_TABLE"], Key={name: row[name] for name in ("about", "at")}
            )
    table.set(key, expires={"N": str(int(time.time()) + 6 * 24 * 3600)})
    world.assemble(world.runtime.aws)
    world.sweep()
    assert len(world.history("CanvasFull")) == 1
    table.set(key, expires={"N": "99999999999"})
    world.sweep()
    world.sweep()
    assert len(world.history("CanvasFull")) == 2


ROWS: dict[str, dict[str, Any]] = {
    "health": {"swept": {"S": "never"}, "broken": {"S": "x"}, "since": {"BOOL": True}},
    "members": {"swept": {"S": "never"}},
    f"regions/{ACCOUNT_ID}": {"at": {"N": "99999999999"}},
    f"audit/{ACCOUNT_ID}": {"until": {"S": "9999-01-01T00:00:00+00:00"}},
    f"reported/{ACCOUNT_ID}": {"kind": {"S": "role"}, "what": {"N": "1"}},
    f"sweep/{ACCOUNT_ID}": {"rules": {"N": "1"}, "completed": {"S": "x"}},
}


FIRST_OF_OTHERS = f"arn:aws:iam::{ACCOUNT_ID}:policy/full-0"
FULL = "unenforceable: quota full no-generative-ai"


@pytest.fixture
def full(world):
    """A world in which CanvasOmar was contested, and has no room for its guardrail now."""
    world.protected()
    for _ in range(4):
        for policy in sorted(world.attached("CanvasOmar")):
            world.enforce(world.detach("CanvasOmar", policy))
    assert "Role Contested" in [row["kind"] for row in world.history("CanvasOmar")]
    for policy in sorted(world.attached("CanvasOmar")):
        world.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=policy_arn(policy, "aws", ACCOUNT_ID))
    for number in range(10 - len(world.iam.list_attached_role_policies(RoleName="CanvasOmar")["AttachedPolicies"])):
        made = world.iam.create_policy(PolicyName=f"full-{number}", PolicyDocument=UNRELATED)["Policy"]
        world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=made["Arn"])
    return world


def is_reported(world):
    """Whether the next sweep reports the full role, although the table says that the finding was reported."""
    finding = ReportedFinding(ACCOUNT_ID, "CanvasOmar", ReportedKind.ROLE, FULL)
    world.reported.mark([finding.as_row(time.time() + 6 * 24 * 3600)])
    world.assemble(world.runtime.aws)
    before = len(world.history("CanvasOmar"))
    world.sweep()
    rows = world.history("CanvasOmar")[before:]
    return [row["reason"] for row in rows if row["kind"] == "Role Finding"] == ["quota full"]


def test_a_row_of_the_history_without_a_reason_confirms_no_finding(full):
    assert is_reported(full)


@pytest.mark.parametrize(
    "changes",
    [{"reason": ""}, {"reason": "quota"}, {"missing": []}, {"verdict": ""}, {"kind": "Account Finding"}, {"kind": ""}],
)
def test_only_the_same_finding_in_the_history_counts(full, changes):
    full.sweep()
    history = full.runtime.aws
    table = full.environment["HISTORY_TABLE"]
    for row in history.scan(table):
        if row.get("reason") == "quota full" and row["about"].endswith("canvasomar"):
            history.put(table, {**row, **changes})
    assert is_reported(full)


def test_a_finding_that_was_resolved_counts_no_longer(full):
    full.sweep()
    assert not is_reported(full)
    full.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=FIRST_OF_OTHERS)
    for _ in range(2):
        full.sweep()
    assert "Finding Resolved" in [row["kind"] for row in full.history("CanvasOmar")]
    full.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=policy_arn("no-generative-ai", "aws", ACCOUNT_ID))
    full.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=FIRST_OF_OTHERS)
    assert is_reported(full)


@pytest.mark.parametrize("scope", ROWS)
def test_no_row_of_another_kind_stops_a_sweep_or_an_audit(world, scope):
    world.swept()
    for item in (ACCOUNT_ID, "until", "at", "99999999999.000", "x"):
        Table(world).set({"scope": {"S": scope}, "item": {"S": item}}, **ROWS[scope])
    world.detach("CanvasOmar", "no-generative-ai")
    world.wait(3600)
    world.sweep()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
    assert world.progress.health()[ACCOUNT_ID].swept > 0
    assert world.audit(later=timedelta(hours=2)).keys() >= {"calls"}
    assert world.sweeper.handle_event({"step": "heartbeat"})["overdue"] == []


@pytest.mark.parametrize("interval", [900, 3600, 6 * 3600, 12 * 3600, DAY_SECONDS])
def test_the_rotation_reads_every_subject_within_a_day_and_spreads_them(interval):
    rotation, subjects = Rotation(interval), [f"d/{number}" for number in range(500)]
    late = count()
    last, gaps, shares = dict.fromkeys(subjects, 0.0), Counter[str](), []
    for at in range(0, 4 * DAY_SECONDS, interval):
        began = at + 300.0 * (next(late) % 2)  # A sweep can begin late.
        due = [subject for subject in subjects if rotation.is_due(subject, began)]
        shares.append(len(due) / len(subjects))
        for subject in due:
            gaps[subject] = max(gaps[subject], int(began - last[subject]))
            last[subject] = began
    assert all(gaps[subject] <= max(DAY_SECONDS, interval + 300) for subject in subjects)
    assert max(shares) <= min(1, 2.5 * max(interval, 900) / DAY_SECONDS + 0.05)

"""Drills: Rolewarden's own calls travel the event path, and a cut is reported with the link at which it is."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from rolewarden.canary import NOT_DRILLED
from rolewarden.check import check
from rolewarden.driller import REQUEST_SECONDS
from rolewarden.work import HEARTBEAT
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.alarms import metrics_in

from tests.conftest import TODAY
from tests.cuts import CUTS, FULL, ROLES, SUBJECTS, Cut, Place
from tests.drills import AWAY, DAY, HOME, Ground, client, one_account, organization, several_regions
from tests.permissions import of_template
from tests.stacks import MEMBER, forwarder_of_whole, translated
from tests.volume import volume

pytestmark = pytest.mark.long

HEARD_AT_HOME = {(ROLES, HOME): "heard", (SUBJECTS, HOME): "heard", (FULL, HOME): "heard"}
HEARD_EVERYWHERE = {**HEARD_AT_HOME, (SUBJECTS, AWAY): "heard"}
QUARTER = 16 * 60.0
HOUR = 3600.0
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_full_drill_is_heard_and_the_canary_is_restored(world):
    ground = one_account(world)
    ground.drill()
    assert not ground.has_canary_policy()
    assert set(ground.states().values()) == {"waiting"}
    ground.wait(30)
    assert ground.has_canary_policy()
    assert ground.states() == HEARD_AT_HOME


def test_every_region_is_drilled(world):
    ground = several_regions(world)
    ground.drill()
    ground.wait(30)
    assert ground.states() == HEARD_EVERYWHERE


def test_every_account_is_drilled(company):
    ground = organization(company)
    for account in ground.accounts:
        ground.drill(account)
    ground.wait(30)
    for account in (ACCOUNT_ID, MEMBER):
        assert ground.states(account) == HEARD_EVERYWHERE
        assert ground.has_canary_policy(account)


TOPOLOGIES = {"one account": one_account, "several regions": several_regions, "organization": organization}
PLACES = {
    "one account": [Place(ACCOUNT_ID, HOME)],
    "several regions": [Place(ACCOUNT_ID, HOME), Place(ACCOUNT_ID, AWAY)],
    "organization": [Place(account, region) for account in (ACCOUNT_ID, MEMBER) for region in (HOME, AWAY)],
}


def cases():
    """Each cut at a place of a topology: in `make soak` at every place, otherwise at one."""
    every = [
        (cut, name, place)
        for cut in CUTS
        for name, places in PLACES.items()
        for place in places
        if cut.link(place) and not (cut.reach == "members" and place.account == ACCOUNT_ID)
        if not (cut.name == "forwarding not allowed" and name == "organization" and place.account == ACCOUNT_ID)
    ]
    return volume([next(case for case in every if case[0] is cut) for cut in CUTS], every)


def concerned(cut: Cut, ground: Ground, place: Place, account: str) -> set[tuple[str, str]]:
    """The kinds and regions of an account that a cut at a place concerns."""
    found = set()
    for region in ground.regions:
        here = Place(account, region)
        reached = {
            "place": here == place,
            "account": account == place.account,
            "region": region == place.region,
            "forwarded": not here.is_central,
            "members": account != ACCOUNT_ID,
            "all": True,
        }[cut.reach]
        if reached:
            kinds = cut.kinds if region == HOME else cut.kinds & {SUBJECTS}
            found |= {(kind, region) for kind in kinds}
    return found


def drilled(ground: Ground, seconds: float = QUARTER) -> None:
    """Send a pulse and a full drill in every account, and let the limit pass."""
    for account in ground.accounts:
        ground.drill(account)
    ground.wait(seconds)


def ground_of(name, request) -> Ground:
    return TOPOLOGIES[name](request.getfixturevalue("company" if name == "organization" else "world"))


@pytest.mark.volume
@pytest.mark.parametrize(("cut", "name", "place"), cases(), ids=str)
def test_a_cut_is_late_then_cut_and_names_its_link(request, cut, name, place):
    ground = ground_of(name, request)
    cut.make(ground, place)
    link = cut.link(place)
    first = "cut" if link == "dead-letter queue" else "late"
    for state in (first, "cut"):
        drilled(ground)
        for account in ground.accounts:
            heard = HEARD_EVERYWHERE if AWAY in ground.regions else HEARD_AT_HOME
            expected = dict.fromkeys(concerned(cut, ground, place, account), f"{state}: {link}")
            assert ground.states(account) == {**heard, **expected}, account
        for account in ground.accounts:
            ground.judge(account)
        ground.wait(HOUR)
    cut_accounts = {account for account in ground.accounts if concerned(cut, ground, place, account)}
    cut_off = set(ground.world.sweeper.handle_event({"step": HEARTBEAT})["cut_off"])
    assert cut_off == (set() if link == "dead-letter queue" else cut_accounts)


def test_of_two_cuts_the_first_is_named_and_a_repair_is_heard_again(world):
    ground = one_account(world)
    named = {cut.name: cut for cut in CUTS}
    here = Place(ACCOUNT_ID, HOME)
    named["disabled rule"].make(ground, here)
    named["function throttled to zero"].make(ground, here)
    drilled(ground)
    assert set(ground.states().values()) == {"late: rule"}
    for name in ("EnforceFunctionSubjects", "EnforceFunctionRoles"):
        client("events").enable_rule(Name=name)
    ground.judge()
    assert ground.has_canary_policy()
    assert set(ground.states().values()) == {"late: function"}
    client("lambda").delete_function_concurrency(FunctionName="EnforceFunction")
    drilled(ground)
    assert ground.states() == HEARD_AT_HOME


def findings(ground: Ground) -> list[str]:
    """The messages of the findings about the account."""
    rows = ground.world.runtime.aws.scan(ground.world.environment["HISTORY_TABLE"])
    return [row["message"] for row in rows if row["kind"] == "Account Finding"]


def kinds(ground: Ground) -> set[str]:
    """The kinds of the rows of the history."""
    rows = ground.world.runtime.aws.scan(ground.world.environment["HISTORY_TABLE"])
    return {row["kind"] for row in rows}


def test_a_cut_is_a_finding_that_names_account_region_and_link_and_a_drill_that_is_heard_resolves_it(world):
    ground = one_account(world)
    next(cut for cut in CUTS if cut.name == "stopped trail").make(ground, Place(ACCOUNT_ID, HOME))
    for _ in range(2):
        drilled(ground)
        ground.judge()
        ground.wait(HOUR)
    [message] = findings(ground)
    assert message.startswith(f"drill in {HOME}: ")
    assert f"in account {ACCOUNT_ID} was missed 2 times, the path is cut at the trail: " in message
    client("cloudtrail").start_logging(Name="management-events")
    drilled(ground)
    ground.judge()
    assert "Finding Resolved" in kinds(ground)
    assert ground.world.sweeper.handle_event({"step": HEARTBEAT})["cut_off"] == []


def test_drills_that_are_heard_leave_no_drift_no_finding_and_no_contest(world):
    ground = one_account(world)
    for _ in range(5):
        drilled(ground)
        ground.judge()
    assert kinds(ground) == {"Drill Measured", "Guardrails Published"}
    assert ground.world.runtime.recorder.rows(f"{ACCOUNT_ID}/rolewarden-canary", BEGINNING) == []
    assert world.audit(later=timedelta(hours=3))["backfilled"] == 0


def test_the_seconds_are_split_into_delivery_start_and_remediation(world, capsys):
    ground = one_account(world)
    ground.delay = 40
    ground.drill()
    ground.wait(60)
    [row] = ground.world.runtime.recorder.rows(f"{ACCOUNT_ID}/drill/{FULL}/{HOME}", BEGINNING)
    assert row["milliseconds"] == row["delivery_milliseconds"] == 40_000
    assert row["start_milliseconds"] == row["remediation_milliseconds"] == 0
    figures = [
        (name, value, dimensions)
        for _, name, value, dimensions in metrics_in(capsys.readouterr().out)
        if "region" in dimensions
    ]
    assert ("SecondsUnprotected", 40.0, {"account": ACCOUNT_ID, "region": HOME}) in figures
    assert {name for name, _, _ in figures} == {
        "SecondsToHear", "SecondsToDeliver", "SecondsToStart", "SecondsToRestore", "SecondsUnprotected",
    }  # fmt: skip


@pytest.mark.parametrize("forged", ["", "rolewarden/drill.1796000000.0123456789abcdef", "the nonce of a drill"])
def test_a_detachment_by_another_caller_is_a_finding_and_is_undone(world, forged):
    ground = one_account(world)
    if forged.startswith("the nonce"):
        [*_, full] = ground.drill()
        ground.wait(30)
        forged = f"rolewarden/{full['nonce']}"
    before = kinds(ground)
    with ground.late():
        iam = boto3.client("iam", config=Config(user_agent_extra=forged))
        iam.detach_role_policy(
            RoleName="rolewarden-canary", PolicyArn=f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/drill.canary"
        )
    ground.wait(30)
    assert ground.has_canary_policy()
    [message] = findings(ground)
    assert message == (
        f"canary: arn:aws:iam::{ACCOUNT_ID}:root detached drill.canary from the role rolewarden-canary, "
        "and no drill did that"
    )
    assert kinds(ground) - before == {"Account Finding", "Canary Restored"}


def test_forged_detachments_of_the_canarys_policy_write_nothing_to_iam(world):
    ground, policy = one_account(world), f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/drill.canary"
    with ground.late():
        boto3.client("iam").detach_role_policy(RoleName="rolewarden-canary", PolicyArn=policy)
    event = world.event("DetachRolePolicy")
    ground.wait(30)
    mark = world.aws.mark()
    for number in range(3):
        invented = {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT_ID}:user/invented{number}"}
        detail = {
            **event["detail"],
            "userIdentity": invented,
            "eventID": f"0000000{number}-0000-4000-8000-000000000000",
        }
        world.enforcer.handle_event({**event, "detail": detail})
    calls = [call.operation for call in world.aws.calls(mark)]
    assert calls.count("ListAttachedRolePolicies") == 3
    assert "AttachRolePolicy" not in calls


def test_a_canary_that_a_domain_uses_is_an_ordinary_role(world):
    ground = one_account(world)
    role = world.iam.get_role(RoleName="rolewarden-canary")["Role"]["Arn"]
    with ground.late():
        world.sagemaker.create_domain(
            DomainName="taken", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": role}, SubnetIds=["s"], VpcId="v"
        )
    ground.wait(60)
    assert world.attached("rolewarden-canary") > {"drill.canary"}
    drilled(ground)
    assert ground.states()[FULL, HOME] == "late: canary"
    assert not ground.has_canary_policy()


def test_the_calls_of_a_pulse_and_of_a_full_drill_are_few(world):
    ground = one_account(world)
    ground.drill()
    ground.wait(30)  # The functions are warm now.
    ground.wait(DAY)

    def calls(step):
        mark = world.aws.mark()
        ground.driller.handle({"step": step, "account": ACCOUNT_ID}) if step == "pulse" else ground.driller.drill(
            ACCOUNT_ID
        )
        sent = [call.operation for call in world.aws.calls(mark)]
        mark = world.aws.mark()
        ground.wait(30)
        return sent, [call.operation for call in world.aws.calls(mark)]

    with ground.late():
        sent, heard = calls("pulse")
        assert sent == ["Query", "PutItem", "TagRole", "PutItem", "AddTags"]
        # The event of the role also leads to an ordinary evaluation, which is one query.
        assert Counter(heard) == {"Query": 3, "PutItem": 4, "PutEvents": 2}
        sent, heard = calls("drill")
        assert sent == ["Query", "PutItem", "DetachRolePolicy"]
        assert heard == ["Query", "Query", "GetRole", "AttachRolePolicy", "PutItem", "PutEvents", "PutItem"]


def test_a_caller_who_requests_pulse_after_pulse_causes_one_in_ten_seconds(world):
    ground = one_account(world)
    requests = [{"step": "pulse", "account": ACCOUNT_ID}, {"step": "drill", "account": ACCOUNT_ID}] * 5
    nonces = {drill["nonce"] for request in requests for drill in ground.driller.handle(request)["drills"]}
    assert len({nonce for nonce in nonces if nonce.startswith("pulse.")}) == 2
    ground.wait(REQUEST_SECONDS + 1)
    again = ground.driller.handle(requests[0])["drills"]
    assert not nonces & {drill["nonce"] for drill in again}


def test_an_event_of_a_sweep_drills_only_a_covered_account_and_not_twice(world):
    ground = one_account(world)

    def swept(account):
        with ground.late():
            return [drill["drill"] for drill in ground.driller.handle({"detail": {"account": account}})["drills"]]

    assert swept("999988887777") == []
    assert swept(ACCOUNT_ID) == [ROLES, SUBJECTS, FULL]
    assert swept(ACCOUNT_ID) == []
    ground.wait(HOUR)
    assert swept(ACCOUNT_ID) == [ROLES, SUBJECTS]
    ground.driller.deployed = lambda: ground.now - 1
    ground.wait(HOUR)
    assert swept(ACCOUNT_ID) == [ROLES, SUBJECTS, FULL]


def test_no_rule_leaves_the_calls_of_drills_out():
    for template in (translated(), forwarder_of_whole(MEMBER, HOME), forwarder_of_whole(ACCOUNT_ID, AWAY)):
        for rule in template.resources("AWS::Events::Rule").values():
            if "aws.iam" in str(rule.get("EventPattern")) or "aws.sagemaker" in str(rule.get("EventPattern")):
                text = json.dumps(rule["EventPattern"]["detail"])
                assert "anything-but" not in text or "rill" not in text.partition("anything-but")[2]


def test_drillfunction_is_deleted_before_what_it_needs():
    template = translated()
    assert {"CanaryRole", "EnforceFunctionRolesPermission", "DetachOnDelete"} <= set(
        template.depends_on("DrillFunction")
    )
    assert "Guardrails" in template.depends_on("DrillFunctionSchedule")


def test_drillfunction_can_write_only_rows_about_drills():
    [rights] = [found for found in of_template(translated()) if found.function == "DrillFunction"]
    table = f"arn:aws:dynamodb:{HOME}:{ACCOUNT_ID}:table/BindingsTable"
    for key, allowed in (
        (f"drill/{ACCOUNT_ID}", True),
        (f"pulse/{ACCOUNT_ID}", True),
        (ACCOUNT_ID, False),
        ("members", False),
    ):
        assert rights.may("dynamodb:PutItem", table, {"dynamodb:LeadingKeys": key}) is allowed, key


def test_regions_without_the_canarys_resource_are_not_drilled_and_create_a_stack_without_it():
    for region in sorted(NOT_DRILLED):
        assert "AWS::SageMaker::AppImageConfig" not in {
            resource["Type"]
            for name, resource in translated(region).body["Resources"].items()
            if name in translated(region).made()
        }


@pytest.mark.parametrize("name", ["canary", "Born", "drill.canary"])
def test_the_names_of_rolewardens_own_policies_are_reserved(tmp_path, name):
    path = tmp_path / "guardrails.yaml"
    path.write_text(f"guardrails:\n  {name}: {{bedrock: {{deny: all}}}}\nassignments:\n  - guardrails: [{name}]\n")
    assert check(path, today=TODAY).errors

"""Roles that a sweep sends together share reads of IAM. The outcome of each is the same as that of a role alone."""

import json
from collections import Counter

import boto3
import pytest
from rolewarden.aws import LONGEST_CALL
from rolewarden.bindings import EXECUTION, ROLE, Binding, RoleKey
from rolewarden.origin import SWEEP
from rolewarden.policies import policy_arn
from rolewarden.shared_reads import READ_SECONDS, SHARED_FROM
from rolewarden.verdicts import Reason
from rolewarden.work import FEW_ROLES, MOST_ROLES, Work, Works, messages_of
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.crowd import attach_all, detach_all
from rolewarden_local.scenes.seed import TRUST, trusting

RULES = f"""
guardrails:
  strict: {{bedrock: {{deny: all}}}}
  extra: {{jumpstart: {{deny: all}}}}
  trial: {{bedrock: {{deny: [amazon.nova-*]}}, mode: observe}}
assignments:
  - {{guardrails: [strict], roles: [team-strict-*]}}
  - {{guardrails: [trial], roles: [team-trial-*]}}
  - {{guardrails: [strict, trial], roles: [team-mixed-*]}}
  - {{guardrails: [strict, extra], roles: [team-*]}}
  - guardrails: []
also_govern: {{roles: [team-*]}}
exemptions:
  - {{role: team-exempt, account: "{ACCOUNT_ID}", until: 2126-01-31, reason: by design}}
never_govern:
  - {{role: team-never, account: "{ACCOUNT_ID}"}}
"""
ORDINARY = tuple(f"team-{number:02}" for number in range(SHARED_FROM))
"""Roles that need two policies, enough that the evaluations of a message about them share reads."""

READS = ("ListAttachedRolePolicies", "ListEntitiesForPolicy", "GetPolicy", "GetRole", "ListRoles")


def arn(policy):
    return policy_arn(policy, "aws", ACCOUNT_ID)


@pytest.fixture
def team_under(world_with):
    """A function that makes an account with the roles of a team, which are bound and unprotected."""

    def make(rules, names):
        world = world_with(rules)
        for name in names:
            world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        world.bindings.write(
            [Binding(ACCOUNT_ID, "", "", ROLE, EXECUTION, RoleKey(ACCOUNT_ID, name)) for name in names]
        )
        return world

    return make


@pytest.fixture
def team(team_under):
    return team_under(RULES, ORDINARY)


def works(*names, rows=()):
    return tuple(Work(RoleKey(ACCOUNT_ID, name), ACCOUNT_ID, SWEEP, rows=rows) for name in names)


def evaluated(world, names):
    """Evaluate these roles as one message of a sweep, and return the outcomes by role."""
    with world.enforcer.recorder.together():
        answer = world.enforcer.handle_message(Works(works(*names)).as_dict())
    return {outcome["role"]: outcome for outcome in answer["outcomes"]}


def calls_of(world, do):
    mark = world.aws.mark()
    do()
    return Counter(call.operation for call in world.aws.calls(mark))


def remediated(world, role):
    """The policies that the history says a role got, one list for each remediation."""
    return [row["attached"] for row in world.history(role) if row["kind"] == "Role Remediated"]


KINDS = {
    "nothing": (),
    "one": ("strict",),
    "other": ("extra",),
    "both": ("strict", "extra"),
    "unneeded": ("trial",),
}
"""Names of roles, without their prefix, and the policies that they have."""

SPECIAL = tuple(
    f"team-{name}"
    for name in ("exempt", "never", "strict-one", "trial-one", "mixed-one", "full", "almost-full", "gone")
)


def make_each_kind(world):
    """Give the roles the policies of KINDS, fill the quotas of two roles or almost, and delete one. Return all."""
    names = [*ORDINARY, *SPECIAL, *(f"team-{kind}" for kind in KINDS)]
    detach_all(names)
    for kind, policies in KINDS.items():
        for policy in policies:
            attach_all([f"team-{kind}"], arn(policy))
    attach_all(["team-strict-one"], arn("strict"))
    for number in range(10):
        attach_all(["team-full"], f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-{number + 1:02}")
    for number in range(9):
        attach_all(["team-almost-full"], f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-{number + 1:02}")
    world.iam.delete_role(RoleName="team-gone")
    return names


def test_roles_evaluated_together_have_the_outcomes_and_policies_of_roles_evaluated_alone(team_under):
    names = [*ORDINARY, *SPECIAL, *(f"team-{kind}" for kind in KINDS)]
    alone = team_under(RULES, names)
    names = make_each_kind(alone)
    expected = {name: alone.enforcer.handle_message(works(name)[0].as_dict()) for name in names}
    attached = {name: alone.attached(name) for name in names if name != "team-gone"}
    records = {name: remediated(alone, name) for name in names}
    assert len({(outcome["verdict"], outcome["remediation"]) for outcome in expected.values()}) >= 7
    together = team_under(RULES, names)
    make_each_kind(together)
    found = evaluated(together, names[:MOST_ROLES])

    def comparable(outcome):
        return {key: value for key, value in outcome.items() if key != "correlation_id"}

    assert {name: comparable(o) for name, o in found.items()} == {n: comparable(o) for n, o in expected.items()}
    assert {name: together.attached(name) for name in attached} == attached
    assert {name: remediated(together, name) for name in names} == records


def test_roles_that_lack_their_policies_need_one_call_each_and_a_few_lists(team):
    calls = calls_of(team, lambda: evaluated(team, ORDINARY))
    assert calls["AttachRolePolicy"] == 2 * len(ORDINARY)
    assert {operation: calls[operation] for operation in READS} == {
        "ListAttachedRolePolicies": 0,
        "ListEntitiesForPolicy": 2,
        "GetPolicy": 2,
        "GetRole": 0,
        "ListRoles": 0,
    }
    assert all(team.attached(role) == {"strict", "extra"} for role in ORDINARY)
    assert all(remediated(team, role) == [["extra", "strict"]] for role in ORDINARY)


def test_a_few_roles_share_no_reads(team):
    calls = calls_of(team, lambda: evaluated(team, ORDINARY[:-1]))
    assert calls["ListEntitiesForPolicy"] == 0
    assert calls["ListAttachedRolePolicies"] == len(ORDINARY) - 1


def test_a_role_that_has_its_policies_is_listed_and_not_recorded_as_remediated(team):
    attach_all(ORDINARY, arn("strict"))
    attach_all(ORDINARY, arn("extra"))
    calls = calls_of(team, lambda: evaluated(team, ORDINARY))
    assert (calls["ListAttachedRolePolicies"], calls["AttachRolePolicy"]) == (len(ORDINARY), 0)
    assert not any(remediated(team, role) for role in ORDINARY)


def test_a_second_message_about_the_same_roles_in_one_invocation_records_nothing(team):
    with team.enforcer.recorder.together():
        for _ in range(2):
            team.enforcer.handle_message(Works(works(*ORDINARY)).as_dict())
    assert all(len(remediated(team, role)) == 1 for role in ORDINARY)


def test_a_policy_that_was_detached_during_an_invocation_is_attached_again(team):
    with team.enforcer.recorder.together():
        team.enforcer.handle_message(Works(works(*ORDINARY)).as_dict())
        detach_all(ORDINARY)
        team.enforcer.handle_message(Works(works(*ORDINARY)).as_dict())
    assert all(team.attached(role) == {"strict", "extra"} for role in ORDINARY)


@pytest.mark.parametrize(("seconds", "lists"), [(0, 2), (READ_SECONDS + 1, 4)])
def test_a_read_is_made_again_after_some_seconds(team, seconds, lists):
    def twice():
        with team.enforcer.recorder.together():
            team.enforcer.handle_message(Works(works(*ORDINARY)).as_dict())
            team.wait(seconds)
            team.enforcer.handle_message(Works(works(*ORDINARY)).as_dict())

    assert calls_of(team, twice)["ListEntitiesForPolicy"] == lists


@pytest.mark.parametrize(("seconds", "lists"), [(0, 0), (READ_SECONDS + 1, 2)])
def test_the_next_invocation_uses_a_read_for_some_seconds(team, seconds, lists):
    evaluated(team, ORDINARY)
    detach_all(ORDINARY)
    team.wait(seconds)
    calls = calls_of(team, lambda: evaluated(team, ORDINARY))
    assert calls["ListEntitiesForPolicy"] == lists
    assert all(team.attached(role) == {"strict", "extra"} for role in ORDINARY)


@pytest.mark.parametrize("more", ["fallback: boundary\n", "hold: suspicious\n"])
def test_rules_by_which_more_counts_than_the_required_policies_share_no_reads(team_under, more):
    world = team_under(RULES + more, ORDINARY)
    calls = calls_of(world, lambda: evaluated(world, ORDINARY))
    assert calls["ListAttachedRolePolicies"] == len(ORDINARY)
    assert all(world.attached(role) == {"strict", "extra"} for role in ORDINARY)


def test_an_edited_policy_is_not_attached_to_roles_that_are_evaluated_together(team):
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    team.iam.create_policy_version(PolicyArn=arn("strict"), PolicyDocument=json.dumps(everything), SetAsDefault=True)
    found = evaluated(team, ORDINARY)
    assert {outcome["reason"] for outcome in found.values()} == {Reason.POLICY_EDITED.value}
    assert all(team.attached(role) == {"extra"} for role in ORDINARY)
    assert all(outcome["attached"] == ["extra"] for outcome in found.values())


@pytest.mark.parametrize("operation", ["ListEntitiesForPolicy", "ListRoles"])
@pytest.mark.parametrize("error", ["AccessDenied", "Throttling"])
def test_without_a_shared_read_each_role_has_its_own(team, operation, error):
    with team.aws.failing(operation, error):
        evaluated(team, ORDINARY)
    assert all(team.attached(role) == {"strict", "extra"} for role in ORDINARY)


def test_a_first_use_by_a_user_profile_is_reported_of_a_role_evaluated_with_others(team_under):
    world = team_under("guardrails:\n  strict: {bedrock: {deny: all}}\nassignments:\n  - guardrails: [strict]\n", ())
    names = [f"person-{number}" for number in range(SHARED_FROM)]
    for name in names:
        trust = trusting("sagemaker.amazonaws.com") if name != names[3] else trusting("ec2.amazonaws.com")
        role = world.role(name, trust)
        domain = next(iter(world.seeded.domains.values()))
        world.sagemaker.create_user_profile(DomainId=domain, UserProfileName=name, UserSettings={"ExecutionRole": role})
    calls = calls_of(world, world.sweep)
    assert (calls["GetRole"], calls["ListRoles"]) == (0, 1)
    assert [row["reason"] for row in world.history(f"account/first use of {names[3]}")]
    assert not world.history(f"account/first use of {names[4]}")


def test_a_forged_message_gives_no_role_a_guardrail_and_leaves_none_out(team):
    boto3.client("iam").create_role(RoleName="somebody", AssumeRolePolicyDocument=TRUST)
    forged = {
        "works": [*Works(works(*ORDINARY)).as_dict()["works"], *[works("somebody")[0].as_dict()], {"role": 7}, "x"],
        "attached": [arn("strict")],
        "missing": [],
    }
    answer = team.enforcer.handle_message(forged)
    assert {o["role"]: o["verdict"] for o in answer["outcomes"]} == {
        **dict.fromkeys(ORDINARY, "compliant"),
        "somebody": "out_of_scope",
    }
    assert team.attached("somebody") == set()
    too_many = {"works": [work.as_dict() for work in works(*ORDINARY) * MOST_ROLES]}
    others = [{"works": listed} for listed in json.loads('["x", [], [[]], {"role": "team-00"}]')]
    for body in (too_many, *others):
        assert team.enforcer.handle_message(body) == {"ignored": "no work message"}


def test_a_role_that_aws_could_not_change_now_gets_a_message_of_its_own(team):
    team.with_immediate_rechecks()
    with team.aws.failing("AttachRolePolicy", "Throttling"):
        evaluated(team, ORDINARY)
    left = team.queued()
    assert sorted(body["role"] for body in left) == sorted(ORDINARY)
    for body in left:
        team.enforcer.handle_message(body)
    assert all(team.attached(role) == {"strict", "extra"} for role in ORDINARY)


def test_roles_for_which_no_time_is_left_go_on_in_another_message(team):
    seconds = iter([LONGEST_CALL] * 6)
    team.runtime.clock.seconds_left = lambda: next(seconds, 0.0)
    found = evaluated(team, ORDINARY)
    team.runtime.clock.seconds_left = lambda: float("inf")
    assert 0 < len(found) < len(ORDINARY)
    [left] = team.queued()
    assert {work["role"] for work in left["works"]} == set(ORDINARY) - found.keys()
    team.enforcer.handle_message(left)
    assert all(team.attached(role) == {"strict", "extra"} for role in ORDINARY)


def test_a_sweep_sends_few_roles_one_by_one_and_many_together():
    few, many = works(*map(str, range(FEW_ROLES))), works(*map(str, range(2 * MOST_ROLES + 1)))
    assert [len(each) for each in messages_of(few)] == [1] * FEW_ROLES
    assert [len(each) for each in messages_of(many)] == [MOST_ROLES, MOST_ROLES, 1]
    rows = tuple(("s" * 500, "i" * 500, "d" * 16) for _ in range(20))
    heavy = messages_of(works(*map(str, range(MOST_ROLES)), rows=rows))
    assert len(heavy) > 1
    assert sum(map(len, heavy)) == MOST_ROLES

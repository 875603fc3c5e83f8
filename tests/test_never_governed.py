"""A user profile that names somebody else's role makes no weapon of Rolewarden, and a hold unprotects no role."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from rolewarden.bindings import ROLE
from rolewarden.check import check
from rolewarden.errors import RulesError
from rolewarden.hold import suspicion
from rolewarden.listed import RoleDescription
from rolewarden.trust import trust_of
from rolewarden.verdicts import RECOMMENDATIONS
from rolewarden_cli import options
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated._ministack import iam
from rolewarden_local.scenes.seed import ANALYTICS, RESEARCH, TRUST, trusting

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY
from tests.published import publish_at
from tests.volume import some

pytestmark = pytest.mark.long


def of_services(*services):
    """A trust policy that names these services."""
    statement = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


PRODUCTION = "BuildServer"
ARN = f"arn:aws:iam::{ACCOUNT_ID}:role/{PRODUCTION}"
EC2 = trusting("ec2.amazonaws.com")
BOTH = of_services("sagemaker.amazonaws.com", "ec2.amazonaws.com")
PLAIN = "guardrails:\n  strict: {bedrock: {deny: all}}\nassignments:\n  - guardrails: [strict]\n"
NEVER = PLAIN + f"never_govern:\n  - {{role: {PRODUCTION}, account: '{ACCOUNT_ID}'}}\n"
HOLD = PLAIN + "hold: suspicious\n"
NEVER_GOVERNED, HELD = "role is never governed", "held"
FIRST_USE = "first guardrail of a suspicious role"
NEWER = "role that is never governed is newer than the rules"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)


@pytest.fixture
def deployed(world_with):
    """A function that makes an account with these rules, which a stack deployed an hour ago."""

    def make(text):
        world = world_with(text)
        template = json.dumps({"Resources": {"Alone": {"Type": "AWS::SNS::Topic"}}})
        made = boto3.client("cloudformation").create_stack(StackName="other", TemplateBody=template)
        world.environment = {**world.environment, "STACK_ID": made["StackId"]}
        for role in iam._roles.values():
            role["CreateDate"] = "2026-01-01T00:00:00Z"
        deploy_again(world, ago=3600)
        return world

    return make


def deploy_again(world, *, ago=0):
    """Record that the stack published the guardrails `ago` seconds ago."""
    publish_at("other", datetime.now(UTC) - timedelta(seconds=ago))
    world.assemble(world.runtime.aws)


def named_in_a_profile(world, role=ARN, name="mallory"):
    """Name a role in a new user profile, and evaluate the event. Return the outcome of the role."""
    settings = {"ExecutionRole": role}
    world.sagemaker.create_user_profile(DomainId=ANALYTICS, UserProfileName=name, UserSettings=settings)
    [outcome] = world.enforce(world.event("CreateUserProfile"))
    return outcome


def first_uses(world, role=PRODUCTION):
    return [row["reason"] for row in world.history(f"account/first use of {role}")]


@pytest.fixture
def problems_of(tmp_path):
    """A function that returns the errors of a file."""

    def read(text):
        file = tmp_path / "guardrails.yaml"
        file.write_text(text)
        return list(check(file, today=TODAY).errors)

    return read


# Roles that are never governed


@pytest.mark.parametrize("entry", [PRODUCTION, PRODUCTION.upper(), "Build*", "?uildserver"])
def test_a_role_that_is_never_governed_gets_nothing_and_its_use_is_a_finding(deployed, entry):
    world = deployed(NEVER.replace(PRODUCTION, f'"{entry}"'))
    outcome = named_in_a_profile(world)
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", NEVER_GOVERNED)
    for _ in range(2):
        world.sweep()
        assert world.attached(PRODUCTION) == set()
        assert [row["reason"] for row in world.history(PRODUCTION)] == [NEVER_GOVERNED] * 2  # the event and the sweep
    assert world.history(PRODUCTION)[0]["recommendation"] == RECOMMENDATIONS[NEVER_GOVERNED]


def test_the_finding_is_resolved_when_no_subject_names_the_role_any_more(deployed):
    world = deployed(NEVER)
    named_in_a_profile(world)
    world.sweep()
    world.sagemaker.delete_user_profile(DomainId=ANALYTICS, UserProfileName="mallory")
    world.sweep()
    assert world.history(PRODUCTION)[-1]["kind"] == "Finding Resolved"


@pytest.mark.parametrize("entry", [f"{{role: {PRODUCTION}, account: '222233334444'}}", "{role: BuildServer2}"])
def test_an_entry_of_another_account_or_name_covers_no_role(deployed, entry):
    world = deployed(PLAIN + f"never_govern:\n  - {entry}\n")
    assert named_in_a_profile(world)["verdict"] == "compliant"


def test_an_entry_without_an_account_means_the_account_of_the_stack(deployed):
    world = deployed(PLAIN + f"never_govern:\n  - role: {PRODUCTION}\n")
    assert named_in_a_profile(world)["reason"] == NEVER_GOVERNED
    with pytest.raises(RulesError, match=r"never_govern\[1\]: `BuildServer` names no account"):
        world.runtime.rules.need_accounts()


def test_a_new_role_with_a_protected_name_is_governed_and_reported_until_the_next_deployment(deployed):
    """Otherwise a caller who can create roles could make one that Rolewarden leaves alone."""
    world = deployed(NEVER.replace(PRODUCTION, '"payments-*"'))
    outcome = named_in_a_profile(world, world.role("payments-mallory"))
    assert (outcome["verdict"], world.attached("payments-mallory")) == ("compliant", {"strict"})
    for _ in range(2):
        world.sweep()
        reasons = [row.get("reason") for row in world.history("account/never_govern of payments-mallory")]
        assert reasons == [NEWER, NEWER]
    deploy_again(world, ago=-10)
    assert world.verdict("payments-mallory")["reason"] == NEVER_GOVERNED


def test_a_role_of_rolewarden_itself_gets_nothing(deployed):
    world = deployed(PLAIN)
    world.environment = {**world.environment, "OWN_ROLES": "AlertFunctionRole"}
    world.assemble(world.runtime.aws)
    arn = world.role("AlertFunctionRole", trusting("lambda.amazonaws.com"))
    assert named_in_a_profile(world, arn)["reason"] == NEVER_GOVERNED
    world.sweep()
    assert world.attached("AlertFunctionRole") == set()


def test_no_covered_role_can_pass_or_assume_a_role_that_is_never_governed(deployed):
    world = deployed(NEVER.replace(PRODUCTION, '"Build*"'))
    [policy] = world.runtime.needs.policies("strict")
    denied = [one.get("Resource", ()) for one in policy.document["Statement"] if "iam:PassRole" in one["Action"]]
    assert any(f"arn:aws:iam::{ACCOUNT_ID}:role/Build*" in resources for resources in denied)


FIRST = "assignments:\n"
CONTRADICTIONS = {
    "an assignment": NEVER.replace(FIRST, f"{FIRST}  - {{guardrails: [strict], roles: [{PRODUCTION}]}}\n"),
    "in another case": NEVER.replace(FIRST, FIRST + "  - {guardrails: [strict], roles: [buildserver]}\n"),
    "also_govern": NEVER + f"also_govern: {{roles: [{PRODUCTION}]}}\n",
    "an exemption": NEVER + f"exemptions:\n  - {{role: {PRODUCTION}, account: '{ACCOUNT_ID}', until: 2999-01-31}}\n",
}  # fmt: skip


@pytest.mark.parametrize("text", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_role_that_another_entry_names_exactly_is_a_contradiction(problems_of, text):
    [problem] = problems_of(text)
    assert problem.where == "never_govern[1].role"
    assert "contradicts" in problem.message


@pytest.mark.parametrize("more", ["also_govern: {roles: [Build*]}\n", "exemptions: []\n"])
def test_a_pattern_or_another_account_is_no_contradiction(problems_of, more):
    assert problems_of(NEVER + more) == []
    other = CONTRADICTIONS["an exemption"].replace(f"account: '{ACCOUNT_ID}', until", "account: '222233334444', until")
    assert problems_of(other) == []


MISTAKES = {
    '{role: "*"}': "names every role",
    "{account: '111122223333'}": "never_govern[1]: role: is missing",
    "{role: arn:aws:iam::111122223333:role/X}": "write `X`, without its ARN or path",
    "{role: X, account: 12}": "must be the 12 digits of one account",
    "{role: X, reason: y}": "unknown key",
}


@pytest.mark.parametrize(("entry", "words"), MISTAKES.items())
def test_a_mistake_in_an_entry_is_an_error(problems_of, entry, words):
    [problem] = problems_of(PLAIN + f"never_govern:\n  - {entry}\n")
    assert words.split(": ")[-1] in str(problem)


# Undoing an accident


def test_detach_undoes_an_accident_while_the_profile_still_names_the_role(world_with):
    world = world_with(PLAIN).protected()
    named_in_a_profile(world)
    assert world.attached(PRODUCTION) == {"strict"}
    world = world_with(NEVER, keep=True)
    done = json_answer("detach", PRODUCTION, "--yes", "--guardrails", world.environment["GUARDRAILS_FILE"])
    assert done["detached"] == {PRODUCTION: ["strict"]}
    world.sweep()
    assert world.attached(PRODUCTION) == set()


def test_detach_undoes_an_accident_after_the_profile_is_gone(world_with):
    world = world_with(PLAIN).protected()
    named_in_a_profile(world)
    world.sagemaker.delete_user_profile(DomainId=ANALYTICS, UserProfileName="mallory")
    done = json_answer("detach", PRODUCTION, "--yes", "--guardrails", world.environment["GUARDRAILS_FILE"])
    assert done["detached"] == {PRODUCTION: ["strict"]}


def test_detach_says_why_a_named_role_keeps_its_guardrail(world_with):
    world = world_with(PLAIN).protected()
    named_in_a_profile(world)
    result = rolewarden("detach", PRODUCTION, "--yes", "--guardrails", world.environment["GUARDRAILS_FILE"])
    assert result.exit_code == 2
    assert "analytics/mallory" in result.stdout
    assert "never_govern" in result.stdout
    assert world.attached(PRODUCTION) == {"strict"}


# First uses


@pytest.mark.parametrize("trust", [EC2, BOTH, trusting("lambda.amazonaws.com")])
def test_the_first_guardrail_of_a_role_that_other_services_use_is_reported_once(deployed, trust):
    world = deployed(PLAIN)
    world.iam.update_assume_role_policy(RoleName=PRODUCTION, PolicyDocument=trust)
    assert named_in_a_profile(world)["verdict"] == "compliant"
    assert world.attached(PRODUCTION) == {"strict"}
    [row] = world.history(f"account/first use of {PRODUCTION}")
    assert (row["reason"], row["recommendation"]) == (FIRST_USE, RECOMMENDATIONS[FIRST_USE])
    assert "analytics/mallory" in row["message"]
    assert row["cause"]["event_name"] == "CreateUserProfile"
    world.sweep()
    world.sweep()
    assert first_uses(world) == [FIRST_USE]


def test_a_sweep_reports_a_first_use_of_which_no_event_told(deployed):
    world = deployed(PLAIN)
    settings = {"ExecutionRole": ARN}
    world.sagemaker.update_user_profile(DomainId=RESEARCH, UserProfileName="rosa", UserSettings=settings)
    world.sweep()
    assert (world.attached(PRODUCTION), first_uses(world)) == ({"strict"}, [FIRST_USE])


def test_a_role_of_canvas_or_one_that_the_file_names_is_not_suspicious(deployed):
    world = deployed(PLAIN + f"also_govern: {{roles: [{PRODUCTION}]}}\n")
    named_in_a_profile(world)
    named_in_a_profile(world, world.role("CanvasNew"), "nadia")
    assert first_uses(world) == first_uses(world, "CanvasNew") == []


USUAL = ["sagemaker.amazonaws.com", "bedrock.amazonaws.com", "job.sagemaker.amazonaws.com", "forecast.amazonaws.com.cn"]


@pytest.mark.parametrize(
    ("trust", "why"),
    [
        (TRUST, ""),
        (of_services(*USUAL), ""),
        (BOTH, "the role trusts ec2.amazonaws.com"),
        (of_services("a.amazonaws.com", "b.amazonaws.com", "c.amazonaws.com", "d.amazonaws.com"), "and 1 more"),
        (TRUST.replace('"Service": "sagemaker.amazonaws.com"', '"AWS": "111122223333"'), "no service of Canvas"),
        (TRUST.replace('{"Service": "sagemaker.amazonaws.com"}', '"*"'), ""),
    ],
)
def test_a_role_is_suspicious_if_other_services_use_it_or_canvas_cannot(trust, why):
    found = suspicion(RoleDescription("Any", "/", trust_of(trust)))
    assert why in found
    assert bool(found) is bool(why)


# Holds


def test_a_suspicious_role_is_held_until_the_file_names_it(deployed, world_with):
    world = deployed(HOLD)
    outcome = named_in_a_profile(world)
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", HELD)
    world.sweep()
    assert world.attached(PRODUCTION) == set()
    assert {row["reason"] for row in world.history(PRODUCTION)} == {HELD}
    environment = world.environment
    world = world_with(HOLD + f"also_govern: {{roles: [{PRODUCTION.lower()}]}}\n", keep=True)
    world.environment = {**world.environment, "STACK_ID": environment["STACK_ID"]}
    deploy_again(world)
    world.sweep()
    assert world.attached(PRODUCTION) == {"strict"}


FOREIGN_POLICIES = {
    "another name": ("/rolewarden/", "mine"),
    "a path below": ("/rolewarden/x/", "mine"),
    "the name of a guardrail": ("/rolewarden/x/", "strict-2"),
    "a boundary's name": ("/rolewarden/", "boundary.mine"),
}


@pytest.fixture(params=FOREIGN_POLICIES.values(), ids=list(FOREIGN_POLICIES))
def prepared(deployed, request):
    """A world in which a caller has attached a policy under Rolewarden's path to a role, and bounded the role by it."""
    world = deployed(HOLD)
    path, name = request.param
    text = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    arn = world.iam.create_policy(PolicyName=name, Path=path, PolicyDocument=text)["Policy"]["Arn"]
    world.iam.attach_role_policy(RoleName=PRODUCTION, PolicyArn=arn)
    world.iam.put_role_permissions_boundary(RoleName=PRODUCTION, PermissionsBoundary=arn)
    return world


def test_a_policy_of_another_caller_under_rolewardens_path_ends_no_hold(prepared):
    outcome = named_in_a_profile(prepared)
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", HELD)


@pytest.mark.parametrize("name", [("/rolewarden/", "mine"), ("/rolewarden/x/", "mine")])
def test_a_policy_of_another_caller_under_rolewardens_path_hides_no_first_use(deployed, name):
    world = deployed(PLAIN)
    text = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}'
    arn = world.iam.create_policy(PolicyName=name[1], Path=name[0], PolicyDocument=text)["Policy"]["Arn"]
    world.iam.attach_role_policy(RoleName=PRODUCTION, PolicyArn=arn)
    assert named_in_a_profile(world)["attached"] == ["strict"]
    assert first_uses(world) == [FIRST_USE]


def test_a_deployment_of_the_same_rules_does_not_end_a_hold(deployed):
    world = deployed(HOLD)
    named_in_a_profile(world)
    deploy_again(world, ago=-10)
    world.sweep()
    assert (world.verdict(PRODUCTION)["reason"], world.attached(PRODUCTION)) == (HELD, set())


def test_a_role_of_canvas_is_never_held(deployed):
    world = deployed(HOLD)
    world.sweep()
    assert all(world.attached(role) == {"strict"} for role in ("CanvasAnalytics", "CanvasOmar", "CanvasRosa"))


def test_a_new_role_is_not_held(deployed):
    """Otherwise a caller who can create roles could make one that is held, and use it."""
    world = deployed(HOLD)
    assert named_in_a_profile(world, world.role("Fresh", BOTH))["verdict"] == "compliant"


ATTACKS = ["trust", "trust and detach", "trust and detach unseen", "trust, detach and touch"]


TRUSTS = {"only EC2": EC2, "EC2, too": BOTH}


@pytest.mark.volume
@pytest.mark.parametrize(
    ("attack", "trust", "known"), some(6, itertools.product(ATTACKS, TRUSTS, ("remediated", "no record")))
)
def test_a_governed_role_stays_governed_whatever_its_trust_policy_becomes(deployed, attack, trust, known):
    world = deployed(HOLD)
    deploy_again(world)
    if known == "remediated":
        world.protected()
    else:
        arn = f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/strict"
        world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=arn)
    world.sweep()
    world.iam.update_assume_role_policy(RoleName="CanvasOmar", PolicyDocument=TRUSTS[trust])
    world.enforce(world.event("UpdateAssumeRolePolicy"))
    if "detach" in attack:
        event = world.detach("CanvasOmar", "strict")
        if "unseen" not in attack:
            world.enforce(event)
    if "touch" in attack:
        world.sagemaker.update_user_profile(
            DomainId=ANALYTICS, UserProfileName="omar",
            UserSettings={"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/CanvasOmar"},
        )  # fmt: skip
        world.enforce(world.event("UpdateUserProfile"))
    world.sweep()
    assert world.attached("CanvasOmar") == {"strict"}


def test_a_role_with_another_use_from_before_the_deployment_is_not_held(deployed):
    world = deployed(HOLD)
    deploy_again(world)
    world.iam.update_assume_role_policy(RoleName="CanvasOmar", PolicyDocument=BOTH)
    outcome = named_in_a_profile(world, f"arn:aws:iam::{ACCOUNT_ID}:role/CanvasOmar")
    assert outcome["verdict"] == "compliant"


def test_a_role_that_iam_does_not_describe_is_not_held(deployed):
    world = deployed(HOLD)
    with world.aws.failing("GetRole", "AccessDenied"):
        assert named_in_a_profile(world)["verdict"] == "compliant"


def test_a_role_that_also_govern_covers_is_not_held(deployed):
    world = deployed(HOLD + "also_govern: {roles: [Build*]}\n")
    world.sweep()
    assert [binding.kind for binding in world.bindings.all() if binding.role and binding.role.name == PRODUCTION] == [
        ROLE
    ]
    assert world.attached(PRODUCTION) == {"strict"}


def test_without_a_deployed_stack_no_role_is_held(world_with):
    world = world_with(HOLD)
    named_in_a_profile(world)
    assert world.attached(PRODUCTION) == {"strict"}


def test_a_plan_shows_the_accident_and_the_command_that_undoes_it(world_with):
    world = world_with(PLAIN).protected()
    named_in_a_profile(world)
    world = world_with(NEVER, keep=True)
    file = world.environment["GUARDRAILS_FILE"]
    plan = json_answer("plan", "--guardrails", file, exit_code=2)
    [role] = [found for found in plan["roles"] if found["role"] == PRODUCTION]
    assert (role["reason"], role["detachable"]) == (NEVER_GOVERNED, ["strict"])
    assert "rolewarden detach" in role["recommendation"]

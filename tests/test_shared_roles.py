"""Users of a shared role, who differ only by the source identity of their sessions."""

import json
import time
from typing import Any

import boto3
import pytest
from rolewarden.guardrails_file import read_yaml
from rolewarden.placement import statements_of
from rolewarden.policies import compile_for_users, compile_rules
from rolewarden.statement_forms import is_ours
from rolewarden.sweep_messages import Sweep
from rolewarden.trust import trust_of
from rolewarden_cli import options
from rolewarden_local.aws import ACCOUNT_ID, REGION
from rolewarden_local.emulated import access, apps
from rolewarden_local.emulated._ministack import sts
from rolewarden_local.emulated.service_sessions import NotTrustedError
from rolewarden_local.scenes.seed import ANALYTICS, RESEARCH

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY

pytestmark = pytest.mark.long

ROLE = "CanvasAnalytics"
NOVA, CLAUDE = "amazon.nova-pro-v1:0", "anthropic.claude-v2:1"
LOOSER = """
surplus: detach
guardrails:
  none: {bedrock: {deny: all}}
  nova: {bedrock: {allow: [amazon.nova-*]}}
assignments:
  - {guardrails: [nova], domains: [analytics], user_profiles: [ANA, ben]}
  - guardrails: [none]
"""
"""Ana and Ben can use some models, and all others none."""

STRICTER = """
surplus: detach
guardrails:
  none: {bedrock: {deny: all}}
  nova: {bedrock: {allow: [amazon.nova-*]}}
assignments:
  - {guardrails: [none], user_profiles: [ana]}
  - guardrails: [nova]
"""
BOTH = ("sts:AssumeRole", "sts:SetSourceIdentity")
SAGEMAKER = {"Service": "sagemaker.amazonaws.com"}


def trust(*statements):
    found = [{"Effect": "Allow", "Action": list(actions), "Principal": principal} for principal, actions in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": found})


def set_trust(world, *statements):
    world.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust(*statements))
    return world.enforce(world.event("UpdateAssumeRolePolicy"))


def switch(world, value="USER_PROFILE_NAME", domain=ANALYTICS):
    change: Any = {"DomainId": domain, "DomainSettingsForUpdate": {"ExecutionRoleIdentityConfig": value}}
    world.sagemaker.update_domain(**change)
    return world.enforce(world.event("UpdateDomain"))


def looked(world):
    """Make a sweep's look at the other regions, which finds no domain."""
    world.progress.set_regions_read(ACCOUNT_ID, time.time(), covered=True)


def settle(world):
    world.sweep()
    world.detach_surplus()
    world.sweep()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)


@pytest.fixture
def shared(world_with):
    """Make an account in which the domain analytics sets source identities."""

    def make(text, *, bedrock_role=False):
        world = world_with(text)
        looked(world)
        allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"}]}
        world.iam.put_role_policy(RoleName=ROLE, PolicyName="models", PolicyDocument=json.dumps(allow))
        for name in ("Ben", "carla"):
            world.sagemaker.create_user_profile(DomainId=ANALYTICS, UserProfileName=name)
            world.enforce(world.event("CreateUserProfile"))
        world.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust((SAGEMAKER, BOTH)))
        change: Any = {} if bedrock_role else {"DefaultUserSettings": {"CanvasAppSettings": {}}}
        setting: Any = {"ExecutionRoleIdentityConfig": "USER_PROFILE_NAME"}
        world.sagemaker.update_domain(DomainId=ANALYTICS, DomainSettingsForUpdate=setting, **change)
        world.enforce(world.event("UpdateDomain"))
        return world

    return make


def reached(session):
    """The models that a session can call."""
    given = sts._sessions[session.get_credentials().access_key]
    role = access.issuer(given["Arn"])
    assert role is not None
    context = {"aws:SourceIdentity": given.get("SourceIdentity", "")}
    arns = {model: f"arn:aws:bedrock:{REGION}::foundation-model/{model}" for model in (NOVA, CLAUDE)}
    return {model for model, arn in arns.items() if access.role_may(role, "bedrock:InvokeModel", arn, context)}


def user(name, domain=ANALYTICS):
    return reached(apps.user_session(REGION, ACCOUNT_ID, domain, name))


def role_arn():
    return boto3.client("iam").get_role(RoleName=ROLE)["Role"]["Arn"]


def job(creator=""):
    session = apps.user_session(REGION, ACCOUNT_ID, ANALYTICS, creator) if creator else None
    return reached(apps.job_session(REGION, role_arn(), session))


def reasons(world, profile="ana"):
    return [row.get("reason", "resolved") for row in world.history(f"{ANALYTICS}/{profile}")]


def test_users_with_fewer_guardrails_are_free_of_the_others_and_every_other_session_is_not(shared):
    world = shared(LOOSER)
    assert world.attached(ROLE) == {"except.none", "only.nova"}
    assert [user(name) for name in ("ana", "Ben", "carla")] == [{NOVA}, {NOVA}, set()]
    assert (job(), job("ana")) == (set(), set())
    world.sweep()
    assert (reasons(world), reasons(world, "ben")) == ([], [])


def test_a_user_with_a_further_guardrail_has_it_only_in_sessions_of_apps(shared):
    world = shared(STRICTER)
    assert world.attached(ROLE) == {"except.nova", "only.none"}
    assert (user("ana"), user("carla")) == (set(), {NOVA})
    assert job("ana") == {NOVA}, "a job has no source identity, so the user escapes: the docs say so"
    world.sweep()
    assert reasons(world) == []


@pytest.mark.parametrize("text", [STRICTER, LOOSER])
def test_a_further_guardrail_is_not_claimed_if_canvas_uses_the_bedrock_role_of_the_domain(shared, text):
    world = shared(text, bedrock_role=True)
    world.sweep()
    assert reasons(world) == ["shares its domain's role"]
    found = {one["user_profile"]: one for one in command(world, "plan", exit_code=2)["shared_roles"]}
    assert "Bedrock role of the domain" in found["ana"]["why"]


def test_jobs_are_never_freer_than_their_creator_if_users_have_fewer_guardrails(shared):
    shared(LOOSER)
    for carries in (False, True):
        apps.JOBS.carry = carries
        assert job("ana") == ({NOVA} if carries else set())
        assert job("carla") == set()


def test_an_event_switches_users_apart_and_back_and_the_finding_ends_and_returns(world_with):
    world = world_with(LOOSER)
    world.sagemaker.update_domain(DomainId=ANALYTICS, DefaultUserSettings={"CanvasAppSettings": {}})
    settle(world)
    set_trust(world, (SAGEMAKER, BOTH))
    switch(world)
    assert world.attached(ROLE) == {"none", "except.none", "only.nova"}
    settle(world)
    assert world.attached(ROLE) == {"except.none", "only.nova"}
    assert reasons(world) == ["shares its domain's role", "resolved"]
    switch(world, "DISABLED")
    assert world.attached(ROLE) == {"none", "except.none", "only.nova"}
    assert user("ana") == set()
    settle(world)
    assert world.attached(ROLE) == {"none"}
    assert reasons(world)[2:] == ["shares its domain's role"]


def test_a_sweep_notices_the_setting_without_an_event(shared):
    world = shared(LOOSER)
    world.sagemaker.update_domain(
        DomainId=ANALYTICS, DomainSettingsForUpdate={"ExecutionRoleIdentityConfig": "DISABLED"}
    )
    assert user("ana") == set(), "a session without a source identity is denied at once"
    world.sweep()
    assert "none" in world.attached(ROLE)


ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"}
OTHERS: list[Any] = [
    [(ROOT, BOTH)],
    [(ROOT, ["sts:*"])],
    [({"Federated": f"arn:aws:iam::{ACCOUNT_ID}:oidc-provider/x.sagemaker.amazonaws.com"}, ["sts:SetSourceIdentity"])],
    [({"Federated": f"arn:aws:iam::{ACCOUNT_ID}:saml-provider/corp"}, ["sts:SetSource*"])],
    [({"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]}, BOTH)],
    [("*", BOTH)],
]


def test_a_principal_who_assumes_the_role_with_the_name_of_a_user_gets_no_looser_rules(shared):
    world = shared(LOOSER)
    set_trust(world, (SAGEMAKER, BOTH), (ROOT, BOTH))
    assert "none" in world.attached(ROLE)
    assert user("ana") == set()
    given = boto3.client("sts").assume_role(RoleArn=role_arn(), RoleSessionName="me", SourceIdentity="ana")[
        "Credentials"
    ]
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    assert reached(session) == set()


def test_a_trust_policy_that_no_longer_lets_sagemaker_set_it_starts_no_app_and_frees_nobody(shared):
    world = shared(LOOSER)
    set_trust(world, (SAGEMAKER, BOTH[:1]))
    with pytest.raises(NotTrustedError):
        user("ana")
    assert job() == set()
    assert "none" in world.attached(ROLE)


@pytest.mark.parametrize("switched", [True, False])
def test_a_name_in_two_domains_of_a_role_gets_the_stricter_rules(shared, switched):
    world = shared(LOOSER)
    arn = role_arn()
    world.sagemaker.update_domain(DomainId=RESEARCH, DefaultUserSettings={"ExecutionRole": arn})
    world.enforce(world.event("UpdateDomain"))
    if switched:
        switch(world, domain=RESEARCH)
    assert "none" not in world.attached(ROLE)
    world.sagemaker.create_user_profile(DomainId=RESEARCH, UserProfileName="aNa")
    world.enforce(world.event("CreateUserProfile"))
    assert ("none" in world.attached(ROLE)) is switched
    assert user("ana", RESEARCH) == set()


@pytest.mark.parametrize(
    "text",
    [LOOSER.replace("[ANA, ben]", '["an*", b]'), LOOSER.replace("surplus: detach", "fallback: boundary")],
    ids=["a pattern names no user exactly", "a boundary tells no users apart"],
)
def test_otherwise_the_role_has_the_guardrail_for_everybody_and_the_finding_remains(shared, text):
    world = shared(text)
    world.sweep()
    assert world.attached(ROLE) == {"none"}
    assert reasons(world) == ["shares its domain's role"]


def fill(world, places):
    """Attach policies to the role until this many places are left."""
    own = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}
    attached = len(world.iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"])
    for number in range(10 - places - attached):
        made = world.iam.create_policy(PolicyName=f"own-{number}", PolicyDocument=json.dumps(own))
        world.iam.attach_role_policy(RoleName=ROLE, PolicyArn=made["Policy"]["Arn"])


def test_policies_for_everybody_come_first_if_room_may_be_short(world_with):
    world = world_with(LOOSER)
    fill(world, 1)
    world.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust((SAGEMAKER, BOTH)))
    [outcome] = [found for found in switch(world) if found["role"] == ROLE]
    assert world.attached(ROLE) == {"none"}
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "quota full")


def test_a_user_does_not_lose_the_guardrail_for_everybody_if_the_one_for_the_user_is_refused(world_with):
    world = world_with(STRICTER)
    looked(world)
    world.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust((SAGEMAKER, BOTH)))
    arn = f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/only.none"
    world.iam.delete_policy(PolicyArn=arn)
    [outcome] = [found for found in switch(world) if found["role"] == ROLE]
    assert world.attached(ROLE) == {"nova", "except.nova"}
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "policy missing")


def test_a_forged_row_of_the_table_frees_no_user_of_a_role_that_has_the_guardrail(world_with):
    world = world_with(LOOSER)
    looked(world)
    world.verdict(ROLE)
    set_trust(world, (SAGEMAKER, BOTH))
    rows = world.bindings.of_domain(ACCOUNT_ID, REGION, ANALYTICS)
    world.bindings.write([one._replace(identifies=True) for one in rows if not one.user_profile])
    world.verdict(ROLE)
    assert world.attached(ROLE) == {"none", "except.none", "only.nova"}
    done = world.detacher.detach_from(ACCOUNT_ID, ROLE, ["none"])
    assert done["detached"] == []
    assert "none" in world.attached(ROLE)


@pytest.mark.parametrize("own", [True, False], ids=["the role is its own", "the role is that of its domain"])
def test_a_user_of_the_same_name_whom_the_table_lacks_keeps_the_guardrail_for_everybody(shared, own):
    world = shared(LOOSER)
    arn = role_arn()
    switch(world, domain=RESEARCH)
    if not own:
        world.sagemaker.update_domain(DomainId=RESEARCH, DefaultUserSettings={"ExecutionRole": arn})
        world.enforce(world.event("UpdateDomain"))
    world.iam.attach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/none")
    # The event of this user profile has not arrived.
    settings: Any = {"UserSettings": {"ExecutionRole": arn}} if own else {}
    world.sagemaker.create_user_profile(DomainId=RESEARCH, UserProfileName="ana", **settings)
    assert world.detacher.detach_from(ACCOUNT_ID, ROLE, ["none"])["detached"] == []
    assert user("ana", RESEARCH) == set()


@pytest.mark.parametrize(
    ("statements", "alone"),
    [
        ([(SAGEMAKER, BOTH)], True),
        ([({"Service": ["sagemaker.amazonaws.com", "job.sagemaker.amazonaws.com"]}, ["sts:*"])], True),
        ([(SAGEMAKER, ["sts:AssumeRole"])], False),
        ([(SAGEMAKER, ["sts:AssumeRole"]), (ROOT, ["sts:AssumeRole"])], False),
        ([(SAGEMAKER, BOTH), (ROOT, ["sts:AssumeRole"])], True),
        *[([(SAGEMAKER, BOTH), *others], False) for others in OTHERS],
    ],
)
def test_the_trust_policy_says_whether_only_sagemaker_sets_source_identities(statements, alone):
    assert trust_of(trust(*statements)).lets_only_sagemaker_identify is alone


def test_a_statement_without_principals_or_actions_of_its_own_counts_for_everybody():
    for element in ({"NotPrincipal": SAGEMAKER, "Action": "sts:*"}, {"Principal": ROOT, "NotAction": "sts:AssumeRole"}):
        document = json.loads(trust((SAGEMAKER, BOTH)))
        document["Statement"].append({"Effect": "Allow", **element})
        assert not trust_of(document).lets_only_sagemaker_identify


def command(world, *arguments, exit_code=0):
    return json_answer(*arguments, "--guardrails", world.environment["GUARDRAILS_FILE"], exit_code=exit_code)


def test_the_plan_says_what_to_switch_on_and_what_it_costs(world_with):
    world = world_with(LOOSER)
    plan = command(world, "plan", exit_code=2)
    [found] = plan["shared_roles"]
    assert (found["user_profile"], found["guardrails"], found["also"]) == ("ana", ["nova"], ["none"])
    assert "does not set the name of the user profile" in found["why"]
    for part in (
        "sts:SetSourceIdentity",
        f"aws iam update-assume-role-policy --role-name {ROLE}",
        f"aws sagemaker list-apps --region {REGION} --domain-id-equals {ANALYTICS}",
        "stop all apps",
        "ExecutionRoleIdentityConfig=USER_PROFILE_NAME",
        "have no source identity",
    ):
        assert part in found["recommendation"]
    assert plan["told_apart"] == []


@pytest.mark.parametrize(
    ("text", "only", "free_of", "says"),
    [
        (LOOSER, ["nova"], ["none"], "jobs are denied as for the other users (none)"),
        (STRICTER, ["none"], ["nova"], "the user can get around it by a job"),
    ],
)
def test_the_plan_says_who_is_told_apart_and_what_that_does_not_cover(shared, text, only, free_of, says):
    plan = command(shared(text), "plan", exit_code=2)
    assert plan["shared_roles"] == []
    [found] = [one for one in plan["told_apart"] if one["user_profile"] == "ana"]
    assert (found["only"], found["free_of"]) == (only, free_of)
    assert says in found["limits"]


def test_the_plan_names_the_trust_policy_as_the_obstacle(shared):
    world = shared(LOOSER)
    set_trust(world, (SAGEMAKER, BOTH), (ROOT, BOTH))
    found = {one["user_profile"]: one for one in command(world, "plan", exit_code=2)["shared_roles"]}
    assert "trust policy" in found["ana"]["why"]
    assert (found["ana"]["guardrails"], found["ana"]["also"]) == ([], ["none"])


def test_access_and_explain_decide_for_the_sessions_of_a_user(shared):
    world = shared(LOOSER)
    found = command(world, "access", "--model", NOVA)
    allowed = {
        one["user_profile"] or one["kind"]: one["allowed"]
        for one in found["decisions"]
        if one["domain_name"] == "analytics"
    }
    assert [allowed[name] for name in ("ana", "Ben", "carla", "default-user")] == [True, True, False, False]
    assert all(one["undecided"] == [] for one in found["decisions"])
    explained = command(world, "explain", ROLE, NOVA)
    assert not explained["allowed"]
    users = {one["user_profile"]: one["allowed"] for one in explained["users"]}
    assert users == {"analytics/ana": True, "analytics/Ben": True}
    out = rolewarden("access", "--model", NOVA, "--guardrails", world.environment["GUARDRAILS_FILE"]).output
    assert "as ana" in out
    assert "sessions of this user's apps only" in " ".join(out.split())


def compiled(text):
    found = read_yaml(text, today=TODAY).rules
    assert found is not None
    return found, [one for policy in compile_rules(found, "aws") for one in statements_of(policy.document)]


def test_only_guardrails_in_which_named_users_differ_have_further_policies():
    found, _ = compiled(LOOSER)
    assert found.for_users.keys() == {"except.none", "only.nova"}
    assert found.for_users["except.none"].except_users == ("ana", "ben")
    assert compiled(LOOSER.replace("user_profiles: [ANA, ben]", "roles: [x]"))[0].for_users == {}


@pytest.mark.parametrize("rule", ["{deny: all}", "{allow: [amazon.nova-*]}", "{deny: [amazon.nova-*]}"])
def test_the_statements_for_some_users_are_of_the_compiler_and_another_condition_is_not(rule):
    of_hubs = rule.replace("amazon.nova-*", "huggingface-llm-*")
    _, statements = compiled(
        LOOSER.replace(
            "none: {bedrock: {deny: all}}", f"none: {{bedrock: {rule}, jumpstart: {of_hubs}, api_keys: deny}}"
        )
    )
    for one in statements:
        assert is_ours(one)
        condition = one.get("Condition", {})
        for operator in ("StringNotEqualsIgnoreCase", "StringEqualsIgnoreCase"):
            if users := condition.get(operator):
                assert not is_ours({**one, "Condition": {**condition, operator: {**users, "aws:userid": "x"}}})
                assert not is_ours({**one, "Condition": {**condition, f"{operator}IfExists": users}})


def test_a_guardrail_that_does_not_fit_with_its_users_has_no_further_policies():
    users = ", ".join(f"user-{number}-{'x' * 50}" for number in range(100))
    found, _ = compiled(LOOSER.replace("ANA, ben", users))
    assert compile_for_users(found, "aws") == {}


def test_each_part_of_a_long_list_is_for_the_same_users():
    models = ", ".join(f"huggingface-llm-{number}-{'x' * 40}*" for number in range(200))
    found, _ = compiled(LOOSER.replace("none: {bedrock: {deny: all}}", f"none: {{jumpstart: {{deny: [{models}]}}}}"))
    policies = compile_for_users(found, "aws")["except.none"]
    assert len(policies) > 1
    for policy in policies:
        assert all("StringNotEqualsIgnoreCase" in one["Condition"] for one in statements_of(policy.document))


def test_a_full_role_whose_users_can_no_longer_be_told_apart_is_reported(shared):
    world = shared(LOOSER)
    fill(world, 0)
    [outcome] = set_trust(world, (SAGEMAKER, BOTH), (ROOT, BOTH))
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "quota full")
    assert "none" not in world.attached(ROLE), "the caller acts as a named user until a place is free: the docs say so"


def create_elsewhere():
    """Create a domain with the shared role in a region that the stack does not cover, with a user of Ana's name."""
    elsewhere = boto3.client("sagemaker", region_name="eu-west-1")
    change: Any = {"DomainSettings": {"ExecutionRoleIdentityConfig": "USER_PROFILE_NAME"}}
    made = elsewhere.create_domain(
        DomainName="elsewhere", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": role_arn()},
        SubnetIds=["subnet-1"], VpcId="vpc-1", **change,
    )  # fmt: skip
    domain = made["DomainArn"].rpartition("/")[2]
    elsewhere.create_user_profile(DomainId=domain, UserProfileName="ana")
    return domain


def in_other_region(domain):
    return reached(apps.user_session("eu-west-1", ACCOUNT_ID, domain, "ana"))


def test_a_domain_of_a_region_that_the_stack_does_not_cover_ends_the_exceptions_with_the_next_sweep(shared):
    world = shared(LOOSER)
    domain = create_elsewhere()
    assert in_other_region(domain) == {NOVA}, "until the next sweep, as the docs say"
    world.sweep()
    assert in_other_region(domain) == set()
    assert user("ana") == set()
    found = {one["user_profile"]: one for one in command(world, "plan", exit_code=2)["shared_roles"]}
    assert "has a domain in a region that is not covered" in found["ana"]["why"]
    assert "add the region to the parameter Regions" in found["ana"]["recommendation"]
    assert command(world, "explain", ROLE, NOVA)["users"] == []
    elsewhere: Any = boto3.client("sagemaker", region_name="eu-west-1")
    elsewhere.delete_user_profile(DomainId=domain, UserProfileName="ana")
    elsewhere.delete_domain(DomainId=domain)
    settle(world)
    assert user("ana") == {NOVA}


def test_a_region_that_cannot_be_read_ends_the_exceptions_and_an_answer_that_is_late_does_not(shared):
    world = shared(LOOSER)
    with world.aws.failing("DescribeRegions", "RequestLimitExceeded"):
        world.sweep()
    assert "none" not in world.attached(ROLE)
    with world.aws.failing("DescribeRegions", "UnauthorizedOperation", status=403):
        world.sweep()
    assert "none" in world.attached(ROLE)


def test_the_first_sweep_looks_before_it_attaches_and_no_event_makes_an_exception_before_it(world_with):
    world = world_with(LOOSER)
    set_trust(world, (SAGEMAKER, BOTH))
    switch(world)
    assert world.attached(ROLE) == {"none", "only.nova"}
    fresh = world_with(LOOSER)
    fresh.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust((SAGEMAKER, BOTH)))
    fresh.sagemaker.update_domain(
        DomainId=ANALYTICS, DomainSettingsForUpdate={"ExecutionRoleIdentityConfig": "USER_PROFILE_NAME"}
    )
    fresh.sweep()
    assert fresh.attached(ROLE) == {"except.none", "only.nova"}


def forge_look(world, **changes):
    row = {"scope": f"regions/{ACCOUNT_ID}", "item": "at", "at": int(time.time()), "covered": True, **changes}
    world.runtime.aws.put(world.environment["BINDINGS_TABLE"], row)


def detach_guardrails(world):
    """Detach every guardrail from the role, and return the event of the last call."""
    for policy in world.attached(ROLE):
        event = world.detach(ROLE, policy)
    return event


def test_a_forged_row_of_the_look_makes_an_exception_until_the_next_look_at_most(shared):
    world = shared(LOOSER)
    create_elsewhere()
    world.sweep()
    forge_look(world)
    world.enforce(world.event("AttachRolePolicy"))
    world.sweeper.compare(Sweep(ACCOUNT_ID, time.time()), after="~")
    world.detach_surplus()
    assert "none" in world.attached(ROLE)
    forge_look(world)
    world.enforce(detach_guardrails(world))
    assert "none" not in world.attached(ROLE), "a role without its guardrails, as the docs say"
    world.sweep()
    assert "none" in world.attached(ROLE)


@pytest.mark.parametrize(
    "row",
    [None, {"at": 99_999_999_999}, {"at": "now"}, {"at": 0}, {"covered": "yes"}, {"covered": False}],
    ids=["deleted", "in the future", "no number", "long ago", "no answer", "a domain"],
)
def test_a_row_of_the_look_of_another_form_makes_no_exception(shared, row):
    world = shared(LOOSER)
    key = {"scope": f"regions/{ACCOUNT_ID}", "item": "at"}
    if row is None:
        world.runtime.aws.write_newer(world.environment["BINDINGS_TABLE"], (), [key], at=time.time())
    else:
        forge_look(world, **row)
    world.enforce(detach_guardrails(world))
    assert "none" in world.attached(ROLE)


def test_detach_function_looks_at_the_other_regions_itself(shared):
    world = shared(LOOSER)
    world.iam.attach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/none")
    create_elsewhere()
    done = world.detacher.detach_from(ACCOUNT_ID, ROLE, ["none"])
    assert (done["detached"], done["waits"]) == ([], "domains in eu-west-1: elsewhere")

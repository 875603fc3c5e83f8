"""AWS does not distinguish names by case, so the spelling of a caller does not change the result."""

import random
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rolewarden.bindings import RoleKey
from rolewarden.events import parse_event
from rolewarden.guardrails import Exemption, Subject
from rolewarden.guardrails_file import read_yaml
from rolewarden.policies import policy_arn
from rolewarden.verdicts import Verdict
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import ANALYTICS, CANVAS_ROLES, RESEARCH, TRUST

from tests.conftest import sample
from tests.patterns import matching
from tests.publishing import GUARDRAIL_ARN, UNRELATED
from tests.volume import volume
from tests.world import World

pytestmark = pytest.mark.long

ROLES = st.sampled_from(["CanvasAnalytics", "CanvasOmar", "CanvasRosa", "CanvasBreakGlass", "BuildServer"])
PROFILES = st.sampled_from([(ANALYTICS, "ana"), (ANALYTICS, "omar"), (RESEARCH, "rosa")])
POLICIES = st.sampled_from(["no-generative-ai", "only-nova-and-sonnet"])
STEPS = st.one_of(
    st.tuples(st.just("detach"), ROLES, POLICIES),
    st.tuples(st.just("attach"), ROLES, POLICIES),
    st.tuples(st.just("tag"), ROLES),
    st.tuples(st.just("inline"), ROLES),
    st.tuples(st.just("trust"), ROLES),
    st.tuples(st.just("make again"), ROLES),
    st.tuples(st.just("give a role"), PROFILES, ROLES),
    st.tuples(st.just("tag profile"), PROFILES),
    st.tuples(st.just("delete profile"), PROFILES),
    st.tuples(st.just("make profile"), ROLES),
    st.tuples(st.just("edit policy"), POLICIES),
    st.tuples(st.just("contest"), ROLES, POLICIES),
)


def recased(name, chance):
    """`name` with a random case for each letter."""
    return "".join(letter.swapcase() if chance.random() < 0.5 else letter for letter in name)


class Caller:
    """A caller that spells each name with `spell`, and Rolewarden, which receives the event of each call."""

    def __init__(self, world, rules, spell):
        self.world, self.rules, self.spell = world, rules, spell
        self.seen = []

    def arn(self, policy):
        return policy_arn(self.spell(policy), "aws", ACCOUNT_ID)

    def role_arn(self, role):
        return f"arn:aws:iam::{ACCOUNT_ID}:role/{self.spell(role)}"

    def call(self, call, name, **parameters):
        before = len(self.world.aws.events)
        try:
            call(**parameters)
        except call.__self__.exceptions.ClientError as error:
            self.seen.append((name, error.response["Error"]["Code"]))
        for event in list(self.world.aws.events)[before:]:
            self.hear(event)

    def hear(self, event):
        matched = self.rules(event)
        if parse_event(event).policy:
            done = self.world.publications.handle_event(event).get("policies")
            outcomes = []
        else:
            done, outcomes = None, self.world.enforce(event)
        told = [(o["role"].lower(), o["verdict"], o.get("remediation"), tuple(o.get("attached", ()))) for o in outcomes]
        self.seen.append((event["detail"]["eventName"], event["detail"].get("errorCode"), matched, done, told))

    def step(self, what, *names):
        iam, studio, spell = self.world.iam, self.world.sagemaker, self.spell
        if what == "detach":
            self.call(iam.detach_role_policy, what, RoleName=spell(names[0]), PolicyArn=self.arn(names[1]))
        elif what == "attach":
            self.call(iam.attach_role_policy, what, RoleName=spell(names[0]), PolicyArn=self.arn(names[1]))
        elif what == "tag":
            self.call(iam.tag_role, what, RoleName=spell(names[0]), Tags=[{"Key": "k", "Value": "v"}])
        elif what == "inline":
            self.call(iam.put_role_policy, what, RoleName=spell(names[0]), PolicyName="p", PolicyDocument=UNRELATED)
        elif what == "trust":
            self.call(iam.update_assume_role_policy, what, RoleName=spell(names[0]), PolicyDocument=TRUST)
        elif what == "make again":
            self.call(iam.create_role, what, RoleName=spell(names[0]), AssumeRolePolicyDocument=TRUST)
        elif what == "give a role":
            (domain, profile), role = names
            self.call(
                studio.update_user_profile, what, DomainId=domain, UserProfileName=spell(profile),
                UserSettings={"ExecutionRole": self.role_arn(role)},
            )  # fmt: skip
        elif what == "tag profile":
            arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT_ID}:user-profile/{names[0][0]}/{spell(names[0][1])}"
            self.call(studio.add_tags, what, ResourceArn=arn, Tags=[{"Key": "team", "Value": "data-science"}])
        elif what == "delete profile":
            self.call(studio.delete_user_profile, what, DomainId=names[0][0], UserProfileName=spell(names[0][1]))
        elif what == "make profile":
            self.call(
                studio.create_user_profile, what, DomainId=ANALYTICS, UserProfileName=spell("newcomer"),
                UserSettings={"ExecutionRole": self.role_arn(names[0])},
            )  # fmt: skip
        elif what == "edit policy":
            arn = self.arn(names[0])
            self.call(iam.create_policy_version, what, PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)

    def act(self, what, *names):
        """Take a step. To make a role contested, take the same step three times."""
        for _ in range(3 if what == "contest" else 1):
            self.step("detach" if what == "contest" else what, *names)

    def end(self):
        """The final state: attached policies, bindings, history and reported findings."""
        listed = self.world.iam.get_paginator("list_roles").paginate()
        roles = [role["RoleName"] for page in listed for role in page["Roles"]]
        bound = list(self.world.bindings.all())
        return {
            "attached_policies": {role: self.world.attached(role) for role in roles},
            "bound": sorted((b.key, b.role.path if b.role else "") for b in bound),
            "record": {
                role: sorted((row["kind"], row.get("verdict", ""), row.get("remediations", 0)) for row in rows)
                for role in roles
                if (rows := self.world.history(role))
            },
            # A text may have a name as its creator spelled it.
            "told": sorted((told.about, told.what.lower()) for told in self.world.reported.of_account(ACCOUNT_ID)),
        }


@pytest.fixture(scope="module")
def rules(aws, template):
    """The names of the template's rules that an event matches."""
    patterns = {rule.name: rule.pattern for rule in template.rules()}
    return lambda event: matching(patterns, event)


@pytest.mark.volume
@settings(max_examples=volume(3, 100), suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=5), seed=st.integers(0, 2**16), as_asked=st.booleans())
def test_the_case_of_a_name_does_not_change_the_result(aws, template, rules, steps, seed, as_asked):
    def played(spell):
        world = World(aws, template).protected()
        aws.answers_as_asked = as_asked
        caller = Caller(world, rules, spell)
        for step in steps:
            caller.act(*step)
        heard, before = caller.seen, caller.end()
        world.sweep()
        return heard, before, caller.end()

    chance = random.Random(seed)
    assert played(lambda name: recased(name, chance)) == played(lambda name: name)


@pytest.fixture
def protected(world):
    return world.protected()


def test_a_call_with_the_role_in_lower_case_gets_the_role_protected_again(protected):
    protected.detach("CanvasAnalytics", "no-generative-ai")
    [outcome] = protected.enforce(sample("awkward_other_case"))
    assert (outcome["role"], outcome["before"], outcome["verdict"]) == ("CanvasAnalytics", "drifted", "compliant")
    assert protected.attached("CanvasAnalytics") == {"no-generative-ai"}
    newest = protected.history("CanvasAnalytics")[-1]
    assert (newest["role"], newest["named"]) == ("CanvasAnalytics", f"{ACCOUNT_ID}/CanvasAnalytics")


def test_a_contested_role_is_reported_although_each_call_spells_it_differently(protected):
    heard = protected.listening({"source": ["rolewarden"], "detail-type": ["Role Contested"]})
    for spelling in ("canvasomar", "CANVASOMAR", "cAnVaSoMaR"):
        protected.enforce(protected.detach(spelling, "no-generative-ai"))
    [told] = heard()
    assert told["detail"]["role"] == "CanvasOmar"


def test_an_event_in_another_case_needs_no_more_calls(protected):
    protected.iam.tag_role(RoleName="CANVASOMAR", Tags=[{"Key": "k", "Value": "v"}])
    assert protected.calls(protected.event("TagRole")) == ["dynamodb:Query", "iam:ListAttachedRolePolicies"]
    protected.iam.tag_role(RoleName="BUILDSERVER", Tags=[{"Key": "k", "Value": "v"}])
    assert protected.calls(protected.event("TagRole")) == ["dynamodb:Query"]


def test_a_profile_in_another_case_is_the_same_subject_and_a_sweep_stores_its_name(world):
    world.aws.answers_as_asked = True
    world.sagemaker.update_user_profile(
        DomainId=ANALYTICS, UserProfileName="OMAR", UserSettings={"ExecutionRole": world.role("CanvasNew")}
    )
    [outcome] = world.enforce(world.event("UpdateUserProfile"))
    assert outcome["verdict"] == "compliant"
    world.sweep()
    [bound] = [b for b in world.bindings.all() if b.role == RoleKey(ACCOUNT_ID, "canvasnew")]
    assert (bound.user_profile, bound.role.name) == ("omar", "CanvasNew")
    assert not [b for b in world.bindings.all() if b.role == RoleKey(ACCOUNT_ID, "CanvasOmar")]


def test_a_steady_sweep_sends_no_work_for_a_role_in_another_case(world):
    world.sagemaker.update_user_profile(
        DomainId=ANALYTICS,
        UserProfileName="omar",
        UserSettings={"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/canvasOMAR"},
    )
    world.sweep()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
    assert [outcome for outcome in world.sweep() if outcome["role"].lower() == "canvasomar"] == []


def test_a_policy_that_was_created_again_in_another_case_is_the_guardrail(protected):
    for role in CANVAS_ROLES:
        if "no-generative-ai" in protected.attached(role):
            protected.iam.detach_role_policy(RoleName=role, PolicyArn=GUARDRAIL_ARN)
    protected.iam.delete_policy(PolicyArn=GUARDRAIL_ARN)
    protected.iam.create_policy(PolicyName="No-Generative-AI", Path="/rolewarden/", PolicyDocument=UNRELATED)
    protected.publications.handle_event({**sample("delete_policy"), "account": ACCOUNT_ID})
    assert protected.verdict("CanvasOmar")["verdict"] == "compliant"
    assert protected.attached("CanvasOmar") == {"No-Generative-AI"}
    assert protected.verdict("CanvasOmar")["before"] == "compliant"


def test_a_detachment_message_with_a_needed_guardrail_in_another_case_detaches_nothing(world_with):
    world = world_with(
        "surplus: detach\nguardrails:\n  no-generative-ai: {bedrock: {deny: all}}\n"
        "assignments:\n  - guardrails: [no-generative-ai]\n"
    ).protected()
    done = world.detacher.handle_message(
        {"account": ACCOUNT_ID, "role": "canvasomar", "policies": ["NO-GENERATIVE-AI"]}
    )
    assert done["detached"] == []
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_policy_event_in_another_case_and_path_triggers_a_check_of_the_guardrail():
    event = sample("delete_policy")
    arn = event["detail"]["requestParameters"]["policyArn"]
    event["detail"]["requestParameters"]["policyArn"] = arn.replace("/rolewarden/", "/ROLEwarden/")
    assert parse_event(event).policy == arn.rsplit("/", 1)[-1]


PATTERNS = """
guardrails:
  a: {bedrock: {deny: all}}
  b: {jumpstart: {deny: all}}
assignments:
  - {user_profiles: ["intern-*"], guardrails: [a]}
  - {roles: ["canvas-?x"], guardrails: [b]}
  - {domains: [Research], guardrails: [a, b]}
  - {tags: {team: Data}, guardrails: [a, b]}
  - guardrails: []
exemptions:
  - {role: BreakGlass7, until: 2027-01-31}
also_govern: {roles: ["bedrock-*"]}
"""


def patterned():
    reading = read_yaml(PATTERNS, today=date(2027, 1, 1))
    assert reading.rules is not None, reading.errors
    return reading.rules


def asked(**subject):
    rules = patterned()
    return [g.name for g in rules.required(Subject(**{"account": ACCOUNT_ID, "role": "Other", **subject}))]


def test_patterns_of_roles_and_user_profiles_match_every_spelling():
    assert asked(user_profile="Intern-bob") == asked(user_profile="intern-bob") == ["a"]
    assert asked(role="Canvas-AX") == asked(role="canvas-ax") == ["b"]
    rules = patterned()
    found = rules.exemption(ACCOUNT_ID, "breakGLASS7", date(2027, 1, 2), home=ACCOUNT_ID)
    assert found == Exemption("BreakGlass7", date(2027, 1, 31))


def test_names_of_domains_and_tags_stay_exact():
    named, recased_name = (asked(domain_id=RESEARCH, domain_name=name) for name in ("Research", "research"))
    assert (named, recased_name) == (["a", "b"], [])
    assert (asked(tags={"team": "Data"}), asked(tags={"team": "data"})) == (["a", "b"], [])


def test_also_govern_covers_a_role_regardless_of_the_case_of_its_pattern(world_with):
    world = world_with(PATTERNS.replace("  - guardrails: []", "  - guardrails: [a]"))
    world.role("BedRock-Reports")
    [outcome] = world.enforce(world.event("CreateRole"))
    assert (outcome["role"], outcome["verdict"]) == ("BedRock-Reports", Verdict.COMPLIANT.value)

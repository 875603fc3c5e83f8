"""Roles that belong to another account than the domain or user profile that names them."""

from __future__ import annotations

import pytest
from rolewarden import MEMBER_ROLES
from rolewarden.bindings import Binding, RoleKey
from rolewarden.origin import DEPLOYMENT
from rolewarden.policies import policy_arn
from rolewarden.work import Work
from rolewarden_cli import options
from rolewarden_local.aws import ACCOUNT_ID as CENTRAL
from rolewarden_local.scenes.seed import TRUST

from tests.commands import json_answer
from tests.company import client
from tests.conftest import TODAY
from tests.stacks import MEMBER

pytestmark = pytest.mark.long

LATER, STRANGER = "333344445555", "999988887777"


def role_in(account, name):
    """A role that SageMaker can assume; gives its ARN."""
    return client("iam", account).create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]


def domain_in(account, arn, name="borrower"):
    """A domain whose default user has this role; gives its ID."""
    return client("sagemaker", account).create_domain(
        DomainName=name, AuthMode="IAM", DefaultUserSettings={"ExecutionRole": arn}
    )["DomainId"]


def use(account, domain, arn):
    client("sagemaker", account).update_domain(DomainId=domain, DefaultUserSettings={"ExecutionRole": arn})


def attached(account, role):
    """The names of the role's policies that belong to its account."""
    policies = client("iam", account).list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    return {policy["PolicyName"] for policy in policies if policy["PolicyArn"].split(":")[4] == account}


def findings(company, account, role):
    """The kinds of the history about a role, oldest first, without those of remediations."""
    kinds = [row["kind"] for row in company.history_of(account, role)]
    return [kind for kind in kinds if kind in {"Role Finding", "Finding Resolved"}]


def counts(company, account):
    """The result of the newest sweep of an account."""
    return company.progress.sweeps(account)[-1]["completed"]


RULES = """
guardrails:
  strict: {bedrock: {deny: all}}
  mild: {bedrock: {deny: [anthropic.claude-v2*]}}
assignments:
  - {guardrails: [mild], accounts: ["2222*"]}
  - guardrails: [strict]
surplus: detach
"""


def under(company, tmp_path, text=RULES):
    """Deploy other rules."""
    rules = tmp_path / "guardrails.yaml"
    rules.write_text(text)
    company.environment = {**company.environment, "GUARDRAILS_FILE": str(rules)}
    company.cover().publications.run(CENTRAL, DEPLOYMENT)
    return company


# Accounts that the stack covers


def test_the_event_of_a_domain_protects_its_role_in_a_member_account(company):
    company.swept()
    domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    [outcome] = company.enforce(company.event("CreateDomain"))
    assert (outcome["account"], outcome["before"], outcome["verdict"]) == (MEMBER, "drifted", "compliant")
    assert attached(MEMBER, "Lent") == {"no-generative-ai"}


CANVAS = {
    "AmazonBedrockRoleArn": "GenerativeAiSettings",
    "AmazonForecastRoleArn": "TimeSeriesForecastingSettings",
    "ExecutionRoleArn": "EmrServerlessSettings",
}


@pytest.mark.parametrize("field", [*CANVAS, "ExecutionRole"])
def test_every_setting_of_a_user_profile_can_name_a_role_of_a_member_account(company, field):
    company.swept()
    lent = role_in(MEMBER, "Lent")
    settings = {"CanvasAppSettings": {CANVAS[field]: {field: lent}}} if field in CANVAS else {field: lent}
    [research] = [d for d in company.sagemaker.list_domains()["Domains"] if d["DomainName"] == "research"]
    company.sagemaker.create_user_profile(DomainId=research["DomainId"], UserProfileName="nina", UserSettings=settings)
    company.enforce(company.event("CreateUserProfile"))
    assert attached(MEMBER, "Lent") == {"only-nova-and-sonnet"}
    company.sagemaker.delete_user_profile(DomainId=research["DomainId"], UserProfileName="nina")
    for _ in range(2):
        company.everything()
    assert findings(company, MEMBER, "Lent") == []


def test_the_shared_spaces_of_a_domain_can_use_a_role_of_a_member_account(company):
    domain = domain_in(CENTRAL, role_in(CENTRAL, "Own"))
    lent = role_in(MEMBER, "Lent")
    company.sagemaker.update_domain(DomainId=domain, DefaultSpaceSettings={"ExecutionRole": lent})
    company.everything()
    company.everything()
    assert attached(MEMBER, "Lent") == {"no-generative-ai"}


def test_the_role_of_the_same_name_in_the_subjects_account_stays_as_it_is(company):
    company.swept()
    role_in(CENTRAL, "Lent")
    domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    company.enforce(company.event("CreateDomain"))
    company.everything()
    assert attached(CENTRAL, "Lent") == set()


def test_the_event_of_the_role_protects_it_again_for_the_subject_of_another_account(company):
    domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    company.everything()
    company.everything()
    client("iam", MEMBER).detach_role_policy(RoleName="Lent", PolicyArn=policy_arn("no-generative-ai", "aws", MEMBER))
    [outcome] = company.enforce(company.event("DetachRolePolicy"))
    assert (outcome["account"], outcome["before"], outcome["verdict"]) == (MEMBER, "drifted", "compliant")


def test_the_event_of_a_member_accounts_domain_protects_its_role_in_the_central_account(company):
    company.swept()
    domain_in(MEMBER, role_in(CENTRAL, "Lent"))
    [outcome] = company.enforce(company.event("CreateDomain"))
    assert (outcome["account"], outcome["verdict"]) == (CENTRAL, "compliant")
    assert attached(CENTRAL, "Lent") == {"no-generative-ai"}


def test_a_sweep_protects_a_role_in_a_member_account(company):
    domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    company.everything()
    company.everything()
    assert attached(MEMBER, "Lent") == {"no-generative-ai"}
    assert findings(company, MEMBER, "Lent") == []


def test_the_sweep_of_the_roles_own_account_protects_it_without_an_event(company):
    domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    company.everything()
    company.everything()
    client("iam", MEMBER).detach_role_policy(RoleName="Lent", PolicyArn=policy_arn("no-generative-ai", "aws", MEMBER))
    company.sweeper.begin(MEMBER)
    company.all_queues()
    assert attached(MEMBER, "Lent") == {"no-generative-ai"}


def lent_to_two_accounts(company, tmp_path):
    """Let a domain of each account use a role of the member account, and return the domain of the central account."""
    under(company, tmp_path)
    lent = role_in(MEMBER, "Lent")
    domain_in(MEMBER, lent, "owner")
    return domain_in(CENTRAL, lent)


def test_a_role_keeps_what_the_subjects_of_two_accounts_need_together(company, tmp_path):
    lent_to_two_accounts(company, tmp_path)
    for _ in range(3):
        company.everything()
        company.detach_surplus()
    assert attached(MEMBER, "Lent") == {"mild", "strict"}


def test_a_wrong_row_about_a_subject_of_another_account_does_not_detach_what_it_needs(company, tmp_path):
    domain = lent_to_two_accounts(company, tmp_path)
    for _ in range(2):
        company.everything()
    assert attached(MEMBER, "Lent") == {"mild", "strict"}
    [wrong] = [b for b in company.bindings.of_role(RoleKey(MEMBER, "Lent")) if b.domain_id == domain]
    company.bindings.write([wrong._replace(role=RoleKey(CENTRAL, "Own"))], at=company.runtime.clock.now() + 1)
    message = {"account": MEMBER, "role": "Lent", "policies": ["strict"]}
    assert company.detacher.handle_message(message) == {"role": "Lent", "detached": []}
    assert attached(MEMBER, "Lent") == {"mild", "strict"}


def test_nothing_is_detached_while_an_account_that_can_use_the_role_cannot_be_read(company, tmp_path):
    domain = lent_to_two_accounts(company, tmp_path)
    for _ in range(2):
        company.everything()
    use(CENTRAL, domain, role_in(CENTRAL, "Own"))
    company.sweeper.handle_event({})
    company.all_queues()
    message = {"account": MEMBER, "role": "Lent", "policies": ["strict"]}
    with company.aws.failing("ListDomains", "AccessDeniedException"):
        assert "not everything could be read again" in company.detacher.handle_message(message)["waits"]
    assert attached(MEMBER, "Lent") == {"mild", "strict"}
    assert company.detacher.handle_message(message)["detached"] == ["strict"]


def test_neither_account_counts_such_a_role_as_unprotected_or_as_having_a_surplus(company, tmp_path):
    under(company, tmp_path)
    for _ in range(2):
        company.everything()
    before = {account: counts(company, account) for account in (CENTRAL, MEMBER)}
    lent, other = role_in(MEMBER, "Lent"), role_in(MEMBER, "OnlyLent")
    domain_in(MEMBER, lent, "owner")
    domain_in(CENTRAL, lent)
    domain_in(CENTRAL, other, "second")
    for _ in range(3):
        company.everything()
    for account, then in before.items():
        now = counts(company, account)
        assert (now["unprotected"], now["surplus"]) == (then["unprotected"], then["surplus"]), account
    assert counts(company, MEMBER)["roles"] == before[MEMBER]["roles"] + 2
    assert counts(company, CENTRAL)["roles"] == before[CENTRAL]["roles"]


def test_a_role_loses_what_only_the_other_account_needed_after_the_setting_changes(company, tmp_path):
    domain = lent_to_two_accounts(company, tmp_path)
    company.everything()
    company.everything()
    assert attached(MEMBER, "Lent") == {"mild", "strict"}
    use(CENTRAL, domain, role_in(CENTRAL, "Own"))
    for _ in range(2):
        company.everything()
        company.detach_surplus()
    assert attached(MEMBER, "Lent") == {"mild"}


def test_a_rule_change_keeps_in_the_policies_what_the_subject_of_another_account_needs(company, tmp_path):
    under(company, tmp_path)
    domain_in(MEMBER, role_in(MEMBER, "Own"), "owner")
    domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    company.everything()
    company.everything()
    moved = RULES.replace(
        "strict: {bedrock: {deny: all}}", "strict: {jumpstart: {deny: all}}\n  broad: {bedrock: {deny: all}}"
    )
    under(company, tmp_path, moved.replace("  - guardrails: [strict]", "  - guardrails: [strict, broad]"))
    company.publications.handle_message({"account": MEMBER, "step": "publish"})
    found = company.runtime.aws.within(MEMBER).policy(policy_arn("strict", "aws", MEMBER))
    assert "bedrock:InvokeModel*" in found.text, "the role has no other policy with these statements yet"


def test_a_finding_about_such_a_role_stays_one_and_is_resolved_once(company):
    lent = role_in(MEMBER, "Lent")
    domain_in(CENTRAL, lent)
    company.everything()
    company.everything()
    iam = client("iam", MEMBER)
    iam.detach_role_policy(RoleName="Lent", PolicyArn=policy_arn("no-generative-ai", "aws", MEMBER))
    for number in range(10):
        arn = iam.create_policy(PolicyName=f"full-{number}", PolicyDocument=DOCUMENT)["Policy"]["Arn"]
        iam.attach_role_policy(RoleName="Lent", PolicyArn=arn)
    for _ in range(3):
        company.everything()
    assert findings(company, MEMBER, "Lent") == ["Role Finding"]
    iam.detach_role_policy(RoleName="Lent", PolicyArn=arn)
    for _ in range(3):
        company.everything()
    assert findings(company, MEMBER, "Lent") == ["Role Finding", "Finding Resolved"]
    assert attached(MEMBER, "Lent") >= {"no-generative-ai"}


DOCUMENT = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}'


def test_the_index_has_only_the_subjects_of_other_accounts(company):
    domain = domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    domain_in(MEMBER, role_in(MEMBER, "Own"))
    company.everything()
    company.everything()
    assert company.bindings.of_foreign_subjects(CENTRAL) == ()
    [binding] = company.bindings.of_foreign_subjects(MEMBER)
    assert (binding.account, binding.role) == (CENTRAL, RoleKey(MEMBER, "Lent"))
    use(CENTRAL, domain, role_in(CENTRAL, "Own"))
    company.everything()
    assert company.bindings.of_foreign_subjects(MEMBER) == ()


# Accounts that the stack does not cover


@pytest.mark.parametrize("by_event", [True, False])
def test_a_role_of_an_account_that_is_not_covered_is_one_finding_until_the_setting_changes(company, by_event):
    company.swept()
    domain = domain_in(CENTRAL, f"arn:aws:iam::{STRANGER}:role/Strange")
    if by_event:
        company.enforce(company.event("CreateDomain"))
    for _ in range(3):
        company.everything()
    assert set(findings(company, STRANGER, "Strange")) == {"Role Finding"}
    assert len(findings(company, STRANGER, "Strange")) == 1 + by_event
    finding = company.history_of(STRANGER, "Strange")[-1]
    assert finding["reason"] == "other account"
    assert STRANGER in finding["message"]
    use(CENTRAL, domain, role_in(CENTRAL, "Own"))
    for _ in range(3):
        company.everything()
    assert findings(company, STRANGER, "Strange")[-1] == "Finding Resolved"
    assert findings(company, STRANGER, "Strange").count("Finding Resolved") == 1


def test_the_finding_lasts_while_a_subject_of_any_account_names_the_role(company):
    company.swept()
    strange = f"arn:aws:iam::{STRANGER}:role/Strange"
    first, second = domain_in(CENTRAL, strange), domain_in(MEMBER, strange)
    for _ in range(2):
        company.everything()
    use(CENTRAL, first, role_in(CENTRAL, "Own"))
    for _ in range(2):
        company.everything()
    assert findings(company, STRANGER, "Strange") == ["Role Finding"]
    use(MEMBER, second, role_in(MEMBER, "Own"))
    for _ in range(2):
        company.everything()
    assert findings(company, STRANGER, "Strange") == ["Role Finding", "Finding Resolved"]


def test_the_finding_is_resolved_and_the_role_protected_after_its_account_is_covered(company):
    company.swept()
    domain_in(CENTRAL, role_in(LATER, "Lent"))
    company.everything()
    assert findings(company, LATER, "Lent") == ["Role Finding"]
    company.organize(MEMBER, LATER)
    for _ in range(3):
        company.everything()
    assert attached(LATER, "Lent") == {"no-generative-ai"}
    assert findings(company, LATER, "Lent") == ["Role Finding", "Finding Resolved"]


def test_the_finding_is_resolved_by_an_exemption(company, tmp_path):
    company.swept()
    domain_in(CENTRAL, f"arn:aws:iam::{STRANGER}:role/Strange")
    company.everything()
    entry = f'{{role: Strange, account: "{STRANGER}", until: 2030-01-31, reason: "another stack protects it"}}'
    exempt = f"exemptions: [{entry}]"
    text = "guardrails: {strict: {bedrock: {deny: all}}}\nassignments: [{guardrails: [strict]}]\n"
    under(company, tmp_path, text + exempt)
    company.everything()
    assert findings(company, STRANGER, "Strange") == ["Role Finding", "Finding Resolved"]


def test_no_call_enters_an_account_that_is_not_covered(company):
    """The role that a function would assume exists there: an administrator of that account can create it."""
    company.everything()
    trust = TRUST.replace('"Service": "sagemaker.amazonaws.com"', f'"AWS": "arn:aws:iam::{CENTRAL}:root"')
    client("iam", STRANGER).create_role(
        RoleName="rolewarden-enforce", Path="/rolewarden/", AssumeRolePolicyDocument=trust
    )
    domain_in(CENTRAL, role_in(STRANGER, "Strange"))
    mark = company.aws.mark()
    [outcome] = company.enforce(company.event("CreateDomain"))
    company.everything()
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "other account")
    assert STRANGER not in {call.account for call in company.aws.calls(mark)}


@pytest.mark.parametrize("claimed", [CENTRAL, MEMBER, STRANGER])
def test_no_work_message_lets_a_function_enter_it_either(company, claimed):
    company.swept()
    trust = TRUST.replace('"Service": "sagemaker.amazonaws.com"', f'"AWS": "arn:aws:iam::{CENTRAL}:root"')
    iam = client("iam", STRANGER)
    iam.create_role(RoleName="rolewarden-enforce", Path="/rolewarden/", AssumeRolePolicyDocument=trust)
    domain_in(CENTRAL, role_in(STRANGER, "Strange"))
    company.everything()
    mark = company.aws.mark()
    outcome = company.enforcer.handle_message({"role": "Strange", "role_account": STRANGER, "account": claimed})
    assert outcome["reason"] == "other account"
    assert STRANGER not in {call.account for call in company.aws.calls(mark)}


def test_without_an_organization_the_role_of_another_account_is_one_finding(world):
    domain = domain_in(CENTRAL, f"arn:aws:iam::{STRANGER}:role/CanvasAnalytics")
    for _ in range(3):
        world.sweep()
    rows = world.runtime.aws.query(world.environment["HISTORY_TABLE"], {"about": f"{STRANGER}/canvasanalytics"})
    assert [row["kind"] for row in rows] == ["Role Finding"]
    world.sagemaker.delete_domain(DomainId=domain)
    for _ in range(2):
        world.sweep()
    rows = world.runtime.aws.query(world.environment["HISTORY_TABLE"], {"about": f"{STRANGER}/canvasanalytics"})
    assert [row["kind"] for row in rows] == ["Role Finding", "Finding Resolved"]


# Commands


@pytest.fixture
def today(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)


def planned(company, exit_code=2):
    rules = company.environment["GUARDRAILS_FILE"]
    return {role["role"]: role for role in json_answer("plan", "--guardrails", rules, exit_code=exit_code)["roles"]}


@pytest.mark.usefixtures("today")
def test_a_plan_leaves_the_role_of_a_covered_account_to_the_stack(company):
    domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    company.everything()
    company.everything()
    assert "Lent" not in planned(company)


@pytest.mark.usefixtures("today")
def test_a_plan_names_the_role_of_an_account_that_is_not_covered(company):
    domain_in(CENTRAL, f"arn:aws:iam::{STRANGER}:role/Strange")
    company.everything()
    strange = planned(company)["Strange"]
    assert (strange["verdict"], strange["reason"]) == ("unenforceable", "other account")
    assert f"account {STRANGER}" in strange["message"]


@pytest.mark.usefixtures("today")
def test_a_plan_and_a_detachment_know_what_the_subject_of_a_member_account_needs(company):
    domain_in(MEMBER, role_in(CENTRAL, "Lent"))
    company.everything()
    company.everything()
    assert attached(CENTRAL, "Lent") == {"no-generative-ai"}
    lent = planned(company)["Lent"]
    assert (lent["before"], lent["required"], lent["detachable"]) == ("compliant", ["no-generative-ai"], [])
    assert [subject["account"] for subject in lent["subjects"]] == [MEMBER]
    surplus = json_answer("detach", "--yes", "--guardrails", company.environment["GUARDRAILS_FILE"])
    assert surplus["planned"]["roles"] == {}
    assert attached(CENTRAL, "Lent") == {"no-generative-ai"}


# Accounts of the organization that the stack does not cover


def open_to_rolewarden(account):
    """Create the roles that the functions assume, as the administrator of an account can who wants to be entered."""
    trust = TRUST.replace('"Service": "sagemaker.amazonaws.com"', f'"AWS": "arn:aws:iam::{CENTRAL}:root"')
    everything = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    iam = client("iam", account)
    for name in MEMBER_ROLES:
        iam.create_role(RoleName=name, Path="/rolewarden/", AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName=name, PolicyName="Everything", PolicyDocument=everything)


def calls_in(company, account, mark):
    return [call.operation for call in company.aws.calls(mark) if call.account == account]


def test_a_domain_of_an_uncovered_account_puts_no_guardrail_on_a_role_of_a_covered_one(company):
    victim = role_in(MEMBER, "ProductionBilling")
    company.everything()
    open_to_rolewarden(STRANGER)
    domain_in(STRANGER, victim)
    mark = company.aws.mark()
    answer = company.enforcer.handle_event(company.event("CreateDomain"))
    assert answer["request"] == {"ignored": "a call in an account that the stack does not cover"}
    company.everything()
    assert attached(MEMBER, "ProductionBilling") == set()
    assert calls_in(company, STRANGER, mark) == []


@pytest.mark.parametrize("request_of", ["subject", "role", "policy", "work"])
def test_a_message_about_an_uncovered_account_leads_to_no_call_there(company, request_of):
    company.swept()
    open_to_rolewarden(STRANGER)
    role = role_in(STRANGER, "Theirs")
    domain = domain_in(STRANGER, role)
    named = {"subject": {"domain": domain}, "role": {"role": "Theirs"}, "policy": {"policy": "no-generative-ai"}}
    message = {"account": STRANGER, "region": "us-east-1", "rechecks": 1}
    mark = company.aws.mark()
    if request_of == "work":
        company.enforcer.handle_message({**message, "role": "Theirs", "role_account": STRANGER})
        company.publications.handle_message({"account": STRANGER, "step": "publish"})
    elif request_of == "policy":
        company.publications.handle_message({**message, "request": named[request_of]})
    else:
        company.enforcer.handle_message({**message, "request": named[request_of]})
    assert calls_in(company, STRANGER, mark) == []


def test_an_edit_of_a_policy_in_an_uncovered_account_leads_to_no_call_there(company):
    company.swept()
    open_to_rolewarden(STRANGER)
    arn = client("iam", STRANGER).create_policy(
        PolicyName="no-generative-ai", Path="/rolewarden/", PolicyDocument=DOCUMENT
    )["Policy"]["Arn"]
    client("iam", STRANGER).create_policy_version(PolicyArn=arn, PolicyDocument=DOCUMENT, SetAsDefault=True)
    mark = company.aws.mark()
    company.publications.handle_event(company.event("CreatePolicyVersion"))
    assert calls_in(company, STRANGER, mark) == []


@pytest.fixture
def left_behind(company):
    """A binding of a covered role to a subject of an account that has left, which an event in flight wrote."""
    role_in(MEMBER, "ProductionBilling")
    company.everything()
    row = Binding(
        STRANGER, "us-east-1", "d-stranger", "default-user", "execution", RoleKey(MEMBER, "ProductionBilling")
    )
    company.bindings.write([row])
    return row


def test_a_binding_to_a_subject_of_an_uncovered_account_does_not_count_and_is_deleted(company, left_behind):
    for trigger in ("event", "sweep"):
        if trigger == "event":
            client("iam", MEMBER).tag_role(RoleName="ProductionBilling", Tags=[{"Key": "a", "Value": "b"}])
            company.enforce(company.event("TagRole"))
        else:
            company.everything()
        assert attached(MEMBER, "ProductionBilling") == set(), trigger
    assert left_behind not in list(company.bindings.all())


def test_a_message_that_names_the_row_of_such_a_binding_gives_the_role_nothing(company, left_behind):
    company.enforcer.handle_message(Work.of_sweep(left_behind.role, MEMBER, [left_behind]).as_dict())
    assert attached(MEMBER, "ProductionBilling") == set()


def test_a_guardrail_that_only_such_a_binding_asks_for_is_surplus(company, tmp_path, left_behind):
    under(company, tmp_path)
    company.everything()
    arn = policy_arn("strict", "aws", MEMBER)
    client("iam", MEMBER).attach_role_policy(RoleName="ProductionBilling", PolicyArn=arn)
    company.everything()
    company.detach_surplus()
    assert attached(MEMBER, "ProductionBilling") == set()


def test_the_history_names_the_account_of_a_subject_that_uses_a_role_of_another_account(company):
    company.swept()
    domain_in(CENTRAL, role_in(MEMBER, "Lent"))
    [outcome] = company.enforce(company.event("CreateDomain"))
    assert outcome["subjects"] == [f"borrower default-user of account {CENTRAL}"]

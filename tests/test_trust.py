"""`also_govern.trusting` covers every role that one of its principals can assume, however the trust policy says so."""

import json
from itertools import product
from urllib.parse import quote

import pytest
from rolewarden.trust import Trust, principal_of, service_of, trust_of
from rolewarden_local.emulated import access

SAGEMAKER, EC2 = "sagemaker.amazonaws.com", "ec2.amazonaws.com"
OTHER = "222233334444"
ALLOW = {"Effect": "Allow", "Action": "sts:AssumeRole"}
DENY = {**ALLOW, "Effect": "Deny"}
OF_SAGEMAKER = {**ALLOW, "Principal": {"Service": SAGEMAKER}}
OF_ALL = {**ALLOW, "Principal": "*"}
ROOT_ARN = f"arn:aws:iam::{OTHER}:root"


def document(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


TRUSTING = {
    "everybody": OF_ALL,
    "every AWS principal": {**ALLOW, "Principal": {"AWS": "*"}},
    "every AWS principal in a list": {**ALLOW, "Principal": {"AWS": [ROOT_ARN, "*"]}},
    "every service": {**ALLOW, "Principal": {"Service": "*"}},
    "the service": OF_SAGEMAKER,
    "the service in a list": {**ALLOW, "Principal": {"Service": [EC2, SAGEMAKER]}},
    "the service in upper case": {**ALLOW, "Principal": {"Service": SAGEMAKER.upper()}},
    "all but an account": {**ALLOW, "NotPrincipal": {"AWS": ROOT_ARN}},
    "every action": {**OF_SAGEMAKER, "Action": "*"},
    "actions with a wildcard": {**OF_SAGEMAKER, "Action": ["sts:TagSession", "STS:assume*"]},
    "all other actions": {"Effect": "Allow", "NotAction": "sts:TagSession", "Principal": "*"},
    "a condition": {**OF_ALL, "Condition": {"StringEquals": {"aws:SourceAccount": OTHER}}},
}


@pytest.mark.parametrize("statement", TRUSTING.values(), ids=TRUSTING)
def test_a_trust_policy_includes_a_service_in_each_form(statement):
    assert trust_of(document(statement)).includes(SAGEMAKER)
    assert trust_of({"Statement": statement}).includes(SAGEMAKER)
    assert trust_of(quote(json.dumps(document(statement)))).includes(SAGEMAKER)


OTHERS = {
    "another service": {**ALLOW, "Principal": {"Service": EC2}},
    "an account": {**ALLOW, "Principal": {"AWS": ROOT_ARN}},
    "a federation": {**ALLOW, "Principal": {"Federated": "*"}},
    "another action": {**OF_SAGEMAKER, "Action": ["sts:TagSession", "sts:AssumeRoleWithSAML"]},
    "no assuming": {"Effect": "Allow", "NotAction": "sts:*", "Principal": "*"},
    "a deny": {**DENY, "Principal": {"Service": SAGEMAKER}},
    "not a statement": "Allow",
}


@pytest.mark.parametrize("statement", OTHERS.values(), ids=OTHERS)
def test_a_trust_policy_does_not_include_a_service_that_it_does_not_allow(statement):
    assert not trust_of(document(statement)).includes(SAGEMAKER)


@pytest.mark.parametrize("text", [None, "", "{", "[]", 7, [], {}, {"Statement": [None, {"Action": 7}]}])
def test_a_trust_policy_of_another_shape_includes_no_principal(text):
    assert trust_of(text) == Trust()


OTHER_PRINCIPALS = ["job.sagemaker.amazonaws.com", "hyperpod.sagemaker.amazonaws.com"]
"""Further principals of SageMaker. A deny of one principal leaves the others."""

DENIES = {
    "the service": {**DENY, "Principal": {"Service": [SAGEMAKER, *OTHER_PRINCIPALS]}},
    "everybody": {**DENY, "Principal": "*"},
    "all but another": {**DENY, "NotPrincipal": {"Service": EC2}},
    "all actions": {**DENY, "Principal": {"Service": [SAGEMAKER, *OTHER_PRINCIPALS]}, "Action": "sts:*"},
}
NO_DENIES = {
    "under a condition": {**DENY, "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
    "another action": {**DENY, "Principal": "*", "Action": "sts:TagSession"},
    "another service": {**DENY, "Principal": {"Service": EC2}},
    "all but the service": {**DENY, "NotPrincipal": {"Service": [SAGEMAKER, EC2]}},
    "all but everybody": {**DENY, "NotPrincipal": "*"},
    "one role": {**DENY, "Principal": {"AWS": f"arn:aws:iam::{OTHER}:role/Someone"}},
}


@pytest.mark.parametrize("allow", [OF_SAGEMAKER, OF_ALL], ids=["service", "everybody"])
@pytest.mark.parametrize(("deny", "included"), [*product(DENIES, [False]), *product(NO_DENIES, [True])])
def test_only_an_unconditional_deny_takes_a_service_away(allow, deny, included):
    assert trust_of(document(allow, (DENIES | NO_DENIES)[deny])).includes(SAGEMAKER) is included


def test_denies_with_not_principal_spare_only_what_all_of_them_name():
    spares = [{**DENY, "NotPrincipal": {"Service": names}} for names in ([SAGEMAKER, EC2], [EC2])]
    trust = trust_of(document(OF_ALL, *spares))
    assert (trust.includes(EC2), trust.includes(SAGEMAKER)) == (True, False)


@pytest.mark.parametrize(
    "principal",
    [OTHER, ROOT_ARN, f"arn:aws-us-gov:iam::{OTHER}:root", f"arn:aws:iam::{OTHER}:role/path/Deployer",
     f"arn:aws:iam::{OTHER}:user/alice", f"arn:aws:sts::{OTHER}:assumed-role/Deployer/session", "*"],
)  # fmt: skip
def test_a_trust_policy_includes_an_account_in_each_form(principal):
    trust = trust_of(document({**ALLOW, "Principal": {"AWS": principal}}))
    assert trust.includes(OTHER)
    assert trust.includes("333344445555") is (principal == "*")


def test_a_deny_for_one_user_of_an_account_does_not_take_the_account_away():
    allow = {**ALLOW, "Principal": {"AWS": OTHER}}
    user = {**DENY, "Principal": {"AWS": f"arn:aws:iam::{OTHER}:user/alice"}}
    assert trust_of(document(allow, user)).includes(OTHER)
    assert not trust_of(document(allow, {**DENY, "Principal": {"AWS": ROOT_ARN}})).includes(OTHER)
    assert trust_of(document(allow, {**DENY, "NotPrincipal": {"AWS": f"arn:aws:iam::{OTHER}:user/alice"}})).includes(
        OTHER
    )


def test_the_services_of_a_trust_policy_are_those_that_it_names_and_allows():
    both = {**ALLOW, "Principal": {"Service": [SAGEMAKER, EC2], "AWS": ["*", OTHER]}}
    assert trust_of(document(both, {**DENY, "Principal": {"Service": EC2}})).services == {SAGEMAKER}


def test_an_account_is_the_same_principal_by_its_id_and_by_its_root_user():
    assert principal_of(ROOT_ARN) == principal_of(OTHER) == OTHER
    assert principal_of("SageMaker.amazonaws.com") == SAGEMAKER


AGREED = {**TRUSTING, **{name: found for name, found in OTHERS.items() if name != "not a statement"}}
UNDECIDED = {"a condition", "every service", "the service in upper case"}


@pytest.mark.parametrize("name", [name for name in AGREED if name not in UNDECIDED])
def test_the_local_aws_lets_sagemaker_assume_exactly_the_roles_that_trust_it(monkeypatch, name):
    text = json.dumps(document(AGREED[name]))
    monkeypatch.setattr(access, "role", lambda _: {"AssumeRolePolicyDocument": text})
    arn = f"arn:aws:iam::{OTHER}:role/Any"
    assert access.service_may_assume(SAGEMAKER, arn, {}) is trust_of(text).includes(SAGEMAKER)


GOVERNING = """guardrails:
  strict: {bedrock: {deny: all}}
assignments:
  - guardrails: [strict]
also_govern:
  trusting: [%s]
"""


@pytest.mark.parametrize("statement", ["everybody", "every AWS principal"])
def test_a_role_that_everybody_can_assume_is_governed_from_its_creation(world_with, statement):
    world = world_with(GOVERNING % SAGEMAKER)
    world.role("Open", json.dumps(document(TRUSTING[statement])))
    world.enforce(world.event("CreateRole"))
    assert world.attached("Open") == {"strict"}


def test_a_role_that_comes_to_trust_everybody_is_governed_by_its_event_and_by_the_sweep(world_with):
    world = world_with(GOVERNING % SAGEMAKER)
    world.role("Other", json.dumps(document({**ALLOW, "Principal": {"Service": EC2}})))
    for name in ("BuildServer", "Other"):
        world.iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(document(OF_ALL)))
    world.enforce(world.event("UpdateAssumeRolePolicy"))
    assert world.attached("Other") == {"strict"}
    world.sweep()
    assert world.attached("BuildServer") == {"strict"}


@pytest.mark.parametrize("written", [OTHER, ROOT_ARN])
def test_a_role_that_an_account_can_assume_is_governed(world_with, written):
    world = world_with(GOVERNING % f'"{written}"')
    world.role("Lent", json.dumps(document({**ALLOW, "Principal": {"AWS": ROOT_ARN}})))
    world.enforce(world.event("CreateRole"))
    assert world.attached("Lent") == {"strict"}
    world.sweep()
    assert world.attached("BuildServer") == set()


FURTHER = [*OTHER_PRINCIPALS, "sagemaker.us-east-1.amazonaws.com"]


@pytest.mark.parametrize("principal", [*FURTHER, "JOB.SageMaker.amazonaws.com", "sagemaker.amazonaws.com.cn"])
def test_a_service_includes_its_further_principals_and_regional_forms(principal):
    trust = trust_of(document({**ALLOW, "Principal": {"Service": principal}}))
    assert trust.includes(SAGEMAKER)
    assert not trust.includes(EC2)
    assert not trust_of(document({**ALLOW, "Principal": {"Service": EC2}})).includes(principal)


def test_a_deny_of_one_principal_leaves_the_others_of_the_service():
    denied = {**DENY, "Principal": {"Service": SAGEMAKER}}
    assert trust_of(document(OF_ALL, denied)).includes(SAGEMAKER)
    assert not trust_of(document(OF_ALL, {**DENY, "Principal": {"Service": [SAGEMAKER, *OTHER_PRINCIPALS]}})).includes(
        SAGEMAKER
    )
    both = {**ALLOW, "Principal": {"Service": [SAGEMAKER, FURTHER[0]]}}
    assert trust_of(document(both, denied)).includes(SAGEMAKER)


@pytest.mark.parametrize(
    ("principal", "service"),
    [
        (SAGEMAKER, "sagemaker"),
        ("job.sagemaker.amazonaws.com", "sagemaker"),
        ("sagemaker.us-gov-west-1.amazonaws.com", "sagemaker"),
        ("sagemaker.cn-north-1.amazonaws.com.cn", "sagemaker"),
        ("sagemaker.application-autoscaling.amazonaws.com", "application-autoscaling"),
        ("us-east-1.amazonaws.com", "us-east-1"),
        (OTHER, ""),
        ("*", ""),
    ],
)
def test_the_service_of_a_principal(principal, service):
    assert service_of(principal) == service

"""A caller who takes the name of a guardrail's policy keeps only this policy from an account, and is reported."""

import boto3
import pytest
from rolewarden.canary import CANARY_POLICY
from rolewarden.errors import Refused
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK
from rolewarden.reported import ReportedFinding, ReportedKind
from rolewarden_local.aws import ACCOUNT_ID as CENTRAL
from rolewarden_local.scenes.seed import TRUST

from tests.company import client
from tests.publishing import UNRELATED
from tests.stacks import MEMBER

pytestmark = pytest.mark.long

SQUATTED, OTHER = "no-generative-ai", "only-nova-and-sonnet"
TAKEN = "name taken"


@pytest.fixture(params=["/", "/team/", "/rolewarden-else/"])
def squat(request):
    """A function that takes the name of a policy in an account, in another path."""

    def take(account, name=SQUATTED):
        made = client("iam", account).create_policy(PolicyName=name, Path=request.param, PolicyDocument=UNRELATED)
        return made["Policy"]["Arn"]

    return take


def squatted(account, name=SQUATTED):
    made = client("iam", account).create_policy(PolicyName=name, Path="/team/", PolicyDocument=UNRELATED)
    return made["Policy"]["Arn"]


def domain(account):
    """Make a domain with the role Theirs."""
    made = client("iam", account).create_role(RoleName="Theirs", AssumeRolePolicyDocument=TRUST)
    settings = {"ExecutionRole": made["Role"]["Arn"]}
    client("sagemaker", account).create_domain(DomainName="theirs", AuthMode="IAM", DefaultUserSettings=settings)


def published(account):
    listed = client("iam", account).list_policies(Scope="Local", PathPrefix="/rolewarden/")["Policies"]
    return {policy["PolicyName"] for policy in listed} - {CANARY_POLICY}


def findings(company, account, policy=SQUATTED):
    """The reasons of the findings about the publication of a policy, and "resolved", oldest first."""
    return [row.get("reason", "resolved") for row in company.history_of(account, f"account/publication of {policy}")]


def test_a_new_account_gets_all_other_policies_at_once(company, squat):
    squat(MEMBER)
    domain(MEMBER)
    company.everything()
    assert published(MEMBER) == {OTHER}
    assert findings(company, MEMBER) == [TAKEN]


def test_the_finding_of_the_role_names_the_policy_and_what_to_do(company, squat):
    arn = squat(MEMBER)
    domain(MEMBER)
    company.everything()
    [row] = company.history_of(MEMBER, "Theirs")
    assert (row["verdict"], row["reason"]) == ("unenforceable", TAKEN)
    assert f"{arn} has its name: delete or rename" in row["message"]
    assert "delete or rename the policy that the message names" in row["recommendation"]
    [found] = company.history_of(MEMBER, f"account/publication of {SQUATTED}")
    assert arn in found["message"]


def test_the_finding_stands_until_the_policy_is_published(company):
    arn = squatted(MEMBER, SQUATTED.upper())
    for _ in range(3):
        company.everything()
        assert findings(company, MEMBER) == [TAKEN]
    client("iam", MEMBER).delete_policy(PolicyArn=arn)
    company.everything()
    assert published(MEMBER) == {SQUATTED, OTHER}
    assert findings(company, MEMBER) == [TAKEN, "resolved"]


def test_the_other_policy_of_a_known_account_is_restored_all_the_same(company):
    company.swept()
    iam = client("iam", MEMBER)
    for name in (SQUATTED, OTHER):
        iam.delete_policy(PolicyArn=f"arn:aws:iam::{MEMBER}:policy/rolewarden/{name}")
    squatted(MEMBER)
    company.everything()
    assert published(MEMBER) == {OTHER}
    assert findings(company, MEMBER) == [TAKEN]


@pytest.mark.parametrize("foreign", [UNRELATED, None])
def test_a_policy_that_exists_with_other_content_does_not_resolve_the_finding(company, foreign):
    """A denied write is a finding, too, and the name alone is no publication."""
    company.everything()
    arn = f"arn:aws:iam::{MEMBER}:policy/rolewarden/{SQUATTED}"
    client("iam", MEMBER).create_policy_version(PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)
    with company.aws.failing("CreatePolicyVersion", "AccessDenied"):
        company.everything()
        company.everything()
        assert findings(company, MEMBER) == ["access denied"]
    if foreign:
        company.everything()
        assert findings(company, MEMBER) == ["access denied", "resolved"]


def test_the_finding_about_a_policy_that_the_rules_no_longer_have_is_resolved(company):
    company.swept()
    row = ReportedFinding(MEMBER, "account/publication of renamed", ReportedKind.PUBLICATION, TAKEN)
    company.reported.mark([row.as_row(2**33)])
    company.everything()
    assert findings(company, MEMBER, "renamed") == ["resolved"]


def test_a_deployment_of_the_central_account_writes_all_policies_or_none(company):
    iam = boto3.client("iam")
    for name in (SQUATTED, OTHER):
        iam.delete_policy(PolicyArn=f"arn:aws:iam::{CENTRAL}:policy/rolewarden/{name}")
    arn = squatted(CENTRAL)
    with pytest.raises(Refused, match=arn):
        company.publications.run(CENTRAL, DEPLOYMENT)
    assert published(CENTRAL) == set()
    with pytest.raises(Refused, match=arn):
        company.publications.run(CENTRAL, SCHEDULED_CHECK)
    assert published(CENTRAL) == {OTHER}
    assert findings(company, CENTRAL) == [TAKEN]


def test_a_policy_of_another_name_is_not_blamed(company):
    client("iam", MEMBER).create_policy(PolicyName=f"{SQUATTED}-2", PolicyDocument=UNRELATED)
    company.everything()
    assert published(MEMBER) == {SQUATTED, OTHER}
    assert findings(company, MEMBER) == []

"""The AWS calls of a sweep: the pages of lists, and additional calls only for changes."""

from collections import Counter

import pytest
from rolewarden.bindings import EXECUTION, ROLE, USER_PROFILE, Binding, RoleKey
from rolewarden.policies import policy_arn
from rolewarden.shared_reads import SHARED_FROM
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.regions import OFFERED
from rolewarden_local.scenes.crowd import GUARDRAILS, attach_all, crowd, detach_all

from tests.commands import json_answer
from tests.volume import volume

REGION = "us-east-1"

pytestmark = [pytest.mark.long, pytest.mark.volume]


@pytest.fixture
def company(world_with, request):
    """An account in which every subject is bound and every role has the policies that it needs."""
    domains, profiles, also = request.param
    world = world_with(GUARDRAILS)
    people = crowd(domains=domains, profiles=profiles, also=also)
    listed = {
        (domain, profile.name): profile.modified
        for domain in people.domains
        for profile in world.runtime.aws.user_profiles(REGION, domain)
    }
    names = {domain.id: domain.name for domain in world.runtime.aws.domains(REGION)}
    world.bindings.write(
        [
            Binding(
                ACCOUNT_ID, REGION, domain, USER_PROFILE, EXECUTION, RoleKey(ACCOUNT_ID, name), names[domain], name,
                modified=modified,
            )
            for (domain, name), modified in listed.items()
        ]
    )  # fmt: skip
    world.bindings.write(
        [Binding(ACCOUNT_ID, "", "", ROLE, EXECUTION, RoleKey(ACCOUNT_ID, name)) for name in people.also]
    )
    attach_all(people.roles, policy_arn("approved", "aws", ACCOUNT_ID))
    attach_all(people.also, policy_arn("strict", "aws", ACCOUNT_ID))
    world.sweep()  # The seed's few roles and the domains are protected here.
    world.people, world.size = people, request.param
    return world


def calls_of_a_plan(company, *, changed):
    """Count the calls of `rolewarden plan` by operation, and assert that this number of roles would change."""
    mark = company.aws.mark()
    plan = json_answer("plan", "--guardrails", company.environment["GUARDRAILS_FILE"], exit_code=2)
    assert sum(role["changes"] for role in plan["roles"]) == changed
    return Counter(call.operation for call in company.aws.calls(mark))


OTHER_REGIONS = len(OFFERED)
"""The calls with which a plan looks for domains in regions that it does not cover: DescribeRegions and their lists."""

SIZES = volume([(3, 150, 150)], [(20, 1_000, 1_000), (20, 5_000, 5_000)])
"""Domains, profiles with a role each, and further roles."""


def pages(domains, profiles, also):
    """The number of pages of AWS's lists: 100 profiles, 1,000 roles, or 1,000 roles with a policy."""
    return domains + profiles / 100 + 2 * (profiles + also) / 1_000


@pytest.mark.parametrize("company", SIZES, indirect=True)
def test_a_steady_sweep_needs_as_many_pages_as_a_plan_and_drift_adds_only_its_own_calls(company):
    steady = company.calls_of_a_sweep()
    most = 46 + pages(*company.size)  # of these, drills, exemptions and the parts of the stack have about ten
    assert steady.total() <= most, steady
    assert steady["DescribeUserProfile"] == 0
    assert steady["ListAttachedRolePolicies"] == 1  # This is the seed's full role, which no sweep can remediate.
    drifted = company.people.roles[:50] + company.people.also[:50]
    detach_all(drifted)
    asked = calls_of_a_plan(company, changed=len(drifted))
    assert asked.total() <= most + OTHER_REGIONS, asked
    calls = company.calls_of_a_sweep()
    # The attachments, the records of them, and the lists that the evaluations share.
    assert calls.total() <= most + 1.3 * len(drifted) + 2 * pages(*company.size), calls
    # The seed's full role refuses the attachment both by the shared reads and by its own list.
    assert len(drifted) + 1 <= calls["AttachRolePolicy"] <= len(drifted) + 2
    assert calls["ListAttachedRolePolicies"] <= 2
    assert all(company.attached(role) for role in drifted)


@pytest.mark.parametrize("company", SIZES, indirect=True)
def test_a_new_guardrail_for_everybody_needs_little_more_than_its_attachments(company):
    steady = company.calls_of_a_sweep()
    roles = [*company.people.roles, *company.people.also]
    detach_all(roles)
    calls = company.calls_of_a_sweep()
    # Of ten records, PutEvents takes one call and BatchWriteItem less than half of one.
    assert calls.total() - steady.total() <= 1.25 * len(roles), calls
    assert calls["GetRole"] - steady["GetRole"] < SHARED_FROM  # the roles of the last message
    assert calls["GetPolicy"] < len(roles) / 20
    assert all(company.attached(role) for role in roles)


@pytest.mark.parametrize("company", volume([(4, 100, 60)], [(4, 600, 400)]), indirect=True)
def test_a_first_sweep_reads_each_profile_once_and_changes_each_role_once(company):
    people = company.people
    roles = [*people.roles, *people.also]
    detach_all(roles)
    company.bindings.write((), [binding.key for binding in company.bindings.all()])
    calls = company.calls_of_a_sweep()
    assert calls.total() <= 80 + 2.1 * len(people.roles) + 1.3 * len(roles), calls
    assert calls["DescribeUserProfile"] <= len(people.roles) + 6  # the seed's
    assert calls["ListAttachedRolePolicies"] <= 12
    assert all(company.attached(role) for role in roles)

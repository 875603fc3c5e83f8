"""IAM's reads can be stale: no role stays unprotected after a stale read, for every order of events."""

import itertools

import pytest
from rolewarden.events import POLICY_EVENTS
from rolewarden.policies import policy_arn
from rolewarden.record import metrics
from rolewarden.work import RECHECKS
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import CANVAS_POLICIES, TRUST

from tests.publishing import PUBLISHED, UNRELATED
from tests.volume import some
from tests.world import World

GUARDRAIL = "no-generative-ai"
CANVAS = "arn:aws:iam::aws:policy/AmazonSageMakerCanvasFullAccess"
RECHECK_SECONDS = 60

pytestmark = [pytest.mark.long, pytest.mark.volume]


class Clock:
    """The virtual time in seconds."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def a_profile_with_a_new_role(world):
    arn = world.role("CanvasNadia")
    yield "CreateRole"
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"ExecutionRole": arn}
    )
    yield "CreateUserProfile"
    world.iam.attach_role_policy(RoleName="CanvasNadia", PolicyArn=CANVAS)
    yield "AttachRolePolicy"
    world.iam.update_assume_role_policy(RoleName="CanvasNadia", PolicyDocument=TRUST)
    yield "UpdateAssumeRolePolicy"


def a_guardrail_taken_off_and_edited(world):
    world.detach("CanvasOmar", GUARDRAIL)
    yield "DetachRolePolicy"
    arn = policy_arn(GUARDRAIL, "aws", ACCOUNT_ID)
    world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)
    yield "CreatePolicyVersion"
    world.iam.put_role_permissions_boundary(RoleName="CanvasOmar", PermissionsBoundary=CANVAS)
    yield "PutRolePermissionsBoundary"
    world.iam.update_assume_role_policy(RoleName="CanvasOmar", PolicyDocument=TRUST)
    yield "UpdateAssumeRolePolicy"


def a_role_made_again(world):
    world.detach("CanvasOmar", GUARDRAIL)
    yield "DetachRolePolicy"
    for arn in CANVAS_POLICIES:
        world.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=arn)
    world.iam.delete_role(RoleName="CanvasOmar")
    yield "DeleteRole"
    world.role("CanvasOmar")
    yield "CreateRole"
    world.sagemaker.update_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    yield "UpdateUserProfile"


STORIES = {
    a_profile_with_a_new_role: "CanvasNadia",
    a_guardrail_taken_off_and_edited: "CanvasOmar",
    a_role_made_again: "CanvasOmar",
}
"""A change and its role."""


@pytest.fixture(scope="module")
def kept(aws, template):
    """A protected world, and the function that restores it for each of the many orders."""
    world = World(aws, template).protected().with_immediate_rechecks()
    world.queued()
    return world, aws.saved()


def evaluated(world, event):
    done = (
        world.publications.handle_event
        if event["detail"]["eventName"] in POLICY_EVENTS
        else world.enforcer.handle_event
    )
    done(event)
    metrics.clear_metrics()


def worked_off(world, clock):
    """Deliver the delayed messages, each a minute after it was sent."""
    for _ in range(RECHECKS + 1):
        clock.now += RECHECK_SECONDS
        for body in world.queued("PUBLISH_QUEUE_URL"):
            world.publications.handle_message(body)
        for body in world.queued():
            world.enforcer.handle_message(body)
        metrics.clear_metrics()
    assert world.queued() == world.queued("PUBLISH_QUEUE_URL") == []


@pytest.mark.parametrize("age", [3, 50])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_role_is_protected_at_the_end_of_every_order_of_events(kept, story, age):
    world, restore = kept
    for order in some(6, itertools.permutations(range(4))):
        restore()
        world.lend()
        clock = Clock()
        with world.aws.stale(age, clock=clock):
            events = []
            for name in story(world):
                events.append(world.event(name))
                clock.now += 1
            for place in order:
                evaluated(world, events[place])
                clock.now += 1
            worked_off(world, clock)
        said = [events[place]["detail"]["eventName"] for place in order]
        assert world.attached(STORIES[story]) == {GUARDRAIL}, said
        assert world.in_force() == PUBLISHED, said

"""Queues accept the functions that send to them, the rules of the stack and operators. The topic accepts alarms."""

import pytest
from rolewarden_local.emulated.queue_policies import decision

from tests.permissions import of_template
from tests.stacks import ACCOUNT, EVERYTHING, MEMBER, RECEIVERS, forwarder_of_whole, translated

OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/OnCall_1a2b"
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/Administrator"
SEND = "sqs:SendMessage"


@pytest.fixture(scope="module")
def template():
    return translated(**{**EVERYTHING, "OperatorArn": OPERATOR})


def policies(template):
    """The policy of each queue by its name; each queue has exactly one."""
    found = {}
    for made in template.resources("AWS::SQS::QueuePolicy").values():
        [queue] = made["Queues"]
        name = queue.rsplit("/", 1)[-1]
        assert name not in found
        found[name] = made["PolicyDocument"]
    return found


def arn(queue, account=ACCOUNT):
    return f"arn:aws:sqs:us-east-1:{account}:{queue}"


def as_caller(policy, queue, principal, action=SEND, account=ACCOUNT):
    keys = {"aws:PrincipalArn": principal, "aws:PrincipalIsAWSService": "false"}
    return decision(policy, principal, action, arn(queue, account), keys)


def as_rule(policy, queue, rule, account=ACCOUNT):
    source = f"arn:aws:events:us-east-1:{account}:rule/{rule}"
    keys = {"aws:SourceArn": source, "aws:PrincipalIsAWSService": "true"}
    return decision(policy, "events.amazonaws.com", SEND, arn(queue, account), keys)


def test_every_queue_has_a_policy(template):
    assert policies(template).keys() == template.resources("AWS::SQS::Queue").keys()


def test_a_queue_accepts_exactly_the_functions_that_have_permission_to_send_to_it(template):
    rights = of_template(template)
    for queue, policy in policies(template).items():
        senders = {each.function for each in rights if each.may(SEND, arn(queue), {})}
        accepted = {each.function for each in rights if as_caller(policy, queue, each.role) != "explicitDeny"}
        assert accepted == senders, queue


@pytest.mark.parametrize("caller", [ADMINISTRATOR, f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{MEMBER}:user/eve"])
def test_no_queue_accepts_another_caller(template, caller):
    for queue, policy in policies(template).items():
        assert as_caller(policy, queue, caller) == "explicitDeny", queue


def test_operators_can_send_the_messages_of_a_dead_letter_queue_back_to_the_queues_with_a_receiver(template):
    accepted = {q for q, policy in policies(template).items() if as_caller(policy, q, OPERATOR) != "explicitDeny"}
    assert accepted == set(RECEIVERS)
    without = policies(translated(**{**EVERYTHING, "OperatorArn": ""}))
    assert not {queue for queue, policy in without.items() if as_caller(policy, queue, OPERATOR) != "explicitDeny"}


def test_a_policy_denies_nothing_about_the_queue_itself_so_that_cloudformation_can_manage_it(template):
    for queue, policy in policies(template).items():
        for action in ("SetQueueAttributes", "DeleteQueue", "PurgeQueue", "GetQueueAttributes"):
            assert as_caller(policy, queue, ADMINISTRATOR, f"sqs:{action}") == "implicitDeny", (queue, action)


TAKEN = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")


def test_only_the_function_of_a_queue_can_take_its_messages(template):
    rights = of_template(template)
    for queue in RECEIVERS:
        policy = policies(template)[queue]
        for action in TAKEN:
            takers = {e.function for e in rights if as_caller(policy, queue, e.role, f"sqs:{action}") != "explicitDeny"}
            [function] = {e.function for e in rights if e.may("sqs:ReceiveMessage", arn(queue), {})}
            assert takers == {function}, (queue, action)
            for other in (ADMINISTRATOR, OPERATOR):
                assert as_caller(policy, queue, other, f"sqs:{action}") == "explicitDeny", (queue, action)


def test_only_the_operator_can_take_or_hide_the_messages_of_a_dead_letter_queue(template):
    dead = template.resources("AWS::SQS::Queue").keys() - RECEIVERS
    assert len(dead) == 3
    without = policies(translated(**{**EVERYTHING, "OperatorArn": ""}))
    for queue in dead:
        for action in (*TAKEN, "StartMessageMoveTask"):
            policy = policies(template)[queue]
            assert as_caller(policy, queue, ADMINISTRATOR, f"sqs:{action}") == "explicitDeny", (queue, action)
            assert as_caller(policy, queue, OPERATOR, f"sqs:{action}") == "implicitDeny", (queue, action)
            # Without an operator, a person must be able to read why a function gave up.
            assert as_caller(without[queue], queue, ADMINISTRATOR, f"sqs:{action}") == "implicitDeny"


def test_no_other_queue_can_move_messages_into_a_queue(template):
    queues = template.resources("AWS::SQS::Queue")
    allowed = {name: made["RedriveAllowPolicy"] for name, made in queues.items()}
    permissions = {name: policy["redrivePermission"] for name, policy in allowed.items()}
    assert permissions == dict.fromkeys(queues, "denyAll") | {"WorkDeadLetterQueue": "byQueue"}
    # The stack's own queues move messages into it.
    sources = {made["QueueName"] for made in queues.values() if made.get("RedrivePolicy")}
    assert set(allowed["WorkDeadLetterQueue"]["sourceQueueArns"]) == {arn(name) for name in sources}
    assert len(sources) == len(RECEIVERS)


def test_only_alarms_and_the_function_that_sends_alerts_can_publish_to_the_topic(template):
    [made] = template.resources("AWS::SNS::TopicPolicy").values()
    [topic] = made["Topics"]
    policy = made["PolicyDocument"]

    def publishes(principal, **keys):
        keys = {"aws:PrincipalIsAWSService": "false", "aws:PrincipalArn": principal} | keys
        return decision(policy, principal, "sns:Publish", topic, {name: value for name, value in keys.items() if value})

    rights = of_template(template)
    accepted = {each.function for each in rights if publishes(each.role) != "explicitDeny"}
    assert accepted == {each.function for each in rights if each.may("sns:Publish", topic, {})} == {"AlertFunction"}
    for caller in (ADMINISTRATOR, OPERATOR, f"arn:aws:iam::{MEMBER}:user/eve"):
        assert publishes(caller) == "explicitDeny"
    service = {"aws:PrincipalIsAWSService": "true", "aws:PrincipalArn": ""}
    assert publishes("cloudwatch.amazonaws.com", **service, **{"aws:SourceAccount": ACCOUNT}) == "allowed"
    assert publishes("cloudwatch.amazonaws.com", **service, **{"aws:SourceAccount": MEMBER}) != "allowed"
    assert publishes("events.amazonaws.com", **service, **{"aws:SourceAccount": ACCOUNT}) != "allowed"
    assert decision(policy, ADMINISTRATOR, "sns:SetTopicAttributes", topic, {}) == "implicitDeny"


@pytest.mark.parametrize("rule", ["rolewarden-EnforceFunctionRoles-1A2B", "rolewarden-central/rolewarden-Forwarded-3C"])
def test_only_the_queue_of_undelivered_events_accepts_this_stacks_rules(template, rule):
    accepted = {queue for queue, policy in policies(template).items() if as_rule(policy, queue, rule) == "allowed"}
    assert accepted == {"EventsDeadLetterQueue"}


def test_no_queue_accepts_a_rule_of_another_account(template):
    for queue, policy in policies(template).items():
        assert as_rule(policy, queue, "eve", MEMBER) != "allowed", queue


def test_the_queue_of_a_forwarder_accepts_its_rules_only():
    [(queue, policy)] = policies(forwarder_of_whole(MEMBER, "us-east-1")).items()
    assert as_rule(policy, queue, "rolewarden-forward-roles", MEMBER) == "allowed"
    assert as_rule(policy, queue, "eve", MEMBER) != "allowed"
    assert as_caller(policy, queue, f"arn:aws:iam::{MEMBER}:role/Administrator", account=MEMBER) == "explicitDeny"

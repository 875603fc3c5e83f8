"""Events that a rule sends to a bus of another region or account, and the policy of that bus."""

import json

import boto3
import pytest
from rolewarden_local.scenes.seed import log

MEMBER = "222233334444"
CENTRAL = "111122223333"
BUS = f"arn:aws:events:us-east-1:{CENTRAL}:event-bus/hub"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@pytest.fixture
def local(aws):
    aws.reset()
    for account in (CENTRAL, MEMBER):
        log(client("cloudtrail", account))
    return aws


def client(service, account=CENTRAL, region="us-east-1"):
    return boto3.client(service, aws_access_key_id=account, aws_secret_access_key="x", region_name=region)


def allow(action, resource):
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    )


def queue(name, account=CENTRAL, region="us-east-1"):
    sqs = client("sqs", account, region)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def heard():
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]

    return arn, heard


def central():
    """Make a bus in us-east-1 with a rule for IAM and SageMaker, and return a function that returns its events."""
    events = client("events")
    events.create_event_bus(Name="hub")
    arn, heard = queue("heard")
    events.put_rule(Name="all", EventBusName="hub", EventPattern=json.dumps({"source": ["aws.iam", "aws.sagemaker"]}))
    events.put_targets(Rule="all", EventBusName="hub", Targets=[{"Id": "1", "Arn": arn}])
    return heard


def forward(account, region, *, may="events:PutEvents"):
    """Make a rule that sends events of SageMaker and IAM to another bus, and return its dead-letter queue."""
    role = client("iam", account).create_role(RoleName=f"forward-{region}", AssumeRolePolicyDocument=TRUST)["Role"]
    client("iam", account).put_role_policy(
        RoleName=f"forward-{region}", PolicyName="send", PolicyDocument=allow(may, BUS)
    )
    arn, dead = queue("undelivered", account, region)
    events = client("events", account, region)
    events.put_rule(Name="forward", EventPattern=json.dumps({"source": ["aws.iam", "aws.sagemaker"]}))
    target = {"Id": "1", "Arn": BUS, "RoleArn": role["Arn"], "DeadLetterConfig": {"Arn": arn}}
    events.put_targets(Rule="forward", Targets=[target])
    return dead


def admit(**condition):
    client("events").put_permission(
        EventBusName="hub",
        Policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "members",
                        "Effect": "Allow",
                        "Principal": "*",
                        "Action": "events:PutEvents",
                        "Resource": BUS,
                        "Condition": condition,
                    }
                ],
            }
        ),
    )


def make_domain(account, region):
    client("sagemaker", account, region).create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings={})


def test_an_event_of_another_region_reaches_the_bus_as_it_was(local):
    heard = central()
    forward(CENTRAL, "eu-west-1")
    make_domain(CENTRAL, "eu-west-1")
    [event] = heard()
    assert (event["account"], event["region"], event["detail"]["eventName"]) == (CENTRAL, "eu-west-1", "CreateDomain")


def test_iam_events_appear_only_in_the_home_region_of_their_account(local):
    heard = central()
    forward(MEMBER, "eu-west-1")
    admit(StringEquals={"aws:PrincipalOrgID": "o-exampleorg1"})
    local.organize("o-exampleorg1", {"ou-root-canvas000": {MEMBER}})
    client("iam", MEMBER, "eu-west-1").create_role(RoleName="R", AssumeRolePolicyDocument=TRUST)
    assert heard() == []
    forward(MEMBER, "us-east-1")
    client("iam", MEMBER, "eu-west-1").create_role(RoleName="R2", AssumeRolePolicyDocument=TRUST)
    assert [event["detail"]["requestParameters"]["roleName"] for event in heard()] == ["R2"]


@pytest.mark.parametrize(
    ("member_of", "condition", "arrives"),
    [
        ("o-exampleorg1", {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}, True),
        ("o-somebodys1", {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}, False),
        ("o-exampleorg1", {"StringEquals": {"events:source": ["aws.iam", "aws.sagemaker"]}}, True),
        ("o-exampleorg1", {"StringEquals": {"events:source": "aws.iam"}}, False),
        ("o-exampleorg1", {"StringEquals": {"events:eventBusInvocation": "true"}}, True),
        ("o-exampleorg1", {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/other"}}, False),
    ],
)
def test_the_policy_of_the_bus_decides_on_another_account_and_a_rejected_event_is_a_dead_letter(
    local, member_of, condition, arrives
):
    heard = central()
    dead = forward(MEMBER, "eu-west-1")
    admit(**condition)
    local.organize(member_of, {"ou-root-canvas000": {MEMBER}})
    make_domain(MEMBER, "eu-west-1")
    assert (len(heard()), len(dead())) == ((1, 0) if arrives else (0, 1))


def test_without_a_policy_the_bus_rejects_other_accounts(local):
    heard = central()
    forward(MEMBER, "eu-west-1")
    make_domain(MEMBER, "eu-west-1")
    assert heard() == []


def test_a_rule_whose_role_cannot_put_events_delivers_nothing(local):
    heard = central()
    dead = forward(CENTRAL, "eu-west-1", may="events:ListRules")
    make_domain(CENTRAL, "eu-west-1")
    assert (heard(), len(dead())) == ([], 1)

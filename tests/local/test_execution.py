"""The rights that resource handlers use, next to the schemas that say so; and what is asked for in each operation."""

import pytest
from rolewarden_local.emulated.execution import HANDLERS, TAGGED_BY_AWS, Execution, NotAllowedError

from tests.conftest import ROOT
from tests.resource_types import handlers, schema

RULE, ROLE, QUEUE = "AWS::Events::Rule", "AWS::IAM::Role", "AWS::SQS::Queue"
TAGS = {"Tags": [{"Key": "team", "Value": "platform"}]}
FORWARD = {"Name": "forward", "Targets": [{"Id": "1", "Arn": "bus", "RoleArn": "arn:aws:iam::111122223333:role/send"}]}
BOUNDED = {"RoleName": "made", "Path": "/team/", "PermissionsBoundary": "arn:aws:iam::111122223333:policy/limit"}


@pytest.mark.parametrize("kind", HANDLERS)
def test_the_rights_of_handlers_are_those_of_the_schemas(kind):
    listed = {operation: set(actions) for operation, actions in HANDLERS[kind].items()}
    assert listed == {operation: actions for operation, actions in handlers(kind).items() if operation != "list"}
    assert (kind in TAGGED_BY_AWS) is bool(schema(kind).get("tagging", {}).get("cloudFormationSystemTags"))


def test_every_type_that_the_forwarder_makes_has_its_handlers_here():
    text = (ROOT / "forwarder.yaml").read_text(encoding="utf-8")
    types = {line.split()[1] for line in text.splitlines() if line.startswith("    Type: AWS::")}
    assert types == set(HANDLERS)


class Recorded(Execution):
    """An execution role that may do everything, and what it was asked for."""

    asked: list[tuple[str, str, str]]

    def require(self, action, resource="*", context=None):
        self.__dict__.setdefault("asked", []).append((action, resource, "".join((context or {}).values())))


def asked(kind, operation, old, new, physical_id=""):
    execution = Recorded("111122223333", "eu-west-1", {})
    execution.require_handler_rights(kind, operation, old, new, physical_id)
    return execution.asked


def actions(*arguments):
    return {action.partition(":")[2] for action, _, _ in asked(*arguments)}


def test_a_right_on_tags_is_asked_for_if_there_are_tags_or_aws_sets_its_own():
    queue = {"QueueName": "of-mine"}
    by_aws = {"Tags": [{"Key": "aws:cloudformation:stack-name", "Value": "s"}]}
    assert "TagQueue" not in actions(QUEUE, "create", {}, {**queue, **by_aws})
    assert "TagQueue" in actions(QUEUE, "create", {}, {**queue, **TAGS})
    assert {"TagQueue", "UntagQueue"} <= actions(QUEUE, "update", {**queue, **TAGS}, queue)
    assert "TagResource" in actions(RULE, "create", {}, FORWARD)


def test_what_is_made_or_changed_is_read_afterwards_and_what_is_deleted_is_not():
    assert {"ListTagsForResource", "ListTargetsByRule"} <= actions(RULE, "create", {}, FORWARD)
    assert "ListTagsForResource" not in actions(RULE, "delete", FORWARD, {}, "forward")


def test_a_role_is_passed_by_its_own_arn_and_only_if_there_is_one():
    passed = ("iam:PassRole", "arn:aws:iam::111122223333:role/send", "events.amazonaws.com")
    assert passed in asked(RULE, "create", {}, FORWARD)
    assert "PassRole" not in actions(RULE, "create", {}, {"Name": "forward", "Targets": [{"Id": "1", "Arn": "queue"}]})


def test_a_role_is_made_with_the_boundary_that_it_asks_for_and_changed_with_the_one_that_it_has():
    arn, limit = "arn:aws:iam::111122223333:role/team/made", "arn:aws:iam::111122223333:policy/limit"
    assert ("iam:CreateRole", arn, limit) in asked(ROLE, "create", {}, BOUNDED)
    bare = {"RoleName": "made", "Path": "/team/"}
    change = asked(ROLE, "update", BOUNDED, bare)
    assert ("iam:DeleteRolePermissionsBoundary", arn, limit) in change
    assert ("iam:PutRolePolicy", arn, limit) in change
    assert ("iam:PutRolePermissionsBoundary", arn, limit) in asked(ROLE, "update", bare, BOUNDED)
    assert "AttachRolePolicy" not in actions(ROLE, "create", {}, BOUNDED)
    assert "AttachRolePolicy" in actions(ROLE, "create", {}, {**BOUNDED, "ManagedPolicyArns": ["arn"]})


def test_a_type_whose_handlers_are_not_known_is_refused():
    with pytest.raises(NotAllowedError, match="AWS::SNS::Topic"):
        asked("AWS::SNS::Topic", "create", {}, {})

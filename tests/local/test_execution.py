"""The permissions that resource handlers use, compared with the schemas, and those that each operation needs."""

import pytest
from rolewarden_local.emulated.execution import HANDLERS, TAGGED_BY_AWS, Execution, NotAllowedError

from tests.conftest import ROOT
from tests.resource_types import handlers, schema

RULE, ROLE, QUEUE = "AWS::Events::Rule", "AWS::IAM::Role", "AWS::SQS::Queue"
TAGS = {"Tags": [{"Key": "team", "Value": "platform"}]}
FORWARD = {"Name": "forward", "Targets": [{"Id": "1", "Arn": "bus", "RoleArn": "arn:aws:iam::111122223333:role/send"}]}
BOUNDED = {"RoleName": "made", "Path": "/team/", "PermissionsBoundary": "arn:aws:iam::111122223333:policy/limit"}


@pytest.mark.parametrize("kind", HANDLERS)
def test_the_permissions_of_handlers_are_those_of_the_schemas(kind):
    listed = {operation: set(actions) for operation, actions in HANDLERS[kind].items()}
    assert listed == {operation: actions for operation, actions in handlers(kind).items() if operation != "list"}
    assert (kind in TAGGED_BY_AWS) is bool(schema(kind).get("tagging", {}).get("cloudFormationSystemTags"))


def test_the_handlers_of_every_type_in_the_forwarder_are_known():
    text = (ROOT / "forwarder.yaml").read_text(encoding="utf-8")
    types = {line.split()[1] for line in text.splitlines() if line.startswith("    Type: AWS::")}
    assert types == set(HANDLERS)


class Recorded(Execution):
    """An execution role with every permission, and the permissions that it needed."""

    asked: list[tuple[str, str, str]]

    def require(self, action, resource="*", context=None):
        self.__dict__.setdefault("asked", []).append((action, resource, "".join((context or {}).values())))


def asked(kind, operation, old, new, physical_id=""):
    execution = Recorded("111122223333", "eu-west-1", {})
    execution.require_handler_rights(kind, operation, old, new, physical_id)
    return execution.asked


def actions(*arguments):
    return {action.partition(":")[2] for action, _, _ in asked(*arguments)}


def test_a_permission_on_tags_is_needed_if_the_resource_has_tags_or_aws_sets_its_own():
    queue = {"QueueName": "of-mine"}
    by_aws = {"Tags": [{"Key": "aws:cloudformation:stack-name", "Value": "s"}]}
    assert "TagQueue" not in actions(QUEUE, "create", {}, {**queue, **by_aws})
    assert "TagQueue" in actions(QUEUE, "create", {}, {**queue, **TAGS})
    assert {"TagQueue", "UntagQueue"} <= actions(QUEUE, "update", {**queue, **TAGS}, queue)
    assert "TagResource" in actions(RULE, "create", {}, FORWARD)


def test_a_handler_reads_a_resource_after_creation_and_update_and_not_after_deletion():
    assert {"ListTagsForResource", "ListTargetsByRule"} <= actions(RULE, "create", {}, FORWARD)
    assert "ListTagsForResource" not in actions(RULE, "delete", FORWARD, {}, "forward")


def test_a_role_is_passed_by_its_arn_and_only_if_the_resource_has_one():
    passed = ("iam:PassRole", "arn:aws:iam::111122223333:role/send", "events.amazonaws.com")
    assert passed in asked(RULE, "create", {}, FORWARD)
    assert "PassRole" not in actions(RULE, "create", {}, {"Name": "forward", "Targets": [{"Id": "1", "Arn": "queue"}]})


def test_creating_a_role_needs_its_new_boundary_and_changing_it_needs_the_current_one():
    arn, limit = "arn:aws:iam::111122223333:role/team/made", "arn:aws:iam::111122223333:policy/limit"
    assert ("iam:CreateRole", arn, limit) in asked(ROLE, "create", {}, BOUNDED)
    bare = {"RoleName": "made", "Path": "/team/"}
    change = asked(ROLE, "update", BOUNDED, bare)
    assert ("iam:DeleteRolePermissionsBoundary", arn, limit) in change
    assert ("iam:PutRolePolicy", arn, limit) in change
    assert ("iam:PutRolePermissionsBoundary", arn, limit) in asked(ROLE, "update", bare, BOUNDED)
    assert "AttachRolePolicy" not in actions(ROLE, "create", {}, BOUNDED)
    assert "AttachRolePolicy" in actions(ROLE, "create", {}, {**BOUNDED, "ManagedPolicyArns": ["arn"]})


def test_a_type_with_unknown_handlers_is_rejected():
    with pytest.raises(NotAllowedError, match="AWS::SNS::Topic"):
        asked("AWS::SNS::Topic", "create", {}, {})

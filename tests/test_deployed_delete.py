"""The deployed stack is deleted: what it leaves is what `OnDelete` says."""

import pytest
from rolewarden_local.account import Account, waited
from rolewarden_local.aws import LocalAws

from tests.conftest import ROOT

pytestmark = pytest.mark.deployed


def gone(stacks):
    [stack] = [s for s in stacks.list_stacks()["StackSummaries"] if s["StackName"] == "rolewarden"]
    return stack["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.parametrize(("on_delete", "left"), [("keep", {"no-generative-ai"}), ("remove", set())])
def test_a_deleted_stack_leaves_what_its_parameter_says(on_delete, left, tmp_path):
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url, aws.authorizing():
        account = Account.made(aws, url, ROOT, tmp_path, lambda _: None, parameters={"OnDelete": on_delete})
        waited(lambda: account.carries("CanvasOmar", ["no-generative-ai"]), "CanvasOmar guarded")
        stacks, iam = account.client("cloudformation"), account.client("iam")
        stacks.delete_stack(StackName="rolewarden")
        waited(lambda: gone(stacks), "the stack gone")
        attached = iam.list_attached_role_policies(RoleName="CanvasOmar")["AttachedPolicies"]
        published = iam.list_policies(Scope="Local", PathPrefix="/rolewarden/")["Policies"]
        assert {policy["PolicyName"] for policy in attached} - {"AmazonSageMakerCanvasFullAccess"} == left
        assert {policy["PolicyName"] for policy in published} >= left
        assert bool(published) == bool(left)
        aws.reset()

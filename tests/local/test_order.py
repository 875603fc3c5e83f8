"""The order in which the local CloudFormation creates resources."""

import pytest
from rolewarden_local.emulated.order import creation_order

TEMPLATE = {
    "Function": {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
    "Role": {"Type": "AWS::IAM::Role", "Properties": {}},
    "Begin": {"Type": "Custom::Begin", "Properties": {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}}},
    "Bus": {"Type": "AWS::Events::EventBus", "Properties": {}},
    "Queue": {"Type": "AWS::SQS::Queue", "Properties": {}},
    "Allowed": {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [{"Ref": "Queue"}]}},
    "Elsewhere": {"Type": "AWS::CloudFormation::StackSet", "Properties": {"Bus": {"Fn::Sub": "${Bus.Arn}"}}},
    "Watching": {"Type": "AWS::CloudWatch::Alarm", "DependsOn": [], "Properties": {}},
    "Left": {"Type": "AWS::SQS::Queue", "Condition": "Never", "Properties": {}},
}
SEEDS = range(20)


def order(seed, **depends_on):
    resources = {name: {**resource, "DependsOn": depends_on.get(name, [])} for name, resource in TEMPLATE.items()}
    return creation_order(resources, {"Never": False}, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_resource_is_created_after_its_references_and_dependencies(seed):
    found = order(seed, Bus=["Allowed"])
    for before, after in [("Role", "Function"), ("Function", "Begin"), ("Queue", "Allowed"), ("Allowed", "Bus")]:
        assert found.index(before) < found.index(after)
    assert sorted(found) == sorted(TEMPLATE.keys() - {"Left"})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_custom_resource_is_created_before_everything_that_it_does_not_depend_on(seed):
    assert order(seed)[:4] == ["Watching", "Role", "Function", "Begin"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stackset_is_created_last_unless_a_resource_depends_on_it(seed):
    assert order(seed)[-1] == "Elsewhere"
    assert order(seed, Begin="Elsewhere")[-2:] == ["Elsewhere", "Begin"]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_alarm_is_created_before_everything_that_it_does_not_depend_on(seed):
    found = order(seed, Watching=["Queue"])
    assert found[0] == "Queue" or found.index("Watching") == found.index("Queue") + 1


def test_seeds_shuffle_equally_unhelpful_resources():
    assert len({tuple(order(seed)) for seed in SEEDS}) > 1
    assert order(7) == order(7)


def test_a_circular_dependency_is_rejected():
    with pytest.raises(ValueError, match="Circular dependency"):
        order(0, Queue="Allowed")

"""One resolver of CloudFormation's functions and conditions, for deployed stacks and for templates."""

import ast
from typing import Any

import pytest
from rolewarden_local.emulated.intrinsics import Stack

from tests.conftest import ROOT

FOLDERS = ("layers", "functions", "cli", "local", "tests", "bench", "docs")

TEMPLATE: dict[str, dict[str, Any]] = {
    "Mappings": {"Homes": {"aws": {"Region": "us-east-1"}, "aws-cn": {"Region": "cn-north-1"}}},
    "Conditions": {
        "IsHome": {
            "Fn::Equals": [{"Ref": "AWS::Region"}, {"Fn::FindInMap": ["Homes", {"Ref": "AWS::Partition"}, "Region"]}]
        },
        "HasRegions": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Regions"}]}, ""]}]},
        "NamesIreland": {
            "Fn::Not": [
                {
                    "Fn::Equals": [
                        {"Fn::Join": ["", {"Fn::Split": ["eu-west-1", {"Fn::Join": [",", {"Ref": "Regions"}]}]}]},
                        {"Fn::Join": [",", {"Ref": "Regions"}]},
                    ]
                }
            ]
        },
        "IsOwn": {"Fn::Equals": [{"Fn::Sub": "arn:${AWS::AccountId}"}, "arn:111122223333"]},
        "Both": {"Fn::And": [{"Condition": "IsHome"}, {"Condition": "HasRegions"}]},
        "Either": {"Fn::Or": [{"Condition": "IsHome"}, {"Condition": "HasRegions"}]},
    },
}


def stack(regions="", region="us-east-1", partition="aws"):
    parameters = {"Regions": {"Type": "CommaDelimitedList", "Value": regions}}
    queue = {"PhysicalResourceId": "queue-1A2B", "Attributes": {"Arn": "arn:queue"}}
    return Stack(TEMPLATE, "rolewarden", "111122223333", region, partition, parameters, {"Queue": queue})


@pytest.mark.parametrize(
    ("made", "holds"),
    [
        (stack(), {"IsHome", "IsOwn", "Either"}),
        (stack("eu-west-1,eu-north-1"), {"IsHome", "IsOwn", "HasRegions", "NamesIreland", "Both", "Either"}),
        (stack("eu-north-1", "eu-west-1"), {"IsOwn", "HasRegions", "Either"}),
        (stack("", "cn-north-1", "aws-cn"), {"IsHome", "IsOwn", "Either"}),
    ],
)
def test_conditions_use_parameters_and_the_account_and_region_of_the_stack(made, holds):
    assert {name for name in TEMPLATE["Conditions"] if made.makes({"Condition": name})} == holds


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ({"Fn::Sub": "arn:${AWS::Partition}:${AWS::Region}:${Queue}:${Queue.Arn}:${!Kept}"},
         "arn:aws-cn:cn-north-1:queue-1A2B:arn:queue:${Kept}"),
        ({"Fn::Sub": ["${Own}-${AWS::StackName}", {"Own": {"Ref": "AWS::AccountId"}}]}, "111122223333-rolewarden"),
        ({"Fn::Select": ["1", {"Fn::Split": [":", "a:b"]}]}, "b"),
        ({"Fn::If": ["IsHome", {"Ref": "Queue"}, "no"]}, "queue-1A2B"),
        ({"A": {"Ref": "AWS::NoValue"}, "B": [{"Ref": "AWS::NoValue"}, 1]}, {"B": [1]}),
        ({"Ref": "AWS::NoValue"}, None),
        ({"Ref": "Regions"}, [""]),
    ],
)  # fmt: skip
def test_functions_are_replaced_by_their_results(value, resolved):
    assert stack("", "cn-north-1", "aws-cn").resolve(value) == resolved


def test_an_attribute_that_a_resource_does_not_have_is_an_error():
    with pytest.raises(ValueError, match="Nmae"):
        stack().resolve({"Fn::GetAtt": ["Queue", "Nmae"]})


def resolvers(text):
    """Lines that recognize a function by its name. A name as a key of a template in the code does not count."""
    tree = ast.parse(text)
    keys = {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("Fn::")
        and " " not in node.value
        and id(node) not in keys
    ]


@pytest.mark.parametrize(
    "text", ['if "Fn::Sub" in value: pass', 'value["Fn::GetAtt"]', 'TABLE = {"Fn::If": f}; TABLE[name] == "Fn::If"']
)
def test_a_second_resolver_is_found(text):
    assert resolvers(text)


def test_only_that_resolver_handles_functions():
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path.name != "test_intrinsics.py"]
    assert len(paths) > 100
    found = {str(path): lines for path in paths if (lines := resolvers(path.read_text()))}
    assert not found

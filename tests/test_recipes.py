"""README's three recipes, and the resources that each command deploys."""

import re

import pytest

from tests.deployments import recipe
from tests.stacks import translated

TITLES = ("One region", "Several regions", "An organization")


def deployed(title, region="eu-west-1"):
    return translated(region, **recipe(title))


@pytest.mark.parametrize("title", TITLES)
def test_a_recipe_has_existing_parameters_with_valid_values(title):
    declared = deployed(title).source["Parameters"]
    assert "AlarmEmail" in recipe(title)
    for name, value in recipe(title).items():
        assert re.fullmatch(declared[name].get("AllowedPattern", ".*"), value)


@pytest.mark.parametrize("title", TITLES)
def test_the_page_about_deployment_has_the_recipes_of_the_readme(title):
    assert recipe(title, "docs/how-to/deploy.md") == recipe(title)


def test_one_region_has_only_forwarders_for_iam_events():
    [(name, stack_set)] = deployed("One region").resources("AWS::CloudFormation::StackSet").items()
    assert (name, [g["Regions"] for g in stack_set["StackInstancesGroup"]]) == ("Forwarders", [["us-east-1"]])
    assert deployed("One region", "us-east-1").resources("AWS::CloudFormation::StackSet") == {}


def test_several_regions_have_forwarders_in_each():
    [(name, stack_set)] = deployed("Several regions").resources("AWS::CloudFormation::StackSet").items()
    regions = {region for group in stack_set["StackInstancesGroup"] for region in group["Regions"]}
    assert (name, regions) == ("Forwarders", {"eu-west-1", "ap-south-1", "us-east-1"})


def test_an_organization_has_member_stacks():
    template = deployed("An organization")
    assert set(template.resources("AWS::CloudFormation::StackSet")) == {"Forwarders", "Members"}
    assert template.environment("EnforceFunction")["MEMBER_ROLE"] == "rolewarden-enforce"

"""README's three recipes: what each command deploys."""

import re

import pytest

from tests.deployments import recipe
from tests.stacks import translated

TITLES = ("One region", "Several regions", "An organization")


def deployed(title, region="eu-west-1"):
    return translated(region, **recipe(title))


@pytest.mark.parametrize("title", TITLES)
def test_a_recipe_gives_parameters_that_there_are_and_values_that_they_take(title):
    declared = deployed(title).source["Parameters"]
    assert "AlarmEmail" in recipe(title)
    for name, value in recipe(title).items():
        assert re.fullmatch(declared[name].get("AllowedPattern", ".*"), value)


@pytest.mark.parametrize("title", TITLES)
def test_the_page_about_deployment_has_the_recipes_of_the_readme(title):
    assert recipe(title, "docs/how-to/deploy.md") == recipe(title)


def test_one_region_has_no_more_than_iams_events_from_elsewhere():
    [(name, stack_set)] = deployed("One region").resources("AWS::CloudFormation::StackSet").items()
    assert (name, [g["Regions"] for g in stack_set["StackInstancesGroup"]]) == ("Forwarders", [["us-east-1"]])
    assert deployed("One region", "us-east-1").resources("AWS::CloudFormation::StackSet") == {}


def test_several_regions_have_forwarders_in_each():
    [(name, stack_set)] = deployed("Several regions").resources("AWS::CloudFormation::StackSet").items()
    regions = {region for group in stack_set["StackInstancesGroup"] for region in group["Regions"]}
    assert (name, regions) == ("Forwarders", {"eu-west-1", "ap-south-1", "us-east-1"})


def test_an_organization_has_its_members_too():
    template = deployed("An organization")
    assert set(template.resources("AWS::CloudFormation::StackSet")) == {"Forwarders", "Members"}
    assert template.environment("EnforceFunction")["MEMBER_ROLE"] == "rolewarden-enforce"

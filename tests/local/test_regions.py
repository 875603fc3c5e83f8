"""The regions of an account: those that AWS enables, and those that the account has enabled."""

import boto3
from rolewarden_local.aws import ACCOUNT_ID


def statuses(**which):
    regions = boto3.client("ec2", "us-east-1").describe_regions(**which)["Regions"]
    return {region["RegionName"]: region["OptInStatus"] for region in regions}


def test_a_region_that_is_not_enabled_is_left_out(aws):
    assert statuses().keys() >= {"us-east-1", "eu-west-1", "sa-east-1"}
    assert set(statuses().values()) == {"opt-in-not-required"}
    assert statuses(AllRegions=True)["eu-south-1"] == "not-opted-in"
    aws.enable_region(ACCOUNT_ID, "eu-south-1")
    assert statuses()["eu-south-1"] == "opted-in"
    assert len(statuses(AllRegions=True)) > len(statuses())


def test_a_region_is_enabled_for_one_account(aws):
    aws.enable_region("222233334444", "eu-south-1")
    assert "eu-south-1" not in statuses()

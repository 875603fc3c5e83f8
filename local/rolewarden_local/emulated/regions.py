"""The regions that are enabled in an account.

MiniStack enables every region. AWS enables those that existed before 2019, and an account may enable others:
https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rolewarden_local.emulated._ministack import ec2, responses

ENABLED: Final[set[tuple[str, str]]] = set()
"""Accounts with each region that they have enabled, in addition to those that AWS enables."""

OFFERED: Final = {"us-east-1", "eu-west-1", "eu-west-3", "ap-south-1", "sa-east-1"}
"""The regions that are enabled in every account.

AWS enables 17. A sweep asks each of them for domains, and so would every sweep of the tests.
"""

_NO_CHOICE: Final = "opt-in-not-required"


def install_regions() -> None:
    """Let DescribeRegions leave out the regions that are not enabled. Call once a process."""
    ec2._ACTION_MAP["DescribeRegions"] = _describe


def enable_every_region() -> None:
    """Enable the regions that AWS enables in every account, which matters where the calls of a sweep are counted."""
    OFFERED.update(name for name, status in ec2._AWS_REGIONS if status == _NO_CHOICE)


def _describe(request: Mapping[str, Any]) -> Any:
    """Answer DescribeRegions.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeRegions.html
    """
    named = ec2._parse_member_list(request, "RegionName")
    every = ec2._p(request, "AllRegions", "").lower() == "true"
    items = []
    for name, status in ec2._AWS_REGIONS:
        if status == _NO_CHOICE and name not in OFFERED:
            continue
        is_chosen = (responses.get_account_id(), name) in ENABLED
        state = status if status == _NO_CHOICE else "opted-in" if is_chosen else "not-opted-in"
        if (not named or name in named) and (every or named or state != "not-opted-in"):
            endpoint = f"<regionEndpoint>ec2.{name}.amazonaws.com</regionEndpoint>"
            items.append(f"<item><regionName>{name}</regionName>{endpoint}<optInStatus>{state}</optInStatus></item>")
    return ec2._xml(200, "DescribeRegionsResponse", f"<regionInfo>{''.join(items)}</regionInfo>")

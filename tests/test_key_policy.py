"""The key policy in docs/how-to/kms-key.md allows the services to use the key with their own calls."""

import json
import re
from typing import Any

from tests.conftest import ROOT


def statements():
    """The statements of the page, by service."""
    page = (ROOT / "docs" / "how-to" / "kms-key.md").read_text(encoding="utf-8")
    block = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert block is not None
    found: dict[str, Any] = {}
    for statement in json.loads(block[1]):
        named = statement["Principal"]["Service"]
        found |= dict.fromkeys([named] if isinstance(named, str) else named, statement)
    return found


def test_eventbridge_can_use_the_key_although_it_names_no_source_account():
    """For encrypted topics, it does not: https://repost.aws/knowledge-center/sns-not-getting-eventbridge-notification."""
    statement = statements()["events.amazonaws.com"]
    assert "Condition" not in statement
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= set(statement["Action"])


def test_cloudwatch_can_use_the_key_for_alarms_of_the_account_only():
    """See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html."""
    statement = statements()["cloudwatch.amazonaws.com"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "111122223333"}}

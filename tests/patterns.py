"""Pattern matching with EventBridge's own TestEventPattern."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3


@cache
def _events() -> Any:
    return boto3.client("events", region_name="us-east-1")


def matching(patterns: Mapping[str, Mapping[str, Any]], event: Mapping[str, Any]) -> list[str]:
    """Names of the patterns that the event matches. The local AWS, the fixture `aws`, must run."""
    text = json.dumps(event)
    return [
        name
        for name, pattern in patterns.items()
        if _events().test_event_pattern(EventPattern=json.dumps(pattern), Event=text)["Result"]
    ]

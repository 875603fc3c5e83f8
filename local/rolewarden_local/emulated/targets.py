"""The permission of EventBridge to invoke a function, and the metric of events that a rule could not send.

MiniStack invokes every function that a rule names, and drops an event that it cannot send without a metric.

In AWS, the policy of the function must allow EventBridge:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html. Without the permission,
EventBridge sends the event to the dead-letter queue of the target at once:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html. The metric FailedInvocations counts
the event: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rolewarden_local.emulated._ministack import cloudwatch, eventbridge, lambda_svc, responses
from rolewarden_local.emulated.delivery import DELIVERY
from rolewarden_local.emulated.patches import Patch
from rolewarden_local.emulated.queue_policies import decision


def install_targets() -> None:
    """Let the policy of a function decide whether a rule invokes it. Call once a process."""
    Patch(
        eventbridge,
        "_invoke_target",
        _permitted(eventbridge._invoke_target),
        "MiniStack invokes a function whose policy does not allow EventBridge to do so.",
    ).install()


def record_failure(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any]) -> None:
    """Count an event that a rule could not send, and send it to the dead-letter queue of the target."""
    cloudwatch.record_metric("AWS/Events", "FailedInvocations", 1.0, "Count", {"RuleName": rule["Name"]})
    # The metric has the time of the virtual clock.
    key = ("AWS/Events", "FailedInvocations", cloudwatch._dims_key({"RuleName": rule["Name"]}))
    cloudwatch._metrics[key][-1]["Timestamp"] = DELIVERY.clock()
    if queue := target.get("DeadLetterConfig", {}).get("Arn"):
        eventbridge._invoke_target({"Id": target["Id"], "Arn": queue}, event, rule)


def _permitted(original: Callable[..., None]) -> Callable[..., None]:
    def invoke(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], view: Any = None) -> None:
        arn = target.get("Arn", "")
        function = lambda_svc._get_func_record_for_ref(arn)[0] if arn.split(":")[2:3] == ["lambda"] else None
        if function is not None and not _may_invoke(function, arn, rule["Arn"]):
            record_failure(target, event, rule)
            return
        original(target, event, rule, view)

    return invoke


def _may_invoke(function: Mapping[str, Any], arn: str, rule: str) -> bool:
    policy = function.get("policy") or {}
    document = {"Version": "2012-10-17", "Statement": [{**one, "Resource": arn} for one in policy.get("Statement", [])]}
    keys = {"aws:SourceArn": rule, "aws:SourceAccount": responses.get_account_id()}
    return decision(document, "events.amazonaws.com", "lambda:InvokeFunction", arn, keys) == "allowed"

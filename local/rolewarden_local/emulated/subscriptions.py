"""Subscriptions by mail, which are pending until the recipient confirms them.

MiniStack confirms every subscription but those by HTTP. AWS lists a pending one as `PendingConfirmation`:
https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rolewarden_local.emulated._ministack import provisioners, sns
from rolewarden_local.emulated.patches import Patch

_BY_MAIL: Final = frozenset({"email", "email-json"})


def install_subscriptions() -> None:
    """Let subscriptions by mail wait for their recipient. Call once a process."""
    why = "MiniStack confirms a subscription by mail at once."
    Patch(sns, "_subscribe", _pending(sns._subscribe), why).install()
    listing = _listing(sns._list_subscriptions_by_topic)
    Patch(sns, "_list_subscriptions_by_topic", listing, "MiniStack lists a pending subscription by its ARN.").install()
    of_stacks = provisioners._RESOURCE_HANDLERS["AWS::SNS::Subscription"]
    of_stacks["create"] = _pending(of_stacks["create"])


def confirm_subscriptions() -> None:
    """Confirm every subscription, as its recipient does by the link in the mail."""
    for _, topic in sns._topics.all_items():
        for subscription in topic["subscriptions"]:
            subscription["confirmed"] = True


def _pending(original: Callable[..., Any]) -> Callable[..., Any]:
    def subscribe(*arguments: Any) -> Any:
        before = {subscription["arn"] for subscription in _by_mail()}
        answer = original(*arguments)
        for subscription in _by_mail():
            if subscription["arn"] not in before:
                subscription["confirmed"] = False
        return answer

    return subscribe


def _by_mail() -> list[dict[str, Any]]:
    topics = (topic for _, topic in sns._topics.all_items())
    return [found for topic in topics for found in topic["subscriptions"] if found["protocol"] in _BY_MAIL]


def _listing(original: Callable[..., Any]) -> Callable[..., Any]:
    def show(params: Mapping[str, Any]) -> Any:
        status, headers, body = original(params)
        text = body.decode() if isinstance(body, bytes) else body
        for subscription in _by_mail():
            if not subscription["confirmed"]:
                text = text.replace(f"<SubscriptionArn>{subscription['arn']}<", "<SubscriptionArn>PendingConfirmation<")
        return status, headers, text.encode()

    return show

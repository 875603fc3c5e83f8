"""Subscriptions by mail, which are pending until the recipient confirms them.

MiniStack confirms every subscription but those by HTTP. AWS lists a pending one as `PendingConfirmation`:
https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html

MiniStack has no data protection policies. Here, a topic keeps one, and it has no effect. A stack of MiniStack gives its
topic no key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from rolewarden_local.emulated._ministack import provisioners, sns
from rolewarden_local.emulated.patches import Patch

_BY_MAIL: Final = frozenset({"email", "email-json"})


def install_subscriptions() -> None:
    """Let subscriptions by mail wait for their recipient. Call once a process."""
    why = "MiniStack confirms a subscription by mail at once."
    Patch(sns, "_subscribe", _pending(sns._subscribe), why).install()
    listing = _listing(sns._list_subscriptions_by_topic)
    Patch(sns, "_list_subscriptions_by_topic", listing, "MiniStack lists a pending subscription by its ARN.").install()
    kept = _with_protection(sns.handle_request)
    Patch(sns, "handle_request", kept, "MiniStack has no data protection policies.").install()
    of_stacks = provisioners._RESOURCE_HANDLERS["AWS::SNS::Subscription"]
    of_stacks["create"] = _pending(of_stacks["create"])
    topics = provisioners._RESOURCE_HANDLERS["AWS::SNS::Topic"]
    create, update = topics["create"], topics["update"]
    topics["create"] = lambda logical, props, stack: _with_key(create(logical, props, stack), props)
    topics["update"] = lambda physical, old, new, *more, **named: _with_key(
        update(physical, old, new, *more, **named), new
    )


_PROTECTION: Final = "rolewarden_data_protection"
"""The key of a topic with its data protection policy."""

_Handle = Callable[..., Awaitable[Any]]


def _with_protection(handle: _Handle) -> _Handle:
    async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
        given = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        operation = given.get("Action", "")
        if operation not in {"GetDataProtectionPolicy", "PutDataProtectionPolicy"}:
            return await handle(method, path, headers, body, query)
        topic, refused = sns._get_topic(given["ResourceArn"], f"sns:{operation}")
        if refused is not None:
            return refused
        if operation.startswith("Put"):
            topic[_PROTECTION] = given.get("DataProtectionPolicy", "")
            return sns._xml(200, f"{operation}Response", "")
        policy = f"<DataProtectionPolicy>{escape(topic.get(_PROTECTION, ''))}</DataProtectionPolicy>"
        return sns._xml(200, f"{operation}Response", f"<{operation}Result>{policy}</{operation}Result>")

    return handle_request


def _with_key(made: tuple[str, Any], properties: Mapping[str, Any]) -> tuple[str, Any]:
    attributes = sns._topics[made[0]]["attributes"]
    attributes.pop("KmsMasterKeyId", None)
    if key := properties.get("KmsMasterKeyId"):
        attributes["KmsMasterKeyId"] = key
    return made


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

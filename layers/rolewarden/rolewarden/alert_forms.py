"""An alert in the forms that the subscribers of the topic need: a mail, a chat message, and JSON for other tools.

Slack and Microsoft Teams get a custom notification of Amazon Q Developer in chat applications, which drops any other
text: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from rolewarden.alert import Alert, Link
from rolewarden.plaintext import without_markdown_link

_NEXT_STEPS = frozenset({"To do", "Console", "Versions", "Command", "Runbook"})
"""The labels of the rows that a reader acts on."""

_BRACKETS = str.maketrans("<>", "\u2039\u203a")
"""Slack and Teams read angle brackets as a mention, which notifies a whole channel, or as a link with another text. A
caller can choose some texts of an alert."""


def forms(alert: Alert) -> Mapping[str, str]:
    """The message for each protocol of a subscription. Protocols without a form of their own get `default`."""
    return {"default": alert.body, "https": _notification(alert), "sqs": _data(alert)}


def _notification(alert: Alert) -> str:
    """The custom notification. Amazon Q Developer subscribes to a topic as an HTTPS endpoint."""
    meaning = [f"- {label}: {_chat_text(text)}" for label, text in alert.rows if label not in _NEXT_STEPS]
    content = {
        "textType": "client-markdown",
        "title": _unlinked(alert.headline),
        "description": "\n".join(meaning),
        "nextSteps": [f"{label}: {_chat_text(text)}" for label, text in alert.rows if label in _NEXT_STEPS],
    }
    return json.dumps({"version": "1.0", "source": "custom", "content": content})


def _chat_text(text: str | Link) -> str:
    if not isinstance(text, Link):
        return _unlinked(text)
    return text.text if text.text.startswith("https://") else f"`{text.text}`"


def _unlinked(text: str) -> str:
    """A text in which a chat finds neither a mention nor a link with another text."""
    return without_markdown_link(text.translate(_BRACKETS))


def _data(alert: Alert) -> str:
    """The alert as JSON: the headline, the rows by label, and the whole text of the mail."""
    details: dict[str, str] = {}
    for label, text in alert.rows:
        shown = text.text if isinstance(text, Link) else text
        details[label] = f"{details[label]}\n{shown}" if label in details else shown
    return json.dumps({"headline": alert.headline, "details": details, "text": alert.body})

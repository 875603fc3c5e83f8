"""The stack's topic, as who is subscribed to it gets its messages."""

import json
from collections.abc import Callable
from typing import Any

from rolewarden_local.scenes.account import waited


class Inbox:
    """Waits for the message with a text in its subject, and gives its text.

    `subjects` and `texts` are those of the messages that have come.
    """

    def __init__(self, sqs: Any, queue: str) -> None:
        self._sqs, self._queue = sqs, queue
        self._got: list[dict[str, str]] = []

    @property
    def subjects(self) -> list[str]:
        return [message["Subject"] for message in self._got]

    @property
    def texts(self) -> list[str]:
        return [_text(message) for message in self._got]

    def __call__(self, subject: str) -> str:
        waited(lambda: bool(self._found(subject)), f"a message about {subject}")
        return self._found(subject)[0]

    def _found(self, subject: str) -> list[str]:
        for message in self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", []):
            self._got.append(json.loads(message["Body"]))
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [_text(message) for message in self._got if subject in message["Subject"]]


def _text(message: dict[str, str]) -> str:
    """The text of an alert, which a queue gets as JSON; of an alarm, the whole message."""
    return str(json.loads(message["Message"]).get("text", message["Message"]))


def subscribed(client: Callable[[str], Any], topic: str) -> Inbox:
    """Subscribe to a topic. `client` makes clients by the name of their service."""
    sqs = client("sqs")
    queue = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return Inbox(sqs, queue)

"""The messages that a subscriber of the stack's topic receives."""

import json
from collections.abc import Callable
from typing import Any

from rolewarden_local.scenes.account import waited


def subscribed(client: Callable[[str], Any], topic: str) -> Callable[[str], str]:
    """Subscribe, and return a function that waits for a message by a part of its subject and returns its text.

    `client` makes clients by the name of their service.
    """
    sqs = client("sqs")
    queue = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    got = []

    def wait(subject: str) -> str:
        def found() -> list[str]:
            for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
                got.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return [message["Message"] for message in got if subject in message["Subject"]]

        waited(lambda: bool(found()), f"a message about {subject}")
        return found()[0]

    return wait

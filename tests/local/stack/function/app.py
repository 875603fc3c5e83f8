"""Attaches a detached policy again, and later writes a note about it through the queue."""

import json
import os
import urllib.request

import boto3
import first_layer
import second_layer


def handler(event, context):
    if "ResponseURL" in event:
        answer(event)
        return None
    if "Records" in event:
        for record in event["Records"]:
            work = json.loads(record["body"])
            if "hops" in work:
                hop(work["hops"])
            else:
                note(work)
        return {"batchItemFailures": []}
    restore(event["detail"])
    return None


def answer(event):
    kept = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    text = f"Hello, {event['ResourceProperties']['Name']}"
    body = {"Status": "SUCCESS", "PhysicalResourceId": "greeting", "Data": {"Text": text}, **kept}
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(body).encode(), method="PUT")  # noqa: S310
    urllib.request.urlopen(request).close()  # noqa: S310


def restore(detail):
    asked = detail["requestParameters"]
    if asked["roleName"] == "poison":
        raise RuntimeError("poisoned")
    if detail["eventName"] == "DetachRolePolicy":
        boto3.client("iam").attach_role_policy(**{key[0].upper() + key[1:]: value for key, value in asked.items()})
    boto3.client("sqs").send_message(QueueUrl=os.environ["WORK"], MessageBody=json.dumps(detail))


def hop(left):
    """Write the number of remaining hops, and send the next message to the same queue."""
    boto3.resource("dynamodb").Table(os.environ["TABLE"]).put_item(Item={"id": f"hop-{left}", "role": "hops"})
    if left:
        body = json.dumps({"hops": left - 1})
        boto3.client("sqs").send_message(QueueUrl=os.environ["WORK"], MessageBody=body, DelaySeconds=0)


def note(detail):
    item = {
        "id": detail["eventID"],
        "role": detail["requestParameters"]["roleName"],
        "event": detail["eventName"],
        "layers": f"{first_layer.TAG} {second_layer.TAG}",
    }
    boto3.resource("dynamodb").Table(os.environ["TABLE"]).put_item(Item=item)

"""IAM users with exactly the permissions that a test names."""

import functools
import json
import os
from typing import Any

import boto3
from rolewarden_local.aws import ACCOUNT_ID, REGION
from rolewarden_local.emulated._ministack import sts


def client(service: str, account: str, region: str) -> Any:
    """The client of an account's root user. Each call with the same arguments returns the same client."""
    return _client(service, account, region, os.environ["AWS_ENDPOINT_URL"])


@functools.cache
def _client(service: str, account: str, region: str, endpoint: str) -> Any:
    session = boto3.Session(account, "x", region_name=region)
    return session.client(service, endpoint_url=endpoint)  # type: ignore[call-overload]


def user_with(iam: Any, name: str, *actions: str, **more: str) -> boto3.Session:
    """Make a user that may do these actions on every resource and nothing else, and return a session of the user.

    `iam` is a client of the user's account, and `more` are further parameters of CreateUser.
    """
    iam.create_user(UserName=name, **more)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="Only", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)


def call_model(role: str, model: str) -> None:
    """Call a Bedrock model as a role of the account, in a session that SageMaker names."""
    key = f"ASIA{role.upper()}"
    arn = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role}/SageMaker"
    sts.register_session(key, {"Arn": arn, "UserId": f"AROA{role.upper()}:SageMaker"})
    made = boto3.Session(key, "secret", "token", region_name="us-east-1")
    made.client("bedrock-runtime").converse(modelId=model, messages=[])

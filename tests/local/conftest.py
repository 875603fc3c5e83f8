"""The local AWS, empty and connected, for tests of the local AWS itself."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden_local.aws import LocalAws
from rolewarden_local.scenes.seed import TRUST


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    local = LocalAws.start()
    local.reset()
    with local.connected():
        yield local
    local.reset()


@pytest.fixture
def iam(aws: LocalAws) -> Any:  # noqa: ARG001 - the local AWS has to run
    return boto3.client("iam", region_name="eu-west-1")


@pytest.fixture
def role(iam: Any) -> str:
    iam.create_role(RoleName="analyst", Path="/service-role/", AssumeRolePolicyDocument=TRUST)
    return "analyst"


def policy(statement: dict[str, Any] | None = None, **more: object) -> str:
    """A policy document of one statement."""
    allow = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**(statement or allow), **more}]})


def refusal(call: Callable[..., object], **parameters: object) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    response = refused.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return response["Error"]["Code"], response["Error"]["Message"], status

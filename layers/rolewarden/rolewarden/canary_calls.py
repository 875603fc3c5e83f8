"""The calls of a drill on the canary, for DrillFunction. They and their errors are as in `rolewarden.aws`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rolewarden import POLICY_PATH
from rolewarden.aws import Aws
from rolewarden.aws_errors import translated
from rolewarden.canary import CANARY_CONFIG, CANARY_POLICY, CANARY_ROLE, CANARY_TAG
from rolewarden.signature import correlated, sign

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_sagemaker import SageMakerClient


class CanaryCalls:
    """Makes the calls of drills. CloudTrail records the nonce of a drill with its call."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def set_role_tag(self, account: str, nonce: str) -> None:
        """Set the tag of the canary role to the value that it has. Raises Refused and RetryLater."""
        aws = self._aws.within(account)
        client = cast("IAMClient", aws.client("iam"))
        client.meta.events.register("before-send.iam", sign)
        with translated(), correlated(nonce):
            client.tag_role(RoleName=CANARY_ROLE, Tags=[CANARY_TAG])  # type: ignore[list-item]

    def set_config_tag(self, account: str, region: str, nonce: str) -> None:
        """Set the tag of the canary's AppImageConfig to the value that it has. Raises Refused and RetryLater."""
        aws = self._aws.within(account)
        client = cast("SageMakerClient", aws.client("sagemaker", region))
        client.meta.events.register("before-send.sagemaker", sign)
        arn = f"arn:{self._aws.partition}:sagemaker:{region}:{account}:app-image-config/{CANARY_CONFIG}"
        with translated(), correlated(nonce):
            client.add_tags(ResourceArn=arn, Tags=[CANARY_TAG])  # type: ignore[list-item]

    def detach(self, account: str, nonce: str) -> bool:
        """Detach the canary's policy from the canary role. Gives whether it was attached. Raises Refused."""
        arn = f"arn:{self._aws.partition}:iam::{account}:policy{POLICY_PATH}{CANARY_POLICY}"
        return self._aws.within(account).detach(CANARY_ROLE, arn, correlation_id=nonce)

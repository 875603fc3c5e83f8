"""The endpoint in process: its clients, its log of calls, its failures on demand and its reset."""

import socket
import threading

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden_local.aws import LocalAws
from rolewarden_local.scenes.seed import TRUST, seed


def test_a_client_reaches_the_endpoint_without_a_socket(aws, monkeypatch):
    def refuse(*_):
        pytest.fail("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert boto3.client("sts").get_caller_identity()["Account"] == "111122223333"


def test_a_client_made_before_the_connection_reaches_the_endpoint():
    local = LocalAws.start()
    client = boto3.client("sts", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    with local.connected():
        assert client.get_caller_identity()["Account"] == "111122223333"


def test_every_thread_reaches_the_endpoint(aws, iam):
    def make(number: int) -> None:
        iam.create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=TRUST)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(iam.list_roles()["Roles"]) == 20


def test_the_endpoint_stores_and_returns_objects_of_s3(aws):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="a b/ü", Body=b"text")
    assert s3.get_object(Bucket="bucket", Key="a b/ü")["Body"].read() == b"text"


def test_an_account_is_reached_by_its_id_as_access_key(aws, role):
    other = boto3.client("iam", aws_access_key_id="444455556666", aws_secret_access_key="any")
    assert other.list_roles()["Roles"] == []
    arn = other.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    assert arn == "arn:aws:iam::444455556666:role/r"


def test_an_assumed_role_acts_in_the_account_of_the_role(aws):
    other = boto3.client("iam", aws_access_key_id="444455556666", aws_secret_access_key="any")
    arn = other.create_role(RoleName="visitor", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    key = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="visit")["Credentials"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])
    assert session.client("sts").get_caller_identity()["Arn"] == "arn:aws:sts::444455556666:assumed-role/visitor/visit"
    assert session.client("sagemaker", "eu-west-1").list_domains()["Domains"] == []
    assert {call.account for call in aws.calls() if call.service == "sagemaker"} == {"444455556666"}


def test_sagemaker_keeps_accounts_and_regions_apart(aws):
    def studio(region: str, account: str = "111122223333"):
        return boto3.client("sagemaker", region, aws_access_key_id=account, aws_secret_access_key="any")

    settings = {"ExecutionRole": "arn:aws:iam::111122223333:role/analyst"}
    studio("eu-west-1").create_domain(DomainName="d", AuthMode="IAM", DefaultUserSettings=settings)
    assert len(studio("eu-west-1").list_domains()["Domains"]) == 1
    assert studio("us-east-1").list_domains()["Domains"] == []
    assert studio("eu-west-1", "444455556666").list_domains()["Domains"] == []


def test_the_calls_after_a_mark_have_service_operation_caller_and_status(aws, iam, role):
    alice = seed(aws).access_keys["alice"].session().client("iam")
    mark = aws.mark()
    alice.get_role(RoleName=role)
    with pytest.raises(ClientError):
        iam.get_role(RoleName="nobody")
    boto3.client("sagemaker").list_domains()
    assert [(c.service, c.operation, c.caller.rsplit(":", 1)[1], c.status) for c in aws.calls(mark)] == [
        ("iam", "GetRole", "user/alice", 200),
        ("iam", "GetRole", "root", 404),
        ("sagemaker", "ListDomains", "root", 200),
    ]
    assert aws.calls(aws.mark()) == []


def test_a_call_fails_on_demand_as_often_as_requested(aws, iam, role):
    with aws.failing("TagRole", "AccessDenied", "no", status=403, times=1):
        with pytest.raises(ClientError) as refused:
            iam.tag_role(RoleName=role, Tags=[{"Key": "a", "Value": "b"}])
        assert refused.value.response["Error"] == {"Type": "Sender", "Code": "AccessDenied", "Message": "no"}
        iam.tag_role(RoleName=role, Tags=[{"Key": "a", "Value": "b"}])


def test_botocore_retries_a_throttled_call_until_it_succeeds(aws):
    with aws.failing("ListDomains", "ThrottlingException", times=1):
        assert boto3.client("sagemaker").list_domains()["Domains"] == []
    assert [call.status for call in aws.calls()] == [400, 200]


def test_reset_deletes_everything(aws, iam):
    seed(aws)
    aws.policies_per_role = 20
    aws.reset()
    assert aws.calls() == []
    assert not aws.events
    assert iam.list_roles()["Roles"] == []
    assert boto3.client("sagemaker").list_domains()["Domains"] == []
    assert aws.policies_per_role == 10


def test_sagemaker_calls_that_moto_lacks_are_rejected_as_unknown(aws):
    with pytest.raises(ClientError, match="UnknownOperationException"):
        boto3.client("sagemaker").list_studio_lifecycle_configs()

"""The actor of a call, for each type of identity in CloudTrail's documentation.

The identities are the examples and the fields of
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html.
"""

import json
from copy import deepcopy
from typing import Any

import pytest
from rolewarden.alert import compose
from rolewarden.events import cause_of
from rolewarden.own_events import RoleContested
from rolewarden_local.aws import ACCOUNT_ID

from tests.commands import json_answer, rolewarden
from tests.conftest import sample

ACCOUNT = "123456789012"
USER_ID = "544894e8-80c1-707f-60e3-3ba6510dfac1"
ON_BEHALF_OF = {
    "userId": USER_ID,
    "identityStoreArn": f"arn:aws:identitystore::{ACCOUNT}:identitystore/d-9067642ac7",
}
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/RoleToBeAssumed/MySessionName"
ASSUMED: dict[str, Any] = {
    "type": "AssumedRole",
    "principalId": "AROAIDPPEZS35WEXAMPLE:MySessionName",
    "arn": SESSION,
    "accountId": ACCOUNT,
    "sessionContext": {
        "sessionIssuer": {"type": "Role", "arn": f"arn:aws:iam::{ACCOUNT}:role/RoleToBeAssumed"},
        "attributes": {"mfaAuthenticated": "false", "creationDate": "20131102T010628Z"},
    },
}
IDENTITIES = {
    "Root": (
        {"type": "Root", "principalId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "userName": "alias"},
        f"arn:aws:iam::{ACCOUNT}:root",
    ),
    "IAMUser": (
        {
            "type": "IAMUser",
            "principalId": "AIDAJ45Q7YFFAREXAMPLE",
            "arn": f"arn:aws:iam::{ACCOUNT}:user/Alice",
            "userName": "Alice",
            "invokedBy": "cloudformation.amazonaws.com",
        },
        f"arn:aws:iam::{ACCOUNT}:user/Alice",
    ),
    "AssumedRole": (ASSUMED, SESSION),
    "Role": (
        {"type": "Role", "principalId": "AROAIDPPEZS35WEXAMPLE", "arn": f"arn:aws:iam::{ACCOUNT}:role/Name"},
        f"arn:aws:iam::{ACCOUNT}:role/Name",
    ),
    "FederatedUser": (
        {
            "type": "FederatedUser",
            "principalId": f"{ACCOUNT}:Bob",
            "arn": f"arn:aws:sts::{ACCOUNT}:federated-user/Bob",
            "sessionContext": {"sessionIssuer": {"type": "IAMUser", "userName": "Alice"}},
        },
        f"arn:aws:sts::{ACCOUNT}:federated-user/Bob",
    ),
    "SAMLUser": (
        {
            "type": "SAMLUser",
            "principalId": "SampleUkh1i4+ExamplexL/jEvs=:SamlExample",
            "userName": "SamlExample",
            "identityProvider": "SampleUkh1i4+ExamplexL/jEvs=",
        },
        "SampleUkh1i4+ExamplexL/jEvs=:SamlExample",
    ),
    "WebIdentityUser": (
        {
            "type": "WebIdentityUser",
            "principalId": "accounts.google.com:application-id.apps.googleusercontent.com:user-id",
            "userName": "user-id",
            "identityProvider": "accounts.google.com",
        },
        "accounts.google.com:application-id.apps.googleusercontent.com:user-id",
    ),
    "AWSAccount": (
        {"type": "AWSAccount", "principalId": "AIDAQRSTUVWXYZEXAMPLE", "accountId": "777788889999"},
        "AIDAQRSTUVWXYZEXAMPLE",
    ),
    "AWSAccount without a name": (
        {"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"},
        "ANONYMOUS_PRINCIPAL",
    ),
    "AWSService": (
        {"type": "AWSService", "invokedBy": "sagemaker.amazonaws.com"},
        "sagemaker.amazonaws.com",
    ),
    "Directory": ({"type": "Directory", "userName": "rosa", "accountId": ACCOUNT}, "rosa"),
    "Unknown": ({"type": "Unknown", "accountId": "", "principalId": ""}, "Unknown"),
    "IdentityCenterUser": (
        {
            "type": "IdentityCenterUser",
            "accountId": ACCOUNT,
            "onBehalfOf": ON_BEHALF_OF,
            "credentialId": "EXAMPLE",
        },
        USER_ID,
    ),
    "IdentityCenterUser by a service": (
        {"type": "IdentityCenterUser", "onBehalfOf": ON_BEHALF_OF, "invokedBy": "sagemaker.amazonaws.com"},
        USER_ID,
    ),
}
"""Each type of identity, and the actor. AWS documents no ARN for the last eight."""


def cause(identity):
    return cause_of({**sample("detach_role_policy")["detail"], "userIdentity": identity})


@pytest.mark.parametrize(("identity", "actor"), IDENTITIES.values(), ids=IDENTITIES)
def test_the_actor_is_the_best_name_of_each_type_of_identity(identity, actor):
    found = cause(identity)
    # The name of a federated user can be anything, so the user who made the session counts.
    assert (found.actor, found.person) == (actor, "Alice" if "federated-user" in actor else "")
    expected = actor.replace("federated-user/Bob", "federated-user/Alice").removesuffix("/MySessionName")
    assert found.principal == expected


PERMISSION_SET: dict[str, Any] = {
    "type": "AssumedRole",
    "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/rosa@example.com",
    "sessionContext": {
        "sessionIssuer": {
            "type": "Role",
            "arn": f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/eu-west-1/"
            "AWSReservedSSO_Admin_0123456789abcdef",
        }
    },
}


def in_session(**context):
    identity = deepcopy(ASSUMED)
    identity["sessionContext"].update(context)
    return identity


@pytest.mark.parametrize(
    ("identity", "person"),
    [
        ({**ASSUMED, "onBehalfOf": ON_BEHALF_OF}, USER_ID),
        (in_session(sourceIdentity="rosa"), "rosa"),
        (in_session(sessionIssuer={"arn": f"arn:aws:iam::{ACCOUNT}:role/AWSReservedSSO_Admin_0123"}), ""),
        ({**in_session(sourceIdentity="rosa"), "onBehalfOf": ON_BEHALF_OF}, USER_ID),
    ],
    ids=["identity-enhanced session", "source identity", "a role that only has the name", "both"],
)
def test_the_person_behind_the_session_of_a_role_is_named(identity, person):
    found = cause(identity)
    assert (found.actor, found.person) == (SESSION, person)
    assert found.principal == SESSION.removesuffix("/MySessionName"), "a person cannot evade a limit of the role"


def test_the_session_of_a_permission_set_names_the_user_of_identity_center():
    found = cause(PERMISSION_SET)
    assert (found.actor, found.person) == (PERMISSION_SET["arn"], "rosa@example.com")


@pytest.mark.parametrize("wrong", [None, 7, [], {}, {"userId": 7}, {"userId": ["x"]}])
def test_a_wrong_user_is_no_user(wrong):
    assert cause({"type": "IdentityCenterUser", "onBehalfOf": wrong}).actor == "IdentityCenterUser"
    assert cause({**ASSUMED, "onBehalfOf": wrong, "sessionContext": wrong}).person == ""


def test_an_alert_names_the_user_of_identity_center():
    event = sample("self_delete_function")
    event["detail"]["userIdentity"] = IDENTITIES["IdentityCenterUser"][0]
    alert = compose(event, "aws")
    assert alert.headline.startswith(f"Rolewarden itself: user {USER_ID} called DeleteFunction")
    assert f"Who        Identity Center user {USER_ID}\n" in alert.body
    event["detail"]["userIdentity"] = {**ASSUMED, "onBehalfOf": ON_BEHALF_OF}
    assert f"{SESSION}for{USER_ID}" in "".join(compose(event, "aws").body.split())


def test_two_users_of_identity_center_are_two_callers_of_a_contested_role(world):
    world.protected()
    hear = world.listening({"detail-type": [RoleContested.detail_type]})
    other = USER_ID.replace("544894e8", "644894e8")
    identities = [
        {"type": "IdentityCenterUser", "onBehalfOf": {"userId": USER_ID}},
        {"type": "IdentityCenterUser", "onBehalfOf": {"userId": other}},
        {**ASSUMED, "onBehalfOf": {"userId": other}},
    ]
    for identity in identities:
        event = world.detach("CanvasOmar", "no-generative-ai")
        event["detail"]["userIdentity"] = identity
        world.enforce(event)
    [found] = hear()
    role = SESSION.removesuffix("/MySessionName")
    named = {(actor["actor"], actor.get("person", "")) for actor in found["detail"]["actors"]}
    assert named == {(USER_ID, ""), (other, ""), (role, other)}
    assert f"Who        Identity Center user {USER_ID}, once\n" in compose(found, "aws").body
    shown = "".join(rolewarden("history", "--role", "CanvasOmar").stdout.split())
    assert f"DetachRolePolicyby{SESSION}for{other}" in shown
    entries = json_answer("history", "--actor", other)["entries"]
    assert {entry["event"] for entry in entries} == {"DetachRolePolicy"}
    assert {entry["person"] for entry in entries} == {"", other}
    assert ACCOUNT_ID in json.dumps(entries)

"""The rules that MiniStack's evaluator must follow, one row for each rule of the IAM User Guide.

All under https://docs.aws.amazon.com/IAM/latest/UserGuide/:

- "IAM JSON policy elements: Condition operators", reference_policies_elements_condition_operators.html: the string, ARN
  and Bool operators, ...IfExists and Null, and the effect of an absent key
- "Conditions with multiple context keys or values",
  reference_policies_condition-logic-multiple-context-keys-or-values.html: AND between operators and keys, OR between
  values, NOR between the values of a negated operator
- "Single-valued vs. multivalued context keys",
  reference_policies_condition-single-vs-multi-valued-context-keys.html: ForAnyValue, ForAllValues
- "IAM JSON policy elements: Condition", reference_policies_elements_condition.html: context keys in any case
- "IAM JSON policy elements: Action", "NotAction", "Resource", "NotResource", reference_policies_elements_action.html, …
- "Policy evaluation logic", reference_policies_evaluation-logic.html, and "Permissions boundaries for IAM entities",
  access_policies_boundaries.html: explicit deny, then allow, else implicit deny; a boundary intersects
"""

from datetime import date

import pytest
from rolewarden.guardrails_file import read_document
from rolewarden.policies import compile_rules
from rolewarden_local.emulated.judge import (
    OPERATORS,
    Judgement,
    Matched,
    Unsupported,
    judge,
    require_proven_documents,
)

SDK_TAG = "aws:RequestTag/sagemaker-sdk:jumpstart-model-id"
USER = "aws:SourceIdentity"
STUDIO_TAG = "aws:ResourceTag/sagemaker-studio:jumpstart-model-id"
NOVA = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"
GLOBAL_NOVA = "arn:aws:bedrock:::foundation-model/amazon.nova-pro-v1:0"
ROLE = "arn:aws:iam::111122223333:role/service-role/analyst"
DAY = "2027-02-01T00:00:00Z"


def document(*statements: dict) -> dict:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(effect: str = "Deny", **elements: object) -> dict:
    action = {} if "NotAction" in elements else {"Action": "*"}
    resource = {} if "NotResource" in elements else {"Resource": "*"}
    return {"Effect": effect, **action, **resource, **elements}


ALLOW_ALL = document(statement("Allow"))

# operator, condition block, context of the request, whether the condition holds
CONDITIONS = [
    # String operators: exact, case-sensitive values, and keys in any case. StringEquals has no wildcards.
    ("StringEquals", {SDK_TAG: "mpt-7b"}, {SDK_TAG: "mpt-7b"}, True),
    ("StringEquals", {SDK_TAG: "mpt-7b"}, {SDK_TAG: "MPT-7B"}, False),
    ("StringEquals", {SDK_TAG: "mpt-7b"}, {SDK_TAG.upper(): "mpt-7b"}, True),
    ("StringEquals", {SDK_TAG.upper(): "mpt-7b"}, {SDK_TAG: "mpt-7b"}, True),
    ("StringEquals", {SDK_TAG: "mpt-*"}, {SDK_TAG: "mpt-7b"}, False),
    ("StringEquals", {SDK_TAG: "mpt-*"}, {SDK_TAG: "mpt-*"}, True),
    ("StringEquals", {SDK_TAG: ["mpt", "t5"]}, {SDK_TAG: "t5"}, True),
    ("StringEquals", {SDK_TAG: ["mpt", "t5"]}, {SDK_TAG: "falcon"}, False),
    ("StringEquals", {SDK_TAG: "mpt-7b"}, {}, False),
    ("StringEquals", {SDK_TAG: "mpt-7b"}, {"aws:RequestTag/sm-jumpstart-id": "mpt-7b"}, False),
    ("StringEquals", {SDK_TAG: "mpt", STUDIO_TAG: "mpt"}, {SDK_TAG: "mpt", STUDIO_TAG: "mpt"}, True),
    ("StringEquals", {SDK_TAG: "mpt", STUDIO_TAG: "mpt"}, {SDK_TAG: "mpt"}, False),
    ("StringNotEquals", {SDK_TAG: "mpt"}, {SDK_TAG: "t5"}, True),
    ("StringNotEquals", {SDK_TAG: "mpt"}, {SDK_TAG: "mpt"}, False),
    ("StringNotEquals", {SDK_TAG: "mpt"}, {SDK_TAG: "Mpt"}, True),
    ("StringNotEquals", {SDK_TAG: "mpt"}, {}, True),
    ("StringNotEquals", {SDK_TAG: ["mpt", "t5"]}, {SDK_TAG: "t5"}, False),
    ("StringNotEquals", {SDK_TAG: ["mpt", "t5"]}, {SDK_TAG: "falcon"}, True),
    ("StringEqualsIgnoreCase", {USER: ["ana", "ben"]}, {USER: "Ben"}, True),
    ("StringEqualsIgnoreCase", {USER: "ana"}, {USER: "anabel"}, False),
    ("StringEqualsIgnoreCase", {USER: "an*"}, {USER: "ana"}, False),
    ("StringEqualsIgnoreCase", {USER: "ana"}, {}, False),
    ("StringNotEqualsIgnoreCase", {USER: ["ana", "Ben"]}, {USER: "BEN"}, False),
    ("StringNotEqualsIgnoreCase", {USER: ["ana", "Ben"]}, {USER: "carla"}, True),
    ("StringNotEqualsIgnoreCase", {USER: "ana"}, {}, True),
    ("StringLike", {SDK_TAG: "huggingface-*-t5-*"}, {SDK_TAG: "huggingface-text2text-flan-t5-xl"}, True),
    ("StringLike", {SDK_TAG: "huggingface-*"}, {SDK_TAG: "meta-llama"}, False),
    ("StringLike", {SDK_TAG: "huggingface-*"}, {SDK_TAG: "HuggingFace-mpt"}, False),
    ("StringLike", {SDK_TAG: "mpt-*"}, {SDK_TAG: "mpt-"}, True),
    ("StringLike", {SDK_TAG: "mpt-?b"}, {SDK_TAG: "mpt-7b"}, True),
    ("StringLike", {SDK_TAG: "mpt-?b"}, {SDK_TAG: "mpt-b"}, False),
    ("StringLike", {SDK_TAG: "mpt-?b"}, {SDK_TAG: "mpt-13b"}, False),
    ("StringLike", {SDK_TAG: "mpt.7b"}, {SDK_TAG: "mpt-7b"}, False),
    ("StringLike", {SDK_TAG: "[a-z]*"}, {SDK_TAG: "mpt"}, False),
    ("StringLike", {SDK_TAG: "mpt"}, {SDK_TAG: "huggingface-mpt-7b"}, False),
    ("StringLike", {SDK_TAG: ["mpt-*", "t5-*"]}, {SDK_TAG: "t5-xl"}, True),
    ("StringLike", {SDK_TAG: "*"}, {}, False),
    ("StringLike", {"bedrock-mantle:Model": "*nova-*"}, {"bedrock-mantle:Model": NOVA}, True),
    ("StringNotLike", {SDK_TAG: "mpt-*"}, {SDK_TAG: "t5-xl"}, True),
    ("StringNotLike", {SDK_TAG: "mpt-*"}, {SDK_TAG: "mpt-7b"}, False),
    ("StringNotLike", {SDK_TAG: ["mpt-*", "t5-*"]}, {SDK_TAG: "t5-xl"}, False),
    ("StringNotLike", {SDK_TAG: ["mpt-*", "t5-*"]}, {SDK_TAG: "falcon"}, True),
    ("StringNotLike", {SDK_TAG: "*"}, {}, True),
    # ...IfExists: like the operator if the key is present, otherwise true.
    ("StringEqualsIfExists", {SDK_TAG: "mpt"}, {SDK_TAG: "mpt"}, True),
    ("StringEqualsIfExists", {SDK_TAG: "mpt"}, {SDK_TAG: "t5"}, False),
    ("StringEqualsIfExists", {SDK_TAG: "mpt"}, {}, True),
    ("StringNotEqualsIfExists", {SDK_TAG: "mpt"}, {SDK_TAG: "mpt"}, False),
    ("StringNotEqualsIfExists", {SDK_TAG: "mpt"}, {}, True),
    ("StringLikeIfExists", {SDK_TAG: "mpt-*"}, {SDK_TAG: "mpt-7b"}, True),
    ("StringLikeIfExists", {SDK_TAG: "mpt-*"}, {SDK_TAG: "t5-xl"}, False),
    ("StringLikeIfExists", {SDK_TAG: "mpt-*"}, {}, True),
    ("StringNotLikeIfExists", {SDK_TAG: "mpt-*"}, {SDK_TAG: "mpt-7b"}, False),
    ("StringNotLikeIfExists", {SDK_TAG: "mpt-*"}, {}, True),
    # ARN operators compare six parts one by one. ArnEquals and ArnLike are the same.
    ("ArnEquals", {"aws:PrincipalArn": ROLE}, {"aws:PrincipalArn": ROLE}, True),
    ("ArnEquals", {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}, {"aws:PrincipalArn": ROLE}, True),
    ("ArnEquals", {"aws:PrincipalArn": ROLE}, {"aws:PrincipalArn": ROLE + "2"}, False),
    ("ArnLike", {"aws:PrincipalArn": "arn:*:iam::*:role/service-role/*"}, {"aws:PrincipalArn": ROLE}, True),
    ("ArnLike", {"aws:PrincipalArn": "arn:aws:iam::*:role/analyst"}, {"aws:PrincipalArn": ROLE}, False),
    ("ArnLike", {"aws:PrincipalArn": "arn:aws:iam::11112222333?:role/*"}, {"aws:PrincipalArn": ROLE}, True),
    ("ArnLike", {"aws:PrincipalArn": "arn:aws:iam::*:role/service-role/ANALYST"}, {"aws:PrincipalArn": ROLE}, False),
    ("ArnLike", {"aws:SourceArn": "arn:aws:*:*:*:x"}, {"aws:SourceArn": "arn:aws:bedrock:::a:x"}, False),
    ("ArnLike", {"aws:SourceArn": "arn:aws:bedrock:*:*:a:x"}, {"aws:SourceArn": "arn:aws:bedrock:::a:x"}, True),
    ("ArnLike", {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}, {}, False),
    ("ArnLike", {"iam:PolicyARN": ["arn:aws:iam::*:policy/a", "arn:aws:iam::*:role/*"]}, {"iam:PolicyARN": ROLE}, True),
    ("ArnNotEquals", {"aws:PrincipalArn": ROLE}, {"aws:PrincipalArn": ROLE}, False),
    ("ArnNotEquals", {"aws:PrincipalArn": ROLE}, {"aws:PrincipalArn": ROLE + "2"}, True),
    ("ArnNotLike", {"aws:PrincipalArn": "arn:aws:iam::*:role/x*"}, {"aws:PrincipalArn": ROLE}, True),
    ("ArnNotLike", {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}, {"aws:PrincipalArn": ROLE}, False),
    ("ArnNotLike", {"aws:PrincipalArn": ["arn:aws:iam::*:role/x", ROLE]}, {"aws:PrincipalArn": ROLE}, False),
    ("ArnNotLike", {"aws:SourceArn": "arn:aws:*:*:*:x"}, {"aws:SourceArn": "arn:aws:bedrock:::a:x"}, True),
    ("ArnNotLike", {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}, {}, True),
    # Null: "true" requires that the key is absent, and "false" that it is present. All keys of a block must hold.
    ("Null", {SDK_TAG: "true"}, {}, True),
    ("Null", {SDK_TAG: "true"}, {SDK_TAG: "mpt"}, False),
    ("Null", {SDK_TAG: "false"}, {SDK_TAG: "mpt"}, True),
    ("Null", {SDK_TAG: "false"}, {}, False),
    ("Null", {SDK_TAG: False}, {SDK_TAG: "mpt"}, True),
    ("Null", {SDK_TAG: ["false"]}, {SDK_TAG.upper(): "mpt"}, True),
    ("Null", {SDK_TAG: "false", STUDIO_TAG: "false"}, {SDK_TAG: "mpt"}, False),
    ("Null", {SDK_TAG: "false", STUDIO_TAG: "false"}, {SDK_TAG: "mpt", STUDIO_TAG: "mpt"}, True),
    ("Null", {"aws:TagKeys": "true"}, {}, True),
    ("Null", {"aws:TagKeys": "true"}, {"aws:TagKeys": []}, True),
    ("Null", {"aws:TagKeys": "false"}, {"aws:TagKeys": ["team", "stage"]}, True),
    ("Null", {"aws:SourceIp": "true"}, {}, True),
    ("Null", {"aws:CurrentTime": "true"}, {}, True),
    # Bool
    ("Bool", {"aws:SecureTransport": "false"}, {"aws:SecureTransport": "false"}, True),
    ("Bool", {"aws:SecureTransport": "false"}, {"aws:SecureTransport": "true"}, False),
    ("Bool", {"aws:SecureTransport": "false"}, {}, False),
    ("Bool", {"aws:ViaAWSService": True}, {"aws:ViaAWSService": "true"}, True),
    ("BoolIfExists", {"aws:MultiFactorAuthPresent": "false"}, {}, True),
    ("BoolIfExists", {"aws:MultiFactorAuthPresent": "false"}, {"aws:MultiFactorAuthPresent": "true"}, False),
    # Dates: an absent key never holds.
    ("DateGreaterThan", {"aws:CurrentTime": DAY}, {"aws:CurrentTime": "2027-02-01T00:00:01Z"}, True),
    ("DateGreaterThan", {"aws:CurrentTime": DAY}, {"aws:CurrentTime": DAY}, False),
    ("DateGreaterThan", {"aws:CurrentTime": DAY}, {"aws:CurrentTime": "2026-12-31T23:59:59Z"}, False),
    ("DateGreaterThan", {"aws:CurrentTime": DAY}, {}, False),
    ("DateGreaterThanEquals", {"aws:CurrentTime": DAY}, {"aws:CurrentTime": DAY}, True),
    ("DateGreaterThanEquals", {"aws:CurrentTime": DAY}, {"aws:CurrentTime": "2027-01-31T23:59:59Z"}, False),
    ("DateGreaterThanEquals", {"aws:CurrentTime": DAY}, {}, False),
    # ForAnyValue: at least one value of the request matches; false without any.
    ("ForAnyValue:StringEquals", {"aws:TagKeys": ["team", "stage"]}, {"aws:TagKeys": ["owner", "stage"]}, True),
    ("ForAnyValue:StringEquals", {"aws:TagKeys": ["team", "stage"]}, {"aws:TagKeys": ["owner", "Stage"]}, False),
    ("ForAnyValue:StringEquals", {"aws:TagKeys": "team"}, {"aws:TagKeys": "team"}, True),
    ("ForAnyValue:StringEquals", {"aws:TagKeys": "team"}, {"aws:TagKeys": []}, False),
    ("ForAnyValue:StringEquals", {"aws:TagKeys": "team"}, {}, False),
    ("ForAnyValue:StringLike", {"aws:TagKeys": "*jumpstart*"}, {"aws:TagKeys": ["a", "sm-jumpstart-id"]}, True),
    ("ForAnyValue:StringLike", {"aws:TagKeys": "*jumpstart*"}, {"aws:TagKeys": ["a", "b"]}, False),
    ("ForAnyValue:StringLike", {"aws:TagKeys": "*"}, {}, False),
    # ForAllValues: every value of the request matches; true without any.
    ("ForAllValues:StringEquals", {"aws:TagKeys": ["team", "stage"]}, {"aws:TagKeys": ["team"]}, True),
    ("ForAllValues:StringEquals", {"aws:TagKeys": ["team", "stage"]}, {"aws:TagKeys": ["team", "x"]}, False),
    ("ForAllValues:StringLike", {"aws:TagKeys": "sm-*"}, {"aws:TagKeys": ["sm-a", "sm-b"]}, True),
    ("ForAllValues:StringLike", {"aws:TagKeys": "sm-*"}, {"aws:TagKeys": ["sm-a", "b"]}, False),
    ("ForAllValues:StringLike", {"aws:TagKeys": "sm-*"}, {}, True),
    ("ForAllValues:StringLike", {"aws:TagKeys": "sm-*"}, {"aws:TagKeys": []}, True),
]


@pytest.mark.parametrize(("operator", "block", "context", "holds"), CONDITIONS)
@pytest.mark.parametrize("effect", ["Deny", "Allow"])
def test_a_condition_holds_as_aws_documents_it(effect, operator, block, context, holds):
    policies = {"subject": document(statement(effect, Condition={operator: block}))}
    if effect == "Deny":
        policies["allow"] = ALLOW_ALL
    decision = judge(policies, "sagemaker:CreateModel", context=context).decision
    held, failed = {"Deny": ("explicitDeny", "allowed"), "Allow": ("allowed", "implicitDeny")}[effect]
    assert decision == (held if holds else failed)


def test_every_supported_operator_holds_in_one_row_and_fails_in_another():
    shown = {(operator, holds) for operator, _, _, holds in CONDITIONS}
    assert shown == {(operator, holds) for operator in OPERATORS for holds in (True, False)}


@pytest.mark.parametrize(
    ("context", "holds"),
    [
        ({SDK_TAG: "t5-xl"}, True),
        ({SDK_TAG: "mpt-7b"}, False),
        ({}, False),
    ],
)
def test_several_operators_must_all_hold(context, holds):
    allow_list = statement(Condition={"Null": {SDK_TAG: "false"}, "StringNotLike": {SDK_TAG: ["mpt-*"]}})
    policies = {"allow": ALLOW_ALL, "deny": document(allow_list)}
    assert judge(policies, "sagemaker:CreateModel", context=context).allowed is not holds


# elements of the statement, action, resource, whether the statement applies
ELEMENTS = [
    ({"Action": "bedrock:InvokeModel"}, "bedrock:InvokeModel", NOVA, True),
    ({"Action": "bedrock:InvokeModel"}, "bedrock:InvokeModelWithResponseStream", NOVA, False),
    ({"Action": "bedrock:InvokeModel*"}, "bedrock:InvokeModelWithResponseStream", NOVA, True),
    ({"Action": "bedrock:invokemodel"}, "bedrock:InvokeModel", NOVA, True),
    ({"Action": "BEDROCK:Invoke*"}, "bedrock:invokeModel", NOVA, True),
    ({"Action": "bedrock:*"}, "bedrock-mantle:CreateInference", "*", False),
    ({"Action": "bedrock:Invoke?odel"}, "bedrock:InvokeModel", NOVA, True),
    ({"Action": "bedrock:InvokeModel?"}, "bedrock:InvokeModel", NOVA, False),
    ({"Action": "*"}, "bedrock:InvokeModel", NOVA, True),
    ({"Action": ["s3:GetObject", "bedrock:Invoke*"]}, "bedrock:InvokeModel", NOVA, True),
    ({"NotAction": "bedrock:*"}, "bedrock:InvokeModel", NOVA, False),
    ({"NotAction": "bedrock:*"}, "s3:GetObject", "arn:aws:s3:::b/k", True),
    ({"NotAction": ["s3:Get*", "BEDROCK:*"]}, "bedrock:InvokeModel", NOVA, False),
    ({"Resource": NOVA}, "bedrock:InvokeModel", NOVA, True),
    ({"Resource": NOVA.replace("nova", "NOVA")}, "bedrock:InvokeModel", NOVA, False),
    ({"Resource": "arn:aws:bedrock:*::foundation-model/amazon.nova-*"}, "bedrock:InvokeModel", NOVA, True),
    ({"Resource": "arn:aws:bedrock:*::foundation-model/amazon.nova-*"}, "bedrock:InvokeModel", GLOBAL_NOVA, True),
    ({"Resource": "arn:aws:bedrock:::foundation-model/amazon.nova-*"}, "bedrock:InvokeModel", NOVA, False),
    ({"Resource": "arn:aws:bedrock:*::foundation-model/nova-*"}, "bedrock:InvokeModel", NOVA, False),
    ({"Resource": "arn:aws:bedrock:*::foundation-model/amazon.nova-pro"}, "bedrock:InvokeModel", NOVA, False),
    ({"Resource": "arn:aws:bedrock:us-east-?::foundation-model/*"}, "bedrock:InvokeModel", NOVA, True),
    ({"Resource": "arn:aws:bedrock:eu-*:*:*"}, "bedrock:InvokeModel", NOVA, False),
    ({"Resource": "arn:aws:bedrock:us-*:*:*"}, "bedrock:InvokeModel", NOVA, True),
    ({"Resource": "arn:aws:bedrock:us-*:pro-v1:0"}, "bedrock:InvokeModel", NOVA.replace("-pro", ":pro"), True),
    ({"Resource": ["arn:aws:s3:::*", NOVA]}, "bedrock:InvokeModel", NOVA, True),
    ({"Resource": NOVA}, "bedrock:InvokeModel", "*", False),
    ({"NotResource": NOVA}, "bedrock:InvokeModel", NOVA, False),
    ({"NotResource": NOVA}, "bedrock:InvokeModel", GLOBAL_NOVA, True),
    ({"NotResource": [NOVA, GLOBAL_NOVA]}, "bedrock:InvokeModel", GLOBAL_NOVA, False),
    ({"NotResource": "arn:aws:bedrock:*::foundation-model/AMAZON.*"}, "bedrock:InvokeModel", NOVA, True),
    ({"NotResource": "*"}, "bedrock:InvokeModel", NOVA, False),
    ({"NotAction": "s3:*", "NotResource": NOVA}, "bedrock:InvokeModel", GLOBAL_NOVA, True),
]


@pytest.mark.parametrize(("elements", "action", "resource", "applies"), ELEMENTS)
@pytest.mark.parametrize("effect", ["Deny", "Allow"])
def test_a_statement_applies_to_the_actions_and_resources_of_its_elements(effect, elements, action, resource, applies):
    policies = {"subject": document(statement(effect, **elements))}
    if effect == "Deny":
        policies["allow"] = ALLOW_ALL
    decision = judge(policies, action, resource).decision
    applied, spared = {"Deny": ("explicitDeny", "allowed"), "Allow": ("allowed", "implicitDeny")}[effect]
    assert decision == (applied if applies else spared)


DENY_BEDROCK = document(statement(Action="bedrock:*", Sid="NoBedrock"))
ALLOW_S3 = document(statement("Allow", Action="s3:*", Sid="Storage"))


@pytest.mark.parametrize(
    ("policies", "boundary", "decision"),
    [
        ([], None, "implicitDeny"),
        ([ALLOW_S3], None, "implicitDeny"),
        ([ALLOW_ALL], None, "allowed"),
        ([DENY_BEDROCK], None, "explicitDeny"),
        ([DENY_BEDROCK, ALLOW_ALL], None, "explicitDeny"),
        ([ALLOW_ALL, DENY_BEDROCK], None, "explicitDeny"),
        ([ALLOW_ALL, ALLOW_S3], None, "allowed"),
        ([ALLOW_ALL], ALLOW_ALL, "allowed"),
        ([ALLOW_ALL], ALLOW_S3, "implicitDeny"),
        ([ALLOW_S3], ALLOW_ALL, "implicitDeny"),
        ([], ALLOW_ALL, "implicitDeny"),
        ([ALLOW_ALL], DENY_BEDROCK, "explicitDeny"),
        ([ALLOW_ALL], document(statement("Allow"), *DENY_BEDROCK["Statement"]), "explicitDeny"),
        ([ALLOW_ALL, DENY_BEDROCK], ALLOW_S3, "explicitDeny"),
    ],
)
def test_an_explicit_deny_overrides_an_allow_and_a_boundary_intersects(policies, boundary, decision):
    named = {f"p{number}": policy for number, policy in enumerate(policies)}
    assert judge(named, "bedrock:InvokeModel", NOVA, boundary=boundary).decision == decision


def test_a_decision_names_every_statement_that_decides_and_no_other():
    deny = document(statement(Action="s3:*", Sid="Other"), statement(Sid="All"), statement(Action="bedrock:*", Sid="B"))
    policies = {"allow": ALLOW_ALL, "deny": deny}
    assert judge(policies, "bedrock:InvokeModel", NOVA, boundary=DENY_BEDROCK) == Judgement(
        "explicitDeny",
        (Matched("deny", "All", 1), Matched("deny", "B", 2), Matched("permissions boundary", "NoBedrock", 0)),
    )
    assert judge(policies | {"deny": ALLOW_S3}, "s3:GetObject", boundary=ALLOW_ALL) == Judgement(
        "allowed", (Matched("allow", "", 0), Matched("deny", "Storage", 0))
    )
    assert judge({"s3": ALLOW_S3}, "bedrock:InvokeModel", NOVA) == Judgement("implicitDeny")


def test_a_policy_of_one_statement_outside_a_list_is_read():
    assert judge({"p": {"Version": "2012-10-17", "Statement": statement("Allow")}}, "s3:GetObject").allowed


def test_a_policy_changed_in_place_is_evaluated_again():
    policy = document(statement("Allow"))
    assert judge({"p": policy}, "s3:GetObject").allowed
    policy["Statement"][0]["Effect"] = "Deny"
    assert judge({"p": policy}, "s3:GetObject").decision == "explicitDeny"


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ({"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}, "DateLessThan"),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}}, "DateGreaterThan"),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, "IpAddress"),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, "NumericLessThan"),
        ({"BinaryEquals": {"key": "QmluYXJ5"}}, "BinaryEquals"),
        ({"StringEqualsIgnoreCaseIfExists": {SDK_TAG: "MPT"}}, "StringEqualsIgnoreCaseIfExists"),
        ({"ForAnyValue:StringNotLike": {"aws:TagKeys": "a"}}, "ForAnyValue:StringNotLike"),
        ({"ForAllValues:StringLikeIfExists": {"aws:TagKeys": "a"}}, "ForAllValues:StringLikeIfExists"),
        ({"StringMatches": {SDK_TAG: "a"}}, "StringMatches"),
        ({"stringequals": {SDK_TAG: "a"}}, "stringequals"),
        ({"Null": {SDK_TAG: "*"}}, "Null"),
        ({"Null": {SDK_TAG: ["true", "false"]}}, "Null"),
        ({"StringEquals": {SDK_TAG: []}}, "StringEquals"),
        ({"StringEquals": {SDK_TAG: 7}}, "StringEquals"),
        ({"StringEquals": {SDK_TAG: "a", SDK_TAG.upper(): "b"}}, "twice"),
        ({"StringLike": {SDK_TAG: "${aws:PrincipalTag/team}-*"}}, "variable"),
        ({"ArnLike": {"aws:PrincipalArn": "*"}}, "ArnLike"),
        ({"ArnLike": {"aws:PrincipalArn": "arn:*"}}, "ArnLike"),
        ({"StringEquals": SDK_TAG}, "Condition"),
    ],
)
def test_a_condition_that_the_evaluator_is_not_known_to_decide_correctly_is_rejected(condition, names):
    policies = {"allow": ALLOW_ALL, "odd": document(statement(Condition=condition))}
    with pytest.raises(Unsupported, match=names):
        judge(policies, "s3:GetObject", "arn:aws:s3:::b/k", {"aws:CurrentTime": "2026-02-01T00:00:00Z"})
    with pytest.raises(Unsupported, match=names):
        require_proven_documents(policies.values())


@pytest.mark.parametrize(
    ("odd", "names"),
    [
        ({"Principal": "*"}, "Principal"),
        ({"Effect": "Audit"}, "Audit"),
        ({"NotAction": "s3:*", "Action": "s3:*"}, "Action"),
        ({"NotResource": "*", "Resource": "*"}, "Resource"),
        ({"Resource": "arn:aws:s3:::${aws:username}/*"}, "variable"),
        ({"Resource": []}, "Resource"),
        ({"Resource": "arn:aws:s3"}, "six parts"),
        ({"Resource": ["*", "bucket/*"]}, "six parts"),
        ({"Action": ""}, "Action"),
    ],
)
def test_a_statement_that_the_evaluator_is_not_known_to_decide_correctly_is_rejected(odd, names):
    with pytest.raises(Unsupported, match=names):
        judge({"odd": document({**statement(), **odd})}, "s3:GetObject", "arn:aws:s3:::b/k")


def test_a_statement_without_an_action_is_rejected():
    with pytest.raises(Unsupported, match="Action"):
        judge({"odd": document({"Effect": "Deny", "Resource": "*"})}, "s3:GetObject")


@pytest.mark.parametrize("odd", [{}, {"Statement": [], "Principal": "*"}])
def test_a_document_that_is_not_an_identity_policy_is_rejected(odd):
    with pytest.raises(Unsupported, match="not an identity policy"):
        judge({"odd": odd}, "s3:GetObject")


def test_a_boundary_is_checked_against_the_same_table():
    with pytest.raises(Unsupported, match="IpAddress"):
        judge({}, "s3:GetObject", boundary=document(statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.1"}})))


def test_a_statement_on_another_action_is_not_checked():
    odd = document(statement(Action="s3:*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))
    assert judge({"allow": ALLOW_ALL, "odd": odd}, "bedrock:InvokeModel", NOVA).allowed
    with pytest.raises(Unsupported, match="IpAddress"):
        require_proven_documents([ALLOW_ALL, odd])
    require_proven_documents([ALLOW_ALL, DENY_BEDROCK])


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov"])
def test_the_evaluator_supports_the_policies_of_every_kind_of_guardrail(partition):
    rules = {"all": {"deny": "all"}, "some": {"deny": ["a.b-*"]}, "most": {"allow": ["a.b-*"]}}
    guardrails = {name: {"bedrock": rule, "jumpstart": rule} for name, rule in rules.items()}
    document = {"mode": "enforce", "guardrails": guardrails, "assignments": [{"guardrails": list(guardrails)}]}
    reading = read_document(document, {}, file="guardrails.yaml", today=date(2026, 1, 1))
    assert reading.rules is not None, reading.errors
    policies = compile_rules(reading.rules, partition)
    assert {policy.name for policy in policies} >= set(guardrails)
    require_proven_documents(policy.document for policy in policies)


@pytest.mark.parametrize("tag_keys", [["a"], ["a", "b"]])
def test_several_values_under_an_operator_for_one_are_rejected(tag_keys):
    policy = document(statement(Condition={"StringEquals": {"aws:TagKeys": "a"}}))
    with pytest.raises(Unsupported, match="several values"):
        judge({"p": policy}, "sagemaker:AddTags", context={"aws:TagKeys": tag_keys})


def test_a_wildcard_that_needs_to_match_a_colon_within_a_segment_is_rejected():
    policy = document(statement("Allow", Resource="arn:aws:bedrock:*:*:inference-profile/*nova"))
    resource = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/{}nova"
    assert judge({"p": policy}, "bedrock:InvokeModel", resource.format("us.")).allowed
    with pytest.raises(Unsupported, match="colon"):
        judge({"p": policy}, "bedrock:InvokeModel", resource.format("us:"))


@pytest.mark.parametrize(
    ("action", "resource", "context", "names"),
    [
        ("InvokeModel", "*", {}, "InvokeModel"),
        ("bedrock:Invoke*", "*", {}, "Invoke"),
        ("s3:GetObject", "bucket", {}, "bucket"),
        ("s3:GetObject", "arn:aws:s3", {}, "arn:aws:s3"),
        ("s3:GetObject", "*", {SDK_TAG: ""}, SDK_TAG),
        ("s3:GetObject", "*", {SDK_TAG: "a\nb"}, SDK_TAG),
        ("s3:GetObject", "*", {"aws:TagKeys": ["a", ""]}, "aws:TagKeys"),
        ("s3:GetObject", "*", {"aws:tagkeys": ["a"], "aws:TagKeys": ["b"]}, "twice"),
    ],
)
def test_a_request_that_aws_would_not_make_is_rejected(action, resource, context, names):
    with pytest.raises(Unsupported, match=names):
        judge({"p": ALLOW_ALL}, action, resource, context)


@pytest.mark.parametrize(
    ("operator", "key", "value", "odd"),
    [
        ("ArnNotLike", "aws:PrincipalArn", ROLE, "analyst"),
        ("DateGreaterThan", "aws:CurrentTime", DAY, "2027-02-01"),
    ],
)
def test_an_operator_on_a_value_of_another_form_is_rejected(operator, key, value, odd):
    policy = document(statement(Condition={operator: {key: value}}))
    with pytest.raises(Unsupported, match="another form"):
        judge({"p": policy}, "sagemaker:AddTags", context={key: odd})

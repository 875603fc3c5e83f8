"""`rolewarden access` and `explain`: IAM's decision for every route, with the statement that decides."""

import json

import pytest
from rolewarden.errors import Refused
from rolewarden.policies import policy_arn
from rolewarden.verdicts import Reason
from rolewarden.vocabulary import HUB_TAGS, JUMPSTART_TAGS
from rolewarden_cli import access as accesses
from rolewarden_cli import inventory, options
from rolewarden_cli.account import OperatorCalls
from rolewarden_cli.connect import Where, connected
from rolewarden_cli.models import models
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import TRUST

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY

pytestmark = pytest.mark.long

OURS = policy_arn("", "aws", ACCOUNT_ID)
AWS_OWNED = "arn:aws:iam::aws:policy/"
NOVA, CLAUDE = "amazon.nova-pro-v1:0", "anthropic.claude-3-5-haiku-20241022-v1:0"
FLAN, MISTRAL = "huggingface-text2text-flan-t5-xl", "huggingface-llm-mistral-7b-instruct"
FOUR = [argument for model in (NOVA, CLAUDE, FLAN, MISTRAL) for argument in ("--model", model)]
TAGS = (*JUMPSTART_TAGS, *HUB_TAGS)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)
    monkeypatch.setattr(accesses, "ACCESS_PAUSES", (0.0,))


@pytest.fixture
def protected(world):
    """Two roles with the policies that they need. The other roles are unprotected."""
    world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=f"{OURS}no-generative-ai")
    world.iam.attach_role_policy(RoleName="CanvasRosa", PolicyArn=f"{OURS}only-nova-and-sonnet")
    return world


def cells(*arguments):
    """The decision of `access` by row and model."""
    found = json_answer("access", *arguments)
    return {
        (row["user_profile"] or row["kind"], model["id"]): found["verdicts"][cell]
        for row in found["rows"]
        for model, cell in zip(found["models"], row["cells"], strict=True)
    }


def deny(world, role, *statements):
    """Add an inline policy of denies to a role, with several lines as a user writes it."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", **each} for each in statements]}
    world.iam.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=json.dumps(document, indent=2))


def test_protected_profiles_reach_only_allowed_models_and_unprotected_ones_reach_every_model(protected):
    found = cells(*FOUR)
    assert {model: found["rosa", model]["allowed"] for model in (NOVA, CLAUDE, FLAN, MISTRAL)} == {
        NOVA: True, CLAUDE: False, FLAN: False, MISTRAL: False,
    }  # fmt: skip
    assert not any(found["omar", model]["allowed"] for model in (FLAN, MISTRAL))
    assert all(found["ravi", model]["allowed"] for model in (NOVA, CLAUDE, FLAN, MISTRAL))
    assert found["rosa", CLAUDE]["statements"] == [
        "only-nova-and-sonnet:BedrockUnlistedModels",
        "only-nova-and-sonnet:BedrockMantleUnlistedModels",
    ]
    assert found["omar", FLAN]["statements"] == [
        "no-generative-ai:JumpStartCreateSdk",
        "no-generative-ai:JumpStartTags",
        "no-generative-ai:JumpStartCreateStudio",
        "no-generative-ai:JumpStartCreateShort",
        "no-generative-ai:JumpStartCreateHubSdk",
        "no-generative-ai:JumpStartCreateHubStudio",
        "no-generative-ai:JumpStartHub",
    ]
    assert found["rosa", NOVA]["route"] == "on demand"


def test_the_names_of_the_shipped_guardrails_say_which_models_stay_open(protected):
    protected.iam.attach_role_policy(RoleName="CanvasBedrockAnalytics", PolicyArn=f"{OURS}no-generative-ai")
    found = json_answer("access")
    rows = {row["user_profile"]: row["cells"] for row in found["rows"]}
    models = [model["id"] for model in found["models"]]

    def opened(profile):
        return {model for model, cell in zip(models, rows[profile], strict=True) if found["verdicts"][cell]["allowed"]}

    of_both_families = {model for model in models if model.startswith(("amazon.nova-", "anthropic.claude-sonnet-4"))}
    assert opened("rosa") == of_both_families
    assert opened("omar") == set()
    assert opened("ravi") == set(models)  # The role of this user profile has no guardrail.


def test_with_the_managed_policies_of_aws_no_decision_depends_on_a_key_that_canvas_does_not_send(protected):
    found = json_answer("access", *FOUR)
    assert {verdict["allowed"] for verdict in found["verdicts"]} == {True, False}
    assert [verdict["undecided"] for verdict in found["verdicts"] if verdict["undecided"]] == []


@pytest.mark.parametrize(
    "call",
    [
        "sagemaker:CreateTrainingJob training-job/canvas-a",
        "sagemaker:CreateAutoMLJobV2 automl-job/canvas-a",
        "sagemaker:CreateModel model/canvas-a",
        "sagemaker:CreateEndpointConfig endpoint-config/canvas-a",
        "sagemaker:CreateEndpoint endpoint/canvas-a",
        "sagemaker:InvokeEndpoint endpoint/canvas-a",
    ],
)
def test_classic_machine_learning_works_under_the_shipped_guardrails(protected, call):
    action, name = call.split(" ")
    for role in ("CanvasOmar", "CanvasRosa"):
        [found] = protected.iam.simulate_principal_policy(
            PolicySourceArn=f"arn:aws:iam::{ACCOUNT_ID}:role/{role}",
            ActionNames=[action],
            ResourceArns=[f"arn:aws:sagemaker:us-east-1:{ACCOUNT_ID}:{name}"],
        )["EvaluationResults"]
        assert found["EvalDecision"] == "allowed", (role, found)


def test_a_profile_reaches_the_models_of_its_domains_bedrock_role(protected):
    assert not cells(*FOUR)["omar", NOVA]["allowed"]  # As AWS sets it up, this role can call no model.
    arn = f"{AWS_OWNED}AmazonSageMakerCanvasAIServicesAccess"
    protected.iam.attach_role_policy(RoleName="CanvasBedrockAnalytics", PolicyArn=arn)
    assert cells(*FOUR)["omar", NOVA]["allowed"]
    protected.iam.attach_role_policy(RoleName="CanvasBedrockAnalytics", PolicyArn=f"{OURS}no-generative-ai")
    assert not cells(*FOUR)["omar", NOVA]["allowed"]


def test_a_profile_without_its_own_role_has_the_access_of_its_domains_role(protected):
    rows = {row["user_profile"]: row for row in json_answer("access", "--model", NOVA)["rows"]}
    assert (rows["ravi"]["role"], rows["ravi"]["inherits"]) == ("CanvasResearch", True)
    assert (rows["rosa"]["role"], rows["rosa"]["inherits"]) == ("CanvasRosa", False)


def refuse_to_list(_aws, _region):
    raise Refused(Reason.ACCESS_DENIED, "ListFoundationModels: AccessDeniedException: no")


INVOKE = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
ON_DEMAND = f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"


@pytest.mark.parametrize(
    ("statements", "route"),
    [
        ([{"Action": INVOKE, "Resource": f"arn:aws:bedrock:us-east-1:*:inference-profile/*{NOVA}"}], "on demand"),
        ([{"Action": "bedrock:InvokeModel", "Resource": "*"}], "on demand"),
        ([{"Action": INVOKE, "Resource": "*"}], "batch job"),
        ([{"Action": ["bedrock:*"], "Resource": "*"}], "Mantle"),
    ],
    ids=["profiles are denied", "answers as a stream are not", "batch jobs are not", "Mantle is not"],
)
def test_a_model_is_reached_if_one_bedrock_route_is_allowed(world, statements, route):
    allow = {"Effect": "Allow", "Action": ["bedrock:*", "bedrock-mantle:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": allow})
    world.iam.put_role_policy(RoleName="CanvasRosa", PolicyName="every-route", PolicyDocument=document)
    deny(world, "CanvasRosa", *statements)
    verdict = cells("--model", NOVA)["rosa", NOVA]
    assert (verdict["allowed"], verdict["route"]) == (True, route)


def test_an_inference_profile_is_a_route_if_only_the_called_region_is_denied(world, monkeypatch):
    # The global profile of the shipped list also needs the ARN of the model without a region.
    monkeypatch.setattr(OperatorCalls, "foundation_models", refuse_to_list)
    deny(world, "CanvasRosa", {"NotAction": INVOKE, "Resource": "*"}, {
        "Action": INVOKE, "Resource": "arn:aws:bedrock:us-east-1:*:inference-profile/*"})  # fmt: skip
    assert cells("--model", NOVA)["rosa", NOVA]["route"] == "on demand"
    deny(world, "CanvasRosa", {"NotAction": INVOKE, "Resource": "*"}, {"Action": INVOKE, "Resource": ON_DEMAND})
    assert not cells("--model", NOVA)["rosa", NOVA]["allowed"]


@pytest.mark.parametrize("left", TAGS)
def test_a_jumpstart_model_is_reached_if_one_tag_is_missing_from_the_deny(world, left):
    denied = [tag for tag in TAGS if tag != left]
    deny(
        world,
        "CanvasRosa",
        *(
            {"Action": "sagemaker:Create*", "Resource": "*", "Condition": {"Null": {f"aws:RequestTag/{tag}": "false"}}}
            for tag in denied
        ),
    )
    assert cells("--model", FLAN)["rosa", FLAN]["route"] == f"endpoint tagged {left}"


def test_a_jumpstart_model_is_reached_from_a_hub_if_only_tags_are_denied(world):
    tags = [{"Action": "sagemaker:CreateEndpoint", "Resource": "*", "Condition": {"Null": {f"aws:RequestTag/{tag}":
             "false"}}} for tag in TAGS]  # fmt: skip
    deny(world, "CanvasRosa", *tags)
    assert cells("--model", FLAN)["rosa", FLAN]["route"] == "hub"
    deny(
        world,
        "CanvasRosa",
        *tags,
        {"Action": "sagemaker:DeployHubModel", "Resource": f"arn:aws:*:*:*:*/Model/{FLAN}/*"},
    )
    assert not cells("--model", FLAN)["rosa", FLAN]["allowed"]


def test_the_statement_is_named_by_its_sid_or_number_in_any_layout_of_the_policy(world):
    deny(
        world,
        "CanvasRosa",
        {"Sid": "NotThis", "Action": "s3:*", "Resource": "*"},
        {"Action": ["bedrock:*", "bedrock-mantle:*"], "Resource": "*"},
        {"Sid": "Those", "Action": "sagemaker:*", "Resource": "*"},
    )
    found = cells(*FOUR)
    assert found["rosa", NOVA]["statements"] == ["inline policy own:statement 2"]
    assert found["rosa", FLAN]["statements"] == ["inline policy own:Those"]


def test_a_boundary_that_denies_is_named_too(world_with):
    world = world_with("guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n"
                       "fallback: boundary\n")  # fmt: skip
    world.iam.put_role_permissions_boundary(RoleName="CanvasRosa", PermissionsBoundary=f"{OURS}boundary.none")
    verdict = cells("--model", NOVA)["rosa", NOVA]
    assert not verdict["allowed"]
    assert "boundary.none:BedrockModels" in verdict["statements"]
    [reason, *_] = json_answer("explain", "CanvasRosa", NOVA, "--guardrails", world.environment["GUARDRAILS_FILE"])[
        "reasons"
    ]
    assert reason["assignments"] == ["assignment 1 (every other subject) for research/rosa"]


def judged(world, wanted, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://in-process")
    with connected(Where(local=True)) as connection:
        found = inventory.take(connection, world.runtime.rules)
        columns = models(connection, wanted)
        return accesses.matrix(connection.calls, found, columns)


def test_models_in_one_simulation_get_the_same_decision_as_alone(protected, monkeypatch):
    conditions = (
        {"StringLike": {f"aws:RequestTag/{TAGS[0]}": ["*llama*", "huggingface-llm-falcon-7b-bf16"]}},
        {"StringEqualsIfExists": {f"AWS:requesttag/{TAGS[1]}": "xgboost-classification-model"}},
        {"StringNotLike": {f"aws:RequestTag/{TAGS[2]}": "*-7b-*"}},
    )
    create = {"Action": "sagemaker:Create*", "Resource": "*"}
    deny(protected, "CanvasResearch", *({**create, "Condition": condition} for condition in conditions))
    wanted = ("amazon.*", "*llama-2-7b*", "*falcon-7b*", "xgboost*", "*flan-t5-*", "huggingface-llm-mistral-7b*")
    together = judged(protected, wanted, monkeypatch)
    monkeypatch.setattr(accesses._Asking, "_signature", lambda _self, _key: str)
    alone = judged(protected, wanted, monkeypatch)
    assert together.decisions == alone.decisions
    assert together.simulations < alone.simulations / 4
    assert {decision.allowed for role in together.decisions.values() for decision in role} == {True, False}


def test_roles_with_the_same_policies_are_simulated_once(world, monkeypatch):
    before = judged(world, (NOVA, FLAN), monkeypatch).simulations
    for number in range(8):
        role = world.role(f"more-{number}", TRUST)
        world.iam.attach_role_policy(RoleName=f"more-{number}", PolicyArn=f"{OURS}no-generative-ai")
        world.sagemaker.create_user_profile(
            DomainId="d-research0001", UserProfileName=f"p{number}", UserSettings={"ExecutionRole": role}
        )
    once = judged(world, (NOVA, FLAN), monkeypatch)
    assert len(once.rows) == 17
    deny(
        world, "more-3", {"Action": "s3:*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/x": "y"}}}
    )
    apart = judged(world, (NOVA, FLAN), monkeypatch)
    per_kind = once.simulations - before
    assert 0 < per_kind < 10
    assert apart.simulations == once.simulations + per_kind


def test_a_role_with_a_policy_about_its_own_arn_is_simulated_alone(world, monkeypatch):
    for role in ("CanvasRosa", "CanvasOmar"):
        condition = {"StringLike": {"aws:PrincipalArn": "*/CanvasRosa"}}
        deny(world, role, {"Action": ["bedrock:*", "bedrock-mantle:*"], "Resource": "*", "Condition": condition})
    found = judged(world, (NOVA,), monkeypatch)
    assert not found.decisions["CanvasRosa"][0].allowed
    assert found.decisions["CanvasOmar"][0].allowed


def test_if_bedrock_does_not_list_its_models_the_shipped_list_is_used_and_named(world, monkeypatch):
    monkeypatch.setattr(OperatorCalls, "foundation_models", refuse_to_list)
    found = json_answer("access", "--model", "amazon.nova-*")
    assert found["listed"].startswith("the list of 20")
    assert "AccessDeniedException" in found["listed"]
    assert NOVA in {model["id"] for model in found["models"]}


def test_a_route_that_the_simulator_does_not_know_is_reported_and_the_others_are_evaluated(protected, monkeypatch):
    simulate = OperatorCalls.simulate

    def refuse(aws, role_arn, actions, *more):
        if "bedrock-mantle:CreateInference" in actions:
            raise Refused(Reason.REFUSED, "SimulatePrincipalPolicy: InvalidInput: Invalid Action")
        return simulate(aws, role_arn, actions, *more)

    monkeypatch.setattr(OperatorCalls, "simulate", refuse)
    found = json_answer("access", "--model", CLAUDE)
    assert found["unread"] == ["Mantle in us-east-1: SimulatePrincipalPolicy: InvalidInput: Invalid Action"]
    verdicts = {row["user_profile"]: found["verdicts"][row["cells"][0]] for row in found["rows"]}
    assert (verdicts["rosa"]["allowed"], verdicts["ravi"]["allowed"]) == (False, True)


def test_a_model_that_is_in_no_list_is_evaluated_as_given(protected):
    found = cells("--model", "anthropic.claude-sonnet-4-next", "--model", "my-own-jumpstart-model")
    assert found["rosa", "anthropic.claude-sonnet-4-next"]["allowed"]
    assert not found["omar", "my-own-jumpstart-model"]["allowed"]


def test_the_output_says_that_a_model_is_in_no_list(world):
    result = rolewarden("access", "--model", "huggingface-text2text-flan-t5-xll", "--model", NOVA)
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "no list" in line] == [
        "rolewarden: no list has `huggingface-text2text-flan-t5-xll`: evaluating a JumpStart model with this "
        "ID; the most similar ID is `huggingface-text2text-flan-t5-xl`"
    ]


def test_explain_does_not_claim_that_a_role_can_use_a_model_that_may_not_exist(world):
    shown = rolewarden("explain", "CanvasRosa", "no-such.model-v9").stdout
    assert shown.startswith("The model no-such.model-v9 is on none of the lists. If it exists:\n")
    assert json_answer("explain", "CanvasRosa", "no-such.model-v9")["is_listed"] is False
    assert rolewarden("explain", "CanvasRosa", NOVA).stdout.startswith("CanvasRosa can")
    assert json_answer("explain", "CanvasRosa", NOVA)["is_listed"] is True


def test_explain_accepts_only_one_model(world):
    result = rolewarden("explain", "CanvasRosa", "amazon.nova-*")
    assert result.exit_code == 1
    assert "models match `amazon.nova-*`: name one, such as `amazon.nova-" in result.stderr


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("claude", "or `*claude*`"),
        ("nova-pro", "no model has the ID `nova-pro`: write `amazon.nova-pro-v1:0`"),
        ("nothing-*", "no model matches `nothing-*`"),
    ],
)
def test_an_impossible_model_is_an_error_of_one_line(world, wanted, says):
    result = rolewarden("access", "--model", wanted)
    assert result.exit_code == 1
    assert says in result.stderr


def test_a_role_of_another_account_is_reported_and_not_evaluated(world):
    world.sagemaker.update_user_profile(
        DomainId="d-research0001", UserProfileName="rosa",
        UserSettings={"ExecutionRole": "arn:aws:iam::444455556666:role/Theirs"},
    )  # fmt: skip
    found = json_answer("access", "--model", NOVA)
    why = "role Theirs belongs to account 444455556666, and the command reads account 111122223333 only"
    assert found["unread"] == [f"research/rosa: {why}"]
    assert "rosa" not in {row["user_profile"] for row in found["rows"]}


def test_a_throttled_simulation_is_retried(world):
    with world.aws.failing("SimulatePrincipalPolicy", "Throttling", times=3):  # botocore retries these calls itself.
        assert cells("--model", NOVA)["rosa", NOVA]["allowed"]


@pytest.mark.parametrize("arguments", [FOUR, ["--model", "*"]], ids=["a column each", "groups"])
def test_the_output_of_access_fits_eighty_columns(protected, arguments):
    lines = rolewarden("access", *arguments).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("denied by only-nova-and-sonnet: " in line for line in lines)


def test_an_explanation_has_statement_policy_guardrail_assignment_and_caller(world):
    world.protected()
    world.enforce(world.detach("CanvasRosa", "only-nova-and-sonnet"))
    found = json_answer("explain", "CanvasRosa", CLAUDE)
    assert (found["allowed"], found["verdict"], found["subjects"]) == (False, "compliant", ["research/rosa"])
    assert {route["route"] for route in found["routes"]} >= {"on demand", "batch job", "Mantle"}
    first = found["reasons"][0]
    assert first["policy_arn"] == f"{OURS}only-nova-and-sonnet"
    assert (first["statement"], first["guardrail"]) == ("BedrockUnlistedModels", "only-nova-and-sonnet")
    assert first["document"]["Effect"] == "Deny"
    assert first["assignments"] == ["assignment 1 (domain research) for research/rosa"]
    assert first["attached"]["event"] == "DetachRolePolicy"
    assert first["attached"]["actor"]


def test_an_explanation_of_an_allowed_model_names_the_missing_guardrails(world):
    found = json_answer("explain", "CanvasRosa", CLAUDE)
    assert (found["allowed"], found["verdict"], found["missing"]) == (True, "drifted", ["only-nova-and-sonnet"])
    assert [reason["policy"] for reason in found["reasons"]] == ["AmazonSageMakerCanvasAIServicesAccess"]
    assert found["reasons"][0]["attached"] is None


def test_an_explanation_says_that_a_role_is_exempt_or_unused(world):
    assert "is exempt until 2027-01-31" in rolewarden("explain", "CanvasBreakGlass", NOVA).stdout
    assert "no subject in SageMaker uses it" in rolewarden("explain", "BuildServer", NOVA).stdout


def test_a_missing_role_is_an_error_of_one_line(world):
    result = rolewarden("explain", "Nobody", NOVA)
    assert result.exit_code == 1
    assert "account 111122223333 has no role `Nobody`" in result.stderr

"""`rolewarden plan --prevention` shows which recorded calls the SCPs of models would deny, before they are attached."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from rolewarden.denials import Denials, Target, TargetKind
from rolewarden.guardrails_file import read_yaml
from rolewarden.prevention import compile_prevention
from rolewarden_cli import options
from rolewarden_cli.account import OperatorCalls
from rolewarden_cli.observed import LAKE_COLUMNS, ObservedCalls, requests_of
from rolewarden_cli.rollout import BETWEEN, BY_NAME, BY_SOURCE, UNSEEN, Lookup, Turns, lookups, read_event_history
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated import names
from rolewarden_local.emulated._ministack import iam as iam_state
from rolewarden_local.emulated._ministack import sts
from rolewarden_local.emulated.access import role_may
from rolewarden_local.emulated.organization import MANAGEMENT
from rolewarden_local.scenes.seed import TRUST

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY
from tests.guardrail_files import GUARDRAILS

pytestmark = pytest.mark.long

ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role"
RULES = f"""
guardrails:
  none: {{bedrock: {{deny: all}}, jumpstart: {{deny: all}}}}
  approved: {{bedrock: {{allow: [amazon.nova-*]}}, jumpstart: {{deny: all}}}}
assignments:
  - guardrails: [approved]
    accounts: ["{ACCOUNT_ID}"]
    domains: [research]
    principals: ["{ROLE}/canvas/approved/*"]
  - guardrails: [none]
"""
NOVA, CLAUDE = "amazon.nova-pro-v1:0", "anthropic.claude-v2:1"
EUROPEAN = f"eu.{NOVA}"
JUMPSTART = "huggingface-llm-falcon-7b-bf16"


@pytest.fixture
def account(world, monkeypatch, tmp_path):
    """A seeded account, and a folder for its rules."""
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)
    world.folder = tmp_path / "rules"
    world.folder.mkdir()
    return world


def role(name, path="/"):
    return boto3.client("iam").create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]


def session(name, session_name="SageMaker"):
    """A session of a role with a key of its own."""
    key = f"ASIA{name.upper()}{session_name.upper()}"
    arn = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{name}/{session_name}"
    sts.register_session(key, {"Arn": arn, "UserId": f"AROA{name.upper()}:{session_name}"})
    return boto3.Session(key, "secret", "token", region_name="us-east-1")


def ask(made, model, region="us-east-1"):
    made.client("bedrock-runtime", region).converse(modelId=model, messages=[])


def found(*arguments, exit_code=2):
    """The answer of the command, with its principals by ARN."""
    answer = json_answer("plan", "--prevention", *arguments, exit_code=exit_code)
    return answer, {one["principal"]: one for one in answer["denied"]}


def rules(account, text=RULES):
    """The option with a file of this text."""
    file = account.folder / "guardrails.yaml"
    file.write_text(text)
    return "--guardrails", str(file)


def test_the_history_shows_each_principal_with_its_denied_models_and_what_to_do(account):
    approved, chat = role("Approved", "/canvas/approved/"), role("Chat", "/apps/")
    for name, model in (("Approved", NOVA), ("Chat", CLAUDE), ("Chat", CLAUDE), ("Chat", NOVA), ("CanvasRosa", NOVA)):
        ask(session(name, "SageMaker" if name != "Chat" else "i-0abc"), model)
    ask(session("CanvasOmar"), NOVA)
    answer, denied = found(*rules(account))
    assert answer["source"] == "event history"
    assert set(denied) == {chat, f"{ROLE}/CanvasOmar", f"{ROLE}/CanvasRosa"}
    assert approved not in denied
    assert (denied[chat]["calls"], denied[chat]["models"]) == (3, [NOVA, CLAUDE])
    assert denied[chat]["account"] == ACCOUNT_ID
    assert denied[chat]["first"] <= denied[chat]["last"]
    assert f"add `{chat}` to `principals` of an assignment with `guardrails: []`" in denied[chat]["recommendation"]
    assert not denied[chat]["in_sagemaker"]
    assert denied[f"{ROLE}/CanvasRosa"]["in_sagemaker"]
    rosa, omar = denied[f"{ROLE}/CanvasRosa"], denied[f"{ROLE}/CanvasOmar"]
    assert (rosa["choice"], rosa["used_by"]) == ("list", ["research/rosa"])
    assert rosa["recommendation"] == (
        f"add `{ROLE}/CanvasRosa` to `principals` of assignment 1, or create the role again under "
        f"`{ROLE}/canvas/approved/*`"
    )
    assert (omar["choice"], omar["used_by"]) == ("leave denied", ["analytics/omar"])
    assert "assignment 2" in omar["recommendation"]


def test_what_is_listed_is_what_the_attached_scps_deny(account):
    """Every combination of a caller and a model gets the same decision from the evaluator of the local AWS."""
    role("Approved", "/canvas/approved/")
    role("Chat", "/apps/")
    arns = {
        name: names.entity(iam_state._roles, ACCOUNT_ID, name)["Arn"] for name in ("Approved", "Chat", "CanvasRosa")
    }
    asked = [(name, model) for name in arns for model in (NOVA, CLAUDE, EUROPEAN)]
    for name, model in asked:
        boto3.client("iam").put_role_policy(
            RoleName=name,
            PolicyName="models",
            PolicyDocument='{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}',
        )
        ask(session(name), model)
    _, denied = found(*rules(account))
    account.aws.organize("o-exampleorg1", {"ou-root-canvas000": {ACCOUNT_ID}})
    client = boto3.client("organizations", "us-east-1", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")
    for policy in policies_of(RULES):
        made = client.create_policy(
            Name=policy.name, Description="", Type="SERVICE_CONTROL_POLICY", Content=policy.text
        )
        client.attach_policy(PolicyId=made["Policy"]["PolicySummary"]["Id"], TargetId="ou-root-canvas000")
    for name, model in asked:
        kind = f"{ACCOUNT_ID}:inference-profile" if model == EUROPEAN else ":foundation-model"
        arn = f"arn:aws:bedrock:us-east-1:{kind}/{model}"
        entity = {**names.entity(iam_state._roles, ACCOUNT_ID, name), "AttachedPolicies": []}
        is_allowed = role_may(entity, "bedrock:InvokeModel", arn, {"aws:userid": "AROAEXAMPLE:SageMaker"})
        assert is_allowed == (model not in denied.get(arns[name], {"models": []})["models"]), (name, model)


def test_calls_that_a_policy_denies_already_and_calls_of_services_are_left_out():
    calls = ObservedCalls(datetime(2026, 1, 1, tzinfo=UTC))
    calls.add(record(errorCode="AccessDenied"))
    calls.add(record(errorCode="AccessDeniedException"))
    calls.add(record(userIdentity={"type": "AWSService", "invokedBy": "bedrock.amazonaws.com"}))
    linked = f"arn:aws:iam::{ACCOUNT_ID}:role/aws-service-role/sagemaker.amazonaws.com/AWSServiceRoleForX"
    calls.add(record(userIdentity=identity("AWSServiceRoleForX", linked)))
    assert (calls.read, calls.made) == (4, {})
    calls.add(record(errorCode="ThrottlingException"))
    assert len(calls.made) == 1


def identity(name, issuer=None, session_name="SageMaker"):
    return {
        "type": "AssumedRole",
        "principalId": f"AROAEXAMPLE:{session_name}",
        "arn": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{name}/{session_name}",
        "accountId": ACCOUNT_ID,
        "sessionContext": {"sessionIssuer": {"arn": issuer} if issuer else {}},
    }


_number = iter(range(10**6))


def record(name="InvokeModel", model=CLAUDE, **more):
    """A record of CloudTrail, as the event history and the log files have it."""
    return {
        "eventVersion": "1.11",
        "userIdentity": identity("Chat"),
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "bedrock.amazonaws.com",
        "eventName": name,
        "awsRegion": "us-east-1",
        "requestParameters": {"modelId": model},
        "responseElements": None,
        "readOnly": True,
        "eventID": f"event-{next(_number)}",
        "recipientAccountId": ACCOUNT_ID,
        "eventCategory": "Management",
        **more,
    }


def written(path, *records, zipped=False):
    text = json.dumps({"Records": records})
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return path


def test_log_files_of_a_trail_are_read_once_each_from_a_folder_and_no_call_goes_to_cloudtrail(account, tmp_path):
    chat = role("Chat", "/apps/")
    old = (datetime.now(UTC) - timedelta(days=40)).strftime("%Y-%m-%dT%H:%M:%SZ")
    same = record()
    (tmp_path / "2026" / "11").mkdir(parents=True)
    written(tmp_path / "2026" / "11" / "a.json.gz", same, record("ConverseStream"), zipped=True)
    written(tmp_path / "b.json", same, record(eventTime=old), record(model=NOVA, userIdentity=identity("Gone")))
    mark = account.aws.mark()
    answer, denied = found(*rules(account), "--trail", str(tmp_path))
    assert "LookupEvents" not in {call.operation for call in account.aws.calls(mark)}
    assert (answer["records"], answer["days"]) == (5, 30)
    assert (denied[chat]["calls"], denied[chat]["models"]) == (2, [CLAUDE])  # the path is that of IAM
    gone = denied[f"{ROLE}/Gone"]
    assert (gone["choice"], gone["recommendation"]) == ("leave denied", "the role no longer exists: nothing to do")
    assert found(*rules(account), "--trail", str(tmp_path), "--days", "60")[1][chat]["calls"] == 3


def test_the_other_files_of_a_trails_bucket_and_of_a_result_are_passed_over(account, tmp_path):
    (tmp_path / "digest.json.gz").write_bytes(gzip.compress(b'{"digestStartTime": "2026-11-01T00:00:00Z"}'))
    (tmp_path / "result_sign.json").write_text('{"version": "1.0", "files": [], "hashSignature": "00"}')
    insight = {"eventTime": "2026-11-28T00:00:00Z", "eventCategory": "Insight", "eventType": "AwsCloudTrailInsight"}
    written(tmp_path / "log.json", insight, record())
    assert found(*rules(account), "--trail", str(tmp_path))[0]["calls"] == 1


ROW = {
    "eventSource": "bedrock.amazonaws.com", "eventName": "Converse", "awsRegion": "us-east-1",
    "recipientAccountId": ACCOUNT_ID, "errorCode": "", "userType": "AssumedRole",
    "userArn": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/Chat/i-1", "issuerArn": "", "principalId": "AROAX:i-1",
    "sourceIdentity": "", "modelId": CLAUDE, "tags": "", "inferenceRegion": "", "calls": "1200",
}  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_result_of_cloudtrail_lake_counts_its_calls(account, tmp_path, form):
    chat = role("Chat", "/apps/")
    times = {
        "first": f"{datetime.now(UTC):%Y-%m-%d} 00:00:00.000",
        "last": f"{datetime.now(UTC):%Y-%m-%d} 00:00:01.000",
    }
    row = {**ROW, **times}
    assert set(row) == set(LAKE_COLUMNS)
    path = tmp_path / f"result.{form}"
    if form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, LAKE_COLUMNS)
        writer.writeheader()
        writer.writerow(row)
        path.write_text(text.getvalue())
    else:
        # get-query-results leaves out a column that is null.
        cells = [{key: value} for key, value in row.items() if value]
        path.write_text(json.dumps({"QueryStatus": "FINISHED", "QueryResultRows": [cells]}))
    _, denied = found(*rules(account), "--trail", str(path))
    assert (denied[chat]["calls"], denied[chat]["models"]) == (1200, [CLAUDE])


@pytest.mark.parametrize(
    "tags",
    [
        f'[{{"key":"sagemaker-sdk:jumpstart-model-id","value":"{JUMPSTART}"}}]',
        f"[{{key=sagemaker-sdk:jumpstart-model-id, value={JUMPSTART}}}, {{key=team, value=a}}]",
    ],
)
def test_tags_in_a_result_of_cloudtrail_lake_are_read_in_both_forms(tags):
    calls = ObservedCalls(datetime(2026, 1, 1, tzinfo=UTC))
    times = dict.fromkeys(("first", "last"), "2026-11-01 00:00:00.000")
    of_sagemaker = {
        "eventSource": "sagemaker.amazonaws.com",
        "eventName": "CreateEndpoint",
        "modelId": "",
        "tags": tags,
    }
    calls.add_row({**ROW, **times, **of_sagemaker})
    [call] = calls.made
    assert call.what == JUMPSTART
    assert denials_of(RULES).covers(
        Target(TargetKind.PATH, "", (requests_of(call, f"{ROLE}/Chat", datetime.now(UTC)),))
    )


IDENTITY = '"userIdentity": {"arn": "arn:aws:iam::111122223333:user/ana"}'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[7]", "is neither a log file of CloudTrail nor a result of the query for CloudTrail Lake"),
        ('{"Records": [{}]}', "is neither a log file"),
        ('{"Other": []}', "entry 1 lacks `eventTime`"),
        ('{"Records": [{"eventTime": 5}]}', "has the time `5`, which has an unknown form"),
        (f'{{"Records": [{{"eventTime": "2999-01-01T00:00:00Z", {IDENTITY}}}]}}', "lacks `eventSource`"),
        (f'{{"eventTime": "2999-01-01T00:00:00Z", {IDENTITY.replace("arn:", "")}}}', "which is no ARN"),
        ('{"QueryResultRows": [[{"calls": "3"}]]}', "lacks `first`"),
        ('{"QueryResultRows": [[{"calls": "x", "first": "2999-01-01", "last": null}]]}', "has the time ``"),
    ],
)
def test_a_file_of_another_kind_is_named_with_the_page_that_helps(account, tmp_path, content, says):
    path = tmp_path / "x.json"
    path.write_text(content)
    result = rolewarden("plan", "--prevention", *rules(account), "--trail", str(path))
    assert result.exit_code == 1
    assert says in result.stderr
    assert "docs/how-to/prevention.md" in result.stderr
    assert re.search("[A-Z][a-z]+Error", result.stderr) is None
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("options_", [["--days", "91"], ["--days", "0"], ["--trail", "nowhere"]])
def test_a_wrong_option_has_its_correction_in_one_line(account, options_):
    result = rolewarden("plan", "--prevention", *rules(account), *options_)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "give 1 to 90" in result.stderr or "name a readable file" in result.stderr


def test_days_and_trail_need_prevention(account):
    assert "give --prevention, too" in rolewarden("plan", *rules(account), "--days", "3").stderr


CASES = [
    (
        record("CreateFineTuningJob", eventSource="bedrock-mantle.amazonaws.com", requestParameters={"model": NOVA}),
        True,
    ),
    (record(model=EUROPEAN, additionalEventData={"inferenceRegion": "eu-central-1"}), True),
    (record(model=f"arn:aws:bedrock:us-east-1:{ACCOUNT_ID}:application-inference-profile/abc"), True),
    (record("StartAsyncInvoke"), True),
    (record("CreateModelInvocationJob"), True),
    (record("ListFoundationModels", requestParameters=None), False),
    (record("CreateEndpoint", eventSource="sagemaker.amazonaws.com", requestParameters={"endpointName": "e"}), False),
    (
        record(
            "CreateEndpointConfig",
            eventSource="sagemaker.amazonaws.com",
            requestParameters={"tags": [{"key": "sagemaker-sdk:jumpstart-model-id", "value": JUMPSTART}]},
        ),
        True,
    ),
    (record("GetFoundationModel", userIdentity={"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT_ID}:root"}), False),
    (record(userIdentity={"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT_ID}:root"}), True),
    (record(userIdentity={"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT_ID}:user/team/bob"}), True),
    (record(model=NOVA, userIdentity=identity("Approved", f"{ROLE}/canvas/approved/Approved")), False),
    (record(userIdentity=identity("Approved", f"{ROLE}/canvas/approved/Approved")), True),
]
"""Records, and whether the SCPs of RULES deny their calls."""


def policies_of(text):
    """The SCPs of a file."""
    read = read_yaml(text, today=TODAY).rules
    assert read is not None
    return compile_prevention(read, "aws").policies


def denials_of(text):
    """The decisions of the SCPs of a file."""
    return Denials(statement for policy in policies_of(text) for statement in policy.document["Statement"])


def is_denied_by(text, one, at=None):
    """Whether the SCPs of a file deny the call of a record at a time, or now."""
    calls = ObservedCalls(datetime(2026, 1, 1, tzinfo=UTC))
    calls.add(one)
    [call] = calls.made
    asked = requests_of(call, call.principal, at or datetime.now(UTC))
    return denials_of(text).covers(Target(TargetKind.PATH, "", (asked,)))


@pytest.mark.parametrize(("one", "is_denied"), CASES)
def test_each_kind_of_record_becomes_the_requests_that_aws_authorizes(one, is_denied):
    assert is_denied_by(RULES, one) == is_denied


KEYS = "guardrails: {keys: {bedrock: {deny: [anthropic.*]}, api_keys: deny}}\nassignments: [{guardrails: [keys]}]\n"


def test_a_call_with_an_api_key_is_judged_by_its_key_too():
    assert not is_denied_by(KEYS, record(model=NOVA))
    assert is_denied_by(KEYS, record(model=NOVA, additionalEventData={"callWithBearerToken": True}))


EXEMPT = (
    RULES
    + f"""exemptions:
  - {{role: Glass, account: "{ACCOUNT_ID}", until: 2026-11-30, reason: "ticket SEC-1"}}
"""
)


@pytest.mark.parametrize(
    ("at", "is_denied"), [("2026-11-30T23:59:59", False), ("2026-12-01T00:00:00", True), ("2027-02-03T04:05:06", True)]
)
def test_an_exempt_role_is_denied_from_the_day_after_its_exemption_ends(at, is_denied):
    glass = record(userIdentity=identity("Glass", f"{ROLE}/Glass"))
    assert is_denied_by(EXEMPT, glass, datetime.fromisoformat(f"{at}+00:00")) == is_denied


def test_the_role_of_a_permission_set_is_listed_with_a_pattern_for_its_suffix(account, tmp_path):
    name, path = "AWSReservedSSO_Canvas_0123456789abcdef", "aws-reserved/sso.amazonaws.com/eu-west-1"
    arn = f"arn:aws:iam::222233334444:role/{path}/{name}"
    path_ = written(tmp_path / "a.json", record(userIdentity=identity(name, arn), recipientAccountId="222233334444"))
    _, denied = found(*rules(account), "--trail", str(path_))
    assert f"`{arn[:-16]}*`" in denied[arn]["recommendation"]
    text = rolewarden("plan", "--prevention", *rules(account), "--trail", str(path_)).stdout
    assert "in account 222233334444" in " ".join(text.split())


def test_calls_in_the_management_account_are_left_out_because_no_scp_restricts_them(account, tmp_path):
    path = written(tmp_path / "a.json", record(recipientAccountId=MANAGEMENT), record())
    role("Chat")
    assert found(*rules(account), "--trail", str(path))[0]["calls"] == 2
    account.aws.organize("o-exampleorg1", {"ou-root-canvas000": {ACCOUNT_ID}})
    answer, _ = found(*rules(account), "--trail", str(path))
    assert (answer["calls"], answer["is_management"]) == (1, False)


def test_a_role_of_two_assignments_is_not_listed(account, tmp_path):
    settings = {"ExecutionRole": f"{ROLE}/CanvasRosa"}
    account.sagemaker.create_user_profile(DomainId="d-analytics0001", UserProfileName="second", UserSettings=settings)
    path = written(tmp_path / "a.json", record(model=NOVA, userIdentity=identity("CanvasRosa")))
    rosa = found(*rules(account), "--trail", str(path))[1][f"{ROLE}/CanvasRosa"]
    assert rosa["choice"] == "leave denied"
    assert "assignments 1 and 2 share this role" in rosa["recommendation"]


REGIONAL = "guardrails: {here: {bedrock: {allow: all, regions: [eu-west-1]}}}\nassignments: [{guardrails: [here]}]\n"


@pytest.mark.parametrize(
    ("model", "region", "served", "is_denied"),
    [
        (NOVA, "eu-west-1", "", False),
        (NOVA, "eu-central-1", "", True),
        (EUROPEAN, "eu-west-1", "eu-west-1", False),
        (EUROPEAN, "eu-west-1", "eu-central-1", True),
        (f"global.{NOVA}", "eu-west-1", "eu-west-1", True),  # AWS authorizes it in the region `unspecified`, too
    ],
)
def test_a_call_is_judged_in_the_region_of_the_caller_and_in_the_one_that_served_it(model, region, served, is_denied):
    more = {"additionalEventData": {"inferenceRegion": served}} if served else {}
    assert is_denied_by(REGIONAL, record(model=model, awsRegion=region, **more)) == is_denied


REQUIRED = f"""
guardrails:
  filtered:
    bedrock:
      allow: all
      require_bedrock_guardrail: ["arn:aws:bedrock:us-east-1:{ACCOUNT_ID}:guardrail/abc123"]
assignments: [{{guardrails: [filtered]}}]
"""


def test_a_call_that_needs_an_amazon_bedrock_guardrail_is_marked_because_records_do_not_name_it(account, tmp_path):
    path = written(tmp_path / "a.json", record(userIdentity=identity("CanvasRosa")))
    _, denied = found(*rules(account, REQUIRED), "--trail", str(path))
    assert denied[f"{ROLE}/CanvasRosa"]["guardrail_needed"]
    _, denied = found(*rules(account), "--trail", str(path))
    assert not denied[f"{ROLE}/CanvasRosa"]["guardrail_needed"]


def test_the_questions_for_the_shipped_file_are_as_many_as_the_page_says():
    text = GUARDRAILS.read_text()
    statements = [statement for policy in policies_of(text) for statement in policy.document["Statement"]]
    assert 75 <= len(lookups(statements, ["eu-west-1"], "aws")) <= 85


def test_a_root_user_stays_denied_and_a_user_can_be_listed(account, tmp_path):
    path = written(tmp_path / "a.json", CASES[9][0], CASES[10][0])
    _, denied = found(*rules(account), "--trail", str(path))
    root, user = denied[f"arn:aws:iam::{ACCOUNT_ID}:root"], denied[f"arn:aws:iam::{ACCOUNT_ID}:user/team/bob"]
    assert (root["choice"], user["choice"]) == ("leave denied", "list")


def test_a_subject_whose_listed_role_has_more_than_its_assignment_is_named(account):
    wider = RULES.replace(f'["{ROLE}/canvas/approved/*"]', f'["{ROLE}/CanvasOmar"]')
    answer, _ = found(*rules(account, wider))
    [subject] = answer["wider"]
    assert (subject["subject"], subject["role"]) == ("analytics/omar", f"{ROLE}/CanvasOmar")
    assert any(name.startswith("amazon.nova") for name in subject["reaches"])


def test_a_profile_that_inherits_a_wider_role_is_named_with_the_way_out(account):
    """The user profile `ravi` has no role of its own, and its assignment denies more than that of its domain."""
    text = RULES.replace(f'["{ROLE}/canvas/approved/*"]', f'["{ROLE}/CanvasResearch"]')
    strict = "assignments:\n  - guardrails: [none]\n    user_profiles: [ravi]\n"
    answer, _ = found(*rules(account, text.replace("assignments:\n", strict)))
    [subject] = answer["wider"]
    assert (subject["subject"], subject["role"]) == ("research/ravi", f"{ROLE}/CanvasResearch")
    assert "give the subject a role of its own" in subject["recommendation"]


def test_a_rule_that_an_scp_cannot_see_is_listed(account):
    by_user = "  - guardrails: [approved]\n    user_profiles: [ana]\n  - guardrails: [none]"
    answer, _ = found(*rules(account, RULES.replace("  - guardrails: [none]", by_user)))
    assert any("has no `principals`" in line for line in answer["unprevented"])


def test_without_calls_and_gaps_the_command_ends_with_0_and_still_says_what_to_verify(account):
    answer, denied = found(*rules(account), exit_code=0)
    assert denied == {}
    assert answer["unread"] == []
    assert any("Invoke*Agent" in action for one in answer["unseen"] for action in one["actions"])
    text = rolewarden("plan", "--prevention", *rules(account)).stdout
    assert "the SCPs would deny none of the recorded calls" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_history_that_cannot_be_read_is_named_and_the_rest_is_shown(account):
    ask(session("CanvasRosa"), NOVA)
    with account.aws.failing("LookupEvents", "AccessDeniedException", "no"):
        answer, _ = found(*rules(account))
    assert any("event history of us-east-1" in line for line in answer["unread"])


def test_the_pages_of_the_history_are_paced_and_all_are_read(account):
    caller = session("CanvasRosa")
    for _ in range(120):
        ask(caller, NOVA)
    clock, waited, seen = [0.0], [], []

    def wait(seconds):
        waited.append(seconds)
        clock[0] += seconds

    calls = ObservedCalls(datetime.now(UTC) - timedelta(days=1))
    asked = [Lookup("us-east-1", "EventSource", "bedrock.amazonaws.com")]
    reader = OperatorCalls(account.runtime.aws)
    unread = read_event_history(reader, asked, calls, Turns(lambda: clock[0], wait), lambda *step: seen.append(step))
    assert (unread, calls.read) == ([], 120)
    assert waited == [BETWEEN] * 2  # three pages of 50 records at most
    assert seen[-1] == ("event history", 1, 1)


EVERYTHING = """
guardrails:
  none:
    bedrock: {deny: all}
    jumpstart: {deny: all, gated: deny, weights: deny}
    assistants: {deny: all}
    api_keys: deny
assignments: [{guardrails: [none]}]
"""


def test_every_denied_service_is_looked_up_or_named_as_unseen():
    statements = [statement for policy in policies_of(EVERYTHING) for statement in policy.document["Statement"]]
    actions = [one["Action"] for one in statements]
    listed = {action for some in actions for action in ([some] if isinstance(some, str) else some)}
    services = {action.partition(":")[0] for action in listed}
    named = {action.partition(":")[0] for one in UNSEEN for action in one.actions}
    assert services - {*BY_SOURCE, *BY_NAME} - named == set()
    assert all(one.actions for one in UNSEEN)
    assert len(services) > 5
    asked = lookups(statements, ["eu-west-1"], "aws")
    assert Lookup("eu-west-1", "EventName", "CreateEndpointConfig") in asked
    assert {one.region for one in asked if one.value.startswith("CreateService")} == {"us-east-1"}

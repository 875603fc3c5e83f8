"""The message a person reads: what each kind says, and that nothing an event holds can break it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rolewarden.alert import BODY_SIZE, COLUMNS, SUBJECT_SIZE, compose
from rolewarden.verdicts import RECOMMENDATIONS, Reason

from tests.conftest import ROOT, sample

MOVES = "docs/how-to/runbook.md, Changes to Rolewarden itself"
LINKS = {"Console:", "Versions:", "Look:"}
"""The lines before those that are not folded."""


def told(name, partition="aws", **changes):
    event = sample(name)
    event["detail"].update(changes)
    return compose(event, partition)


def rows(alert):
    """The text below the headline by label, folded lines put together again."""
    _, _, text = alert.body.partition("\n\n")
    found: dict[str, str] = {}
    label = ""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(" "):
            found[label] += f" {line.strip()}"
        elif line in LINKS:
            found[line[:-1]] = next(lines)
        else:
            label = line[:11].strip()
            found[label] = line[11:]
    return found


def test_a_role_that_cannot_be_guarded_is_told_with_the_reason_its_recommendation_and_where_to_look():
    alert = told("finding_role")
    assert alert.headline == "Rolewarden: role CanvasFull cannot be protected: quota full"
    assert rows(alert) == {
        "What": "role CanvasFull lacks approved-models, and Rolewarden cannot protect it",
        "Used by": "research/fatima",
        "Who": "arn:aws:iam::111122223333:user/mallory",
        "Call": "TagRole at 2026-11-23T08:00:12Z",
        "From": "198.51.100.66, aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1 os/linux lang/python#3.13.7",
        "Done": "nothing (quota full)",
        "Why": "AttachRolePolicy: LimitExceeded: Cannot exceed quota for PoliciesPerRole: 10",
        "To do": RECOMMENDATIONS[Reason.QUOTA],
        "Console": "https://console.aws.amazon.com/iam/home?region=us-east-1#/roles/details/CanvasFull",
        "Look": "aws iam list-attached-role-policies --role-name CanvasFull",
        "Runbook": "docs/how-to/runbook.md, UnenforceableAlarm",
        "Account": "111122223333, us-east-1",
    }


def test_what_could_be_attached_and_what_is_still_missing_are_told_apart():
    alert = told("finding_role", missing=["a", "b"], attached=["a"])
    assert rows(alert)["What"] == "role CanvasFull lacks b, and Rolewarden cannot protect it"
    assert rows(alert)["Done"] == "attached a (quota full)"


def test_a_role_that_was_bounded_in_place_of_attached_says_so():
    assert rows(told("finding_role_contested", remediation="bounded"))["Done"] == (
        "set the fallback boundary with the same denies each time, and continues to do so"
    )


def test_a_finding_of_another_account_is_about_that_account_wherever_it_is_told():
    alert = told("finding_account")
    assert alert.headline == "Rolewarden: account 222233334444: account cannot be entered"
    assert rows(alert)["Account"] == "222233334444, us-east-1"
    assert "not authorized to perform: sts:AssumeRole" in rows(alert)["Why"]
    role = told("finding_role", account="222233334444")
    assert rows(role)["Account"] == "222233334444, us-east-1"


def test_the_alert_of_a_forged_request_says_that_it_was_refused_and_not_that_the_account_is_unprotected():
    message = "DetachFunction: a custom-resource request was refused: the request names another stack"
    alert = told(
        "finding_account", reason=Reason.FORGED.value, message=message, recommendation=RECOMMENDATIONS[Reason.FORGED]
    )
    assert "forged request" in alert.headline
    body = " ".join(alert.body.split())
    assert "a caller invoked a function of Rolewarden with a request that CloudFormation did not send" in body
    assert "refused the request" in body
    assert message in body
    assert "lambda:InvokeFunction" in body
    assert "bare" not in body
    assert "AWS refused" not in body


def test_that_stacksets_names_no_members_is_about_these_and_has_the_command_that_tells_why():
    alert = told(
        "finding_account",
        account="111122223333",
        reason=Reason.NOT_DELEGATED.value,
        recommendation=RECOMMENDATIONS[Reason.NOT_DELEGATED],
    )
    assert alert.headline == "Rolewarden: account 111122223333: not a delegated administrator"
    assert "which member accounts exist" in rows(alert)["What"]
    assert rows(alert)["Done"] == "swept the central account only"
    assert "`aws organizations list-delegated-administrators`" in alert.body


@pytest.mark.parametrize("reason", RECOMMENDATIONS)
@pytest.mark.parametrize("finding", ["finding_account", "finding_role", "finding_subject"])
def test_no_recommended_action_is_cut(finding, reason):
    alert = told(finding, reason=str(reason), recommendation=RECOMMENDATIONS[reason])
    assert rows(alert)["To do"] == RECOMMENDATIONS[reason]


def test_an_account_that_is_guarded_no_more_is_told_as_that():
    alert = told("finding_account", reason=Reason.LEFT.value)
    assert alert.headline == "Rolewarden: account 222233334444: account no longer covered"
    assert rows(alert)["What"] == "Rolewarden no longer covers account 222233334444: its roles may be unprotected"


def test_a_profile_that_cannot_have_what_it_needs_is_told_without_an_actor_where_a_sweep_has_found_it():
    alert = told("finding_subject")
    assert alert.headline == (
        "Rolewarden: user profile d-research0001/rosa cannot be protected: shares its domain's role"
    )
    assert rows(alert)["What"] == (
        "user profile d-research0001/rosa needs no-generative-ai, but uses its domain's role, which has only what the "
        "domain needs"
    )
    assert rows(alert)["Who"] == "not known: a sweep found it, and not an event"
    assert rows(alert)["Done"] == "nothing: the role keeps the guardrails of its domain (shares its domain's role)"
    assert rows(alert)["To do"] == RECOMMENDATIONS[Reason.SHARES_ROLE]


def test_a_domain_that_may_not_be_read_says_what_stays_in_force():
    event = sample("finding_subject")
    event["detail"] = {
        "domain": "d-1",
        "reason": "access denied",
        "message": "DescribeDomain: AccessDenied",
        "cause": {"event_name": "UpdateDomain", "actor": "arn:aws:iam::1:user/olga"},
    }
    alert = compose(event, "aws")
    assert alert.headline == "Rolewarden: domain d-1 cannot be evaluated: access denied"
    assert rows(alert)["What"] == "AWS refused a call that Rolewarden needs to evaluate domain d-1"
    assert rows(alert)["Done"] == "nothing: Rolewarden continues with its earlier data (access denied)"
    assert "Console" not in rows(alert)


def test_a_finding_about_a_policy_names_the_policy():
    event = sample("finding_subject")
    event["detail"] = {"policy": "no-bedrock", "reason": "access denied", "message": "GetPolicy: AccessDenied"}
    alert = compose(event, "aws")
    assert alert.headline == "Rolewarden: guardrail no-bedrock cannot be evaluated: access denied"
    assert rows(alert)["What"] == "AWS refused a call that Rolewarden needs to evaluate guardrail no-bedrock"


def test_a_list_of_domains_that_aws_refuses_is_not_named_by_an_asterisk():
    event = sample("finding_subject")
    event["detail"] = {"domain": "*", "reason": "access denied", "message": "ListDomains: AccessDenied"}
    alert = compose(event, "aws")
    assert alert.headline == "Rolewarden: the domains of a Region cannot be evaluated: access denied"
    assert rows(alert)["Why"] == "ListDomains: AccessDenied"


def test_a_guardrail_that_was_edited_is_told_with_who_did_it_and_how_to_see_its_versions():
    alert = told("finding_policy_restored")
    assert alert.headline == "Rolewarden: guardrail no-generative-ai was edited and is restored"
    assert rows(alert)["Who"] == "arn:aws:iam::111122223333:user/mallory"
    assert rows(alert)["Done"] == "restored the default version of the policy to what guardrails.yaml says"
    arn = "arn:aws:iam::111122223333:policy/rolewarden/no-generative-ai"
    assert rows(alert)["Versions"] == f"aws iam list-policy-versions --policy-arn {arn}"
    assert rows(alert)["Look"] == f"aws iam get-policy-version --policy-arn {arn} --version-id VERSION"
    assert rows(alert)["Console"].endswith(
        "#/policies/details/arn%3Aaws%3Aiam%3A%3A111122223333%3Apolicy%2Frolewarden%2Fno-generative-ai"
    )


def test_a_guardrail_that_was_deleted_is_told_to_be_made_again():
    alert = told("finding_policy_restored", remediation="created", cause={"event_name": "ScheduledCheck"})
    assert alert.headline == "Rolewarden: guardrail no-generative-ai was deleted and is restored"
    assert rows(alert)["Who"] == "not known: a scheduled check found it, and not an event"
    assert rows(alert)["Done"] == "created the policy again; the next sweep attaches it to every role that needs it"
    assert rows(alert)["Look"] == (
        "aws iam list-entities-for-policy --policy-arn arn:aws:iam::111122223333:policy/rolewarden/no-generative-ai"
    )


def test_a_contested_role_is_told_with_everybody_who_fights_it():
    alert = told("finding_role_contested")
    assert alert.headline == "Rolewarden: role CanvasAnalytics is contested: restored 3 times"
    assert rows(alert) | {"To do": ""} == {
        "What": "a caller removes the guardrails from role CanvasAnalytics; Rolewarden restored them 3 times since "
        "2026-11-23T07:12:40Z",
        "Used by": "analytics default-user",
        "Who": "arn:aws:sts::111122223333:assumed-role/Infrastructure/terraform, 3 times",
        "From": "203.0.113.80, APN/1.0 HashiCorp/1.0 Terraform/1.9.5",
        "Last": "DetachRolePolicy at 2026-11-23T08:00:12Z",
        "Done": "attached no-generative-ai each time, and continues to do so",
        "To do": "",
        "Console": "https://console.aws.amazon.com/iam/home?region=us-east-1#/roles/details/CanvasAnalytics",
        "Look": "aws iam list-attached-role-policies --role-name CanvasAnalytics",
        "Runbook": "docs/how-to/runbook.md, ContestedAlarm",
        "Account": "111122223333, us-east-1",
    }


def test_no_more_than_five_who_fight_a_role_are_named():
    actors = [{"actor": f"arn:aws:iam::111122223333:user/u{number}", "times": 1} for number in range(9)]
    body = told("finding_role_contested", actors=actors).body
    assert [f"user/u{number}, once" in body for number in range(9)] == [True] * 5 + [False] * 4


def test_a_move_against_rolewarden_is_told_with_the_call_in_cloudtrails_history():
    alert = told("self_disable_rule")
    event_id = sample("self_disable_rule")["detail"]["eventID"]
    rule = "rolewarden-EnforceFunctionRoles-Yt3Jq0vXw1Zk"
    assert alert.headline == f"Rolewarden itself: user/mallory called DisableRule on {rule}"
    assert rows(alert) == {
        "What": f"DisableRule on {rule}: Rolewarden may miss changes to roles, or fail to remediate them, from now on",
        "Who": "arn:aws:iam::111122223333:user/mallory",
        "Call": f"DisableRule at {sample('self_disable_rule')['detail']['eventTime']}",
        "From": "198.51.100.66, aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1 os/linux lang/python#3.13.7",
        "Done": "nothing: Rolewarden cannot repair itself",
        "To do": "if this change is not intended, restore the stack (docs/how-to/runbook.md, Restore the stack), then "
        "run `rolewarden sweep`",
        "Console": f"https://console.aws.amazon.com/cloudtrailv2/home?region=us-east-1#/events/{event_id}",
        "Look": "aws cloudtrail lookup-events --region us-east-1 --lookup-attributes "
        f"AttributeKey=EventId,AttributeValue={event_id}",
        "Runbook": MOVES,
        "Account": "111122223333, us-east-1",
    }


def test_an_attempt_that_aws_refused_is_told_as_one():
    alert = told("self_delete_role")
    assert alert.headline == "Rolewarden itself: user/mallory tried DeleteRole on role DetachFunctionRole"
    assert rows(alert)["What"] == "DeleteRole on role DetachFunctionRole: a failed attempt"
    assert rows(alert)["Done"] == "nothing: AWS refused the call (DeleteConflictException)"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("self_update_function_code", "assumed-role/Admin/olga called UpdateFunctionCode on function EnforceFunction"),
        ("self_put_function_concurrency", "called PutFunctionConcurrency on function ReconcileFunction"),
        ("self_create_event_source_mapping", "called CreateEventSourceMapping on queue WorkQueue"),
        ("self_put_role_policy", "called PutRolePolicy on role EnforceFunctionRole"),
        ("self_purge_queue", "called PurgeQueue on queue WorkQueue"),
        ("self_update_table", "called UpdateTable on table HistoryTable"),
        ("self_put_resource_policy", "called PutResourcePolicy on table BindingsTable"),
        ("self_delete_topic", "called DeleteTopic on topic AlarmTopic"),
        ("self_delete_log_group", "called DeleteLogGroup on log group EnforceLogs"),
        ("self_delete_alarms", "called DeleteAlarms on alarm rolewarden-HeartbeatAlarm-1K2L3M4N5O6P"),
        ("self_stop_logging", "called StopLogging on trail/management"),
        ("self_execute_change_set", "called ExecuteChangeSet on stack rolewarden"),
        ("self_remove_permission", "called RemovePermission on event bus rolewarden-central"),
        ("self_delete_stack_instances", "called DeleteStackInstances on StackSet rolewarden-members"),
        ("member_disable_rule", "called DisableRule on rolewarden-forward-subjects"),
        ("member_delete_role_policy", "called DeleteRolePolicy on role rolewarden-enforce"),
        ("member_delete_queue", "called DeleteQueue on queue rolewarden-undelivered"),
        ("member_delete_stack", "called DeleteStack on stack StackSet-rolewarden-members-1f357b5b"),
    ],
)
def test_a_move_says_in_its_subject_who_did_what_to_what(name, said):
    assert said in told(name).headline


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "events").glob("member_*.json")))
def test_a_move_in_another_account_says_where_and_how_to_see_what_is_missing_there(name):
    told = rows(compose(sample(name), "aws"))
    assert told["Account"] == f"222233334444, {sample(name)['region']}"
    assert f"--region {sample(name)['region']} " in told["Look"]
    assert told["What"].endswith(": Rolewarden may miss changes to roles, or fail to remediate them, from now on")
    assert "run `rolewarden doctor`" in told["To do"]


def test_a_rule_of_the_hubs_bus_is_told_by_its_own_name():
    event = sample("self_disable_rule")
    event["detail"]["requestParameters"] = {
        "name": "rolewarden-ForwardedToEnforce-1A2B",
        "eventBusName": "rolewarden-central",
    }
    assert "DisableRule on rolewarden-ForwardedToEnforce-1A2B" in compose(event, "aws").headline


def test_a_call_that_no_caller_is_recorded_of_is_told_as_far_as_it_is_known():
    alert = told("finding_role", cause={"event_name": "CreateRole", "time": "2026-11-23T08:00:12Z"})
    assert rows(alert)["Who"] == "not known"
    assert rows(alert)["Call"] == "CreateRole at 2026-11-23T08:00:12Z"


def test_the_commands_of_rolewardens_own_that_people_are_sent_to_exist():
    from rolewarden_cli.main import app
    from typer.main import get_group

    names = set(get_group(app).commands)
    texts = [compose(sample(path.stem), "aws").body for path in (ROOT / "events").glob("*.json")]
    texts.append((ROOT / "docs/how-to/runbook.md").read_text())
    sent = {name for text in texts for name in re.findall(r"[`(]rolewarden (\w+)", " ".join(text.split()))}
    assert {"sweep", "scp"} <= sent <= names


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "eu-west-1", "console.aws.amazon.com"),
        ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
        ("aws-cn", "cn-north-1", "console.amazonaws.cn"),
        ("aws-eusc", "eusc-de-east-1", "console.amazonaws-eusc.eu"),
    ],
)
def test_links_lead_to_the_console_of_the_partition(partition, region, host):
    alert = compose({**sample("finding_role"), "region": region}, partition)
    assert rows(alert)["Console"] == f"https://{host}/iam/home?region={region}#/roles/details/CanvasFull"


def test_where_the_console_is_not_known_there_is_a_command_and_no_link():
    alert = told("finding_role", partition="aws-iso")
    assert "https" not in alert.body
    assert "Look" in rows(alert)


@pytest.mark.parametrize(
    "event", [None, 7, "text", [], {}, {"source": "rolewarden"}, {"detail-type": []},
              {"source": "rolewarden", "detail-type": {}, "detail": {"role": "x"}},
              {"source": "rolewarden", "detail-type": "Role Finding", "detail": []},
              {"source": "someone", "detail-type": "Role Finding", "detail": {"role": "x"}}]
)  # fmt: skip
def test_an_event_that_cannot_be_read_is_a_message_that_says_so(event):
    alert = compose(event, "aws")
    assert alert.headline == "Rolewarden: an event that cannot be read"
    assert rows(alert)["Runbook"] == "docs/how-to/runbook.md, An event that cannot be read"


def test_an_event_that_cannot_be_read_is_named_by_its_id():
    alert = compose({"id": "34c29e17", "source": "x", "detail-type": "y"}, "aws")
    assert (rows(alert)["Id"], rows(alert)["Source"], rows(alert)["Kind"]) == ("34c29e17", "x", "y")


def test_line_breaks_and_control_characters_of_an_event_make_no_lines_of_their_own():
    cause = {"actor": "arn:aws:iam::1:user/a\r\nDone      all is well\x1b[2J\u202egnp", "event_name": "TagRole"}
    alert = told("finding_role", role="Canvas\nFull", cause=cause)
    assert alert.headline == "Rolewarden: role Canvas Full cannot be protected: quota full"
    assert rows(alert)["Who"] == "arn:aws:iam::1:user/a Done all is well [2J gnp"
    assert rows(alert)["Done"] == "nothing (quota full)"


def test_a_name_that_no_role_can_have_gets_neither_a_link_nor_a_command_to_paste():
    for event, harmful in {
        "finding_role": {"role": "x; rm -rf ~"},
        "self_disable_rule": {"eventID": "$(reboot)"},
        "finding_policy_restored": {"policy": "`id`"},
    }.items():
        assert {"Console", "Look"} <= rows(told(event)).keys()
        assert not {"Console", "Look"} & rows(told(event, **harmful)).keys()


def test_a_link_in_an_event_is_none_in_the_mail():
    cause = {"actor": "arn:aws:iam::1:user/a", "user_agent": "see https://evil.example/fix"}
    body = told("finding_role", cause=cause).body
    assert "evil.example" in body
    assert "https://evil" not in body


def test_other_scripts_are_kept_in_the_text_and_marked_in_the_subject():
    alert = told("finding_subject", user_profile="müller")
    assert "d-research0001/m?ller" in alert.headline
    assert "d-research0001/müller" in alert.body


def test_endless_names_are_cut():
    alert = told("finding_role", role="R" * 9999, subjects=["s" * 999] * 999, message="m" * 10**6)
    assert len(alert.headline) == SUBJECT_SIZE
    assert alert.headline.endswith("...")
    assert " and 989 more" in rows(alert)["Used by"]
    assert rows(alert)["Why"].replace(" ", "") == "m" * 397 + "..."


def test_the_longest_text_that_there_can_be_is_still_short():
    long = "x" * 5000
    cause = dict.fromkeys(("event_id", "event_name", "time", "actor", "source_address", "user_agent"), long)
    names = ("role", "since", "domain", "user_profile", "reason", "message", "recommendation", "policy")
    detail: dict[str, Any] = dict.fromkeys(names, long)
    detail |= {"cause": cause, "subjects": [long] * 99, "attached": [long] * 99, "missing": [long] * 99}
    for kind in KINDS[:4]:
        actors = {"actors": [{**cause, "times": 7}] * 99}
        alert = compose({**sample("finding_role"), "detail-type": kind, "detail": detail | actors}, "aws")
        assert 500 < len(alert.body) <= BODY_SIZE


@pytest.mark.parametrize("number", [True, -1, 0, 10**6, pytest.param(10**5000, id="huge"), 1.5, "9", None])
def test_a_number_of_times_that_is_none_is_told_as_again_and_again(number):
    alert = told("finding_role_contested", remediations=number)
    assert alert.headline == "Rolewarden: role CanvasAnalytics is contested: restored again and again"


def test_actors_that_are_no_list_are_left_out():
    assert "Who" in rows(told("finding_role_contested"))
    alert = told("finding_role_contested", actors=7)
    assert "Who" not in rows(alert)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KNOWN = [*(f"finding_{kind}" for kind in ("role", "subject", "policy_restored", "role_contested")), "self_update_table"]
FIELDS = sorted({"more_subjects"}.union(*(sample(name)["detail"] for name in KNOWN)))
KINDS = ["Role Finding", "Subject Finding", "Policy Restored", "Role Contested", "AWS API Call via CloudTrail"]
EVENTS = JSON | st.fixed_dictionaries(
    {
        "source": st.sampled_from(["rolewarden", "aws.lambda"]) | JSON,
        "detail-type": st.sampled_from(KINDS) | JSON,
        "detail": st.dictionaries(st.sampled_from(FIELDS), JSON | st.text(min_size=200), min_size=1) | JSON,
        "region": st.just("us-east-1") | JSON,
        "account": st.just("111122223333") | JSON,
    }
)


@given(EVENTS, st.sampled_from(["aws", "aws-cn", "nowhere", ""]))
def test_whatever_comes_is_a_subject_that_sns_takes_and_a_text_of_bounded_size(event, partition):
    alert = compose(event, partition)
    assert 0 < len(alert.headline) <= SUBJECT_SIZE
    assert alert.headline.isascii()
    assert alert.headline.isprintable()
    assert alert.headline.startswith("Rolewarden")
    assert 0 < len(alert.body) <= BODY_SIZE
    lines = alert.body.splitlines()
    links = [index + 1 for index, line in enumerate(lines) if line in LINKS]
    assert all(len(line) <= COLUMNS for index, line in enumerate(lines) if index not in links)
    assert json.dumps(alert.body)

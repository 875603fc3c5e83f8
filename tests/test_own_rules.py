"""A rule of the event path is compared with its whole template: its pattern, and what its targets send with."""

import json
from dataclasses import replace

import pytest
from rolewarden.listed import ListedRule
from rolewarden.own_rules import OwnRules

from tests.stacks import ACCOUNT, EVERYTHING, MEMBER, deployed, forwarder_of_whole, translated
from tests.volume import some

HERE = "us-east-1"
BUS = f"arn:aws:events:{HERE}:{ACCOUNT}:event-bus/CentralBus"
STACKS = {"everything": EVERYTHING, "one region": {}, "own key": {"KmsKeyArn": f"arn:aws:kms:{HERE}:{ACCOUNT}:key/own"}}


def own_rules(template):
    """The expected rules, with the names that the local templates give: the logical IDs."""
    names = {logical: logical for logical, _, _ in deployed(template).resources}
    return OwnRules("aws", ACCOUNT, HERE, BUS, {**names, "Stack": "rolewarden"})


def listed(rule, **changes):
    """A rule of a template as EventBridge lists it, with some properties changed."""
    rule = {**rule, **changes}
    pattern = rule.get("EventPattern")
    return ListedRule.of(
        {"State": rule.get("State", "ENABLED"), "EventPattern": json.dumps(pattern) if pattern else ""}, rule["Targets"]
    )


@pytest.mark.parametrize("stack", STACKS)
def test_the_deployed_rules_have_no_problem(stack):
    template = translated(**STACKS[stack])
    expected, rules = own_rules(template), template.resources("AWS::Events::Rule")
    assert len(rules) > 20
    assert {name: expected.central_problem(name, listed(rule)) for name, rule in rules.items()} == dict.fromkeys(
        rules, ""
    )


@pytest.mark.parametrize(("account", "region"), [(ACCOUNT, "eu-west-1"), (MEMBER, HERE), (MEMBER, "eu-west-1")])
def test_the_deployed_forwarding_rules_have_no_problem(account, region):
    expected = own_rules(translated(**EVERYTHING))
    role = "ForwardRole" if account == ACCOUNT else f"rolewarden-forward-{region}"
    rules = forwarder_of_whole(account, region).resources("AWS::Events::Rule").values()
    assert len(rules) >= 2
    for rule in rules:
        named = json.loads(json.dumps(rule).replace(":Undelivered", ":rolewarden-undelivered"))
        [target] = named["Targets"]
        target["RoleArn"] = f"arn:aws:iam::{account}:role/rolewarden/{role}"
        assert expected.forwarder_problem(account, region, rule["Name"], listed(named)) == ""


@pytest.mark.parametrize("lacking", ["AlertFunction", "EventsDeadLetterQueue"])
def test_a_rule_whose_target_names_a_resource_that_the_stack_lacks_is_a_problem(lacking):
    template = translated(**EVERYTHING)
    whole, rule = own_rules(template), template.resources("AWS::Events::Rule")["AlertFunctionFindings"]
    names = {name: physical for name, physical in whole.names.items() if name != lacking}
    problem = replace(whole, names=names).central_problem("AlertFunctionFindings", listed(rule))
    assert problem == "the target of rule AlertFunctionFindings has a resource that the stack does not have"


RULES = {
    name: rule
    for name, rule in translated(**EVERYTHING).resources("AWS::Events::Rule").items()
    if "EventPattern" in rule
}


def edits(rule):
    """The edits that silence a rule, each with a word of the problem."""
    [target] = rule["Targets"]
    pattern = rule["EventPattern"]
    yield {"State": "DISABLED"}, "disabled"
    yield {"EventPattern": {"source": ["nobody.sends.this"]}}, "other events"
    yield {"EventPattern": {**pattern, "region": ["xx-nowhere-1"]}}, "other events"
    yield {"EventPattern": {**pattern, "detail-type": ["AWS Console Sign In via CloudTrail"]}}, "other events"
    yield {"EventPattern": None}, "other events"
    yield {"Targets": []}, "does not send"
    yield {"Targets": [{**target, "Arn": f"{target['Arn']}-other"}]}, "does not send"
    yield {"Targets": [{**target, "DeadLetterConfig": {}}]}, "dead-letter"
    yield {"Targets": [{**target, "RoleArn": "arn:aws:iam::111122223333:role/None"}]}, "another role"
    yield {"Targets": [{**target, "Input": "{}"}]}, "input"


@pytest.mark.volume
@pytest.mark.parametrize("name", some(6, RULES))
def test_each_edit_that_silences_a_rule_is_a_problem(name):
    expected = own_rules(translated(**EVERYTHING))
    for changes, problem in edits(RULES[name]):
        assert problem in expected.central_problem(name, listed(RULES[name], **changes)), changes
    assert "does not exist" in expected.central_problem(name, None)


def test_a_narrower_list_inside_a_pattern_is_a_problem():
    expected, rule = own_rules(translated(**EVERYTHING)), RULES["EnforceFunctionRoles"]
    narrow = json.loads(json.dumps(rule["EventPattern"]).replace('"DetachRolePolicy", ', ""))
    assert narrow != rule["EventPattern"]
    problem = expected.central_problem("EnforceFunctionRoles", listed(rule, EventPattern=narrow))
    assert "selects other events" in problem

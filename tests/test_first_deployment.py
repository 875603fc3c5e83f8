"""template.yaml at its first deployment: the order of resources, the remains of a failure, and the costs."""

from collections import defaultdict
from itertools import product

import pytest
from rolewarden_local.emulated import order

from tests.conftest import ROOT
from tests.permissions import actions, of_template
from tests.stacks import EVERYTHING, FUNCTIONS, RECEIVERS, translated, whole

KEY = {"KmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}
TOPOLOGIES = list(
    product(
        ("us-east-1", "eu-west-1"),
        ({}, KEY, {"Regions": "us-east-1,eu-west-1"}, EVERYTHING, {**EVERYTHING, **KEY}),
    )
)


@pytest.fixture(params=TOPOLOGIES, ids=lambda given: " ".join((given[0], *given[1])))
def template(request):
    """The template in a Region, with few and with many parameters."""
    region, parameters = request.param
    return translated(region, **parameters)


def dependencies(template):
    """The dependencies of each resource, by DependsOn or by a reference."""
    made = template.made()
    resources = template.body["Resources"]
    return {name: order.dependencies(resources[name], made) - {name} for name in made}


def all_dependencies(template, name):
    """All direct and indirect dependencies of a resource."""
    direct, left = dependencies(template), [name]
    found: set[str] = set()
    while left:
        new = direct[left.pop()] - found
        found |= new
        left += new
    return found


def scheduled(template):
    """The rules that invoke a function on a schedule, and the permissions that they need."""
    rules = {name for name, rule in template.resources("AWS::Events::Rule").items() if "ScheduleExpression" in rule}
    permissions = {
        name
        for name, needs in dependencies(template).items()
        if needs & rules and template.body["Resources"][name]["Type"] == "AWS::Lambda::Permission"
    }
    assert (len(rules), len(permissions)) == (5, 5)
    return rules | permissions


def test_guardrails_are_published_after_resources_that_the_first_sweep_needs_or_that_can_fail(template):
    following = {"Guardrails"} | scheduled(template)
    assert template.made() - following == all_dependencies(template, "Guardrails")


def test_the_schedule_invokes_no_function_before_the_guardrails_are_published(template):
    for name in scheduled(template):
        assert "Guardrails" in all_dependencies(template, name), name


def test_the_guardrails_are_updated_only_with_a_layer_so_that_no_parameter_confirms_an_exemption(template):
    properties = template.body["Resources"]["Guardrails"]["Properties"]
    layers = {name: properties.pop(name)["Ref"] for name in ("Guardrails", "Code")}
    assert properties == {"ServiceToken": {"Fn::GetAtt": ["PublishFunction", "Arn"]}, "ServiceTimeout": 180}
    for name, logical in layers.items():
        layer = template.body["Resources"][logical]["Properties"]
        assert layer["CompatibleArchitectures"] == ["x86_64", "arm64"], name


def test_stacksets_are_created_after_the_functions_so_that_iam_shows_them_the_roles():
    template = whole()
    needed = all_dependencies(template, "Forwarders")
    assert template.resources("AWS::Lambda::EventSourceMapping").keys() <= needed


def test_the_stack_names_only_the_canarys_role_and_policy_and_samconfig_has_the_capability_for_names():
    template = whole()
    named = {"AWS::IAM::Role": "RoleName", "AWS::IAM::ManagedPolicy": "ManagedPolicyName"}
    found = {logical for kind, name in named.items() for logical, of in template.resources(kind).items() if name in of}
    assert found == {"CanaryPolicy", "CanaryRole"}
    assert 'capabilities = "CAPABILITY_NAMED_IAM"' in (ROOT / "samconfig.toml").read_text(encoding="utf-8")


def test_the_functions_and_their_layers_can_run_on_both_processors():
    for processor in ("x86_64", "arm64"):
        template = translated(Architecture=processor)
        for name, function in template.resources("AWS::Lambda::Function").items():
            assert function["Architectures"] == [processor], name
        for name, layer in template.resources("AWS::Lambda::LayerVersion").items():
            assert processor in layer["CompatibleArchitectures"], name


def test_retained_resources_are_deleted_if_the_stack_cannot_be_created():
    policies = {
        name: resource["DeletionPolicy"]
        for name, resource in whole().body["Resources"].items()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert policies == dict.fromkeys(("DetachLogs", "HistoryTable"), "RetainExceptOnCreate")


def sends_to(template):
    """The functions to whose queues each function can send messages."""
    found = defaultdict(set)
    for rights in of_template(template):
        for statement in rights.statements():
            if statement["Effect"] == "Allow" and "sqs:SendMessage" in actions(statement):
                named = statement["Resource"]
                for arn in [named] if isinstance(named, str) else named:
                    if receiver := RECEIVERS.get(arn.rsplit(":", 1)[-1]):
                        found[rights.function].add(receiver)
    return found


def test_only_intended_chains_of_messages_return_to_their_function():
    template = whole()
    follows = sends_to(template)

    def reached(function):
        found: set[str] = set()
        left = [function]
        while left:
            new = follows[left.pop()] - found
            found |= new
            left += new
        return found

    functions = template.resources("AWS::Lambda::Function")
    for name in FUNCTIONS:
        meant = "Allow" if name in reached(name) else None
        assert functions[name].get("RecursiveLoop") == meant, name


def test_a_table_has_no_kms_key_unless_the_stack_gets_one():
    for template in (translated(), whole()):
        for name, table in template.resources("AWS::DynamoDB::Table").items():
            assert not table.get("SSESpecification"), name
    for name, table in translated(**KEY).resources("AWS::DynamoDB::Table").items():
        expected = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY["KmsKeyArn"]}
        assert table["SSESpecification"] == expected, name

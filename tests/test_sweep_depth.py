"""A sweep that runs out of time or runs next to another one, and its reports."""

import itertools

import pytest
from botocore.exceptions import EndpointConnectionError
from rolewarden import sweep as module
from rolewarden.bindings import NamedRow, RoleKey
from rolewarden.clock import Clock, unlimited
from rolewarden.errors import RetryLater
from rolewarden.origin import SWEEP
from rolewarden.sweep_messages import Sweep
from rolewarden.work import Work
from rolewarden_local.aws import ACCOUNT_ID

from tests.guardrail_texts import TAGGED

pytestmark = pytest.mark.long

REGION = "us-east-1"
INHERITS = """
guardrails:
  strict: {bedrock: {deny: all}}
  lax: {bedrock: {deny: [anthropic.claude-v2*]}}
assignments:
  - {guardrails: [strict], user_profiles: [ravi]}
  - guardrails: [lax]
"""


def forget(world):
    world.bindings.write((), [binding.key for binding in world.bindings.all()])


def test_a_sweep_that_runs_out_of_time_continues_with_a_message_and_reads_nothing_twice(world, monkeypatch):
    forget(world)
    monkeypatch.setattr(module, "CHUNK", 2)
    clock = itertools.cycle([1000.0, 0.0])  # Every second call finds no time left.
    world.sweeper.clock = Clock(seconds_left=lambda: next(clock))
    mark = world.aws.mark()
    world.sweep()
    described = [call for call in world.aws.calls(mark) if call.operation == "DescribeUserProfile"]
    assert len(described) == 6
    assert len(world.bound()) == 10
    assert world.attached("CanvasRosa") == {"only-nova-and-sonnet"}
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_the_comparison_waits_for_the_last_chunk_in_any_order(world, monkeypatch):
    forget(world)
    monkeypatch.setattr(module, "CHUNK", 1)
    sweeper = world.sweeper
    sweeper.start()
    chunks = world.queued("SWEEP_QUEUE_URL")
    assert len(chunks) == 6
    for body in reversed(chunks):
        assert world.queued() == []
        sweeper.handle_message(body)
    [compare] = world.queued("SWEEP_QUEUE_URL")
    assert sweeper.handle_message(compare)["unprotected"] == 7


def test_a_chunk_that_arrives_twice_changes_nothing(world, monkeypatch):
    forget(world)
    monkeypatch.setattr(module, "CHUNK", 1)
    sweeper = world.sweeper
    sweeper.start()
    for body in world.queued("SWEEP_QUEUE_URL"):
        sweeper.handle_message(body)
        sweeper.handle_message(body)
    world.sweep()
    assert len(world.bound()) == 10
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_two_sweeps_at_once_have_the_same_result_as_one(world, monkeypatch):
    forget(world)
    monkeypatch.setattr(module, "CHUNK", 1)
    sweeper = world.sweeper
    sweeper.start()
    sweeper.start()
    world.end_sweeps()
    assert len(world.bound()) == 10
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_binding_of_a_concurrent_event_is_kept(world):
    world.swept()
    sweeper = world.sweeper
    old_time = sweeper.clock.now() - 60
    sweeper.clock = Clock(now=lambda: old_time)  # The sweep has read the role earlier.
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia")}
    )
    world.enforce(world.event("CreateUserProfile"))
    key = next(binding.key for binding in world.bindings.all() if binding.user_profile == "nadia")
    world.bindings.write((), [key], at=old_time)
    assert "CanvasNadia" in world.bound().values()


def test_an_older_reading_does_not_overwrite_a_newer_one(world):
    table = world.bindings
    omar = next(binding for binding in table.all() if binding.user_profile == "omar")
    older, newer = (replaced(omar, name) for name in ("Older", "Newer"))
    table.write([newer], at=2_000_000_000.0)
    table.write([older], at=1_999_999_999.0)
    assert "Newer" in world.bound().values()


def replaced(binding, role):
    return binding._replace(role=RoleKey(ACCOUNT_ID, role))


def test_a_profile_without_the_role_it_needs_is_reported_once_with_a_recommended_action(world_with):
    world = world_with(INHERITS)
    world.sweep()
    world.sweep()
    [row] = world.history("d-research0001/ravi")
    assert (row["reason"], row["missing"]) == ("shares its domain's role", ["strict"])
    assert "execution role of its own" in row["recommendation"]


def test_a_profile_whose_domain_needs_the_same_is_no_finding(world):
    world.swept()
    assert world.history("d-research0001/ravi") == []


def test_a_role_that_no_sweep_can_remediate_is_reported_once_by_sweeps_and_again_by_an_event(world):
    for _ in range(3):
        world.sweep()
    assert [row["reason"] for row in world.history("CanvasFull")] == ["quota full"]
    world.verdict("CanvasFull")
    assert len(world.history("CanvasFull")) == 2


def test_a_completed_sweep_reports_its_counts(world):
    world.swept()
    counts = world.sweeper.start()
    assert (counts["roles"], counts["unprotected"], counts["surplus"]) == (8, 1, 0)
    assert counts["seconds"] >= 0


def test_an_account_without_domains_is_swept(world):
    for domain in world.sagemaker.list_domains()["Domains"]:
        for profile in world.sagemaker.list_user_profiles(DomainIdEquals=domain["DomainId"])["UserProfiles"]:
            world.sagemaker.delete_user_profile(DomainId=domain["DomainId"], UserProfileName=profile["UserProfileName"])
        world.sagemaker.delete_domain(DomainId=domain["DomainId"])
    assert world.sweep() == []
    assert world.bound() == {}


@pytest.mark.parametrize("why", ["unreachable", "denied"])
def test_if_domains_cannot_be_listed_known_roles_stay_protected_and_it_is_reported_once(world, monkeypatch, why):
    def unreachable(*_, **__):
        raise EndpointConnectionError(endpoint_url="https://api.sagemaker.mars-north-1.amazonaws.com/")

    world.sweep()
    before = world.bound()
    world.detach("CanvasOmar", "no-generative-ai")
    if why == "unreachable":
        monkeypatch.setattr(world.runtime.aws._sagemaker_in(REGION), "get_paginator", unreachable)
    with world.aws.failing("ListDomains", "AccessDeniedException"):
        world.sweep()
        world.sweep()
    assert world.bound() == before
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
    [row] = world.history("*")
    assert row["reason"] == {"unreachable": "SageMaker cannot be reached", "denied": "access denied"}[why]


def test_a_role_that_is_deleted_before_its_work_is_no_error(world):
    world.sweeper.start()
    work = next(body for body in world.queued() if body["role"] == "CanvasOmar")
    for policy in world.iam.list_attached_role_policies(RoleName="CanvasOmar")["AttachedPolicies"]:
        world.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=policy["PolicyArn"])
    world.iam.delete_role(RoleName="CanvasOmar")
    assert world.enforcer.handle_message(work)["reason"] == "role does not exist"


@pytest.mark.parametrize("count", [20, 21])
def test_a_message_names_few_rows_and_the_index_is_read_for_many(world, count):
    omar = next(binding for binding in world.bindings.all() if binding.user_profile == "omar")
    assert omar.role
    work = Work.of_sweep(omar.role, ACCOUNT_ID, [omar] * count)
    again = Work.from_dict(work.as_dict())
    assert again == work
    assert (work.rows == (NamedRow(omar.key[0], omar.key[1], omar.digest),) * count) == (count == 20)
    assert work.origin == SWEEP


def test_messages_fit_sqs(world):
    sizes = []
    sqs = world.runtime.aws._sqs
    sent = sqs.send_message_batch

    def send(**request):
        sizes.append(sum(len(entry["MessageBody"]) for entry in request["Entries"]))
        return sent(**request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqs, "send_message_batch", send)
        world.runtime.aws.send(world.environment["WORK_QUEUE_URL"], [{"text": "x" * 100_000}] * 5)
    assert (len(sizes), max(sizes) < 256_000) == (3, True)


def test_a_detachment_waits_for_the_delay_of_its_queue(world, template):
    assert template.resources("AWS::SQS::Queue")["DetachQueue"]["DelaySeconds"] == 120
    requests = []
    sqs = world.runtime.aws._sqs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqs, "send_message_batch", lambda **request: requests.append(request) or {})
        world.runtime.aws.send("queue", [{}])
        world.runtime.aws.send("queue", [{}], delay=60)
    assert [entry.get("DelaySeconds") for request in requests for entry in request["Entries"]] == [None, 60]


def test_the_record_of_a_role_with_thousands_of_subjects_fits_an_event(world):
    for _ in range(60):
        world.sagemaker.create_user_profile(
            DomainId="d-analytics0001", UserProfileName=f"p-{len(world.bound())}",
            UserSettings={"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/CanvasOmar"},
        )  # fmt: skip
        world.enforce(world.event("CreateUserProfile"))
    [outcome] = world.enforce(world.detach("CanvasOmar", "no-generative-ai"))
    assert (len(outcome["subjects"]), outcome["more_subjects"]) == (50, 11)


def test_a_sweep_without_time_leaves_everything_to_a_message(world):
    sweeper = world.sweeper
    sweeper.clock = Clock(seconds_left=lambda: 1.0)
    assert sweeper.start() == {"listed": ""}
    [rest] = world.queued("SWEEP_QUEUE_URL")
    assert (rest["step"], world.queued()) == ("list", [])
    sweeper.clock = Clock(seconds_left=unlimited)
    assert sweeper.handle_message(rest)["unprotected"] == 7


def test_another_invocation_completes_a_slow_chunk_without_loss(world):
    forget(world)
    sweeper = world.sweeper
    sweep = Sweep(ACCOUNT_ID, sweeper.clock.now())
    sweeper.progress.begin(sweep.row, sweep.began, "the rules")
    sweeper.progress.add_chunks(sweep.row, {"d-analytics0001/ana"})
    sweeper.progress.end_listing(sweep.row)
    sweeper.clock = Clock(seconds_left=lambda: 1.0)
    sweeper.describe(sweep, REGION, "d-analytics0001", ["ana", "breakglass", "omar"])
    [rest] = world.queued("SWEEP_QUEUE_URL")
    assert (rest["step"], sorted(rest["profiles"])) == ("describe", ["breakglass", "omar"])
    sweeper.clock = Clock(seconds_left=unlimited)
    sweeper.handle_message(rest)
    assert sorted(b.user_profile for b in world.bindings.all()) == ["ana", "breakglass", "omar"]
    assert [body["step"] for body in world.queued("SWEEP_QUEUE_URL")] == ["compare"]


def test_a_comparison_that_runs_out_of_time_sends_all_work_once(world, monkeypatch):
    sweeper = world.sweeper
    sweeper.start()
    whole = {body["role"] for body in world.queued()}
    sent = []
    monkeypatch.setattr(sweeper.aws, "send", lambda url, bodies, **_: sent.append((url, list(bodies))))
    sweep = Sweep(ACCOUNT_ID, sweeper.clock.now())
    sweeper.progress.begin(sweep.row, sweep.began, "the rules")
    sweeper.clock = Clock(seconds_left=lambda: 1.0)
    sweeper.compare(sweep)
    [(queue, [rest])] = sent
    assert (queue, rest["step"]) == (sweeper.queues.sweep, "compare")
    sweeper.clock = Clock(seconds_left=unlimited)
    sweeper.handle_message(rest)
    assert {body["role"] for url, bodies in sent for body in bodies if url == sweeper.queues.work} == whole


def test_one_profile_with_a_temporary_error_does_not_block_others(world):
    forget(world)
    with world.aws.failing(
        "DescribeUserProfile", "InternalFailure", status=500, times=3
    ):  # botocore makes three tries.
        world.sweep()
    assert len(world.bound()) == 9
    assert world.attached("CanvasRosa") == {"only-nova-and-sonnet"}
    world.sweep()
    assert len(world.bound()) == 10


def test_a_row_with_a_concurrent_write_is_written_afterwards(world):
    world.bindings.write((), [binding.key for binding in world.bindings.all()])
    table, conflicts = world.bindings, [0]
    transact = world.runtime.aws._transact

    def conflicting(actions):
        conflicts[0] += 1
        if conflicts[0] == 1:
            raise RetryLater("TransactWriteItems: TransactionConflict")
        return transact(actions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.runtime.aws, "_transact", conflicting)
        patch.setattr("rolewarden.aws.time.sleep", lambda _: None)
        world.sweep()
    assert conflicts[0] > 1
    assert len(list(table.all())) == 10


def test_a_denied_list_of_domains_is_reported_after_one_of_tags_was_reported(world_with):
    world = world_with(TAGGED)
    with world.aws.failing("GetResources", "AccessDeniedException"):
        world.sweep()
    with world.aws.failing("ListDomains", "AccessDeniedException"):
        world.sweep()
    assert [row["message"].split(":")[0] for row in world.history("*")] == ["GetResources", "ListDomains"]


def test_unreadable_tags_of_a_changed_profile_keep_their_last_known_values(world_with):
    world = world_with(TAGGED)
    world.sweep()
    world.sagemaker.update_user_profile(
        DomainId="d-research0001", UserProfileName="rosa", UserSettings={"SecurityGroups": []}
    )
    with (
        world.aws.failing("GetResources", "AccessDeniedException"),
        world.aws.failing("ListTags", "AccessDeniedException"),
    ):
        world.sweep()
    rosa = next(binding for binding in world.bindings.all() if binding.user_profile == "rosa")
    assert rosa.tags == {"team": "data-science"}

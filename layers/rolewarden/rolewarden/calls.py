"""The calls to AWS as narrow Protocols. `rolewarden.aws.Aws` implements all of them and describes each call.

A collaborator takes the Protocol with the calls that it needs and no others: the recorder cannot attach a policy, the
sweep cannot write to IAM, and the function that attaches policies cannot edit them. mypy verifies this, see
tests/test_narrow_access.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from datetime import datetime

    from rolewarden.listed import ListedDomain, ListedProfile, ListedRule, ListedTrail, PublishedPolicy, RoleDescription
    from rolewarden.stacks import StackEvent, StackSetOperation


class Accounts(Protocol):
    """Gives access to AWS in other accounts."""

    def within(self, account: str, *, afresh: bool = False) -> Self:
        """As `Aws.within`."""


class Home(Accounts, Protocol):
    """Knows the account and region of the function."""

    @property
    def partition(self) -> str:
        """As `Aws.partition`."""

    @property
    def region(self) -> str:
        """As `Aws.region`."""

    def is_home(self, account: str) -> bool:
        """As `Aws.is_home`."""


class DescribesRoles(Accounts, Protocol):
    """Describes one IAM role."""

    def role(self, name: str) -> RoleDescription:
        """As `Aws.role`."""


class ReadsRoles(DescribesRoles, Protocol):
    """Reads one IAM role."""

    def attached_policies(self, role: str) -> frozenset[str]:
        """As `Aws.attached_policies`."""


class ReadsPolicies(Accounts, Protocol):
    """Reads one policy."""

    def policy(self, policy_arn: str, known: PublishedPolicy | None = None) -> PublishedPolicy | None:
        """As `Aws.policy`."""


class FindsNamesakes(ReadsPolicies, Protocol):
    """Reads one policy, and finds the policy of another path that has its name."""

    def namesake(self, name: str) -> str:
        """As `Aws.namesake`."""


class ListsPolicies(ReadsPolicies, Protocol):
    """Reads the policies of Rolewarden, and the roles that have them."""

    def policy_description(self, policy_arn: str) -> str:
        """As `Aws.policy_description`."""

    def own_policies(self) -> tuple[str, ...]:
        """As `Aws.own_policies`."""

    def roles_with_policy(self, policy_arn: str) -> frozenset[str]:
        """As `Aws.roles_with_policy`."""

    def roles_with_boundary(self, policy_arn: str) -> frozenset[str]:
        """As `Aws.roles_with_boundary`."""


class ListsRoles(Accounts, Protocol):
    """Lists the roles of an account, and those that have a policy."""

    def roles(self) -> Iterator[RoleDescription]:
        """As `Aws.roles`."""

    def roles_with_policy(self, policy_arn: str) -> frozenset[str]:
        """As `Aws.roles_with_policy`."""


class RemovesBoundaries(Accounts, Protocol):
    """Removes permissions boundaries."""

    def remove_boundary(self, role: str, *, correlation_id: str) -> bool:
        """As `Aws.remove_boundary`."""


class AttachesPolicies(ReadsRoles, FindsNamesakes, RemovesBoundaries, Protocol):
    """Attaches policies to roles and sets boundaries, for the Reconciler. It edits no policy."""

    def attach(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """As `Aws.attach`."""

    def set_boundary(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """As `Aws.set_boundary`."""


class RestoresCanary(ReadsRoles, Protocol):
    """Attaches the policy of the canary, for the Listener. It sets no boundary."""

    def attach(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """As `Aws.attach`."""


class DeletesPolicies(ListsPolicies, Protocol):
    """Deletes policies."""

    def delete_policy(self, policy_arn: str) -> None:
        """As `Aws.delete_policy`."""


class WritesPolicies(DeletesPolicies, Protocol):
    """Writes policies, for the Publisher. It changes no role."""

    def create_policy(self, name: str, text: str, description: str, *, correlation_id: str) -> None:
        """As `Aws.create_policy`."""

    def replace_policy(self, policy_arn: str, text: str, *, correlation_id: str) -> str:
        """As `Aws.replace_policy`."""

    def set_default_version(self, policy_arn: str, version: str, *, instead_of: str, correlation_id: str) -> None:
        """As `Aws.set_default_version`."""


class DetachesPolicies(ReadsRoles, RemovesBoundaries, DeletesPolicies, Protocol):
    """Detaches and deletes policies, for the Detacher. It attaches none."""

    def policy_created(self, policy_arn: str) -> float:
        """As `Aws.policy_created`."""

    def detach(self, role: str, policy_arn: str, *, correlation_id: str) -> bool:
        """As `Aws.detach`."""


class ReadsSubjects(Home, ReadsRoles, Protocol):
    """Reads domains, user profiles, their tags, and roles, for Discovery."""

    def domain(self, region: str, domain_id: str) -> Mapping[str, Any]:
        """As `Aws.domain`."""

    def user_profile(self, region: str, domain_id: str, name: str) -> Mapping[str, Any]:
        """As `Aws.user_profile`."""

    def sagemaker_tags(self, region: str, arn: str) -> dict[str, str]:
        """As `Aws.sagemaker_tags`."""


class ListsDomains(ReadsSubjects, Protocol):
    """Lists and reads domains and user profiles."""

    def domains(self, region: str) -> tuple[ListedDomain, ...]:
        """As `Aws.domains`."""

    def user_profiles(self, region: str, domain_id: str) -> tuple[ListedProfile, ...]:
        """As `Aws.user_profiles`."""


class ListsRegions(Protocol):
    """Lists the regions of an account, and the domains in those that the stack does not cover."""

    def enabled_regions(self) -> tuple[str, ...]:
        """As `Aws.enabled_regions`."""

    def domain_names(self, region: str) -> tuple[str, ...]:
        """As `Aws.domain_names`."""


class RereadsSubjects(ListsDomains, ListsRegions, Protocol):
    """Lists and reads domains and user profiles in all regions, for the Rereader."""


class ReadsTrails(Protocol):
    """Reads trails."""

    def trails(self, region: str) -> tuple[ListedTrail, ...]:
        """As `Aws.trails`."""

    def is_logging(self, region: str, trail_arn: str) -> bool:
        """As `Aws.is_logging`."""

    def selectors(self, region: str, trail_arn: str) -> tuple[Mapping[str, Any], ...]:
        """As `Aws.selectors`."""


class ReadsPaths(Home, ListsRegions, ReadsTrails, Protocol):
    """Reads trails, forwarding rules, dead-letter queues and all regions, for the probes of an account."""

    def rule(self, region: str, name: str) -> ListedRule | None:
        """As `Aws.rule`."""

    def messages_in(self, region: str, queue: str) -> int | None:
        """As `Aws.messages_in`."""


class SendsMessages(Protocol):
    """Sends messages to Rolewarden's queues."""

    def send(self, queue_url: str, bodies: Iterable[Mapping[str, Any]], *, delay: int = 0) -> None:
        """As `Aws.send`."""


class ListsSubjects(ListsPolicies, Home, Protocol):
    """Lists roles, domains, user profiles and their tags."""

    def roles(self) -> Iterator[RoleDescription]:
        """As `Aws.roles`."""

    def domains(self, region: str) -> tuple[ListedDomain, ...]:
        """As `Aws.domains`."""

    def user_profiles(self, region: str, domain_id: str) -> tuple[ListedProfile, ...]:
        """As `Aws.user_profiles`."""

    def subject_tags(self, region: str) -> dict[str, dict[str, str]]:
        """As `Aws.subject_tags`."""


class ListsMembers(Protocol):
    """Lists the accounts of a StackSet."""

    def stack_set_accounts(self, name: str, region: str, call_as: str) -> tuple[str, ...]:
        """As `Aws.stack_set_accounts`."""


class SweepsAccounts(ListsSubjects, ReadsPaths, SendsMessages, ListsMembers, Protocol):
    """Lists subjects and accounts, reads event paths, and sends messages to the queues, for the Sweeper."""


class SendsAlerts(ListsMembers, ReadsTrails, Protocol):
    """Sends alerts, and reads what decides on sending one, for the Alerter."""

    @property
    def partition(self) -> str:
        """As `Aws.partition`."""

    @property
    def region(self) -> str:
        """As `Aws.region`."""

    def notify(self, topic_arn: str, subject: str, forms: Mapping[str, str]) -> None:
        """As `Aws.notify`."""


class ReadsCalls(Home, Protocol):
    """Reads the calls that CloudTrail has recorded, for the Auditor."""

    def calls_of(self, event_name: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """As `Aws.calls_of`."""

    def recorded_call(self, event_id: str) -> Mapping[str, Any] | None:
        """As `Aws.recorded_call`."""


class ReadsWrites(Accounts, Protocol):
    """Reads the calls that changed something, as CloudTrail has recorded them."""

    def recorded_writes(self, region: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """As `Aws.recorded_writes`."""


class ReadsItems(Protocol):
    """Reads items of Rolewarden's tables."""

    def query(
        self,
        table: str,
        key: Mapping[str, str],
        *,
        index: str = "",
        begins: tuple[str, str] = ("", ""),
        least: tuple[str, str] = ("", ""),
        most: int = 0,
    ) -> list[dict[str, Any]]:
        """As `Aws.query`."""

    def newest(self, table: str, key: Mapping[str, str], most: int) -> list[dict[str, Any]]:
        """As `Aws.newest`."""

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """As `Aws.scan`."""


class WritesItems(ReadsItems, Protocol):
    """Reads and writes items of Rolewarden's tables."""

    def put(self, table: str, item: Mapping[str, Any]) -> None:
        """As `Aws.put`."""

    def put_unless(
        self, table: str, item: Mapping[str, Any], condition: str, values: Mapping[str, Any] | None = None
    ) -> bool:
        """As `Aws.put_unless`."""

    def put_all(self, table: str, items: Sequence[Mapping[str, Any]]) -> None:
        """As `Aws.put_all`."""

    def update(self, table: str, key: Mapping[str, str], expression: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """As `Aws.update`."""

    def write_newer(
        self, table: str, puts: Iterable[Mapping[str, Any]], deletes: Iterable[Mapping[str, str]], *, at: float
    ) -> None:
        """As `Aws.write_newer`."""


class WritesHistory(WritesItems, Protocol):
    """Writes history rows, and reports them on the event bus."""

    def put_events(self, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """As `Aws.put_events`."""


class ReadsStacks(Protocol):
    """Reads the status of the function's own stack."""

    @property
    def partition(self) -> str:
        """As `Aws.partition`."""

    @property
    def region(self) -> str:
        """As `Aws.region`."""

    def stack_status(self, stack_id: str) -> str:
        """As `Aws.stack_status`."""

    def stack_updated(self, stack_id: str) -> float:
        """As `Aws.stack_updated`."""

    def stack_created(self, stack_id: str) -> float:
        """As `Aws.stack_created`."""


class ReadsDeployments(Protocol):
    """Reads the outputs of the function's own stack, and the calls that deploy it."""

    def stack_output(self, stack_id: str, name: str) -> str:
        """As `StackReader.stack_output`."""

    def deployment_calls(self, stack_id: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """As `StackReader.deployment_calls`."""


class ReadsAccount(ListsSubjects, ReadsSubjects, ReadsPaths, ReadsItems, Protocol):
    """Reads an account and Rolewarden's tables, for the commands of operators that write nothing."""


class ReadsOperations(Protocol):
    """Reads the operations of the own stack and StackSets."""

    def stack_events(self, stack_id: str) -> Iterator[StackEvent]:
        """As `StackReader.stack_events`."""

    def stack_set_stack(self, name: str, place: tuple[str, str], call_as: str) -> str:
        """As `StackReader.stack_set_stack`."""

    def stack_set_operations(self, name: str, call_as: str) -> tuple[StackSetOperation, ...]:
        """As `StackReader.stack_set_operations`."""

    def stack_set_places(self, name: str, operation: str, call_as: str) -> frozenset[tuple[str, str]]:
        """As `StackReader.stack_set_places`."""

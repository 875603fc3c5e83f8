"""The models of the access matrix, and the inference profiles that lead to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.known import known_models
from rolewarden.matching import matches

from rolewarden_cli.account import InferenceProfile
from rolewarden_cli.connect import Connection
from rolewarden_cli.natural import natural_key

BEDROCK, JUMPSTART = "bedrock", "jumpstart"
LIVE = "live"

_GEOGRAPHIES = {"ap": "apac"}


class NoSuchModelError(RolewardenError):
    """No model has this ID; the message names a similar one or the next step."""


@dataclass(frozen=True)
class Model:
    """A column of the matrix: `family` is "bedrock" or "jumpstart"."""

    id: str
    family: str

    @property
    def provider(self) -> str:
        """The first part of the ID: the provider of a Bedrock model, the framework or source of a JumpStart model."""
        return self.id.split("." if self.family == BEDROCK else "-", 1)[0]


@dataclass(frozen=True)
class Models:
    """The columns, and the inference profiles that lead to them, by region.

    - `listed`: the source of the Bedrock models: "live", or the day of the shipped list and the reason for its use.
    - `unlisted`: a line for each column that is in no list.
    """

    columns: tuple[Model, ...]
    profiles: dict[str, tuple[InferenceProfile, ...]]
    listed: str
    unlisted: tuple[str, ...] = ()

    def behind(self, region: str, model: Model) -> Iterator[InferenceProfile]:
        """The inference profiles of a region that lead to a model."""
        for profile in self.profiles.get(region, ()):
            if any(arn.endswith(f"foundation-model/{model.id}") for arn in profile.models):
                yield profile


def models(connection: Connection, wanted: Sequence[str] = ()) -> Models:
    """The models that `wanted` names or matches (`*` and `?`), and all models if it is empty.

    Bedrock models are those that Bedrock offers in the connection's regions. If Bedrock does not answer, they come
    from the list that is shipped with the command. JumpStart models always come from that list, because JumpStart has
    no call that lists them. An ID that is in no list is used as given. Raises NoSuchModelError.
    """
    known, calls, regions = known_models(), connection.calls, connection.regions
    bedrock, profiles = list(known.bedrock), {}
    try:
        found = [calls.foundation_models(region) for region in regions]
        profiles = {region: calls.inference_profiles(region) for region in regions}
        bedrock, listed = list({model for ids in found for model in ids}), LIVE
    except (Refused, RetryLater) as error:
        listed = f"the list of {known.as_of}, because Bedrock does not answer: {error}"
    everything = [
        *(Model(name, BEDROCK) for name in sorted(bedrock, key=natural_key)),
        *(Model(name, JUMPSTART) for name in sorted(known.jumpstart, key=natural_key)),
    ]
    columns = tuple(_chosen(everything, wanted)) if wanted else tuple(everything)
    offered = set(everything)
    unlisted = tuple(_unlisted(model, everything) for model in columns if model not in offered)
    if listed != LIVE:
        profiles = {
            region: tuple(_likely(connection.aws.partition, connection.account, region, columns)) for region in regions
        }
    return Models(columns, profiles, listed, unlisted)


def _chosen(everything: Sequence[Model], wanted: Iterable[str]) -> Iterator[Model]:
    chosen: dict[Model, None] = {}
    for pattern in wanted:
        found = [model for model in everything if matches(pattern, model.id)]
        if not found and set(pattern) & set("*?"):
            raise NoSuchModelError(f"no model matches `{pattern}`: list the IDs with `rolewarden access --json`")
        if not found:
            # A new ID can extend a known ID, but a text from the middle of a known ID is a mistake.
            parts = [model.id for model in everything if pattern in model.id]
            if any(not part.startswith(pattern) for part in parts) or (parts and not set(pattern) & set(".-")):
                meant = next((part for part in parts if not part.startswith(pattern)), parts[0])
                raise NoSuchModelError(f"no model has the ID `{pattern}`: write `{meant}`, or `*{pattern}*`")
            found = [Model(pattern, BEDROCK if "." in pattern else JUMPSTART)]
        chosen |= dict.fromkeys(found)
    return iter(chosen)


def _unlisted(model: Model, everything: Sequence[Model]) -> str:
    """A line that says that a model is in no list, with the most similar ID."""
    near = get_close_matches(model.id, [other.id for other in everything], 1)
    family = "Bedrock" if model.family == BEDROCK else "JumpStart"
    hint = f"; the most similar ID is `{near[0]}`" if near else ""
    return f"no list has `{model.id}`: evaluating a {family} model with this ID{hint}"


def _likely(partition: str, account: str, region: str, columns: Iterable[Model]) -> Iterator[InferenceProfile]:
    """The inference profiles that AWS probably offers for each model: the one of the geography, and the global one."""
    first = region.split("-", maxsplit=1)[0]
    geography = "us-gov" if region.startswith("us-gov") else _GEOGRAPHIES.get(first, first)
    for model in columns:
        if model.family == BEDROCK:
            here = f"arn:{partition}:bedrock:{region}::foundation-model/{model.id}"
            anywhere = f"arn:{partition}:bedrock:::foundation-model/{model.id}"
            for place, arns in ((geography, (here,)), ("global", (here, anywhere))):
                name = f"{place}.{model.id}"
                arn = f"arn:{partition}:bedrock:{region}:{account}:inference-profile/{name}"
                yield InferenceProfile(name, arn, arns)

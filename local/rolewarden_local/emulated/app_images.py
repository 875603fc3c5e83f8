"""SageMaker's AppImageConfig, also in stacks.

moto and MiniStack do not have it.

The resource is free and needs no role. Requests and answers follow botocore's service model and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateAppImageConfig.html. AddTags accepts it:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from moto.sagemaker.exceptions import ResourceInUseException, ResourceNotFound
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends

from rolewarden_local.emulated._ministack import provisioners, responses

IMAGE_KIND: Final = "AWS::SageMaker::AppImageConfig"
RESOURCE_TYPE: Final = "app-image-config"


@dataclass
class AppImageConfig:
    """An AppImageConfig: its ARN, name and tags. It has no other property here."""

    arn: str
    name: str
    tags: list[dict[str, str]]


def install_app_images() -> None:
    """Add the type to CloudFormation. Call once a process."""
    provisioners._RESOURCE_HANDLERS[IMAGE_KIND] = {
        "create": lambda _logical, props, _stack: _provisioned(props),
        "update": lambda _physical, _old, new, _stack, *_more, **_named: _updated(new),
        "delete": lambda physical, _props: _delete_config(physical),
    }


def operations() -> dict[str, Callable[[Any], dict[str, Any]]]:
    """The calls of the service, by the names of moto's methods."""
    return {
        "create_app_image_config": lambda response: {
            "AppImageConfigArn": made(
                response.sagemaker_backend, response.params["AppImageConfigName"], response.params.get("Tags", [])
            ).arn
        },
        "describe_app_image_config": _described,
        "delete_app_image_config": _delete,
    }


def configs(backend: SageMakerModelBackend) -> dict[str, AppImageConfig]:
    """The AppImageConfigs of an account and region, by their names in lower case."""
    # They are in the backend's own __dict__, because moto clears it on a reset.
    found: dict[str, AppImageConfig] = backend.__dict__.setdefault("rolewarden_app_image_configs", {})
    return found


def made(backend: SageMakerModelBackend, name: str, tags: list[dict[str, str]]) -> AppImageConfig:
    """Make an AppImageConfig. Raises ResourceInUseException if the name is taken."""
    if name.lower() in configs(backend):
        raise ResourceInUseException(f"AppImageConfig {name} already exists.")
    arn = f"arn:aws:sagemaker:{backend.region_name}:{backend.account_id}:{RESOURCE_TYPE}/{name.lower()}"
    found = configs(backend)[name.lower()] = AppImageConfig(arn, name, list(tags))
    return found


def of_arn(backend: SageMakerModelBackend, arn: str) -> AppImageConfig:
    """The AppImageConfig with an ARN. Raises ResourceNotFound."""
    try:
        return configs(backend)[arn.rpartition("/")[2].lower()]
    except KeyError:
        raise ResourceNotFound(f"AppImageConfig {arn} does not exist.") from None


def _described(response: Any) -> dict[str, Any]:
    found = of_arn(response.sagemaker_backend, response.params["AppImageConfigName"])
    return {"AppImageConfigArn": found.arn, "AppImageConfigName": found.name}


def _delete(response: Any) -> dict[str, Any]:
    found = of_arn(response.sagemaker_backend, response.params["AppImageConfigName"])
    del configs(response.sagemaker_backend)[found.name.lower()]
    return {}


def _backend() -> SageMakerModelBackend:
    return sagemaker_backends[responses.get_account_id()][responses.get_region()]


def _provisioned(props: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    found = made(_backend(), props["AppImageConfigName"], props.get("Tags", []))
    return found.name, {"AppImageConfigArn": found.arn}


def _updated(props: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    found = of_arn(_backend(), props["AppImageConfigName"])
    found.tags = list(props.get("Tags", []))
    return found.name, {"AppImageConfigArn": found.arn}


def _delete_config(physical: str) -> None:
    configs(_backend()).pop(physical.lower(), None)

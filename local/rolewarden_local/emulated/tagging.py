"""Domains and user profiles of SageMaker in the answers of the Resource Groups Tagging API.

MiniStack answers this API only for its own services, and moto supplies SageMaker.
"""

from __future__ import annotations

from collections.abc import Iterator

from moto.sagemaker.models import sagemaker_backends

from rolewarden_local.emulated._ministack import tagging
from rolewarden_local.emulated.sagemaker import members_of


def install_tagging() -> None:
    """Add them to the answers of GetResources. As in AWS, it lists only resources with tags."""
    tagging._COLLECTORS["sagemaker"] = _collect


def _collect() -> Iterator[tuple[str, list[dict[str, str]]]]:
    backend = sagemaker_backends[tagging._account()][tagging.get_region()]
    for domain in backend.domains.values():
        if domain.tags:
            yield domain.domain_arn, list(domain.tags)
    for member in members_of(backend):
        if member.tags:
            yield member.arn, list(member.tags)

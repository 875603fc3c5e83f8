"""Write the bill of materials of a built layer, as CycloneDX in JSON.

    python bom.py FOLDER FILE

FOLDER is the folder `python` of the layer, as `sam build` made it. The bill lists each package that is in it, with its
version, its license, and the SHA-256 hash of the wheel that it comes from. The same layer gives the same file: the
serial number comes from the content, and the file has a time only if SOURCE_DATE_EPOCH is set
(https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packages import REQUIREMENTS, pinned
from packageurl import PackageURL

LICENSES = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
}
"""The SPDX identifier of each license that a package of the layer names only with a classifier."""

OWN = "rolewarden"

REWRITTEN = ("botocore/data/", "botocore/docs/", "urllib3/http2/")
"""The folders in which trim.py writes files of its own."""


class IncompleteBillError(Exception):
    """The layer contains something that the bill cannot describe; the message has the correction."""


def bill_of(site: Path, environment: Mapping[str, str]) -> str:
    """The bill of the layer in `site`. Raises IncompleteBillError."""
    if not (site / OWN).is_dir():
        raise IncompleteBillError(f"{site} is no layer of Rolewarden: run `sam build` first")
    epoch = environment.get("SOURCE_DATE_EPOCH")
    if epoch is not None and not re.fullmatch(r"[0-9]{1,11}", epoch):
        raise IncompleteBillError(f"SOURCE_DATE_EPOCH is `{epoch}`: set it to a number of seconds, or unset it")
    hashes = pinned(REQUIREMENTS)
    found = sorted(distributions(path=[str(site)]), key=lambda package: normalized(package.metadata["Name"]))
    bom = Bom()
    bom.metadata.component = own_component(site)
    for package in found:
        bom.components.add(component(package, hashes))
    listed = {f"{each.name}=={each.version}" for each in bom.components}
    if missing := {*hashes} - listed:
        raise IncompleteBillError(f"the layer lacks {', '.join(sorted(missing))}: run `sam build` again")
    if unknown := [*foreign(site, found)]:
        raise IncompleteBillError(f"no listed package has this {unknown[0]} of the layer: run `sam build` again")
    bom.register_dependency(bom.metadata.component, bom.components)
    bom.serial_number = uuid5(NAMESPACE_URL, " ".join(sorted(f"{name} {hashes[name]}" for name in listed)))
    bom.metadata.timestamp = datetime.fromtimestamp(int(epoch or 0), UTC)
    text = json.loads(JsonV1Dot6(bom).output_as_string())
    if epoch is None:
        del text["metadata"]["timestamp"]
    return json.dumps(text, indent=2, sort_keys=True) + "\n"


def own_component(site: Path) -> Component:
    """Rolewarden itself, which has no wheel in the layer."""
    source = (site / OWN / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', source)
    if found is None:
        raise IncompleteBillError(f"{OWN}/__init__.py has no version: add `__version__`")
    return Component(
        name="RolewardenLayer",
        version=found[1],
        type=ComponentType.APPLICATION,
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        bom_ref=f"{OWN}@{found[1]}",
    )


def component(package: Distribution, hashes: Mapping[str, list[str]]) -> Component:
    """A package of the layer. Its wheel must have a hash in requirements.txt."""
    name, version = normalized(package.metadata["Name"]), package.version
    if f"{name}=={version}" not in hashes:
        raise IncompleteBillError(f"{name} {version} has no hash in requirements.txt: run `sam build` again")
    url = PackageURL("pypi", name=name, version=version)
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=str(url),
        purl=url,
        licenses=[LicenseFactory().make_from_string(license_of(name, package))],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=found) for found in hashes[f"{name}=={version}"]],
        properties=[Property(name="rolewarden:trimmed", value=str(is_trimmed(package)).lower())],
    )


def is_trimmed(package: Distribution) -> bool:
    """Whether the build removed or changed files of a package. The hash is that of the whole wheel."""
    return any(algorithm and not is_unchanged(package, name, algorithm) for name, algorithm in record_of(package))


def record_of(package: Distribution) -> list[tuple[str, str]]:
    """Each file of a package and its hash, also if the file does not exist any more. The record has no hash of itself.

    `Distribution.files` leaves out the files that do not exist.
    """
    return [(row[0], row[1]) for row in csv.reader((package.read_text("RECORD") or "").splitlines())]


def is_unchanged(package: Distribution, name: str, recorded: str) -> bool:
    """Whether a file exists with the hash that its package recorded."""
    file = Path(str(package.locate_file(name)))
    if not file.exists():
        return False
    digest = urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).decode().rstrip("=")
    return recorded == f"sha256={digest}"


def license_of(name: str, package: Distribution) -> str:
    """The SPDX expression of the license in the metadata of a package."""
    metadata, prefix = package.metadata, "License :: OSI Approved :: "
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    named = [each.removeprefix(prefix) for each in metadata.get_all("Classifier") or () if each.startswith(prefix)]
    if unknown := [each for each in named if each not in LICENSES]:
        raise IncompleteBillError(f"{name} has the license {unknown[0]}: add its SPDX identifier to LICENSES in bom.py")
    plain = metadata["License"] if "License" in metadata else ""  # noqa: SIM401 - PackageMetadata has no get
    if not named and re.fullmatch(r"[\w.+-]+", plain):
        return plain
    if not named:
        raise IncompleteBillError(f"{name} names no license: read its files, and add the license to bom.py")
    return " OR ".join(sorted({LICENSES[each] for each in named}))


def foreign(site: Path, found: list[Distribution]) -> Iterator[str]:
    """The files of the layer that no package has, or that differ from its record although the build leaves them."""
    recorded = {name: (package, algorithm) for package in found for name, algorithm in record_of(package)}
    for file in sorted(site.rglob("*")):
        name = file.relative_to(site).as_posix()
        if file.is_dir() or name.startswith((f"{OWN}/", *REWRITTEN)) or "__pycache__" in name:
            continue
        package, algorithm = recorded.get(name, (None, ""))
        if package is None or (algorithm and not is_unchanged(package, name, algorithm)):
            yield name


def normalized(name: str) -> str:
    """The name as registries compare it (https://packaging.python.org/en/latest/specifications/name-normalization/)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(site: str, target: str) -> str | None:
    """Write the file. Return None, or the line to print if the layer is not as its bill would say."""
    try:
        text = bill_of(Path(site), os.environ)
    except IncompleteBillError as error:
        return f"error: {error}"
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(text, encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

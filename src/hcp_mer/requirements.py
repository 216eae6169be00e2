"""What is installed against what pyproject.toml asks for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata

from hcp_mer.errors import UserError

PACKAGE = "hcp_mer"
# One module, four wheels: any of them serves, several in one environment overwrite each other.
OPENCV = (
    *("opencv-python", "opencv-python-headless"),
    *("opencv-contrib-python", "opencv-contrib-python-headless"),
)


@dataclass(frozen=True)
class Unfit:
    """A requirement that is not met. `found`: the version that is there, None if there is none."""

    name: str
    specifier: str
    found: str | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.name} is missing"
        return f"{self.name} is {self.found}, not {self.specifier}"


def unfit_requirements(extras: tuple[str, ...] = ()) -> list[Unfit]:
    """Declared requirements, and those of some extras, that are missing or too old.

    Raises:
        importlib.metadata.PackageNotFoundError: hcp_mer itself is not installed.
    """
    from packaging.requirements import Requirement

    unfit = []
    for requirement in map(Requirement, metadata.requires(PACKAGE) or []):
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        found = installed_version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            unfit.append(Unfit(requirement.name, str(requirement.specifier), found))
    return unfit


def installed_version(name: str) -> str | None:
    """Version of a package that is installed; OpenCV may come in any of its builds."""
    for candidate in OPENCV if name == "opencv-python" else (name,):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def how_to_install(unfit: list[Unfit]) -> str:
    return "pip install " + " ".join(f"'{each.name}{each.specifier}'" for each in unfit)


@cache
def check_requirements() -> None:
    """Raise UserError, in one sentence, where a library that we stand on is missing or too old."""
    try:
        unfit = unfit_requirements()
    except metadata.PackageNotFoundError:
        return  # run from its sources: nobody has declared anything
    if unfit:
        raise UserError(f"{'; '.join(map(str, unfit))}: {how_to_install(unfit)}")

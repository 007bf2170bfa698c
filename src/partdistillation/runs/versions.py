"""Versions of the software that a run's files were made with."""

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from partdistillation.runs import terminal

PACKAGES = ("partdistillation", "torch", "transformers", "numpy")
"""Those that decide numbers."""

_log = terminal.logger(__name__)


@lru_cache(maxsize=1)
def versions() -> Mapping[str, str]:
    """By package, the version of this process."""
    return {package: _version(package) for package in PACKAGES}


def gone_on(folder: Path, before: Mapping[str, str]) -> dict[str, str]:
    """The versions of a folder that others began, with those of this process; the log names what differs.

    Args:
        folder: what is gone on with, for the log.
        before: its versions until now; none are known of what older software made.
    """
    now = versions()
    changes = [
        f"{package} {earlier} (now {now[package]})"
        for package, earlier in before.items()
        if package in now and earlier.split(", ")[-1] != now[package]
    ]
    if changes:
        _log.warning(
            "%s was begun with %s: the rest may come out a little differently", folder, ", ".join(changes)
        )
    return {package: _joined(before.get(package, ""), newest) for package, newest in now.items()}


def _joined(before: str, newest: str) -> str:
    known = [word for word in before.split(", ") if word]
    return ", ".join(known if newest in known[-1:] else [*known, newest])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

"""A Ray cluster: one that is there, or one of this command's own on this machine."""

import os
import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from partdistillation.config import Driver, RayCluster
from partdistillation.errors import ConfigError, to_install
from partdistillation.runs.versions import versions

_SECONDS_TO_ANSWER = 5.0
_SECONDS_TO_BEGIN = 60.0
"""For a process of another machine, that only says what is installed there."""
_STORE_BYTES = 128 * 1024**2
"""Shared memory of a Ray of our own: for what actors are made from, as rows don't go through it."""


def connected(driver: Driver, workers: int) -> Driver:
    """The driver, `connect`ed where it is a Ray cluster; "ray" is one of this command's own.

    Raises:
        ConfigError: as `connect`.
    """
    if driver == "ray":
        driver = RayCluster()
    if isinstance(driver, RayCluster):
        connect(driver, workers)
    return driver


def connect(cluster: RayCluster, workers: int) -> ModuleType:
    """Connect this process to a cluster, or start one here, unless that is done; return Ray's module.

    Args:
        cluster: where it is.
        workers: for how many a Ray of this command's own has to have room.

    Raises:
        ConfigError: Ray isn't installed, no Ray is there, or its machines have other software.
    """
    ray = _imported()
    if ray.is_initialized():
        return ray
    if cluster.address:
        _require_listener(cluster.address)
        _init(ray, cluster.address)
        try:
            _require_same_software(ray)
        except ConfigError:
            ray.shutdown()
            raise
    else:
        cores = max(workers, os.cpu_count() or 1)
        _init(ray, "local", num_cpus=cores, include_dashboard=False, object_store_memory=_STORE_BYTES)
    return ray


def _imported() -> ModuleType:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # or it reports to its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of its next version
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"--engine ray needs Ray: {to_install('ray')} ({error})") from error
    module: ModuleType = ray
    return module


def _init(ray: ModuleType, address: str, **options: Any) -> None:
    try:
        ray.init(address=address, **options, logging_level="ERROR", log_to_driver=False)
    except (Exception, SystemExit) as error:  # it ends the process where somebody else answers
        cause = "no Ray there" if isinstance(error, SystemExit) else str(error).strip().splitlines()[0]
        raise ConfigError(
            f"--engine ray: expected to use the Ray at {address}, found: {cause}. Is it started (`ray start "
            "--head`), with this machine's versions of Ray and Python?"
        ) from error


def _require_listener(address: str) -> None:
    """Ray itself would try for two minutes, and end this process."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"--ray-address: expected HOST:PORT of a cluster's head or auto, found {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise ConfigError(
            f"--ray-address: expected a Ray at {address}, found nobody there ({error.strerror or error}). Is "
            "it started (`ray start --head` on that machine), and can this one reach it?"
        ) from error


def _require_same_software(ray: ModuleType) -> None:
    """Rows depend on who makes them."""
    nodes = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}
    answers = {machine: _asked(ray, node) for machine, node in nodes.items()}
    for machine, answer in answers.items():
        try:
            require_same(machine, {name: _version(ray, answer[name]) for name in answer})
        except ray.exceptions.RayError as error:
            raise ConfigError(
                f"--engine ray: expected {machine}, of the cluster, to say what is installed there, found: "
                f"{str(error).splitlines()[0]}"
            ) from error


def _asked(ray: ModuleType, node: str) -> dict[str, Any]:
    """A machine's answers, by package. It is asked by Python's own function: ours may be missing there."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))(
        version
    )
    return {name: ask.remote(name) for name in versions()}


def _version(ray: ModuleType, answer: Any) -> str:
    try:
        there: str = ray.get(answer, timeout=_SECONDS_TO_BEGIN)
    except PackageNotFoundError:
        return "not installed"
    return there


def require_same(machine: str, there: Mapping[str, str]) -> None:
    """Compare the software of a machine of the cluster with this process's.

    Raises:
        ConfigError: they differ.
    """
    here = versions()
    others = [f"{name} {there[name]} (here {here[name]})" for name in here if there[name] != here[name]]
    if others:
        raise ConfigError(
            f"--engine ray: expected the same software on all machines, found on {machine}, of the cluster, "
            f"{', '.join(others)}: install the same everywhere"
        )

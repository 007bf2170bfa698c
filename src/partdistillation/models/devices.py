"""Where networks run."""

import os

import torch

from partdistillation.config import Device
from partdistillation.errors import ConfigError
from partdistillation.settings import check


def choose_device(device: Device) -> torch.device:
    """The device that a setting names; `auto` is a GPU if there is one, for each of torchrun's processes.

    Raises:
        ConfigError: another name than these; or a GPU is asked for, and there is none (or fewer than
            torchrun's processes).
    """
    check("--device", Device, device)
    if device == "auto":
        device = _best()
    kind, _, number = device.partition(":")
    if kind == "cuda":
        return torch.device("cuda", _gpu(int(number) if number else None))
    if kind == "mps":
        _require_mps()
    return torch.device(kind)


def _best() -> Device:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() and not _is_one_of_several() else "cpu"


def _gpu(number: int | None) -> int:
    """The number of a GPU that is there: the one asked for, or this process's own."""
    if number is not None and _is_one_of_several():
        raise ConfigError(
            f"--device: expected cuda, of which each of torchrun's processes takes one, found cuda:{number}"
        )
    place = int(os.environ.get("LOCAL_RANK", "0")) if number is None else number
    if place >= (count := torch.cuda.device_count()):
        wanted = f"{place + 1} GPUs" if place else "1 GPU"
        raise ConfigError(
            f"--device: expected {wanted} that PyTorch can use, found {count}; choose cpu, "
            + ("or start fewer processes" if number is None else "or a lower number, from 0 on")
        )
    return place


def _require_mps() -> None:
    if _is_one_of_several():
        raise ConfigError("--device: expected cpu or cuda for torchrun's processes, found mps")
    if not torch.backends.mps.is_available():
        raise ConfigError(
            "--device: expected a Mac whose GPU PyTorch can use (mps), found none; choose cpu or auto"
        )


def _is_one_of_several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1

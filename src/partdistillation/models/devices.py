"""Where networks run."""

import os
from typing import get_args

import torch

from partdistillation.config import Device
from partdistillation.errors import ConfigError
from partdistillation.settings import nearest


def choose_device(device: Device) -> torch.device:
    """The device that a setting names; `auto` is a GPU if there is one, for each of torchrun's processes.

    Raises:
        ConfigError: another name than these; or a GPU is asked for, and there is none (or fewer than
            torchrun's processes).
    """
    if device not in get_args(Device):
        raise ConfigError(
            f"--device: expected one of {', '.join(get_args(Device))}, found {device!r}"
            f"{nearest(str(device), get_args(Device))}"
        )
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= count:
        raise ConfigError(
            f"--device: expected {place + 1} GPUs that PyTorch can use, found {count}; choose cpu, or start "
            "fewer processes"
        )
    return torch.device("cuda", place)

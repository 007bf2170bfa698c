"""Where networks run."""

import torch

from partdistillation.config import Device
from partdistillation.errors import ConfigError


def choose_device(device: Device) -> torch.device:
    """The device that a setting names; `auto` is a GPU if there is one.

    Raises:
        ConfigError: a GPU is asked for, and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device: expected a GPU that PyTorch can use, found none; choose cpu or auto")
    return torch.device(device)

"""The device that a setting names, with and without GPUs."""

import pytest
import torch

from partdistillation.errors import ConfigError
from partdistillation.models.devices import choose_device


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of torchrun's, on a machine that isn't a Mac."""
    for name in ("LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def apple(no_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def test_without_gpus(no_gpus: None) -> None:
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"--device: expected 1 GPU .* found 0; choose cpu"):
        choose_device("cuda")


def test_with_gpus(gpus: None) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)


def test_each_process_has_its_own(gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="expected 3 GPUs"):
        choose_device("auto")


def test_a_gpu_by_its_number(gpus: None) -> None:
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match=r"expected 3 GPUs .* found 2; choose cpu, or a lower number"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:0", ""])
def test_other_names(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--device: expected one of auto, cpu, cuda, cuda:N, mps, found "):
        choose_device(name)


def test_apple(apple: None) -> None:
    assert choose_device("auto") == choose_device("mps") == torch.device("mps")
    assert choose_device("cpu") == torch.device("cpu")


def test_nvidia_before_apple(apple: None, gpus: None) -> None:
    assert choose_device("auto").type == "cuda"


def test_apple_elsewhere(no_gpus: None) -> None:
    with pytest.raises(ConfigError, match=r"expected a Mac .* found none; choose cpu or auto"):
        choose_device("mps")


def test_what_processes_of_torchrun_cannot_share(
    apple: None, gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"expected cuda, of which each .* found cuda:1"):
        choose_device("cuda:1")
    with pytest.raises(ConfigError, match="expected cpu or cuda for torchrun's processes, found mps"):
        choose_device("mps")


def test_processes_of_torchrun_on_a_mac(apple: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert choose_device("auto") == torch.device("cpu")

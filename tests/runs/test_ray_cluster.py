"""What is said where Ray can't be used; tests with a Ray are in `test_ray_engine`."""

import re
import socket
import sys
from pathlib import Path

import pytest

from partdistillation.commands.main import main
from partdistillation.config import Inputs, RayCluster
from partdistillation.errors import ConfigError
from partdistillation.runs.ray_cluster import connect, require_same
from partdistillation.runs.versions import versions


def test_an_address_without_the_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="--ray-address is for --engine ray: found --engine processes"):
        Inputs(ray_address="auto")


def test_the_driver_says_where_and_whether_with_gpus() -> None:
    assert Inputs(engine="shared").driver == "shared"
    assert Inputs(engine="ray", ray_address="head:6379").driver == RayCluster("head:6379", gpus=True)
    assert Inputs(engine="ray", device="cpu").driver == RayCluster("", gpus=False)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--engine ray needs Ray: pip install '.\[ray\]'"):
        connect(RayCluster(), 1)


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "ray://head:10001", "head:99999", "head:x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="--ray-address: expected HOST:PORT of a cluster's head or auto"):
        connect(RayCluster(address), 1)


def test_nobody_at_the_address_is_said_before_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = ["run", "--images", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*command, "--engine", "ray", "--ray-address", f"127.0.0.1:{port}"]) == 2
    error = capsys.readouterr().err
    assert f"partdistill: --ray-address: expected a Ray at 127.0.0.1:{port}, found nobody there" in error
    assert not (tmp_path / "out").exists()


def test_other_software_is_named() -> None:
    here = versions()
    require_same("node-7", here)
    message = f"found on node-7, of the cluster, torch 0.1 (here {here['torch']}): install the same"
    with pytest.raises(ConfigError, match=re.escape(message)):
        require_same("node-7", {**here, "torch": "0.1"})

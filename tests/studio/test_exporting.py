"""What is downloaded of a run: written by a process, of the parts as they are now."""

import io
import time
import zipfile
from typing import Any

import pytest
from starlette.testclient import TestClient

from partdistillation.runs.part_table import ClassParts, PartTable, write_part_table
from partdistillation.studio.decisions import TABLE

from .conftest import HOSTILE, MakeRun

pytestmark = pytest.mark.slow


def exported(client: TestClient, format_: str) -> dict[str, Any]:
    address = f"/api/runs/cars/export/{format_}"
    state: dict[str, Any] = client.post(address, json={}).json()
    end = time.monotonic() + 120
    while state["state"] == "going on":
        assert time.monotonic() < end
        time.sleep(0.1)
        state = client.get(address).json()
    return state


def test_coco_of_a_run_has_the_names_of_its_part_table(make_run: MakeRun, client: TestClient) -> None:
    out = make_run("cars")
    assert client.get("/api/runs/cars/export/coco").json() == {"state": "never", "why": ""}
    assert client.get("/api/runs/cars/export/coco/file").status_code == 404
    (out / TABLE).parent.mkdir()
    write_part_table(out / TABLE, PartTable({"car": ClassParts(names={1: "wheel"})}))
    assert exported(client, "coco") == {"state": "finished", "why": ""}
    answer = client.get("/api/runs/cars/export/coco/file")
    names = {category["name"] for category in answer.json()["categories"]}
    assert {"car", HOSTILE} < names
    assert any("wheel" in name for name in names)
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''cars%20coco.json"
    (out / TABLE).unlink()
    assert client.get("/api/runs/cars/export/coco").json()["state"] == "never"


def test_several_files_come_as_a_zip(make_run: MakeRun, client: TestClient) -> None:
    make_run("cars", categories=("car",))
    assert exported(client, "masks")["state"] == "finished"
    answer = client.get("/api/runs/cars/export/masks/file")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert sum(name.endswith(".png") for name in archive.namelist()) == 2 * 4  # objects and parts


def test_why_it_failed_is_said(make_run: MakeRun, client: TestClient) -> None:
    out = make_run("cars")
    shard = next((out / "parts").glob("*.parquet"))
    shard.write_bytes(b"damaged")
    state = exported(client, "coco")
    assert state["state"] == "failed"
    assert "damaged" in state["why"]


def test_no_other_format_or_run(make_run: MakeRun, client: TestClient) -> None:
    make_run("cars")
    assert client.get("/api/runs/cars/export/exe").status_code == 422
    assert client.get("/api/runs/none/export/coco").status_code == 404

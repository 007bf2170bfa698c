"""New photographs, sent to a studio whose run has a model of random weights and a saliency known by hand."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from partdistillation import config
from partdistillation.config import Inputs, Recipe
from partdistillation.inference import PartSegmenter
from partdistillation.recipes import SMALL
from partdistillation.review.guard import PAGE_HEADER
from partdistillation.stages import distillation, retraining
from partdistillation.studio import uploaded, worker
from partdistillation.studio.app import make_application
from partdistillation.studio.judging import Judging
from partdistillation.studio.questions import Know
from partdistillation.studio.trying import MODELS, UPLOADS
from partdistillation.studio.worker import Busy, Worker
from partdistillation.studio.workspace import Workspace

from .tiny_models import encoded, photograph, write_models

URL = "/api/runs/cars/try"
FILE = {"content-type": "application/octet-stream"}
Send = Callable[..., Any]


@pytest.fixture(scope="module")
def runs(
    tiny_recipe: Recipe, write_network: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_models(folder / "cars", tiny_recipe, write_network)
    (folder / "begun").mkdir()
    (folder / "begun" / config.CONFIG_FILE).write_text(config.to_yaml(SMALL, Inputs()), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def asking(runs: Path) -> Iterator[TestClient]:
    """A client of one studio for all tests: its worker begins once."""
    workspace = Workspace(runs)
    with closing(Judging(workspace)) as judging:
        application = make_application(workspace, judging, host="127.0.0.1", token=None)
        with TestClient(application, base_url="http://127.0.0.1:8764") as client:
            client.headers |= {"origin": "http://127.0.0.1:8764", PAGE_HEADER: "not known yet"}
            client.headers[PAGE_HEADER] = client.post("/api/session", json={}).json()["page"]
            yield client


@pytest.fixture
def send(asking: TestClient) -> Send:
    def send(data: bytes, name: str = "a.png", *, status: int = 200) -> Any:
        answer = asking.post(f"{URL}/upload", params={"name": name}, content=data, headers=FILE)
        assert answer.status_code == status, answer.text
        return answer.json()

    return send


@pytest.fixture
def correct(asking: TestClient) -> Send:
    def correct(
        seen: Any, clicks: Any, number: int | None = 0, category: str | None = "car", *, status: int = 200
    ) -> Any:
        points = [{"x": x, "y": y, "inside": inside} for x, y, inside in clicks]
        answer = asking.post(
            f"{URL}/photographs/{seen['id']}/correct",
            json={"object": number, "category": category, "clicks": points},
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    return correct


def test_the_models_are_where_the_stages_put_them() -> None:
    assert MODELS["part_model"] == Path(distillation.FOLDER)
    assert MODELS["retrained"] == Path(retraining.FOLDER) / distillation.FOLDER


def test_the_server_loads_no_network_library() -> None:
    code = "import sys, partdistillation.studio.app as _; print({'torch', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.slow
def test_a_killed_worker_is_told_and_another_begins(asking: TestClient, send: Send) -> None:
    for process in active_children():  # of tests before
        process.kill()
        process.join()
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(asking.post, f"{URL}/warm", json={})
        while not (begun := active_children()):
            time.sleep(0.01)
        assert begun[0].pid is not None
        os.kill(begun[0].pid, signal.SIGKILL)
    assert asked.result().status_code == 503
    assert "SIGKILL" in asked.result().json()["detail"]
    assert send(encoded(photograph()))["objects"]


def test_an_opened_page_readies_the_model(asking: TestClient) -> None:
    assert asking.get(URL).json()["models"] == ["part_model"]
    assert asking.post(f"{URL}/warm", json={}).json() == {"classes": ["car", "cat"], "finds": True}


def test_a_run_without_a_part_model_says_so(asking: TestClient) -> None:
    assert asking.get("/api/runs/begun/try").json()["models"] == []
    answer = asking.post("/api/runs/begun/try/warm", json={})
    assert (answer.status_code, answer.json()["detail"][:32]) == (409, "there is no part model yet: the ")
    assert asking.post(f"{URL}/warm", json={"model": "retrained"}).status_code == 409


def test_what_is_seen_is_what_predict_finds(asking: TestClient, send: Send, runs: Path) -> None:
    """With the sliders where they begin; computed at lower ones, once."""
    data = encoded(photograph())
    seen = send(data, "a.png")
    assert (seen["width"], seen["height"], seen["name"]) == (96, 64, "a.png")
    assert [(entry["category"], entry["made"]) for entry in seen["objects"]] == [("car", False)]
    assert abs(seen["objects"][0]["share"] - 0.25) < 0.05
    assert seen["objects"][0]["path"].startswith("M")
    picture = asking.get(f"{URL}/photographs/{seen['id']}/picture")
    assert Image.open(io.BytesIO(picture.content)).size == (96, 64)
    query = f"photographs={seen['id']}&score=0.3&share=0.05"
    document = asking.get(f"{URL}/download/coco?{query}").json()
    expected = PartSegmenter.from_pretrained(runs / "cars/part_model")(data)
    assert expected.objects[0].parts
    expected = type(expected)(expected.image, expected.objects, "a.png", expected.catalog)
    assert document == json.loads(json.dumps(expected.to_coco()))
    assert asking.get(f"{URL}/download/json?{query}").json() == json.loads(expected.to_json())
    strict = asking.get(f"{URL}/download/coco?photographs={seen['id']}&score=0.3&share=0.99").json()
    assert [entry["category_id"] for entry in strict["annotations"]][:1] == [1]
    assert len(strict["annotations"]) < len(document["annotations"])


def test_downloads_of_several(asking: TestClient, send: Send) -> None:
    ids = [send(encoded(photograph(width)), "photo.png")["id"] for width in (96, 80)]
    query = f"photographs={'.'.join(ids)}"
    names = {
        kind: zipfile.ZipFile(io.BytesIO(asking.get(f"{URL}/download/{kind}?{query}").content)).namelist()
        for kind in ("yolo", "masks", "picture", "json")
    }
    assert set(names["yolo"]) == {
        "data.yaml", "labels/photo.txt", "labels/photo 2.txt", "images/photo.png", "images/photo 2.png",
    }  # fmt: skip
    assert "parts/photo 2.png" in names["masks"]
    assert names["picture"] == ["photo.png", "photo 2.png"]
    assert len(names["json"]) == 2
    answer = asking.get(f"{URL}/download/yolo?{query}")
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''photographs-yolo.zip"


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"", "a.jpg", "0 bytes"),
        (b"no image at all", "a.jpg", "another format"),
        (encoded(photograph())[:200], "a.png", "damaged"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "a.heic", "another format"),
    ],
)
def test_what_is_no_photograph_is_refused_in_a_line(send: Send, data: bytes, name: str, said: str) -> None:
    detail = send(data, name, status=422)["detail"]
    assert said in detail
    assert "\n" not in detail
    assert UPLOADS not in detail
    assert send(encoded(photograph()))["objects"]


def test_a_bomb_is_refused(send: Send, image_files: Any) -> None:
    header = b"\x89PNG\r\n\x1a\n" + image_files.chunk(b"IHDR", b"\0\1\0\0\0\1\0\0\x08\2\0\0\0")
    assert "64" in send(header + image_files.chunk(b"IEND", b""), status=422)["detail"]


def test_photographs_of_all_kinds(send: Send) -> None:
    grey = np.asarray(photograph().convert("L")).astype(np.uint16) * 257
    turned = Image.Exif()
    turned[0x0112] = 6
    sizes = {
        "cmyk.jpg": (encoded(photograph().convert("CMYK"), "JPEG"), (96, 64)),
        "deep.png": (encoded(Image.fromarray(grey)), (96, 64)),
        "turned.jpg": (encoded(photograph(), "JPEG", exif=turned), (64, 96)),
        "wide.png": (encoded(photograph(10_000, 10)), (10_000, 10)),
    }
    for name, (data, size) in sizes.items():
        seen = send(data, name)
        assert (seen["width"], seen["height"]) == size, name


def test_clicks_correct_an_object_and_undo(asking: TestClient, send: Send, correct: Send) -> None:
    seen = send(encoded(photograph()))
    before = seen["objects"][0]
    smaller = correct(seen, [(30, 20, False)])["objects"][0]
    assert smaller["area"] < before["area"]
    assert smaller["clicks"] == [[30, 20, False]]
    again = asking.get(f"{URL}/photographs?ids={seen['id']}").json()["photographs"]
    assert [entry["objects"] for entry in again] == [[smaller]]
    undone = correct(seen, [])["objects"][0]
    assert [undone[key] for key in ("area", "path", "score")] == [
        before[key] for key in ("area", "path", "score")
    ]
    assert [part["area"] for part in undone["parts"]] == [part["area"] for part in before["parts"]]


def test_clicks_make_an_object_of_the_class_that_fits(asking: TestClient, send: Send, correct: Send) -> None:
    seen = send(encoded(photograph()))
    asking.post(f"{URL}/photographs/{seen['id']}/remove", json={"object": 0})
    made = correct(seen, [(48, 32, True)], None, None)["objects"]
    assert [(entry["object"], entry["made"]) for entry in made] == [(1, True)]
    assert abs(made[0]["share"] - 0.25) < 0.05
    other = {"car": "cat", "cat": "car"}[made[0]["category"]]
    changed = correct(seen, made[0]["clicks"], 1, other)["objects"][0]
    assert (changed["category"], changed["area"]) == (other, made[0]["area"])


def test_corrections_that_make_no_sense_are_refused(send: Send, correct: Send) -> None:
    seen = send(encoded(photograph()))
    correct(seen, [(96, 0, True)], status=422)
    correct(seen, [(-1, 0, True)], status=422)
    correct(seen, [], 7, status=404)
    correct(seen, [(1, 1, True)], category="dragon", status=422)
    correct(seen, [(1, 1, True)] * 65, status=422)
    assert "leave nothing" in correct(seen, [(1, 1, False)], None, status=422)["detail"]


def test_photographs_are_forgotten(
    asking: TestClient, send: Send, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = send(encoded(photograph()))
    place = f"{URL}/photographs/{seen['id']}"
    elsewhere = place.replace("/cars/", "/begun/")
    assert asking.get(f"{elsewhere}/picture").status_code == 404
    assert asking.post(f"{elsewhere}/forget", json={}).status_code == 200
    assert asking.get(f"{place}/picture").status_code == 200
    asking.post(f"{place}/forget", json={})
    assert asking.get(f"{place}/picture").status_code == 404
    assert asking.get(f"{URL}/download/coco?photographs={seen['id']}").status_code == 404
    monkeypatch.setattr(uploaded, "MOST", 2)
    ids = [send(encoded(photograph()))["id"] for _ in range(3)]
    there = asking.get(f"{URL}/photographs?ids={'.'.join(ids)}").json()["photographs"]
    assert [entry["id"] for entry in there] == ids[1:]
    assert list((runs / UPLOADS).iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.JPG", "a.JPG"),
        ("a:b?\0\n<c>.png", "a_b_ _c_.png"),
        ("..", "photograph"),
        ("車.jpg", "車.jpg"),
        ("x" * 400 + ".jpeg", "x" * 120 + ".jpeg"),
    ],
)
def test_names_are_made_safe(name: str, kept: str) -> None:
    assert uploaded.new_upload(name, b"x").name == kept


def test_a_damaged_model_is_told_and_nothing_else_breaks(
    asking: TestClient, send: Send, runs: Path, tiny_recipe: Recipe, write_network: Callable[..., Path]
) -> None:
    write_models(runs / "broken", tiny_recipe, write_network)
    weights = runs / "broken/part_model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    answer = asking.post("/api/runs/broken/try/warm", json={})
    assert answer.status_code == 409
    assert "model.safetensors" in answer.json()["detail"]
    assert send(encoded(photograph()))["objects"]


def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "left").write_text("half a photograph")
    with closing(Worker(folder)):
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_too_many_questions_are_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_WAITING", 0)
    with closing(Worker(tmp_path / "uploads")) as asked, pytest.raises(Busy, match="waiting"):
        asked.ask(Know(tmp_path))


def test_a_name_that_a_part_is_given_is_seen_at_once(runs: Path, asking: TestClient, send: Send) -> None:
    seen = send(encoded(photograph()))
    part = seen["objects"][0]["parts"][0]["part"]
    category = seen["objects"][0]["category"]
    table = runs / "cars" / "review" / "part_table.json"
    table.parent.mkdir(exist_ok=True)
    table.write_text(json.dumps({"version": 1, "classes": {category: {"names": {str(part): "mine"}}}}))
    try:
        again = asking.get(f"{URL}/photographs", params={"ids": seen["id"]}).json()["photographs"][0]
        document = asking.get(f"{URL}/download/coco", params={"photographs": seen["id"]}).json()
    finally:
        table.unlink()
    assert again["objects"][0]["parts"][0]["name"] == "mine"
    assert f"{category} mine" in [entry["name"] for entry in document["categories"]]

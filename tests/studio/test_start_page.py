"""The way of a visitor from a folder to a run that goes on, in a browser."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image

from partdistillation import config
from partdistillation.config import Inputs, Recipe
from partdistillation.objects import saliency_weights
from partdistillation.review.guard import PAGE_HEADER
from partdistillation.studio import processes
from partdistillation.studio.drafts import end
from partdistillation.studio.processes import Command
from partdistillation.studio.progress import commands_of, state_of

from ..review.browser import PHONE, SMALL_PHONE, nameless, too_pale, too_small
from .conftest import HOSTILE, MakeRun, Open
from .test_processes import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page


def unnamed(page: "Page") -> list[str]:
    """As `nameless`, but for what unfolds, whose name is its summary."""
    return [role for role in nameless(page) if role != "group"]


PATIENCE = 600.0
"""Seconds, for a run of a few drawings on a busy machine."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with photographs of two classes, one of them of a hostile name; a saliency network."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(saliency_weights, "is_there", lambda: True)
    for name, count in (("car", 3), (HOSTILE.replace("/", "_"), 2)):
        folder = home / "photos" / name
        folder.mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (60, 40), (200, 60 * number, 30)).save(folder / f"{number}.png")
    (home / "photos" / "car" / "broken.jpg").write_bytes(b"no photograph")
    return home


@pytest.fixture
def sleeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs sleep."""
    program = tmp_path / "sleeps"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    yield
    for note in (tmp_path / "runs").glob("*/studio/process.json"):
        end(Command(note.parent))


@pytest.mark.slow
def test_from_a_folder_to_a_run_that_goes_on(home: Path, sleeping: None, open_page: Open) -> None:
    page = open_page("/")
    page.get_by_role("link", name="New run").click()
    page.get_by_role("button", name="Browse folders").click()
    page.get_by_role("button", name=re.compile("^photos")).click()
    page.get_by_text(str(home / "photos"), exact=True).wait_for()
    page.get_by_text("6 photographs in it").wait_for()
    page.get_by_role("button", name="Use this folder").click()
    page.get_by_text("6 photographs, 2 classes").wait_for()
    page.get_by_text(re.compile("1 photograph can.t be used and will be left out")).wait_for()
    assert unnamed(page) == []
    assert too_pale(page) == []
    page.get_by_label("The recipe", exact=True).select_option("demo")
    page.get_by_label("What this run is called").fill("Two kinds")
    page.keyboard.press("Tab")
    page.reload()
    page.get_by_text("6 photographs, 2 classes").wait_for()
    assert page.get_by_label("The recipe", exact=True).input_value() == "demo"
    assert page.get_by_label("What this run is called").input_value() == "Two kinds"

    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    assert page.url.endswith("/runs/Two%20kinds/watch")
    page.reload()
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    assert page.locator(".stages li").count() == 5
    assert unnamed(page) == []
    assert too_pale(page) == []
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Stop", exact=True).wait_for()


def test_photographs_are_dropped_and_nothing_stays_when_the_visitor_cancels(
    home: Path, tmp_path: Path, open_page: Open
) -> None:
    page = open_page("/#new", **SMALL_PHONE)
    page.get_by_label("Files without a folder show").fill("car")
    page.set_input_files("#files", [home / "photos" / "car" / name for name in ("0.png", "1.png")])
    page.get_by_text("2 photographs kept").wait_for()
    page.get_by_text("2 photographs, 1 class").wait_for()
    kept = sorted(path.name for path in (tmp_path / "runs").rglob("photographs/car/*"))
    assert kept == ["0.png", "1.png"]
    assert too_small(page, 24) == []
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("link", name="New run").wait_for()
    assert not list((tmp_path / "runs").glob(".new-*"))


@pytest.fixture
def settled(
    tmp_path: Path, drawings: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A home folder with drawings, their objects and a file of settings; no run outlives the test."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    shutil.copytree(drawings / "train", home / "drawings")
    shutil.copy(drawings / "objects_train.json", home / "objects.json")
    (home / "tiny.yaml").write_text(config.to_yaml(tiny_recipe, Inputs()), encoding="utf-8")
    yield home
    end(commands_of(tmp_path / "runs" / "drawings"))


@pytest.mark.long
@pytest.mark.timeout(2 * PATIENCE)
def test_the_whole_way_from_drawings_to_a_named_part_and_its_download(
    settled: Path, tmp_path: Path, open_page: Open
) -> None:
    home = settled
    page = open_page("/")
    page.get_by_role("link", name="New run").click()
    page.get_by_label("or give its path").fill(str(home / "drawings"))
    page.keyboard.press("Enter")
    page.get_by_text("12 photographs, all of one class").wait_for()
    page.get_by_label("Where the objects come from", exact=True).select_option("annotations")
    page.get_by_label("The file", exact=True).fill(str(home / "objects.json"))
    page.get_by_text("Settings of a file").click()
    page.get_by_label(re.compile("A .yaml file")).fill(str(home / "tiny.yaml"))
    page.get_by_label("What this run is called").fill("drawings")
    page.get_by_role("button", name="Start").click()
    page.set_default_timeout(PATIENCE * 1000)
    page.locator('.stages li[data-state="done"]').first.wait_for()
    page.locator(".layers .tile img").first.wait_for()
    page.reload()
    page.get_by_role("heading", name="Finished").wait_for()
    assert page.locator('.stages li[data-state="done"]').count() == 5
    assert [text.split()[0] for text in page.locator(".layers h2").all_inner_texts()] == [
        "Parts",
        "Proposals",
        "Segments",
        "Objects",
    ]
    assert state_of(tmp_path / "runs" / "drawings") == "finished"

    page.get_by_role("link", name="Look at the parts").click()
    page.locator("a.class-card").first.click()
    page.locator("button.tile img").first.wait_for()
    page.reload()
    name = page.locator("input.name").first
    name.fill("wheel")
    name.press("Enter")
    page.get_by_role("status").filter(has_text="“wheel”").wait_for()
    page.get_by_role("link", name="All classes").click()
    page.get_by_role("button", name="Download").click()
    page.get_by_role("button", name="Prepare COCO").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download COCO").click()
    names = [entry["name"] for entry in json.loads(download.value.path().read_bytes())["categories"]]
    assert sum(name.endswith("wheel") for name in names) == 1


@pytest.mark.long
@pytest.mark.timeout(2 * PATIENCE)
def test_a_run_goes_on_when_its_server_is_killed(settled: Path, tmp_path: Path) -> None:
    home, runs = settled, tmp_path / "runs"
    out = runs / "drawings"
    with studio(runs, home) as (server, visitor):
        draft = visitor.post("/api/new/begin", json={}).json()["draft"]
        plan = {
            "draft": draft,
            "folder": str(home / "drawings"),
            "source": "annotations",
            "objects": str(home / "objects.json"),
            "settings": str(home / "tiny.yaml"),
            "name": "drawings",
        }
        assert visitor.post("/api/new/start", json=plan).json() == {"name": "drawings"}
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert commands_of(out).is_alive()
    with studio(runs, home) as (server, visitor):
        assert visitor.get("/api/runs/drawings/watch").json()["state"] == "going on"
        wait_for(lambda: (out / "objects").exists(), PATIENCE)
        visitor.post("/api/runs/drawings/stop", json={})
        wait_for(lambda: state_of(out) == "stopped", PATIENCE)
        server.send_signal(signal.SIGINT)  # neither does the end of the studio
        server.wait()
    with studio(runs, home) as (server, visitor):
        assert visitor.post("/api/runs/drawings/resume", json={}).json() == {"state": "going on"}
        wait_for(lambda: state_of(out) == "finished", PATIENCE)


@contextmanager
def studio(runs: Path, home: Path) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client]]:
    """A studio that is a process of its own, and a visitor of it."""
    command = [sys.executable, "-m", "partdistillation", "studio", str(runs), "--port", "0", "--no-browser"]
    source = Path(processes.__file__).parents[2]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(source)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[2].rstrip("/")
        try:
            with httpx.Client(base_url=address, headers={"origin": address}, timeout=60) as visitor:
                visitor.headers[PAGE_HEADER] = "not known yet"
                visitor.headers[PAGE_HEADER] = visitor.post("/api/session", json={}).json()["page"]
                yield server, visitor
        finally:
            server.kill()


def test_no_page_is_dressed_in_the_styles_of_another(make_run: MakeRun, open_page: Open) -> None:
    make_run()
    page = open_page("/", **PHONE)  # where the page Try has its heading out of sight
    heading = page.get_by_role("heading", name="Runs").bounding_box()
    assert heading is not None
    assert heading["x"] >= 0

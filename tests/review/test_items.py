"""What is put before reviewers, from the folders of runs."""

import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image

from partdistillation.config import CONFIG_FILE
from partdistillation.errors import InputError, StoreError
from partdistillation.review.items import Tiles, add_runs, find_runs
from partdistillation.review.store import ReviewStore

from .conftest import HOSTILE, MakeRun


def remember_images(out: Path) -> None:
    (out / CONFIG_FILE).write_text(f"inputs:\n  images: {out / 'photos'}\n")


def test_a_run_knows_its_photographs(make_run: MakeRun) -> None:
    out = make_run()
    with pytest.raises(InputError, match="--images"):
        find_runs([out])
    remember_images(out)
    (run,) = find_runs([out])
    assert (run.name, run.parts, run.images) == ("out", out / "parts", out / "photos")


def test_what_predict_wrote_is_a_run_too(make_run: MakeRun) -> None:
    out = make_run()
    (out / "parts").rename(out / "predictions")
    (run,) = find_runs([out], out / "photos")
    assert run.parts == out / "predictions"


def test_runs_have_the_shortest_names_that_differ(make_run: MakeRun) -> None:
    one, other = make_run("a/demo"), make_run("b/demo")
    assert [run.name for run in find_runs([one, other], one / "photos")] == ["a/demo", "b/demo"]
    with pytest.raises(InputError, match="found one twice"):
        find_runs([one, one.parent / "." / "demo"], one / "photos")


def test_folders_that_are_no_runs(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a stage's folder"):
        find_runs([tmp_path], tmp_path)
    out = make_run()
    shutil.rmtree(out / "parts")
    with pytest.raises(InputError, match="parts or predictions"):
        find_runs([out], out / "photos")


def test_parts_are_added_once(make_run: MakeRun, store: ReviewStore) -> None:
    runs = find_runs([out := make_run()], make_run("other") / "photos")
    ids = add_runs(store, runs, seed=0)
    assert list(ids.values()) == [runs[0].images]
    items = store.query("SELECT category, part, available FROM items ORDER BY category, part")
    assert items == [(name, part, 4) for name in (HOSTILE, "car") for part in range(3)]
    shutil.rmtree(out / "objects")  # not read again
    assert add_runs(store, runs, seed=0) == ids
    with pytest.raises(StoreError, match="another seed"):
        add_runs(store, runs, seed=1)


def test_copies_are_not_compared(make_run: MakeRun, store: ReviewStore) -> None:
    runs = find_runs([one := make_run("one"), make_run("other")], one / "photos")
    with pytest.raises(InputError, match="found the same ones"):
        add_runs(store, runs, seed=0)


def test_a_run_without_parts(make_run: MakeRun, store: ReviewStore) -> None:
    out = make_run(parts=0)
    with pytest.raises(InputError, match="found none"):
        add_runs(store, find_runs([out], out / "photos"), seed=0)


def test_photographs_that_are_elsewhere(make_run: MakeRun, store: ReviewStore, tmp_path: Path) -> None:
    runs = find_runs([make_run()], tmp_path)
    with pytest.raises(InputError, match="give their folder as --images"):
        add_runs(store, runs, seed=0)
    assert store.query("SELECT * FROM items") == []


def test_a_photograph_that_is_gone_leaves_a_note(make_run: MakeRun, store: ReviewStore) -> None:
    out = make_run(categories=["car"])
    ids = add_runs(store, find_runs([out], out / "photos"), seed=0)
    (out / "photos" / "1.png").unlink()
    tiles = Tiles(store, ids)
    files = [tiles.file(key) for (key,) in store.query("SELECT key FROM tiles")]
    assert len(files) == 12
    for file in files:
        assert file
        with Image.open(file) as picture:
            assert picture.size == (360, 360)


def test_many_ask_for_the_same_picture(make_run: MakeRun, store: ReviewStore) -> None:
    out = make_run(categories=["car"], parts=1)
    tiles = Tiles(store, add_runs(store, find_runs([out], out / "photos"), seed=0))
    keys = [key for (key,) in store.query("SELECT key FROM tiles")]
    found: set[Path | None] = set()
    threads = [threading.Thread(target=lambda key=key: found.add(tiles.file(key))) for key in keys * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name.partition(".")[0] for path in found if path} == set(keys)
    assert len(list((store.path.parent / "tiles").iterdir())) == 4


def test_only_known_ids_have_pictures(make_run: MakeRun, store: ReviewStore) -> None:
    out = make_run(categories=["car"], parts=1)
    tiles = Tiles(store, add_runs(store, find_runs([out], out / "photos"), seed=0))
    (key, *_) = [key for (key,) in store.query("SELECT key FROM tiles")]
    for unknown in ("", "0" * 24, f"../tiles/{key}", f"{key}.webp", "../review.sqlite"):
        assert tiles.file(unknown) is None
    elsewhere = Tiles(store, {})  # a run that isn't reviewed now
    assert elsewhere.file(key) is None

"""A COCO file taken apart says of every image what the file read as a whole says."""

import json
import os
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.data import coco_store
from partdistillation.data.coco import read_instances, read_parts
from partdistillation.data.coco_store import StoredCoco, check, database_of, read_stored_parts, take_apart
from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError, StoreError
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.mirror import open_mirror

SQUARE = [[1, 1, 4, 1, 4, 4, 1, 4]]
IDS: st.SearchStrategy[Any] = st.sampled_from([1, "1", 1.0, 2, "b", True, None, "\ud800", [], 10**30])
NAMES = st.sampled_from(["a.jpg", "b.jpg", "c\\d.jpg", "../e.jpg", "", 5])
IMAGES = st.fixed_dictionaries(
    {"id": IDS}, optional={"file_name": NAMES, "width": st.integers(0, 9), "height": st.just(6)}
)
CATEGORIES = st.fixed_dictionaries(
    {"id": IDS, "name": st.sampled_from(["cat", "dog", " "])},
    optional={"supercategory": st.sampled_from(["animal", "none", ""])},
)
ANNOTATIONS = st.none() | st.fixed_dictionaries(
    {"image_id": IDS, "category_id": IDS},
    optional={
        "id": IDS,
        "segmentation": st.sampled_from([SQUARE, [], None]),
        "iscrowd": st.sampled_from([0, 1, 2]),
        "score": st.sampled_from([0.5, float("nan")]),
    },
)


def written(folder: Path, document: object) -> Path:
    path = folder / "objects.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def message(read: Callable[[], object]) -> str:
    try:
        read()
    except InputError as error:
        return str(error)
    return ""


def require_the_same(path: Path, folder: Path) -> None:
    """Images, categories, annotations, what is wrong and the notes; or the same error."""
    refused = message(lambda: read_instances(path))
    assert message(lambda: check(path)) == refused
    if refused:
        assert message(lambda: take_apart(path, folder)) == refused
        assert not folder.exists()
        return
    whole = read_instances(path)
    stored = pickle.loads(pickle.dumps(take_apart(path, folder)))
    assert tuple(stored.images()) == whole.images
    assert stored.categories == whole.categories
    assert stored.notes == whole.notes
    assert stored.inputs(path.parent) == whole.inputs(path.parent)
    for image in whole.images:
        assert repr(stored.annotations_of(image)) == repr(whole.annotations_of(image))
        for name in (image.file_name, "a.jpg"):  # its own, and perhaps another's
            wanted = ImageInput(str(image.id), name, Path(name))
            assert stored.find(wanted) == whole.find(wanted)


def require_the_same_parts(path: Path, folder: Path, object_class: str) -> None:
    refused = message(lambda: read_parts(path, object_class))
    assert message(lambda: read_stored_parts(path, folder, object_class)) == refused
    if not refused:
        whole, stored = read_parts(path, object_class), read_stored_parts(path, folder, object_class)
        assert stored.images == whole.images
        assert stored.categories == whole.categories
        assert stored.used == whole.used
        assert stored.orphans == whole.orphans
        assert repr(dict(stored.annotations)) == repr(
            {image: whole.annotations[image] for image in stored.annotations}
        )
        assert stored.annotations.keys() == whole.annotations.keys()
        assert dict(stored.unusable) == dict(whole.unusable)


@settings(deadline=None, max_examples=60)
@given(
    images=st.lists(IMAGES, max_size=4),
    annotations=st.lists(ANNOTATIONS, max_size=6),
    categories=st.lists(CATEGORIES, max_size=3),
    annotations_first=st.booleans(),
)
def test_it_says_what_the_file_says(
    tmp_path_factory: pytest.TempPathFactory,
    images: list[Any],
    annotations: list[Any],
    categories: list[Any],
    annotations_first: bool,
) -> None:
    folder = tmp_path_factory.mktemp("store")
    lists = {"images": images, "categories": categories}
    document = (
        {"annotations": annotations, **lists}
        if annotations_first
        else {**lists, "annotations": annotations, "info": {"images": 1}}
    )
    require_the_same(written(folder, document), folder / "out")
    for object_class in ("", "cat"):
        require_the_same_parts(folder / "objects.json", folder / "parts", object_class)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "no JSON",
        '{"images": [], "annotations": {}, "categories": []}',
        '{"images": [], "annotations": [], "categories": [], "images": [{"id": 1, "file_name": "a"}]}',
        '{"images": [], "annotations": [' + "[" * 100_000,
    ],
)
def test_files_that_are_read_as_a_whole(tmp_path: Path, text: str) -> None:
    require_the_same(written(tmp_path, text), tmp_path / "out")


def test_no_such_file(tmp_path: Path) -> None:
    require_the_same(tmp_path / "none.json", tmp_path / "out")


@pytest.fixture
def stored(tmp_path: Path) -> StoredCoco:
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 6}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "segmentation": SQUARE}, {"image_id": 2}],
        "categories": [{"id": 7, "name": "cat"}],
    }
    return take_apart(written(tmp_path, document), tmp_path / "out")


def test_it_is_done_once(stored: StoredCoco, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = stored.database.stat().st_mtime_ns
    again = take_apart(stored.path, tmp_path / "out")
    assert again == stored
    assert stored.database.stat().st_mtime_ns == before
    stored.log_notes()
    assert caplog.messages == [
        f"{stored.path}: 1 annotations belong to no entry of `images`; they are ignored"
    ]
    stored.path.write_text(stored.path.read_text().replace('"cat"', '"dog"'))
    assert take_apart(stored.path, tmp_path / "out").categories[0].name == "dog"


def test_a_damaged_database_is_said(stored: StoredCoco) -> None:
    coco_store._connection.cache_clear()
    stored.database.write_bytes(b"SQLite format 3\0" + bytes(200))
    with pytest.raises(StoreError, match=r"is damaged .*: delete it"):
        _ = stored.categories
    coco_store._connection.cache_clear()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of open files")
def test_it_is_read_without_being_open_for_writing(stored: StoredCoco) -> None:
    """Or its disk can't be made read-only."""
    assert [*stored.images()]
    (descriptor,) = (link for link in Path("/proc/self/fd").iterdir() if opens(link, stored.database))
    flags = Path("/proc/self/fdinfo", descriptor.name).read_text().split("flags:")[1].split()[0]
    assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY


def opens(link: Path, path: Path) -> bool:
    try:
        return link.resolve() == path.resolve()
    except OSError:  # closed since
        return False


def test_no_room_for_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(coco_store, "_add", full)
    path = written(tmp_path, {"images": [{"id": 1}], "annotations": [], "categories": []})
    with pytest.raises(StoreError, match=r"can't take .*objects\.json apart in .*disk is full.*TMPDIR"):
        take_apart(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_hosts_that_share_a_bucket_one_takes_a_file_apart(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 6, "height": 6}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": SQUARE}],
    }
    path = written(tmp_path, document)

    def host(name: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return open_mirror(f"{bucket}/mine") / "objects"

    folder = host("a")
    take_apart(path, folder)
    replace_file(folder / "manifest.json", b"{}")  # what a stage's folder has is brought when it is asked for
    monkeypatch.setattr(coco_store, "_make", None)
    folder = host("b")
    assert len(list(take_apart(path, folder).images())) == 1
    folder = host("c")  # of an actor, say, which is told where the database is
    assert len(list(StoredCoco(path, database_of(path, folder)).images())) == 1

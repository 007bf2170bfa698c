"""A COCO file taken apart says of every image what the file read as a whole says."""

import json
import os
import pickle
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.data import coco_store
from partdistillation.data.coco import CocoDataset, read_instances, read_parts
from partdistillation.data.coco_entries import (
    Annotations,
    CocoCategory,
    CocoImage,
    notes_on,
    read_annotations,
    read_category,
    read_image,
)
from partdistillation.data.coco_store import CocoDatabase, database_of
from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError, StoreError
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.mirror import open_mirror

E = TypeVar("E", CocoImage, CocoCategory)
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


def whole(document: Any) -> tuple[list[CocoImage], list[CocoCategory], Annotations]:
    """What the file says, all of it read at once."""
    categories = unique([read_category(entry, i) for i, entry in enumerate(document["categories"])])
    images = unique([read_image(entry, i) for i, entry in enumerate(document["images"])])
    read = read_annotations(enumerate(document["annotations"]), images, categories)
    return [*images.values()], [*categories.values()], read


def unique(entries: list[E]) -> dict[str, E]:
    by_id: dict[str, E] = {}
    for entry in entries:
        if by_id.setdefault(str(entry.id), entry) != entry:
            raise InputError(f"found {entry.id!r} twice")
    return by_id


def require_the_same(path: Path, folder: Path) -> None:
    """Images, categories, annotations, what is wrong and the notes; or an error."""
    document = json.loads(path.read_text())
    refused = message(lambda: whole(document))
    for read in (lambda: read_instances(path), lambda: read_instances(path, folder)):
        assert refused in message(read)
        assert bool(refused) == bool(message(read))
    if refused:
        assert not folder.exists()
        return
    images, categories, read_as_a_whole = whole(document)
    dataset = pickle.loads(pickle.dumps(read_instances(path, folder)))
    assert [*dataset.images] == images
    assert [*dataset.images[1::2]] == images[1::2]
    assert list(dataset.categories) == categories
    notes = (read_as_a_whole.orphans, read_as_a_whole.crowds, read_as_a_whole.repeated)
    assert dataset.notes == notes_on(*notes)
    assert dataset.orphans == read_as_a_whole.orphans
    for place, (image, annotations, unusable) in enumerate(dataset.annotated()):
        assert dataset.images[place] == image
        assert repr(annotations) == repr(read_as_a_whole.usable.get(str(image.id), ()))
        assert unusable == read_as_a_whole.unusable.get(str(image.id), ())
        assert repr(dataset.of(image.id)) == repr(annotations)
        for name in (image.file_name, "a.jpg"):  # its own, and perhaps another's
            namesakes = [other for other in images if other.file_name == name and name]
            entry = image if image.file_name == name else [*namesakes, None][len(namesakes) - 1]
            assert dataset.find(ImageInput(str(image.id), name, Path(name))) == entry


def require_the_same_parts(path: Path, object_class: str) -> None:
    """Of another object class, or without categories that nothing is of."""
    try:
        dataset = read_parts(path, object_class)
    except InputError:
        return
    instances = read_instances(path)
    used = {annotation.category.id for image in instances.images for annotation in instances.of(image.id)}
    assert dataset.used == used
    above = object_class or None
    assert list(dataset.categories) == [
        replace(category, supercategory=above or category.supercategory)
        for category in instances.categories
        if above or category.id in used or category.supercategory not in ("", "none")
    ]
    for (_, parts, reasons), (_, annotations, unusable) in zip(
        dataset.annotated(), instances.annotated(), strict=True
    ):
        assert reasons == unusable
        assert [part.category for part in parts] == [
            replace(annotation.category, supercategory=above or annotation.category.supercategory)
            for annotation in annotations
        ]
    if not object_class:
        classes = {category.supercategory for category in dataset.categories}
        assert not any(parts for _, parts, _ in dataset.without(classes).annotated())


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
        require_the_same_parts(folder / "objects.json", object_class)


def test_a_list_that_is_there_twice(tmp_path: Path) -> None:
    """The later one counts, as in Python's JSON."""
    text = '{"images": [], "annotations": [], "categories": [], "images": [{"id": 1, "file_name": "a"}]}'
    require_the_same(written(tmp_path, text), tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a JSON object with `images`, found a list"),
        ("no JSON", "expected JSON in UTF-8, found a file that isn't"),
        (
            '{"images": [], "annotations": {}, "categories": []}',
            "expected a list `annotations` .*, found dict",
        ),
        (
            '{"images": [], "annotations": [' + "[" * 100_000,
            "expected JSON in UTF-8, found a file that isn't",
        ),
    ],
)
def test_files_that_are_no_coco(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    for folder in (None, tmp_path / "out"):
        with pytest.raises(InputError, match=f"{path}: {message}"):
            read_instances(path, folder)
    assert not (tmp_path / "out").exists()


def test_no_such_file(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "out"):
        with pytest.raises(InputError, match=r"none.json: expected a COCO JSON file, found No such file"):
            read_instances(tmp_path / "none.json", folder)


def test_nothing_stays_of_a_file_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its database is deleted with the last dataset that reads it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dataset = read_instances(written(tmp_path, {"images": [{"id": 1}], "annotations": [], "categories": []}))
    other = dataset.without(["car"])
    folder = dataset.database.path.parent
    assert folder.parent == tmp_path
    del dataset
    assert len(other.images) == 1
    del other
    assert not folder.exists()


@pytest.fixture
def stored(tmp_path: Path) -> CocoDataset:
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 6}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "segmentation": SQUARE}, {"image_id": 2}],
        "categories": [{"id": 7, "name": "cat"}],
    }
    return read_instances(written(tmp_path, document), tmp_path / "out")


def test_it_is_done_once(stored: CocoDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = stored.database.path.stat().st_mtime_ns
    again = read_instances(stored.path, tmp_path / "out")
    assert again == stored
    assert stored.database.path.stat().st_mtime_ns == before
    stored.log_notes()
    assert caplog.messages == [
        f"{stored.path}: 1 annotations belong to no entry of `images`; they are ignored"
    ]
    stored.path.write_text(stored.path.read_text().replace('"cat"', '"dog"'))
    assert read_instances(stored.path, tmp_path / "out").categories[0].name == "dog"


def test_a_damaged_database_is_said(stored: CocoDataset) -> None:
    stored.database.path.write_bytes(b"SQLite format 3\0" + bytes(200))
    with pytest.raises(StoreError, match=r"is damaged .*: delete it"):
        _ = stored.categories


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of open files")
def test_it_is_read_without_being_open_for_writing(stored: CocoDataset) -> None:
    """Or its disk can't be made read-only."""
    assert [*stored.images]
    (descriptor,) = (link for link in Path("/proc/self/fd").iterdir() if opens(link, stored.database.path))
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
        read_instances(path, tmp_path / "out")
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
    read_instances(path, folder)
    replace_file(folder / "manifest.json", b"{}")  # what a stage's folder has is brought when it is asked for
    monkeypatch.setattr(coco_store, "_make", None)
    folder = host("b")
    assert len(read_instances(path, folder).images) == 1
    folder = host("c")  # of an actor, say, which is told where the database is
    assert len(CocoDataset(path, CocoDatabase(database_of(path, folder))).images) == 1

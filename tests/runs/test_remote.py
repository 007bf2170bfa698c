"""What a run's folder gets in place of URLs: listings, copies of files, and errors before work starts."""

import importlib.util
import io
import os
import tarfile
from pathlib import Path
from unittest.mock import patch

import pytest

from partdistillation.config import Inputs, from_yaml, to_yaml
from partdistillation.data.image_folder import scan
from partdistillation.data.paths import absence, is_file, is_folder
from partdistillation.errors import ConfigError, InputError, StoreError
from partdistillation.recipes import PAPER
from partdistillation.runs import listings, remote
from partdistillation.runs.archives import place_of, read_bytes
from partdistillation.runs.mirror import open_mirror
from partdistillation.runs.object_storage import ObjectStorage
from partdistillation.runs.remote import bring, bring_inputs

_spec = importlib.util.spec_from_file_location("faulty_store", Path(__file__).with_name("faulty_store.py"))
assert _spec is not None
assert _spec.loader is not None
faulty_store = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faulty_store)

FILES = {
    "car/1.jpg": b"first",
    "car/sub/2 b#%20[x]{y}.jpg": b"second",
    "car/notes.txt": b"none",
    "großes Haus/ä.png": b"third",
    "bus.tar": b"beside its folder",
    "bus/3.jpg": b"",
    "old/objects/manifest.json": b"{}",
    "old/pictures/4.jpg": b"of a run",
    ".hidden.jpg": b"hidden",
    "5.jxl": b"not read",
}


def packed(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, member in members.items():
            entry = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(member) if isinstance(member, bytes) else 0
            archive.addfile(entry, io.BytesIO(member) if isinstance(member, bytes) else None)
    return file.getvalue()


def link(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, "elsewhere"
    return entry


ARCHIVE = packed(
    {
        "a.jpg": b"x" * 700_000,
        "b/c.png": b"member",
        "d.jpg": link("d.jpg"),
        "e.jpg": b"e",
        "e.cls": b" wagon\n",
    }
)


def put(url: str, files: dict[str, bytes]) -> Path:
    """The URL, as settings hold it, with files below it."""
    storage = ObjectStorage(url)
    for name, data in files.items():
        storage.write(name, data)
    return Path(url)


def put_locally(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_listing_stands_for_the_folder(
    bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {**FILES, "van.tar": ARCHIVE}
    here = bring(put(f"{bucket}/data/photos", files), tmp_path / "run")
    local = put_locally(tmp_path / "photos", files)
    assert here.name == "photos"
    assert [path.name for path in here.parent.iterdir()] == ["photos.arrow"]

    images, copied = scan(here), scan(local)
    assert [(image.file_name, image.image_id, image.category, image.problem) for image in images.images] == [
        (image.file_name, image.image_id, image.category, image.problem) for image in copied.images
    ]
    assert [image.file_name for image in images.images] == [
        "5.jxl",
        "bus/3.jpg",
        "car/1.jpg",
        "car/sub/2 b#%20[x]{y}.jpg",
        "großes Haus/ä.png",
        "van/a.jpg",
        "van/b/c.png",
        "van/d.jpg",
        "van/e.jpg",
    ]
    assert images.images[-1].category == "wagon"
    assert list(images.notes()) == list(copied.notes())
    assert "beside their folders" in caplog.text

    for image in images.images:
        if not image.problem:
            assert read_bytes(image.path) == read_bytes(local / image.file_name)
            assert is_file(image.path)
    assert absence(here / "van/d.jpg") == absence(local / "van/d.jpg") != ""
    assert "no such file" in absence(here / "van/gone.jpg")
    assert is_folder(here)
    assert is_folder(here / "car/sub")
    assert not is_folder(here / "car/su")
    assert not is_folder(here / "car/1.jpg")
    assert listings.files_in(here / "car/sub") == [here / "car/sub/2 b#%20[x]{y}.jpg"]
    assert listings.files_in(local) is None


def test_a_shard_is_fetched_with_few_requests(bucket: str, tmp_path: Path) -> None:
    members = {f"{number:03}.jpg": bytes([number]) * 1000 for number in range(100)}
    files = {"car.tar": packed({**members}), "bus/1.jpg": b"one", "bus/2.jpg": b"two"}
    here = bring(put(f"{bucket}/photos", files), tmp_path)
    names = [f"car/{name}" for name in members] + ["bus/1.jpg", "bus/2.jpg"]
    asked = patch.object(
        ObjectStorage, "read_unchanged", autospec=True, side_effect=ObjectStorage.read_unchanged
    )
    with asked as requests:
        with listings.fetched([*(here / name for name in names), tmp_path / "local.jpg", here / "gone.jpg"]):
            assert requests.call_count == 3
            assert [read_bytes(here / name) for name in names] == [*members.values(), b"one", b"two"]
            assert requests.call_count == 3
        assert read_bytes(here / "car/007.jpg") == bytes([7]) * 1000
        assert requests.call_count == 4


def test_larger_shards_are_not_kept(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = bring(put(f"{bucket}/photos", {"1.jpg": b"12345", "2.jpg": b"12", "3.jpg": b"1"}), tmp_path)
    monkeypatch.setattr(listings, "_MOST_KEPT", 6)
    with listings.fetched(here / f"{number}.jpg" for number in (1, 2, 3)):
        assert sorted(name for _, name in listings._fetched) == ["1.jpg", "3.jpg"]
        assert read_bytes(here / "2.jpg") == b"12"
    assert not listings._fetched


def test_a_store_that_fails_is_asked_again(
    bucket: str, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"van.tar": ARCHIVE, **{f"car/{number:02}.jpg": bytes([number]) * 3000 for number in range(20)}}
    images = put(f"{bucket}/photos", files)
    with faulty_store.faulty(s3_server, share=0.3) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
        here = bring(images, tmp_path)
        with listings.fetched(image.path for image in scan(here).images):
            assert read_bytes(here / "van/b/c.png") == b"member"
        for name in files.keys() - {"van.tar"}:
            assert read_bytes(here / name) == files[name]
    assert len(store.happened) > 3


def test_machines_that_share_a_run_in_a_bucket_list_once(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = put(f"{bucket}/photos", {"car/1.jpg": b"1"})
    for host in ("first", "second"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / host))
        inputs = Inputs(out=open_mirror(f"{bucket}/runs/mine"), images=images, engine="shared")
        with patch.object(ObjectStorage, "files", autospec=True, side_effect=ObjectStorage.files) as asked:
            bring_inputs(inputs)
        assert asked.call_count == (host == "first")
        assert read_bytes(inputs.need("images") / "car/1.jpg") == b"1"


@pytest.mark.parametrize("name", ["photos/1.jpg", "photos/car.tar"])
def test_what_changed_since_it_was_listed_is_not_read(name: str, bucket: str, tmp_path: Path) -> None:
    storage = ObjectStorage(bucket)
    storage.write("photos/1.jpg", b"12345")
    storage.write("photos/car.tar", ARCHIVE)
    here = bring(Path(f"{bucket}/photos"), tmp_path)
    path = here / ("1.jpg" if name.endswith("jpg") else "car/e.jpg")
    assert read_bytes(path)
    storage.write(name, b"54321")
    with pytest.raises(
        StoreError, match=r"expected the file as it was when it was listed, found another one"
    ):
        read_bytes(path)
    storage.delete(name)
    with pytest.raises(StoreError, match="found none"), listings.fetched([path]):
        pass


def test_all_is_listed_once(bucket: str, tmp_path: Path) -> None:
    images = put(f"{bucket}/photos", {"car/1.jpg": b"1"})
    inputs = Inputs(out=tmp_path / "run", images=images, objects=Path(f"{bucket}/objects.json"))
    ObjectStorage(bucket).write("objects.json", b"[]")
    bring_inputs(inputs)
    with patch.object(ObjectStorage, "files", side_effect=AssertionError):
        bring_inputs(inputs)
        assert bring(images, inputs.out) == inputs.need("images")
    assert inputs.need("objects").name == "objects.json"
    assert inputs.need("objects").read_bytes() == b"[]"
    assert not place_of(inputs.need("images") / "car/2.jpg")


def test_settings_remember_the_url(bucket: str, tmp_path: Path) -> None:
    inputs = Inputs(images=Path("s3://shop/photos/"), objects=Path("objects"))
    (tmp_path / "config.yaml").write_text(to_yaml(PAPER, inputs))
    assert "images: s3://shop/photos\n" in (tmp_path / "config.yaml").read_text()
    remembered, _ = from_yaml(tmp_path / "config.yaml", Inputs(), PAPER)
    assert remembered.images == inputs.images
    assert remembered.need("images") == inputs.place("images")


def test_rows_of_another_run_are_copied(bucket: str, tmp_path: Path) -> None:
    rows = {"manifest.json": b"{}", "00000.parquet": b"rows"}
    url = put(f"{bucket}/run", {f"objects/{name}": data for name, data in rows.items()} | {"log.txt": b""})
    for folder in (bring(url, tmp_path) / "objects", bring(url / "objects", tmp_path)):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == rows


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "s3://NAME/photos: expected files, found none; check the URL"),
        (
            {"car.tar": ARCHIVE[:700]},
            "s3://NAME/photos/car.tar: expected a whole tar archive, found a damaged",
        ),
        ({"car.tar.gz": b"\x1f\x8b"}, "s3://NAME/photos/car.tar.gz: expected a tar archive that isn't compr"),
        (
            {"car.tar": b"\x1f\x8b" + bytes(600)},
            "s3://NAME/photos/car.tar: expected a tar archive that isn't",
        ),
    ],
)
def test_what_cannot_be_listed(files: dict[str, bytes], message: str, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        bring(put(f"{bucket}/photos", files), tmp_path / "run")
    assert str(error.value).startswith(message.replace("s3://NAME", bucket))
    assert not (tmp_path / "run").exists()


def test_an_archive_is_no_folder(bucket: str, tmp_path: Path) -> None:
    put(bucket, {"photos.tar": ARCHIVE})
    with pytest.raises(InputError, match=r"expected a folder, found an archive; give the folder that holds"):
        bring(Path(f"{bucket}/photos.tar"), tmp_path)
    assert scan(bring(Path(bucket), tmp_path)).images[0].file_name == "photos/a.jpg"


@pytest.mark.parametrize(
    ("url", "environment", "message"),
    [
        ("s3://no-such-bucket-here/photos", {}, "expected a bucket named no-such-bucket-here, found none"),
        ("https://example.org/photos", {}, "expected a path or a URL that begins with s3://"),
        ("ftp://host/photos", {}, "expected a path or a URL that begins with s3://"),
    ],
)
def test_unreachable_places(
    url: str, environment: dict[str, str], message: str, bucket: str, tmp_path: Path
) -> None:
    with patch.dict(os.environ, environment), pytest.raises(InputError, match=message):
        bring_inputs(Inputs(out=tmp_path / "run", images=Path(url)))
    assert not (tmp_path / "run").exists()


def test_without_the_package(bucket: str, tmp_path: Path) -> None:
    remote._reach.cache_clear()
    with patch.dict("sys.modules", {"obstore.store": None}), pytest.raises(InputError, match=r"\[cloud\]"):
        bring(Path(f"{bucket}/photos"), tmp_path)


def test_what_is_not_given_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--images is missing"):
        Inputs().need("images")
    with pytest.raises(ConfigError, match="found nothing at"):
        Inputs(images=tmp_path / "s3").need("images")


def test_a_damaged_listing(bucket: str, tmp_path: Path) -> None:
    here = bring(put(f"{bucket}/photos", {"car/1.jpg": b"1"}), tmp_path)
    listings.file_of(here).write_bytes(b"ARROW1")
    with pytest.raises(StoreError, match="expected the listing of a bucket, found a damaged file"):
        read_bytes(here / "car/1.jpg")

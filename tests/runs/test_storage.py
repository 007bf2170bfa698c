"""One protocol, two storages: a folder, and a bucket of moto's S3 server on loopback."""

import errno
import pickle
import threading
from pathlib import Path

import pytest

from partdistillation.errors import InputError, StoreError
from partdistillation.runs.storage import FolderStorage, Storage, open_storage
from partdistillation.settings import as_url, is_url


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "run")
    return open_storage(f"{request.getfixturevalue('bucket')}/run")


def test_what_is_written_is_read(storage: Storage) -> None:
    assert storage.read("a/b") is None
    assert not storage.exists("a/b")
    storage.write("a/b", b"first")
    storage.write("a/b", b"second")
    assert storage.read("a/b") == b"second"
    assert storage.exists("a/b")
    assert not storage.exists("a")
    assert storage.read("a/b/c") is None
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.read("a/b") is None


def test_a_file_that_was_replaced_while_it_was_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, read_bytes = FolderStorage(tmp_path), Path.read_bytes
    storage.write("a", b"new")
    errors = [OSError(errno.ESTALE, "Stale file handle")]

    def failing(path: Path) -> bytes:
        if errors:
            raise errors.pop()
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    assert storage.read("a") == b"new"
    errors += [OSError(errno.EIO, "Input/output error")]
    with pytest.raises(StoreError, match=r"can't read .*a: Input/output error\. What is done"):
        storage.read("a")


def test_what_is_no_folder_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StoreError, match=r"can't read .*a: Not a directory"):
        FolderStorage(tmp_path).names("a")


def test_pieces(storage: Storage) -> None:
    storage.write("a", b"0123456789")
    assert storage.read_range("a", 3, 4) == b"3456"
    assert storage.read_range("a", 8, 4) == b"89"
    with pytest.raises(StoreError, match="b"):
        storage.read_range("b", 0, 1)


def test_names_of_one_level(storage: Storage) -> None:
    for key in ("b", "a/x", "a/y/z", "c d/é", ".hidden", "a.b"):
        storage.write(key, b"")
    assert storage.names("") == ["a", "a.b", "b", "c d"]
    assert storage.names("a") == ["x", "y"]
    assert storage.names("c d") == ["é"]
    assert storage.names("nowhere") == []


def test_a_folder_of_a_storage(storage: Storage) -> None:
    storage.at("a/b").write("c", b"1")
    assert storage.read("a/b/c") == b"1"
    assert storage.at("a").names("") == ["b"]
    assert storage.at("a").at("b").read("c") == b"1"


def test_of_many_that_create_a_file_one_succeeds(storage: Storage) -> None:
    barrier, created = threading.Barrier(8), []

    def create(number: int) -> None:
        barrier.wait()
        created.append((storage.create("claims/a.1", b"%d" % number), number))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for is_mine, number in created if is_mine]
    assert storage.read("claims/a.1") == b"%d" % winner


def test_a_storage_goes_to_another_process(storage: Storage) -> None:
    storage.write("a", b"1")
    assert pickle.loads(pickle.dumps(storage)).read("a") == b"1"


def test_a_name_that_a_store_cannot_have(bucket: str) -> None:
    with pytest.raises(StoreError, match="give it a name that a store can have"):
        open_storage(bucket).write("a\tb", b"")


def test_urls() -> None:
    urls: list[Path | str] = [
        "s3://bucket/x",
        "gs://b",
        "az://c/x",
        Path("s3://bucket/x"),
        "ftp://host/x",
        "S3://b",
    ]
    assert all(is_url(url) for url in urls)
    paths: list[Path | str] = ["photos", "/a/b", "a:b", Path("~/x"), "C:/photos", "C:/", "c:"]
    assert not any(is_url(path) for path in paths)
    assert as_url(Path("s3://bucket/x/")) == as_url("s3://bucket/x/") == "s3://bucket/x"
    with pytest.raises(InputError, match=r"expected a path, or a URL that begins with s3://.*ftp://host"):
        open_storage("ftp://host/x")
    for place in ("s3://", Path("s3://"), "S3:///"):
        assert is_url(place)
        with pytest.raises(InputError, match=r"expected a bucket in the URL, as in s3://bucket/folder"):
            as_url(place)


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there() -> None:
    with pytest.raises(InputError, match="expected a bucket named nowhere, found none"):
        open_storage("s3://nowhere/x")


def test_no_credentials(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # where no machine of a cloud's answers
    with pytest.raises(InputError, match=r"found no credentials: .*\(AWS_ACCESS_KEY_ID, "):
        open_storage(bucket)


def test_half_of_the_credentials(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(InputError, match="Missing AccessKeyId: check the URL, and the credentials"):
        open_storage(bucket)


def test_no_server(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="the store doesn't answer"):
        open_storage(bucket)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(InputError, match=r"s3://b: needs obstore: pip install '.\[cloud\]'"):
        open_storage("s3://b")

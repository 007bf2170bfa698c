"""What is kept isn't computed again, and nothing that goes wrong with a file stops anyone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from partdistillation.objects.detic import embedding_cache
from partdistillation.objects.detic.embedding_cache import EmbeddingCache
from partdistillation.runs.atomic import explained


def lengths(texts: Sequence[str]) -> np.ndarray:
    """An embedding that tells its text."""
    return np.array([[len(one), sum(one.encode())] for one in texts], np.float32).reshape(-1, 2)


def refuse(texts: Sequence[str]) -> np.ndarray:
    raise AssertionError(f"computed again: {texts}")


def test_a_text_more_rewrites_one_file(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(600)]
    EmbeddingCache(tmp_path).complete(texts, lengths)
    before = {path: path.stat().st_ino for path in tmp_path.glob("*.safetensors")}
    assert sum(len(load_file(path)) for path in before) == 600
    EmbeddingCache(tmp_path).complete([*texts, "another"], lengths)
    assert sum(before[path] != path.stat().st_ino for path in before) == 1
    np.testing.assert_array_equal(EmbeddingCache(tmp_path).complete(texts, refuse), lengths(texts))


def test_any_text_can_be_kept(tmp_path: Path) -> None:
    texts = ["", "__metadata__", "__metadata__x", "Ünï\u2028cøde/../x", "'\"\\\n", "a" * 10_000]
    EmbeddingCache(tmp_path).complete(texts, lengths)
    np.testing.assert_array_equal(EmbeddingCache(tmp_path).complete(texts, refuse), lengths(texts))


def test_a_damaged_file_is_written_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    EmbeddingCache(tmp_path).complete(["one"], lengths)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    np.testing.assert_array_equal(EmbeddingCache(tmp_path).complete(["one"], lengths), lengths(["one"]))
    assert "computed again" in caplog.text
    EmbeddingCache(tmp_path).complete(["one"], refuse)


def test_a_folder_that_cant_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = EmbeddingCache(tmp_path / "file" / "folder")
    np.testing.assert_array_equal(cache.complete(["one"], lengths), lengths(["one"]))
    assert "aren't kept: [Errno 20] Not a directory" in caplog.text
    cache.complete(["one"], refuse)  # this process still knows it


def test_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        with explained(path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedding_cache, "replace_file", full)
    found = EmbeddingCache(tmp_path).complete(["one"], lengths)
    np.testing.assert_array_equal(found, lengths(["one"]))
    assert "not all embeddings are kept: [Errno 28] No space left on device" in caplog.text


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each adds texts of its own and some of all; nothing is computed twice, nothing is lost.

    Threads, as a lock on an open file is as good between them as between processes, which start slowly.
    """
    computed: list[str] = []

    def compute(texts: Sequence[str]) -> np.ndarray:
        computed.extend(texts)
        return lengths(texts)

    def work(worker: int) -> None:
        for part in range(3):
            own = [f"{worker}-{part}-{number}" for number in range(10)]
            EmbeddingCache(tmp_path).complete([*own, *(f"all-{n}" for n in range(10))], compute)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(computed) == len(set(computed)) == 4 * 3 * 10 + 10
    np.testing.assert_array_equal(EmbeddingCache(tmp_path).complete(computed, refuse), lengths(computed))

"""Class names to embeddings: transformers' own forward pass as judge; what is kept isn't computed again."""

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from partdistillation.errors import CheckpointError
from partdistillation.models.pretrained import quiet_transformers
from partdistillation.objects.detic import text
from partdistillation.objects.detic.text import EmbeddingCache, TextEmbedder

CPU = torch.device("cpu")
NAMES = ["car", "cart", "a-very-long-name-of-a-class", "car", "Polar Bear", "x"]


@pytest.fixture
def embedder(tiny_clip: Path, tmp_path: Path) -> TextEmbedder:
    return TextEmbedder.from_pretrained(tiny_clip, device=CPU, cache=tmp_path / "cache")


def judge(folder: Path, texts: Sequence[str]) -> Tensor:
    """One text at a time, nothing padded."""
    with quiet_transformers():
        model: Any = CLIPTextModelWithProjection.from_pretrained(folder)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    model.eval()
    with torch.no_grad():
        rows = [
            model(**tokenizer(one, return_tensors="pt", truncation=True, max_length=16)).text_embeds[0]
            for one in texts
        ]
    return torch.stack([row / row.norm() for row in rows])


def test_agrees_with_transformers(
    embedder: TextEmbedder, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BATCH", 2)
    expected = judge(tiny_clip, [f"a {name}" for name in NAMES])
    assert (expected @ expected.T)[0, 1] < 0.99  # the names differ at all
    torch.testing.assert_close(embedder(NAMES), expected, atol=1e-5, rtol=0)
    assert embedder.dim == 24


def test_no_names(embedder: TextEmbedder) -> None:
    assert embedder([]).shape == (0, 24)


def test_what_is_kept_isnt_computed(
    embedder: TextEmbedder, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embedder(NAMES)
    again = TextEmbedder.from_pretrained(tiny_clip, device=CPU, cache=embedder.cache.folder.parent)
    computed: list[str] = []
    compute = TextEmbedder._compute

    def noted(self: TextEmbedder, texts: Sequence[str]) -> np.ndarray:
        computed.extend(texts)
        return compute(self, texts)

    monkeypatch.setattr(TextEmbedder, "_compute", noted)
    assert torch.equal(again(NAMES), first)
    assert computed == []
    assert torch.equal(again(["new", *NAMES])[1:], first)
    again(["new"])
    assert computed == ["a new"]


def test_another_model_has_its_own_folder(embedder: TextEmbedder, tiny_clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_clip, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    found = TextEmbedder.from_pretrained(other, device=CPU, cache=tmp_path / "cache")
    assert found.cache.folder != embedder.cache.folder
    assert not torch.equal(found(["car"]), embedder(["car"]))


def test_where_it_is_kept(tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    found = TextEmbedder.from_pretrained(tiny_clip, device=CPU)
    assert found.cache.folder.parent == tmp_path / "xdg" / "partdistillation" / "clip"
    assert not found.cache.folder.exists()  # until there is something to keep
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = TextEmbedder.from_pretrained(tiny_clip, device=CPU)
    assert found.cache.folder.parent == tmp_path / ".cache" / "partdistillation" / "clip"


# ---------------------------------------------------------------------- the cache


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
    texts = ["", "__metadata__x", "Ünï\u2028cøde/../x", "'\"\\\n", "a" * 10_000]
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
    assert "aren't kept: Not a directory" in caplog.text
    cache.complete(["one"], refuse)  # this process still knows it


def test_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(text, "replace_file", full)
    found = EmbeddingCache(tmp_path).complete(["one"], lengths)
    np.testing.assert_array_equal(found, lengths(["one"]))
    assert "not all embeddings are kept: No space left on device" in caplog.text


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


# ---------------------------------------------------------------------- what isn't a text model


def test_other_directories(tiny_clip: Path, tmp_path: Path) -> None:
    def broken(name: str, *files: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(tiny_clip, folder)
        for file in files:
            (folder / file).unlink()
        return folder

    def refused(folder: Path | str, message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            TextEmbedder.from_pretrained(folder, device=CPU, cache=tmp_path / "cache")

    refused(tmp_path / "nothing", "expected a model directory or a published model's name")
    refused("owner/unknown-model", r"owner/unknown-model: expected a CLIP text model")
    refused(broken("weights", "model.safetensors"), r"no file named model\.safetensors")
    refused(broken("tokens", "tokenizer.json"), r"of 82 tokens; found \d+\. Are the tokenizer's files there")
    other = broken("other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    refused(other, "config.json says 'bert'")
    (other / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    refused(other, r"aren't those of its config\.json: missing \S+layers\.2")
    (other / "config.json").write_text(json.dumps(config | {"projection_dim": 8}))
    refused(other, r"text_projection\.weight has shape \(24, 16\), expected \(8, 16\)")

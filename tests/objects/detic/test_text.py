"""Class names to embeddings: transformers' own forward pass as judge; what is kept isn't computed again."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from partdistillation.errors import CheckpointError
from partdistillation.models.pretrained import quiet_transformers
from partdistillation.objects.detic import text
from partdistillation.objects.detic.text import TextEmbedder

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
    assert torch.equal(again(NAMES), again(NAMES))
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
    refused("owner/unknown-model", "expected a model directory or the name of a published model")
    refused(broken("weights", "model.safetensors"), r"expected model\.safetensors")
    refused(
        broken("tokens", "tokenizer.json"), r"expected a tokenizer of 82 tokens beside the model, found \d+"
    )
    other = broken("other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    refused(other, "config.json says 'bert'")
    (other / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    refused(other, r"aren't those of its config\.json: missing \S+layers\.2")
    (other / "config.json").write_text(json.dumps(config | {"projection_dim": 8}))
    refused(other, r"text_projection\.weight has shape \(24, 16\), expected \(8, 16\)")

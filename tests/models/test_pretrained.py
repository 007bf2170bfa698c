"""Model directories: what is written loads again, here and in transformers; what can't be loaded is said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Mask2FormerForUniversalSegmentation

from partdistillation.errors import CheckpointError
from partdistillation.models.part_mask2former import PartMask2Former, mask_logits

IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def directory(small_network: PartMask2Former, tmp_path: Path) -> Path:
    small_network.save_pretrained(tmp_path / "model", metadata={"Seed": 0, "Command": "partdistill pretrain"})
    return tmp_path / "model"


def test_everything_comes_back(small_network: PartMask2Former, directory: Path) -> None:
    again = PartMask2Former.from_pretrained(directory)
    assert sorted(path.name for path in directory.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "sha256.json",
    ]
    assert again.info == small_network.info
    assert not again.training
    torch.testing.assert_close(again.state_dict(), small_network.state_dict(), rtol=0, atol=0)


def test_a_trained_model_that_cant_be_checked_is_said(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (directory / "sha256.json").unlink()
    PartMask2Former.from_pretrained(directory)
    assert not caplog.messages, "models that others publish have none"
    (directory / "training.json").write_text("{}")
    PartMask2Former.from_pretrained(directory)
    assert caplog.messages == [f"{directory} has no sha256.json, so damage of its files goes unnoticed"]


def test_a_folder_that_models_are_in(directory: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected config.json, .* There are models in it: model\.$"):
        PartMask2Former.from_pretrained(directory.parent)


def test_a_part_model_comes_back(small_swin: PartMask2Former, tmp_path: Path) -> None:
    network = small_swin.with_head(["car", "cat"], num_parts=3, num_queries=9, seed=1)
    network.save_pretrained(tmp_path / "parts")
    again = PartMask2Former.from_pretrained(str(tmp_path / "parts"))
    assert again.info == network.info
    torch.testing.assert_close(again.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_transformers_reads_it_too(small_network: PartMask2Former, directory: Path) -> None:
    judge: Any = Mask2FormerForUniversalSegmentation.from_pretrained(directory)
    assert judge.config.id2label == {0: "car", 1: "cat", 2: "tree"}
    with torch.no_grad():
        expected = judge.eval()(IMAGES).masks_queries_logits
        torch.testing.assert_close(mask_logits(small_network(IMAGES)), expected, atol=1e-4, rtol=1e-4)


def test_what_transformers_saved_loads(
    small_network: PartMask2Former, directory: Path, tmp_path: Path
) -> None:
    """As a published model: no section of ours, and a buffer of its criterion among the weights."""
    judge = Mask2FormerForUniversalSegmentation.from_pretrained(directory)
    del judge.config.partdistillation
    judge.save_pretrained(tmp_path / "published")
    network = PartMask2Former.from_pretrained(tmp_path / "published")
    assert network.info.class_names == ("car", "cat", "tree")
    assert "criterion.empty_weight" in load_file(tmp_path / "published" / "model.safetensors")
    torch.testing.assert_close(network.state_dict(), small_network.state_dict(), rtol=0, atol=0)


def test_half_precision_on_disk(small_network: PartMask2Former, tmp_path: Path) -> None:
    small_network.save_pretrained(tmp_path / "half", dtype=torch.float16)
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}
    network = PartMask2Former.from_pretrained(tmp_path / "half")
    for name, value in small_network.state_dict().items():
        found = network.state_dict()[name]
        assert found.dtype == value.dtype
        torch.testing.assert_close(found, value.half().to(value.dtype), rtol=0, atol=0)


def test_the_model_card_tells(directory: Path) -> None:
    card = (directory / "README.md").read_text(encoding="utf-8")
    assert "| Classes | car, cat, tree |" in card
    assert "| Command | partdistill pretrain |" in card


def test_an_older_model_is_replaced_and_nothing_left_behind(
    small_network: PartMask2Former, directory: Path
) -> None:
    (directory / "stale.txt").write_text("of the model before")
    small_network.with_head(["part"], seed=0).save_pretrained(directory)
    assert PartMask2Former.from_pretrained(directory).info.class_names == ("part",)
    assert not (directory / "stale.txt").exists()
    assert [path.name for path in directory.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_older_model(
    small_network: PartMask2Former, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (directory / "model.safetensors").read_bytes()
    monkeypatch.setattr("partdistillation.models.pretrained._model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        small_network.with_head(["part"], seed=0).save_pretrained(directory)
    assert (directory / "model.safetensors").read_bytes() == before
    assert [path.name for path in directory.parent.iterdir()] == ["model"]


# ---------------------------------------------------------------------- what can't be loaded


def edit_config(directory: Path, **values: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is none"):
        PartMask2Former.from_pretrained(tmp_path / "nothing")


def test_missing_files(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="is a pickle, which is never loaded; `partdistill convert`"):
        PartMask2Former.from_pretrained(directory)
    (directory / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"expected model.safetensors"):
        PartMask2Former.from_pretrained(directory)
    (directory / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"expected config.json"):
        PartMask2Former.from_pretrained(directory)
    for path in directory.iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match=r"found nothing\. Check its name; a run has its model in OUT"):
        PartMask2Former.from_pretrained(directory)


def test_unknown_hub_name() -> None:
    with pytest.raises(CheckpointError, match="nobody/no-such-model"):
        PartMask2Former.from_pretrained("nobody/no-such-model")


def test_other_weights(directory: Path) -> None:
    path = directory / "model.safetensors"
    weights = load_file(path)
    levels = "model.transformer_module.level_embed.weight"
    damaged = weights | {levels: torch.zeros(2, 32), "extra.weight": torch.zeros(1)}
    del damaged["model.transformer_module.queries_features.weight"]
    save_file(damaged, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        PartMask2Former.from_pretrained(directory)
    message = str(caught.value)
    assert "missing model.transformer_module.queries_features.weight" in message
    assert "unexpected extra.weight" in message
    assert f"{levels} has shape (2, 32), expected (3, 32)" in message


def test_damaged_weights(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="can't be read"):
        PartMask2Former.from_pretrained(directory)


def test_other_models(directory: Path) -> None:
    edit_config(directory, model_type="detr")
    with pytest.raises(CheckpointError, match=r"config.json says 'detr'"):
        PartMask2Former.from_pretrained(directory)
    (directory / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: expected JSON"):
        PartMask2Former.from_pretrained(directory)


def test_a_section_that_doesnt_fit(directory: Path, tmp_path: Path) -> None:
    section = json.loads((directory / "config.json").read_text())["partdistillation"]
    copy = shutil.copytree(directory, tmp_path / "copy")
    edit_config(directory, partdistillation=section | {"num_parts": 2})
    with pytest.raises(CheckpointError, match=r"expected 7 rows .* found 4"):
        PartMask2Former.from_pretrained(directory)
    del section["class_names"]
    edit_config(copy, partdistillation=section)
    with pytest.raises(CheckpointError, match=r"section partdistillation.*class_names"):
        PartMask2Former.from_pretrained(copy)
    edit_config(copy, num_queries="many")
    with pytest.raises(CheckpointError, match="can't be used"):
        PartMask2Former.from_pretrained(copy)

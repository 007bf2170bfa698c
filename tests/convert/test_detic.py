"""Conversion of Detic's checkpoint, without it: a network of ours goes to the authors' names and back."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from partdistillation.commands import main as cli
from partdistillation.convert.detic import convert_checkpoint, infer_config, translate
from partdistillation.errors import CheckpointError
from partdistillation.functional.masks import box, decode
from partdistillation.objects.detic import DeticObjects, files
from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.network import DeticNetwork

from ..parity.detic import official_embeddings

CONFIG = DeticConfig(
    embed_dim=8,
    depths=(1, 2, 1, 1),
    num_heads=(1, 2, 2, 4),
    window_size=3,
    mlp_ratio=2.0,
    pyramid_channels=32,
    proposal_convs=2,
    fc_dims=(24, 16),
    embedding_dim=12,
    mask_convs=2,
    mask_channels=16,
)


def official_names() -> Iterator[str]:
    """Every weight of such a network in the authors' code, written out from its modules."""

    def both(*modules: str) -> Iterator[str]:
        yield from (f"{module}.{kind}" for module in modules for kind in ("weight", "bias"))

    swin = "backbone.bottom_up."
    yield from both(swin + "patch_embed.proj", swin + "patch_embed.norm")
    for stage, depth in enumerate(CONFIG.depths):
        for block in range(depth):
            prefix = f"{swin}layers.{stage}.blocks.{block}."
            yield from both(*(prefix + one for one in ("norm1", "norm2", "attn.qkv", "attn.proj")))
            yield from both(prefix + "mlp.fc1", prefix + "mlp.fc2")
            yield prefix + "attn.relative_position_bias_table"
        if stage < 3:
            yield f"{swin}layers.{stage}.downsample.reduction.weight"
            yield from both(f"{swin}layers.{stage}.downsample.norm", f"{swin}norm{stage + 1}")
    for level in (3, 4, 5):
        yield from both(f"backbone.fpn_lateral{level}", f"backbone.fpn_output{level}")
    yield from both("backbone.top_block.p6", "backbone.top_block.p7")
    head = "proposal_generator.centernet_head."
    yield from both(*(f"{head}bbox_tower.{module}" for module in (0, 1, 3, 4)))
    yield from both(head + "bbox_pred", head + "agn_hm")
    yield from (f"{head}scales.{level}.scale" for level in range(5))
    for stage in range(3):
        box, predictor = f"roi_heads.box_head.{stage}.", f"roi_heads.box_predictor.{stage}."
        yield from both(box + "fc1", box + "fc2", predictor + "cls_score.linear")
        yield from both(predictor + "bbox_pred.0", predictor + "bbox_pred.2")
    mask = "roi_heads.mask_head."
    yield from both(*(mask + one for one in ("mask_fcn1", "mask_fcn2", "deconv", "predictor")))


def to_official(network: DeticNetwork, folder: Path) -> dict[str, Tensor]:
    """The network's weights under the authors' names: what is apart here is put together again."""
    files.save(folder, network)
    published = load_file(folder / "model.safetensors")
    state = {}
    for name in official_names():
        # three rows, to see which weights are stored together
        parts = [one for one, _ in translate(name, torch.zeros(3))]
        state[name] = torch.cat([published.pop(one) for one in parts])
    assert set(published) == {
        f"backbone.swin.layernorm.{kind}" for kind in ("weight", "bias")
    }  # read by none
    return state


@pytest.fixture(scope="module")
def network() -> DeticNetwork:
    network = DeticNetwork.create(CONFIG, seed=0)
    torch.nn.init.constant_(network.proposals.distances.get_parameter("bias"), 4.0)  # else boxes have no area
    return network


@pytest.fixture(scope="module")
def official(network: DeticNetwork, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return to_official(network, tmp_path_factory.mktemp("models") / "detic")


@pytest.fixture
def checkpoint(official: dict[str, Tensor], tmp_path: Path) -> Path:
    """As published: with what only training needs, and the embeddings of its class names."""
    extra = {
        "backbone.bottom_up.layers.0.blocks.0.attn.relative_position_index": torch.zeros(25, 25).long(),
        **{f"roi_heads.box_predictor.{stage}.freq_weight": torch.ones(7) for stage in range(3)},
        **{f"roi_heads.box_predictor.{stage}.cls_score.zs_weight": torch.ones(12, 8) for stage in range(3)},
    }
    path = tmp_path / "detic.pth"
    torch.save({"model": official | extra, "iteration": 7}, path)
    return path


def set_config(folder: Path, **values: Any) -> None:
    """Change a model's settings where a user would."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def embed(names: Sequence[str]) -> Tensor:
    """A direction for each name."""
    rows = [torch.randn(12, generator=torch.Generator().manual_seed(sum(name.encode()))) for name in names]
    return torch.stack(rows)


def test_a_photograph_through_the_converted_model(
    network: DeticNetwork, checkpoint: Path, tmp_path: Path
) -> None:
    assert cli.main(["convert", "detic", str(checkpoint), "--out", str(tmp_path / "model")]) == 0
    again = files.load(tmp_path / "model")
    assert again.config == CONFIG
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name

    set_config(tmp_path / "model", min_size=120, max_size=200, max_detections=9)
    segmenter = DeticObjects(files.load(tmp_path / "model"), embed, min_score=0.3)
    image = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    (found,) = segmenter([image], ["car", "polar bear"])
    assert 4 <= len(found) <= 9  # without those whose mask is empty
    assert {one.category for one in found} <= {"car", "polar bear"}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        mask = decode(one.rle, 60, 100)
        assert 0 < mask.sum() == one.area
        assert box(mask) == one.box
        assert 0.3 < one.score < 1


def test_what_isnt_detic_is_named(official: dict[str, Tensor], tmp_path: Path) -> None:
    def refused(state: Any, *messages: str) -> None:
        torch.save(state, tmp_path / "a.pth")
        with pytest.raises(CheckpointError) as caught:
            convert_checkpoint(tmp_path / "a.pth", tmp_path / "out")
        message = str(caught.value)
        assert message.count("a.pth") == 1
        assert not [one for one in messages if one not in message], message
        assert not (tmp_path / "out").exists()

    resnet = {"backbone.bottom_up.stem.conv1.weight": torch.zeros(1)}
    refused({"model": resnet}, "Detic with a Swin backbone", "patch_embed.proj.weight is missing")
    mask2former = {"backbone.patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}
    refused(mask2former, "backbone.bottom_up.patch_embed.proj.weight is missing")
    refused([1, 2], "expected arrays or tensors by name, found list")
    swapped = official | {
        "roi_heads.box_head.2.fc2.weight": torch.zeros(16, 23),
        "roi_heads.text_encoder.weight": torch.ones(1),
    }
    del swapped["roi_heads.mask_head.deconv.bias"]
    refused(
        {"model": swapped},
        "missing masks.upsample.bias",
        "cascade.2.layers.2.weight has shape (16, 23), expected (16, 24)",
        "unexpected roi_heads.text_encoder.weight",
    )
    with pytest.raises(CheckpointError, match=r"b\.pth: No such file"):
        convert_checkpoint(tmp_path / "b.pth", tmp_path / "out")


def test_nothing_is_executed(tmp_path: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(1)}, "hook": Path("x")}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="expected arrays or tensors by name"):
        convert_checkpoint(tmp_path / "a.pth", tmp_path / "out")


def test_the_authors_values_from_file_to_objects(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their weights as a .pth, converted, give their boxes, scores, classes and masks (fixture i).

    The fixture holds the photograph as the network saw it; resizing it is left out here.
    """
    archive = np.load(fixtures / "i_detic_tiny.npz")
    state = {name[4:]: torch.from_numpy(archive[name]) for name in archive.files if name.startswith("sd::")}
    torch.save({"model": state}, tmp_path / "tiny.pth")
    convert_checkpoint(tmp_path / "tiny.pth", tmp_path / "model")
    settings = yaml.safe_load((fixtures / "i_detic_tiny.yaml").read_text())
    (tmp_path / "model" / "config.json").write_text(infer_config(state, settings).to_json())

    classifier = official_embeddings(state)
    names = [f"class {row}" for row in range(classifier.shape[1])]
    detic = files.load(tmp_path / "model")
    segmenter = DeticObjects(detic, lambda asked: classifier[:, : len(asked)], min_score=0.02)
    resized = np.ascontiguousarray(archive["image"].transpose(1, 2, 0))
    monkeypatch.setattr(DeticNetwork, "_resize", lambda *_: resized)
    (found,) = segmenter([np.zeros((240, 336, 3), np.uint8)], names)

    masks = np.unpackbits(archive["final_masks"], axis=-1)[..., :336].astype(bool)
    scores, classes = archive["final_scores"], archive["final_classes"]
    assert len(found) == len(masks) == 20
    left = list(range(20))
    for one in found:  # scores may be as near as 2e-6: the order isn't compared
        mask = decode(one.rle, 240, 336)
        differing = [np.count_nonzero(mask != masks[index]) for index in left]
        index = left.pop(int(np.argmin(differing)))
        assert min(differing) <= 2
        assert one.category == names[classes[index]]
        assert one.score == pytest.approx(scores[index], abs=1e-5)

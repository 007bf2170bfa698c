"""The network against transformers' Mask2Former, freezing, new heads."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from partdistillation.config import Freeze
from partdistillation.errors import CheckpointError
from partdistillation.models.heads import ClassHead, PartHead
from partdistillation.models.part_mask2former import DecoderOutput, PartMask2Former, mask_logits

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["small_network", "small_swin"])
def network(request: pytest.FixtureRequest) -> PartMask2Former:
    result: PartMask2Former = request.getfixturevalue(request.param)
    return result


def as_transformers(network: PartMask2Former) -> Any:
    """The same weights in transformers' own class."""
    config = Mask2FormerConfig.from_dict(network.model.config.to_dict())
    config.id2label = {i: str(i) for i in range(len(network.info.class_names))}
    judge: Any = Mask2FormerForUniversalSegmentation(config)
    judge.load_state_dict(network.state_dict(), strict=False)
    return judge.eval()


def test_agrees_with_transformers(network: PartMask2Former) -> None:
    with torch.no_grad():
        output = network(IMAGES)
        expected = as_transformers(network)(IMAGES, output_auxiliary_logits=True)
    logits = torch.stack(network.class_logits(output))[:, :, 0]
    layers = [*expected.auxiliary_logits, expected]
    assert len(output.queries) == 4  # before the first of three layers, and after each
    for layer, one in enumerate(layers[-4:]):
        masks = one["masks_queries_logits"]
        torch.testing.assert_close(mask_logits(output, layer), masks, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(logits[:, layer], one["class_queries_logits"], atol=1e-4, rtol=1e-4)


def test_a_query_with_an_empty_mask_looks_everywhere(small_network: PartMask2Former) -> None:
    """With features of 1 and embeddings of -1 every mask is empty: attention isn't NaN but global."""
    features = torch.ones(1, 32, 16, 16)
    levels = [torch.randn(1, 32, size, size) for size in (2, 4, 8)]
    predictor: Any = small_network.model.transformer_module.decoder.mask_predictor.mask_embedder
    last = predictor.layers[-1].layers[0]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -1.0)
    empty = small_network._decode_queries(features, levels)
    nn.init.constant_(last.bias, 1.0)
    full = small_network._decode_queries(features, levels)
    assert torch.isfinite(empty.queries).all()
    torch.testing.assert_close(empty.queries, full.queries)


def test_mask_embeddings_can_be_normalized(small_network: PartMask2Former) -> None:
    """Which scales the masks, and so leaves the attention, the queries and the classes as they are."""
    plain = small_network(IMAGES)
    small_network.info = replace(small_network.info, normalize_mask_embeddings=True)
    output = small_network(IMAGES)
    torch.testing.assert_close(output.queries, plain.queries)
    expected = nn.functional.normalize(plain.mask_embeddings, dim=-1)
    torch.testing.assert_close(output.mask_embeddings, expected)


def trained_parts(network: PartMask2Former) -> set[str]:
    """Which parts of the network get a gradient from the masks and classes of all layers."""
    network.zero_grad()
    output = network(IMAGES)
    losses = [one.sum() for one in network.class_logits(output)]
    losses += [mask_logits(output, layer).square().mean() for layer in range(len(output.queries))]
    torch.autograd.backward(torch.stack(losses).sum())
    parts = {
        "encoder": "model.pixel_level_module.encoder.",
        "pixel encoder": "model.pixel_level_module.decoder.encoder.",
        "projections": "model.pixel_level_module.decoder.input_projections.",
        "mask projection": "model.pixel_level_module.decoder.mask_projection.",
        "decoder": "model.transformer_module.",
        "head": "class_predictor.",
    }
    return {
        part
        for part, prefix in parts.items()
        if any(p.grad is not None for name, p in network.named_parameters() if name.startswith(prefix))
    }


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("none", set()),
        ("backbone", {"encoder"}),
        ("official", {"encoder", "pixel encoder"}),
        ("pixel_level", {"encoder", "pixel encoder", "projections", "mask projection"}),
    ],
)
def test_freezing(small_network: PartMask2Former, freeze: Freeze, frozen: set[str]) -> None:
    everything = {"encoder", "pixel encoder", "projections", "mask projection", "decoder", "head"}
    small_network.train()
    small_network.set_frozen(freeze)
    assert trained_parts(small_network) == everything - frozen
    small_network.set_frozen("none")
    assert trained_parts(small_network) == everything


def test_a_frozen_batch_norm_keeps_its_statistics(small_network: PartMask2Former) -> None:
    def statistics() -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in small_network.named_buffers() if "running" in name}

    before = statistics()
    small_network.set_frozen("official")
    small_network.train()
    small_network(IMAGES)
    assert before
    torch.testing.assert_close(statistics(), before, rtol=0, atol=0)
    small_network.set_frozen("none")
    small_network(IMAGES)
    assert any(not torch.equal(value, before[name]) for name, value in statistics().items())


def test_creation_is_a_function_of_the_seed(small_network: PartMask2Former) -> None:
    config, info = small_network.model.config, small_network.info
    before = torch.random.get_rng_state()
    same, other = (PartMask2Former.create(config, info, seed=seed) for seed in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.testing.assert_close(same.state_dict(), small_network.state_dict(), rtol=0, atol=0)
    assert not torch.equal(other.class_predictor.to_linear()[0], same.class_predictor.to_linear()[0])


def test_new_heads_keep_the_rest(small_network: PartMask2Former) -> None:
    proposals = small_network.with_head(["part"], seed=1)
    assert isinstance(proposals.class_predictor, ClassHead)
    assert proposals.class_predictor.num_classes == 1
    parts = proposals.with_head(["car", "cat"], num_parts=3, seed=1)
    assert isinstance(parts.class_predictor, PartHead)
    assert parts.info.class_names == ("car", "cat")
    for one in (proposals, parts):
        torch.testing.assert_close(mask_logits(one(IMAGES)), mask_logits(small_network(IMAGES)))
        assert one.model.config is not small_network.model.config


@pytest.mark.parametrize("number", [4, 9])
def test_another_number_of_queries(small_network: PartMask2Former, number: int) -> None:
    network = small_network.with_head(["part"], num_queries=number, seed=1)
    assert mask_logits(network(IMAGES)).shape[1] == number
    kept = min(number, 6)
    for name in ("queries_embedder", "queries_features"):
        new, old = (getattr(one.model.transformer_module, name).weight for one in (network, small_network))
        assert torch.equal(new[:kept], old[:kept])
        assert len(new) == number


def test_class_logits_of_parts_come_in_groups(small_network: PartMask2Former) -> None:
    network = small_network.with_head(["car", "cat", "tree"], num_parts=2, seed=1)
    output: DecoderOutput = network(IMAGES)
    logits = network.class_logits(output, [[2, 0], [1]])
    assert [tuple(one.shape) for one in logits] == [(4, 2, 6, 3), (4, 1, 6, 3)]
    assert isinstance(network.class_predictor, PartHead)
    expected = network.class_predictor(output.queries[:, :1], torch.tensor([0]))
    torch.testing.assert_close(logits[0][:, 1], expected[:, 0])
    assert network.class_logits(output, [[], [1]])[0].shape == (4, 0, 6, 3)
    with pytest.raises(ValueError, match="object classes"):
        network.class_logits(output)


def test_other_object_classes_share_the_weights_and_learn_their_rows_alone(
    small_network: PartMask2Former,
) -> None:
    old = small_network.with_head(["cat", "dog"], num_parts=3, seed=1).eval()
    new = old.with_classes(["owl"], seed=2).train()
    assert [name for name, value in new.named_parameters() if value.requires_grad] == ["class_predictor.rows"]
    assert not new.model.pixel_level_module.training
    both = old.extended(new)
    assert both.info.class_names == ("cat", "dog", "owl")
    assert both.model is old.model
    again = old.extended(old.with_classes(["owl"], seed=2))
    assert torch.equal(both.class_predictor.rows, again.class_predictor.rows)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="expected a part model"):
        small_network.with_classes(["owl"], seed=2)


def test_unsupported_variants_are_refused(small_network: PartMask2Former) -> None:
    config = copy.deepcopy(small_network.model.config)
    config.pre_norm = True
    with pytest.raises(CheckpointError, match="pre_norm"):
        PartMask2Former.create(config, small_network.info, seed=0)


def test_transformers_remark_about_backbones_is_silent(
    small_network: PartMask2Former, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    Mask2FormerConfig.from_dict(small_network.model.config.to_dict())
    assert "supported model" not in caplog.text + capsys.readouterr().err

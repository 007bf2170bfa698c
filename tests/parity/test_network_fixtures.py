"""The network and its heads against the released code's values (fixtures h1, h1b, h2, h3, h4)."""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from partdistillation.commands import main as cli
from partdistillation.convert.mask2former import load_official_state_dict, translate
from partdistillation.inference import PartSegmenter
from partdistillation.models.heads import PartHead
from partdistillation.models.part_mask2former import PartMask2Former, mask_logits

TOLERANCE = 2e-4


def state(archive: Any) -> dict[str, np.ndarray]:
    return {name[4:]: archive[name] for name in archive.files if name.startswith("sd::")}


def close(found: Tensor, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=tolerance, rtol=0)


@pytest.fixture
def tiny(fixtures: Path) -> Any:
    return np.load(fixtures / "h1_mask2former_tiny.npz")


@pytest.fixture
def network(tiny: Any) -> PartMask2Former:
    return load_official_state_dict(state(tiny))


def test_every_step_of_the_network(network: PartMask2Former, tiny: Any) -> None:
    levels = network.encode(torch.from_numpy(tiny["image"]))
    for number, level in enumerate(levels, start=2):
        close(level, tiny[f"res{number}"])
    pixels: Any = network.model.pixel_level_module.decoder(levels)
    for index, level in enumerate(pixels.multi_scale_features):
        close(level, tiny[f"multi_scale{index}"])
    output = network.decode(levels)
    close(output.mask_features, tiny["mask_features"])
    close(output.queries[-1], tiny["decoder_output"])
    close(mask_logits(output), tiny["pred_masks"])
    close(mask_logits(output, 0), tiny["aux0_masks"])
    logits = torch.stack(network.class_logits(output))[:, :, 0]
    close(logits[:, -1], tiny["pred_logits"])
    for layer in range(4):
        close(logits[:, layer], tiny[f"aux{layer}_logits"])


def test_backbone_at_an_odd_size(network: PartMask2Former, fixtures: Path) -> None:
    odd = np.load(fixtures / "h1b_swin_oddsize.npz")
    for number, level in enumerate(network.encode(torch.from_numpy(odd["image"])), start=2):
        close(level, odd[f"res{number}"])


def test_normalized_mask_embeddings(tiny: Any, fixtures: Path) -> None:
    network = load_official_state_dict(state(tiny), normalize_mask_embeddings=True)
    expected = np.load(fixtures / "h2_mask2former_tiny_qnorm.npz")
    output = network(torch.from_numpy(tiny["image"]))
    close(output.queries[-1], expected["decoder_output"])
    close(mask_logits(output), expected["pred_masks"])
    close(torch.stack(network.class_logits(output))[:, -1, 0], expected["pred_logits"])


# ---------------------------------------------------------------------- through the command


def converted(weights: dict[str, np.ndarray], file: Path, *flags: str) -> Path:
    """What `partdistill convert mask2former` writes, from a file as the published ones are."""
    content: dict[str, Any] = {"__author__": "third_party", "matching_heuristics": True}
    if file.suffix == ".pkl":
        file.write_bytes(pickle.dumps({"model": OrderedDict(weights), **content}, protocol=2))
    else:
        tensors = OrderedDict((name, torch.from_numpy(value)) for name, value in weights.items())
        torch.save({"model": tensors, "iteration": 9, "optimizer": {"state": {}, "param_groups": []}}, file)
    out = file.with_name("model")
    assert cli.main(["convert", "mask2former", str(file), "--out", str(out), *flags]) == 0
    return out


@pytest.fixture(params=["model_final.pkl", "model_final.pth"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_the_command_converts_a_mask2former(tiny: Any, fixtures: Path, file: Path) -> None:
    names = ("person", "traffic light", "dog")
    network = PartMask2Former.from_pretrained(converted(state(tiny), file, "--class-names", *names))
    assert network.info.class_names == names
    output = network(torch.from_numpy(tiny["image"]))
    close(mask_logits(output), tiny["pred_masks"])
    close(torch.stack(network.class_logits(output))[:, -1, 0], tiny["pred_logits"])
    odd = np.load(fixtures / "h1b_swin_oddsize.npz")
    for number, level in enumerate(network.encode(torch.from_numpy(odd["image"])), start=2):
        close(level, odd[f"res{number}"])


def test_the_command_converts_normalized_mask_embeddings(tiny: Any, fixtures: Path, file: Path) -> None:
    network = PartMask2Former.from_pretrained(converted(state(tiny), file, "--normalize-mask-embeddings"))
    expected = np.load(fixtures / "h2_mask2former_tiny_qnorm.npz")
    close(mask_logits(network(torch.from_numpy(tiny["image"]))), expected["pred_masks"])


def test_the_command_converts_a_part_model(fixtures: Path, file: Path, tmp_path: Path) -> None:
    expected = np.load(fixtures / "h4_part_distillation_decoder.npz")
    names = ("crane (bird)", "dog", "cat", "car", "bus")
    (tmp_path / "names.txt").write_text("\n".join(names))
    flags = ("--num-parts", "3", "--class-list", str(tmp_path / "names.txt"))
    segmenter = PartSegmenter.from_pretrained(converted(state(expected), file, *flags), device="cpu")
    assert segmenter.class_names == names
    network = segmenter.network
    assert isinstance(network.class_predictor, PartHead)
    output = network(torch.from_numpy(expected["image"]))
    close(mask_logits(output), expected["pred_masks"])
    logits = network.class_predictor(output.queries, torch.from_numpy(expected["gt_object_class"]))
    close(logits[-1], expected["pred_logits"])


def test_gradients(network: PartMask2Former, tiny: Any, fixtures: Path, tmp_path: Path) -> None:
    expected = np.load(fixtures / "h3_mask2former_grads.npz")
    output = network(torch.from_numpy(tiny["image"]))
    logits = torch.stack(network.class_logits(output))[:, -1, 0]
    loss = (logits * torch.from_numpy(expected["w_logits"])).sum()
    loss = loss + (mask_logits(output) * torch.from_numpy(expected["w_masks"])).sum()
    torch.autograd.backward(loss)
    found = gradients_by_published_name(network, tmp_path)
    official = state(tiny)
    for name, norm in zip(expected["names"], expected["grad_norm"], strict=True):
        names = [one for one, _ in translate(str(name), torch.from_numpy(official[str(name)]))]
        squares = [found[one].double().square().sum() for one in names]
        np.testing.assert_allclose(
            torch.stack(squares).sum().sqrt(), norm, rtol=1e-3, atol=1e-4, err_msg=name
        )
    whole = [name for name in expected.files if name.startswith("grad::")]
    assert whole
    for name in whole:
        for one, values in translate(name[6:], torch.from_numpy(expected[name])):
            scale = float(values.abs().max())
            close(found[one], values.numpy(), tolerance=1e-3 * scale)


def gradients_by_published_name(network: PartMask2Former, folder: Path) -> dict[str, Tensor]:
    """Put the gradients in the weights' place, and save them."""
    for parameter in network.parameters():
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    network.save_pretrained(folder / "gradients")
    return load_file(folder / "gradients" / "model.safetensors")


def test_part_decoder(fixtures: Path) -> None:
    expected = np.load(fixtures / "h4_part_distillation_decoder.npz")
    official = state(expected)
    network = load_official_state_dict(official, num_parts=3)
    assert isinstance(network.class_predictor, PartHead)
    levels = network.encode(torch.from_numpy(expected["image"]))
    close(levels[2], expected["res4"])
    close(levels[3], expected["res5"])
    output = network.decode(levels)
    close(output.queries[-1], expected["decoder_output"])
    close(mask_logits(output), expected["pred_masks"])
    classes = torch.from_numpy(expected["gt_object_class"])
    logits = network.class_predictor(output.queries, classes)
    close(logits[-1], expected["pred_logits"])
    close(logits[0], expected["aux0_logits"])
    close(logits[3], expected["aux3_logits"])
    torch.autograd.backward((logits[-1] * torch.from_numpy(expected["w_logits"])).sum())
    head = network.class_predictor
    assert head.rows.grad is not None
    assert head.no_object.grad is not None
    assert sorted(head.rows.grad.coalesce().indices()[0].tolist()) == sorted(set(classes.tolist()))
    head.rows.data, head.no_object.data = head.rows.grad.to_dense(), head.no_object.grad
    weight, bias = head.to_linear()
    close(weight, expected["grad_class_embed_weight"], tolerance=1e-3)
    close(bias, expected["grad_class_embed_bias"], tolerance=1e-3)

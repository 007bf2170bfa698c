"""Masks at the image's size, against `interpolate` on whole canvases and the functions of ranking."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from partdistillation.data import canvas as canvas_module
from partdistillation.data.canvas import Geometry
from partdistillation.data.transforms import PADDING, resize_longest
from partdistillation.errors import InputError
from partdistillation.functional.ranking import unique_parts, unique_proposals
from partdistillation.models import postprocess
from partdistillation.models.encoder import normalize_images
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import (
    View,
    class_probabilities,
    full_masks,
    propose_parts,
    run_network,
    segment_parts,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
LOOSE: dict[str, Any] = {"min_ratio": 0.0, "min_score": 0.0, "keep_all_if_none": False}


@pytest.fixture
def view() -> View:
    """Random, smooth logits of 12 queries on a canvas of 96 x 128, whose top left 80 x 112 is the image."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 12, 6, 8, generator=generator)
    logits = 8 * interpolate(coarse, size=(24, 32), mode="bicubic")[0]
    queries = torch.randn(12, 32, generator=generator)
    return View(queries, logits, Geometry((50, 70), (80, 112), (96, 128)))


@pytest.fixture
def proposer(small_network: PartMask2Former) -> PartMask2Former:
    return small_network.with_head(["part"], seed=1)


@pytest.fixture
def part_model(small_network: PartMask2Former) -> PartMask2Former:
    return small_network.with_head(["car", "cat"], num_parts=3, seed=1)


def ellipse(height: int, width: int) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    inside: np.ndarray = ((y - height / 2) / (height / 3)) ** 2 + ((x - width / 2) / (width / 3)) ** 2 < 1
    return inside


def by_interpolation(view: View) -> torch.Tensor:
    canvas = interpolate(view.mask_logits[None], size=view.geometry.canvas, mode="bilinear")
    content = canvas[..., : view.geometry.content[0], : view.geometry.content[1]]
    return interpolate(content, size=view.geometry.image, mode="bilinear")[0]


def test_image_is_resized_padded_and_normalized(small_network: PartMask2Former) -> None:
    seen = run_network(small_network, IMAGE, 100)
    resized = resize_longest(IMAGE, 100)
    canvas = np.full((96, 128, 3), PADDING, np.uint8)
    canvas[: len(resized), :100] = resized
    with torch.no_grad():
        output = small_network(normalize_images(torch.from_numpy(canvas))[None])
    assert seen.geometry == Geometry((50, 70), (71, 100), (96, 128))
    assert torch.equal(seen.queries, output.queries[-1, 0])
    assert seen.mask_logits.shape == (6, 24, 32)
    assert not seen.mask_logits.requires_grad


def test_full_masks_are_two_interpolations(view: View) -> None:
    expected = by_interpolation(view)
    torch.testing.assert_close(full_masks(view.mask_logits, view.geometry), expected, atol=1e-4, rtol=1e-5)


def test_probabilities_leave_out_no_object(
    view: View, small_network: PartMask2Former, part_model: PartMask2Former
) -> None:
    assert class_probabilities(small_network, view).shape == (12, 3)
    found = class_probabilities(part_model, view, 1)
    with torch.no_grad():
        logits = part_model.class_predictor(view.queries[None], torch.tensor([1]))[0]
    torch.testing.assert_close(found, logits.softmax(dim=1)[:, :3])
    with pytest.raises(ValueError, match="object's class"):
        class_probabilities(part_model, view)


@pytest.mark.parametrize("per_pixel", [True, False])
def test_proposals_are_those_of_all_queries(view: View, proposer: PartMask2Former, per_pixel: bool) -> None:
    """Although only the queries that matter are enlarged, and only around the object."""
    mask = ellipse(50, 70)
    scores = class_probabilities(proposer, view)[:, 0]
    settings = {**LOOSE, "per_pixel": per_pixel}
    expected = unique_proposals(
        by_interpolation(view), scores, view.queries, torch.from_numpy(mask), **settings
    )
    if not per_pixel:  # masks that overlap are ranked by their mean probability too
        inside = by_interpolation(view)[expected.queries].sigmoid()
        pairs = zip(inside, expected.masks, strict=True)
        certainty = torch.stack([probability[mask].mean() for probability, mask in pairs])
        expected = expected._replace(scores=expected.scores * certainty)
    found = propose_parts(proposer, view, mask, **settings)
    assert torch.equal(found.queries, expected.queries)
    assert (found.masks != expected.masks).float().mean() < 1e-4  # rounding at borders
    for one, other in zip(found[2:], expected[2:], strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)
    if per_pixel:
        assert np.array_equal(found.masks.sum(dim=0).numpy(), mask)


def test_parts_are_those_of_all_queries(view: View, part_model: PartMask2Former) -> None:
    mask = ellipse(50, 70)
    scores, labels = class_probabilities(part_model, view, 1).max(dim=1)
    expected = unique_parts(by_interpolation(view), scores, labels, torch.from_numpy(mask), **LOOSE)
    found = segment_parts(part_model, view, mask, 1, min_ratio=0.0, min_score=0.0)
    assert torch.equal(found.labels, expected.labels)
    assert (found.masks != expected.masks).float().mean() < 1e-4
    torch.testing.assert_close(found.scores, expected.scores)
    assert np.array_equal(found.masks.any(dim=0).numpy(), mask)


def test_few_queries_are_enlarged(view: View) -> None:
    """One query is above the others in the left half, another in the right."""
    logits = torch.full((12, 24, 32), -5.0)
    logits[4], logits[7] = torch.linspace(9, -9, 32), torch.linspace(-9, 9, 32)
    patch = postprocess._Patch(View(view.queries, logits, view.geometry), ellipse(50, 70))
    assert patch.contenders(torch.ones(12)).tolist() == [4, 7]
    assert patch.positive().tolist() == [4, 7]


def test_pixels_of_large_images_are_assigned_at_a_smaller_size(
    view: View, part_model: PartMask2Former, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = ellipse(50, 70)
    mask[2, 3] = True  # thinner than a pixel of the working size
    exact = segment_parts(part_model, view, mask, 0, min_ratio=0.0, min_score=0.0)
    monkeypatch.setattr(canvas_module, "WORKING_SIZE", 35)
    assert view.geometry.working == (25, 35)
    found = segment_parts(part_model, view, mask, 0, min_ratio=0.0, min_score=0.0)
    assert np.array_equal(found.masks.sum(dim=0).numpy(), mask)
    assert found.labels.tolist() == exact.labels.tolist()
    assert (found.masks != exact.masks).float().mean() < 0.02


def test_nothing_passes(view: View, proposer: PartMask2Former) -> None:
    monkey = {**LOOSE, "min_score": 0.999}
    found = propose_parts(proposer, view, ellipse(50, 70), per_pixel=True, **monkey)
    assert found.masks.shape == (0, 50, 70)
    assert found.features.shape == (0, 32)


def test_object_masks_are_checked(view: View, proposer: PartMask2Former) -> None:
    with pytest.raises(InputError, match=r"\(50, 70\) with at least one pixel; found \(50, 60\)"):
        propose_parts(proposer, view, ellipse(50, 60), per_pixel=True, **LOOSE)
    with pytest.raises(InputError, match="with 0 pixels"):
        propose_parts(proposer, view, np.zeros((50, 70), bool), per_pixel=True, **LOOSE)


def test_a_part_model_proposes_by_its_objects_class_or_by_any(
    part_model: PartMask2Former, view: View
) -> None:
    loose = {**LOOSE, "per_pixel": True}
    everywhere = np.ones((50, 70), bool)
    by_class = [class_probabilities(part_model, view, one).amax(dim=1) for one in range(2)]
    for object_class, expected in ((0, by_class[0]), (1, by_class[1]), (None, torch.maximum(*by_class))):
        found = propose_parts(part_model, view, everywhere, **loose, object_class=object_class)
        assert len(found.queries)
        assert torch.allclose(found.scores, expected[found.queries])

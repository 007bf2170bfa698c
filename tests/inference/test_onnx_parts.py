"""NumPy's arithmetic of a part model's output, judged by PyTorch's."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_max_pool2d, interpolate

from partdistillation.data import canvas
from partdistillation.data.canvas import Geometry, lay_on_canvas
from partdistillation.errors import InputError
from partdistillation.inference.onnx_parts import (
    OnnxView,
    normalized,
    object_feature,
    part_probabilities,
    resizing,
    segment_parts,
    shrunk,
)
from partdistillation.models import postprocess
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.objects import object_features

HEIGHT, WIDTH = 45, 70
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

LIMITS: list[dict[str, Any]] = [
    {"min_ratio": 0.0, "min_score": 0.0},
    {"min_ratio": 0.2, "min_score": 0.3},
]


@pytest.fixture
def network(small_network: PartMask2Former) -> PartMask2Former:
    network = small_network.with_head(["car", "cat"], num_parts=3, seed=1)
    with torch.no_grad():
        network.class_predictor.rows.mul_(8)  # type: ignore[operator]
    return network


def disc(radius: float) -> NDArray[np.bool_]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mask: NDArray[np.bool_] = (y - 20) ** 2 + (x - 40) ** 2 < radius**2
    return mask


@torch.no_grad()
def both_views(network: PartMask2Former, size: int) -> tuple[postprocess.View, OnnxView]:
    pixels, geometry = postprocess.on_canvas(network, IMAGE, size)
    levels = network.encode(pixels)
    view = postprocess.run_network(network, IMAGE, size)
    features = object_features.coarse_features(levels).numpy()
    return view, OnnxView(view.queries.numpy(), view.mask_logits.numpy(), features, geometry)


def head_of(network: PartMask2Former, object_class: int) -> NDArray[np.float32]:
    state = {name: values.detach().numpy() for name, values in network.class_predictor.named_parameters()}
    own = state["rows"][object_class].reshape(network.info.num_parts, -1)
    return np.vstack([own, state["no_object"]])


@pytest.mark.parametrize("working", [1024, 40])
@pytest.mark.parametrize("radius", [3.0, 11.0, 100.0])
@pytest.mark.parametrize("object_class", [0, 1])
def test_parts_are_those_of_torch(
    network: PartMask2Former, monkeypatch: pytest.MonkeyPatch, working: int, radius: float, object_class: int
) -> None:
    monkeypatch.setattr(canvas, "WORKING_SIZE", working)
    theirs, ours = both_views(network, 96)
    probabilities = part_probabilities(ours.queries, head_of(network, object_class))
    expected = postprocess.class_probabilities(network, theirs, object_class)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    for limits in LIMITS:
        parts = postprocess.segment_parts(network, theirs, disc(radius), object_class, **limits)
        labelled = segment_parts(ours, probabilities, disc(radius), **limits)
        assert [label for label, _, _ in labelled] == parts.labels.tolist()
        np.testing.assert_allclose([score for _, score, _ in labelled], parts.scores, atol=1e-6)
        for (_, _, mask), other in zip(labelled, parts.masks.numpy(), strict=True):
            np.testing.assert_array_equal(mask, other)


def test_masks_that_are_no_object(network: PartMask2Former) -> None:
    _, view = both_views(network, 64)
    probabilities = part_probabilities(view.queries, head_of(network, 0))
    for mask in (np.zeros((HEIGHT, WIDTH), np.bool_), np.ones((3, 4), np.bool_)):
        with pytest.raises(InputError, match="at least one pixel"):
            segment_parts(view, probabilities, mask, min_ratio=0.0, min_score=0.0)


def test_what_networks_read(network: PartMask2Former) -> None:
    expected, geometry = postprocess.on_canvas(network, IMAGE, 96)
    laid, ours = lay_on_canvas(IMAGE, 96)
    np.testing.assert_array_equal(
        normalized(laid, network.info.pixel_mean, network.info.pixel_std), expected.numpy()
    )
    assert ours == geometry == Geometry((45, 70), (62, 96), (64, 96))


@pytest.mark.parametrize(
    ("cells", "whole", "content", "size"), [(8, 32, 27, 27), (24, 96, 90, 41), (3, 3, 3, 7)]
)
def test_resizing_is_interpolation(cells: int, whole: int, content: int, size: int) -> None:
    values = torch.randn(1, 1, cells, generator=torch.Generator().manual_seed(0))
    large = interpolate(values, size=whole, mode="linear")[..., :content]
    expected = interpolate(large, size=size, mode="linear")[0, 0]
    np.testing.assert_allclose(
        resizing(cells, whole, content, size) @ values[0, 0].numpy(), expected, atol=1e-5
    )


def test_shrinking_keeps_every_pixel() -> None:
    for radius in (1.0, 9.0):
        pooled = adaptive_max_pool2d(torch.from_numpy(disc(radius))[None].float(), (17, 23))[0]
        np.testing.assert_array_equal(shrunk(disc(radius), (17, 23)), pooled.numpy() > 0)


@pytest.mark.parametrize("radius", [2.0, 15.0])
def test_the_feature_of_an_object(network: PartMask2Former, radius: float) -> None:
    _, view = both_views(network, network.info.image_size)
    expected = object_features.object_feature(network, IMAGE, disc(radius))
    np.testing.assert_allclose(object_feature(view, disc(radius)), expected, atol=1e-5)

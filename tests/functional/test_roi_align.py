"""RoIAlign against loops over bins and samples, and against values by hand."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partdistillation.functional import roi_align as module
from partdistillation.functional.boxes import torchvision_ops
from partdistillation.functional.roi_align import level_of, pool_levels, roi_align

RANDOM = torch.Generator().manual_seed(0)
FEATURES = torch.randn(2, 3, 9, 13, generator=RANDOM)
STRIDE = 4


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed without torchvision."""
    monkeypatch.setattr(module, "torchvision_ops", lambda: None)


def sample(plane: Tensor, y: float, x: float) -> float:
    """Bilinear interpolation between cells; constant for the cell around the map, then 0."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = plane[top, left] * (1 - x + left) + plane[top, right] * (x - left)
    lower = plane[bottom, left] * (1 - x + left) + plane[bottom, right] * (x - left)
    return float(upper * (1 - y + top) + lower * (y - top))


def naive(plane: Tensor, box: Sequence[float], size: int) -> Tensor:
    """A bin is the mean over ceil(its length) samples an axis, at the middles of its equal pieces."""
    x0, y0, x1, y1 = (one / STRIDE - 0.5 for one in box)
    tall, wide = (y1 - y0) / size, (x1 - x0) / size
    rows, columns = math.ceil(tall), math.ceil(wide)
    out = torch.zeros(size, size)
    for i in range(size):
        for j in range(size):
            values = [
                sample(plane, y0 + (i + (a + 0.5) / rows) * tall, x0 + (j + (b + 0.5) / columns) * wide)
                for a in range(rows)
                for b in range(columns)
            ]
            out[i, j] = sum(values) / max(len(values), 1)
    return out


coordinate = st.integers(-160, 480).map(lambda one: one / 4)
box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


@given(st.lists(st.tuples(box, st.integers(0, 1)), min_size=1, max_size=4), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_it_is_the_mean_over_samples(
    wanted: list[tuple[tuple[float, float, float, float], int]], size: int
) -> None:
    boxes = torch.tensor([one for one, _ in wanted])
    images = torch.tensor([image for _, image in wanted])
    found = roi_align(FEATURES, boxes, images, size=size, stride=STRIDE)
    for (one, image), values in zip(wanted, found, strict=True):
        expected = torch.stack([naive(plane, one, size) for plane in FEATURES[image]])
        torch.testing.assert_close(values, expected, atol=2e-5, rtol=1e-4)


def test_a_slope_is_read_at_the_middle_of_each_bin() -> None:
    """Features that are the pixels' coordinates: cell c has its middle at pixel (c + 0.5) * stride."""
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(20.0), indexing="ij")
    slope = (torch.stack([y, x])[None] + 0.5) * 8
    boxes = torch.tensor([[16.0, 8.0, 44.0, 64.0]])
    found = roi_align(slope, boxes, torch.tensor([0]), size=7, stride=8)[0]
    torch.testing.assert_close(found[0, :, 0], torch.arange(7) * 8.0 + 12)
    torch.testing.assert_close(found[1, 0], torch.arange(7) * 4.0 + 18)


def test_a_box_without_extent_reads_nothing() -> None:
    boxes = torch.tensor([[5.0, 5.0, 5.0, 20.0], [0.0, 9.0, 7.0, 9.0]])
    found = roi_align(FEATURES + 5, boxes, torch.tensor([0, 0]), size=3, stride=STRIDE)
    assert not found.any()


def test_many_boxes_at_once_are_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    low = torch.rand(40, 2, generator=RANDOM) * 40 - 10
    boxes = torch.cat([low, low + torch.rand(40, 2, generator=RANDOM) * 50], dim=1)
    images = torch.arange(40) % 2
    monkeypatch.setattr(module, "_MOST_NUMBERS", 2000)
    found = roi_align(FEATURES, boxes, images, size=7, stride=STRIDE)
    for index in range(40):
        own = slice(index, index + 1)
        alone = roi_align(FEATURES, boxes[own], images[own], size=7, stride=STRIDE)
        torch.testing.assert_close(found[own], alone)


def test_a_box_much_larger_than_the_map_takes_little_memory() -> None:
    boxes = torch.tensor([[-1e9, -1e9, 1e9, 1e9]])
    found = roi_align(FEATURES, boxes, torch.tensor([0]), size=7, stride=STRIDE)
    assert found.isfinite().all()


def test_levels_by_size() -> None:
    """From 224 pixels on boxes read stride 16, at each doubling the next map."""
    sides = [1.0, 111.0, 113.0, 223.0, 225.0, 447.0, 449.0, 5000.0]
    boxes = torch.tensor([[3.0, 3.0, 3 + side, 3 + side] for side in sides])
    assert level_of(boxes, (8, 16, 32)).tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert level_of(boxes, (4, 8, 16, 32)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    oblong = torch.tensor([[0.0, 0.0, 100.0, 510.0], [2.0, 2.0, 2.0, 2.0]])  # as a square of 225.8
    assert level_of(oblong, (8, 16, 32)).tolist() == [1, 0]


def test_each_box_reads_its_level() -> None:
    levels = [torch.full((1, 2, 64 // one, 64 // one), float(one)) for one in (1, 2, 4)]
    boxes = torch.tensor([[0.0, 0.0, 500.0, 500.0], [0.0, 0.0, 50.0, 50.0], [9.0, 9.0, 260.0, 260.0]])
    found = pool_levels(levels, boxes, torch.zeros(3, dtype=torch.long), size=2, strides=(8, 16, 32))
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor([4.0, 1.0, 2.0]))
    none = pool_levels(
        levels, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), size=2, strides=(8, 16, 32)
    )
    assert none.shape == (0, 2, 2, 2)


def test_torchvision_agrees() -> None:
    ops = torchvision_ops()
    if ops is None:
        pytest.skip("needs a torchvision that works with this PyTorch")
    low = torch.rand(100, 2, generator=RANDOM) * 60 - 20
    boxes = torch.cat([low, low + torch.rand(100, 2, generator=RANDOM) * 60], dim=1)
    images = torch.arange(100) % 2
    plain = roi_align(FEATURES, boxes, images, size=7, stride=STRIDE)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "torchvision_ops", lambda: ops)
        theirs = roi_align(FEATURES, boxes, images, size=7, stride=STRIDE)
    torch.testing.assert_close(plain, theirs, atol=1e-4, rtol=1e-4)

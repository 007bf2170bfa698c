"""The dense CRF in torch against the one in numba: the same model, written a second time."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partdistillation.functional.dense_crf import dense_crf_marginals
from partdistillation.kernels.dense_crf_torch import dense_crf_objects

PAPER = {
    "gt_prob": 0.7,
    "gaussian_sxy": 3.0,
    "gaussian_weight": 3.0,
    "bilateral_sxy": 20.0,
    "bilateral_srgb": 13.0,
    "bilateral_weight": 10.0,
}


def scene(
    seed: int, height: int, width: int, counts: list[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """An image of noisy coloured blocks, and an object of `count` labels in a rectangle for each count."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-height // 7), -(-width // 9), 3)).repeat(7, axis=0).repeat(9, axis=1)
    image = np.clip(blocks[:height, :width] + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)
    labels = np.zeros((len(counts), height, width), np.int64)
    for one, count in zip(labels, counts, strict=True):
        top, left = rng.integers(0, height), rng.integers(0, width)
        inside = one[top : top + height // 2 + 1, left : left + width // 2 + 1]
        inside[:] = rng.integers(1, count, inside.shape)
    return image, labels


def in_torch(image: NDArray[np.uint8], labels: NDArray[np.int64], **more: Any) -> NDArray[np.float32]:
    found = dense_crf_objects(torch.from_numpy(image), torch.from_numpy(labels), **{**PAPER, **more})
    return found.numpy()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1.0, 8.0, 1e9]))
def test_is_the_same_for_each_object(seed: int, height: int, width: int, reach: float) -> None:
    image, labels = scene(seed, height, width, [5, 2, 4])
    found = in_torch(image, labels, iterations=3, certain_beyond=reach)
    for marginals, one in zip(found, labels, strict=True):
        count = max(int(one.max()) + 1, 2)
        expected = dense_crf_marginals(image, one, count, **PAPER, iterations=3, certain_beyond=reach)
        np.testing.assert_allclose(marginals[:count], expected, atol=2e-3)
        assert (marginals[count:] == 0).all()


def test_labels_are_the_same_after_ten_steps() -> None:
    image, labels = scene(0, 90, 110, [5, 5])
    found = in_torch(image, labels, iterations=10, certain_beyond=40.0)
    for marginals, one in zip(found, labels, strict=True):
        expected = dense_crf_marginals(image, one, 5, **PAPER, iterations=10, certain_beyond=40.0)
        best_two = np.sort(expected, axis=0)[-2:]
        clear = best_two[1] - best_two[0] > 0.02
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(marginals.argmax(axis=0)[clear], expected.argmax(axis=0)[clear])


def test_an_object_does_not_depend_on_the_others_with_it() -> None:
    image, labels = scene(1, 30, 40, [4, 5, 2])
    together = in_torch(image, labels, iterations=5)
    alone = in_torch(image, labels[:1], iterations=5)
    np.testing.assert_allclose(together[:1, :4], alone, atol=1e-5)
    assert in_torch(image, labels, iterations=5).tobytes() == together.tobytes()


@pytest.mark.gpu
def test_a_gpu_gives_the_same() -> None:
    image, labels = scene(2, 200, 300, [5, 5, 3])
    on_gpu = dense_crf_objects(
        torch.from_numpy(image).cuda(), torch.from_numpy(labels).cuda(), **PAPER, iterations=10
    )
    again = dense_crf_objects(
        torch.from_numpy(image).cuda(), torch.from_numpy(labels).cuda(), **PAPER, iterations=10
    )
    assert torch.equal(on_gpu, again)
    expected = in_torch(image, labels, iterations=10)
    best_two = np.sort(expected, axis=1)[:, -2:]
    clear = best_two[:, 1] - best_two[:, 0] > 0.02
    np.testing.assert_array_equal(on_gpu.argmax(1).cpu().numpy()[clear], expected.argmax(1)[clear])

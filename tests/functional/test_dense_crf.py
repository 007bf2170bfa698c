"""The dense CRF against its definition, computed over all pairs of pixels, and properties that follow."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypedDict

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partdistillation.errors import InputError
from partdistillation.functional.dense_crf import dense_crf, dense_crf_marginals

Image = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Settings(TypedDict):
    gt_prob: float
    gaussian_sxy: float
    gaussian_weight: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_weight: float
    iterations: int


PAPER = Settings(
    gt_prob=0.7,
    gaussian_sxy=3.0,
    gaussian_weight=3.0,
    bilateral_sxy=20.0,
    bilateral_srgb=13.0,
    bilateral_weight=10.0,
    iterations=10,
)


def paper(**changed: Any) -> Settings:
    return Settings(**{**PAPER, **changed})  # type: ignore[typeddict-item]


def gaussian_kernel(features: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = np.exp(-0.5 * ((features[:, None] - features[None]) ** 2).sum(axis=-1))
    total = kernel.sum(axis=1)
    normalized: NDArray[np.float64] = kernel / np.sqrt(total[:, None] * total)
    return normalized


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalized: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return normalized


def brute_force(image: Image, labels: Labels, num_labels: int, s: Settings) -> NDArray[np.float64]:
    """Mean field in float64 with every pair of pixels written out."""
    height, width = labels.shape
    position = np.indices((height, width)).reshape(2, -1).T.astype(np.float64)
    colour = image.reshape(-1, 3).astype(np.float64)
    joint = np.concatenate([position / s["bilateral_sxy"], colour / s["bilateral_srgb"]], axis=1)
    kernel = s["gaussian_weight"] * gaussian_kernel(position / s["gaussian_sxy"])
    kernel += s["bilateral_weight"] * gaussian_kernel(joint)
    given_label = labels.reshape(-1, 1) == np.arange(num_labels)
    unary = np.log(np.where(given_label, s["gt_prob"], (1 - s["gt_prob"]) / (num_labels - 1)))
    marginals = softmax(unary)
    for _ in range(s["iterations"]):
        marginals = softmax(unary + kernel @ marginals)
    return marginals.T.reshape(num_labels, height, width)


def three_regions(seed: int) -> tuple[Image, Labels, Labels]:
    """A 12 x 14 image of three regions of different colours, with sensor noise; true and noisy labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:12, :14]
    truth = np.where(x < 5, 0, np.where(y < 6, 1, 2))
    colours = np.array([[200, 40, 40], [40, 180, 60], [50, 60, 220]])
    image = np.clip(colours[truth] + rng.normal(0, 8, (12, 14, 3)), 0, 255).astype(np.uint8)
    noisy = np.where(rng.random(truth.shape) < 0.25, rng.integers(0, 3, truth.shape), truth)
    return image, truth, noisy


def random_input(seed: int, height: int = 12, width: int = 14, num_labels: int = 3) -> tuple[Image, Labels]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, rng.integers(0, num_labels, (height, width))


@pytest.mark.parametrize("seed", range(5))
def test_recovers_the_regions_as_the_exact_computation_does(seed: int) -> None:
    image, truth, noisy = three_regions(seed)
    marginals = dense_crf_marginals(image, noisy, 3, **paper())
    np.testing.assert_allclose(marginals, brute_force(image, noisy, 3, paper()), atol=0.01)
    np.testing.assert_array_equal(dense_crf(image, noisy, 3, **paper()), truth)


@pytest.mark.parametrize(
    ("changed", "bound"),
    [
        ({}, 0.002),
        ({"gt_prob": 0.5}, 0.005),
        ({"gaussian_weight": 0.0}, 0.0025),
        ({"bilateral_weight": 0.0}, 0.004),
        ({"gaussian_sxy": 1.5}, 0.002),
        ({"gaussian_weight": 0.0, "bilateral_sxy": 2.0, "bilateral_srgb": 40.0}, 0.004),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_one_step_is_as_exact_as_the_lattice(seed: int, changed: dict[str, float], bound: float) -> None:
    """The bounds are just above the lattice's own error; a setting off by a fifth exceeds one of them."""
    one_step = paper(iterations=1, **changed)
    image, _, noisy = three_regions(seed)
    found = dense_crf_marginals(image, noisy, 3, **one_step)
    assert np.abs(found - brute_force(image, noisy, 3, one_step)).mean() < bound


def test_no_steps_give_the_given_probabilities() -> None:
    image, labels = random_input(0)
    marginals = dense_crf_marginals(image, labels, 4, **paper(iterations=0))
    expected = np.where(labels == np.arange(4)[:, None, None], 0.7, 0.1)
    assert marginals.dtype == np.float32
    np.testing.assert_allclose(marginals, expected, atol=1e-6)


def test_single_pixel_by_hand() -> None:
    """A lone pixel's normalized kernels are 1: its message to itself is the weight times its marginal."""
    image = np.full((1, 1, 3), 77, np.uint8)
    one_step = paper(iterations=1, gaussian_weight=2.0, bilateral_weight=3.0)
    marginals = dense_crf_marginals(image, np.ones((1, 1), np.int64), 2, **one_step)
    odds = (0.3 / 0.7) * np.exp(5 * 0.3 - 5 * 0.7)
    np.testing.assert_allclose(marginals[:, 0, 0], [odds / (1 + odds), 1 / (1 + odds)], rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 5)])
@pytest.mark.parametrize("label", [0, 2])
def test_unanimous_labels_stay(shape: tuple[int, int], label: int) -> None:
    image, _ = random_input(3, *shape)
    labels = np.full(shape, label)
    np.testing.assert_array_equal(dense_crf(image, labels, 3, **paper()), labels)


def test_one_label_is_certain() -> None:
    image, _ = random_input(0)
    labels = np.zeros((12, 14), np.int64)
    np.testing.assert_array_equal(dense_crf(image, labels, 1, **paper()), labels)
    np.testing.assert_array_equal(dense_crf_marginals(image, labels, 1, **paper()), np.ones((1, 12, 14)))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.permutations(range(4)))
def test_permuting_labels_permutes_the_result(seed: int, height: int, width: int, order: list[int]) -> None:
    image, labels = random_input(seed, height, width, 4)
    few_steps = paper(iterations=3)
    permuted = dense_crf_marginals(image, np.array(order)[labels], 4, **few_steps)
    np.testing.assert_allclose(permuted[order], dense_crf_marginals(image, labels, 4, **few_steps), atol=1e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.integers(0, 3))
def test_marginals_are_probabilities_and_absent_labels_win_nowhere(
    seed: int, height: int, width: int, absent: int
) -> None:
    image, labels = random_input(seed, height, width, 4)
    labels[labels == absent] = (absent + 1) % 4
    marginals = dense_crf_marginals(image, labels, 4, **paper())
    assert marginals.shape == (4, height, width)
    np.testing.assert_allclose(marginals.sum(axis=0), 1, rtol=1e-5)
    assert not (dense_crf(image, labels, 4, **paper()) == absent).any()


def test_repeats_bit_for_bit_whatever_the_memory_layout() -> None:
    image, labels = random_input(1, 60, 50, 5)
    marginals = dense_crf_marginals(image, labels, 5, **paper())
    for other in (np.asfortranarray(image), np.repeat(image, 2, axis=1)[:, ::2]):
        labels_other = np.asfortranarray(labels.astype(np.uint8))
        again = dense_crf_marginals(other, labels_other, 5, **paper())
        assert again.tobytes() == marginals.tobytes()


def test_certainty_far_from_other_labels_changes_no_label_near_them() -> None:
    """Pixels of an object: labels equal at a reach of two deviations; outside, certainly background."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 12, 3)).repeat(10, 0).repeat(10, 1) + rng.integers(0, 9, (90, 120, 3))
    image = np.clip(image, 0, 255).astype(np.uint8)
    labels = np.zeros((90, 120), np.int64)
    labels[20:40, 10:50] = rng.integers(1, 4, (20, 40))
    s = paper(bilateral_sxy=8.0)
    exact = dense_crf_marginals(image, labels, 4, **s)
    found = dense_crf_marginals(image, labels, 4, **s, certain_beyond=16)
    inside = labels > 0
    assert (found.argmax(axis=0) == exact.argmax(axis=0)).all()
    np.testing.assert_allclose(found[:, inside], exact[:, inside], atol=0.01)
    far = np.ones((90, 120), bool)
    far[4:56, :66] = False
    np.testing.assert_array_equal(found[:, far].T, [[1, 0, 0, 0]] * np.count_nonzero(far))
    given = dense_crf_marginals(image, labels, 4, **paper(bilateral_sxy=8.0, iterations=0), certain_beyond=16)
    np.testing.assert_array_equal(given[0] == 1, far)
    np.testing.assert_array_equal(dense_crf_marginals(image, labels, 4, **s, certain_beyond=120), exact)


def test_threads_change_nothing() -> None:
    inputs = [random_input(seed, 60, 50, 5) for seed in range(8)]
    refine = partial(dense_crf_marginals, num_labels=5, **paper())
    one_by_one = [refine(*one) for one in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(refine, *zip(*inputs, strict=True)))
    assert [one.tobytes() for one in together] == [one.tobytes() for one in one_by_one]


@pytest.fixture
def _unchecked_types() -> Iterator[None]:
    """As a user runs the package: without the types' check that the test settings switch on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


IMAGE = np.zeros((4, 5, 3), np.uint8)
LABELS = np.zeros((4, 5), np.int64)


@pytest.mark.usefixtures("_unchecked_types")
@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (IMAGE, LABELS.T, r"each pixel of the image, 4 x 5 .* \(5, 4\)"),
        (IMAGE, LABELS - 1, r"labels in 0\.\.2, found -1\.\.-1"),
        (IMAGE, LABELS + 3, r"labels in 0\.\.2, found 3\.\.3"),
        (IMAGE, LABELS.astype(np.float32), "float32"),
        (IMAGE, LABELS.astype(bool), "bool"),
        (IMAGE[..., :2], LABELS, "uint8 image of height x width x 3"),
        (IMAGE.astype(np.float32), LABELS, "float32"),
        (IMAGE[..., 0], LABELS, "uint8 image"),
        (IMAGE[:0], LABELS[:0], "at least one"),
    ],
)
def test_refuses_unfitting_arrays(image: Any, labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dense_crf(image, labels, 3, **paper())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gt_prob": 1.0}, "gt_prob"),
        ({"gt_prob": 0.0}, "gt_prob"),
        ({"gt_prob": float("nan")}, "gt_prob"),
        ({"gaussian_sxy": 0.0}, "deviations above 0"),
        ({"bilateral_sxy": -1.0}, "deviations above 0"),
        ({"bilateral_srgb": float("inf")}, "deviations above 0"),
        ({"gaussian_sxy": 1e-7}, "larger standard deviation"),
        ({"gaussian_weight": -1.0}, "gaussian_weight"),
        ({"bilateral_weight": float("nan")}, "bilateral_weight"),
        ({"iterations": -1}, "iterations"),
        ({"certain_beyond": -1.0}, "certain_beyond"),
        ({"certain_beyond": float("nan")}, "certain_beyond"),
    ],
)
def test_refuses_settings_out_of_range(changed: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dense_crf_marginals(IMAGE, LABELS, 3, **paper(**changed))


def test_importing_it_does_not_import_numba() -> None:
    code = "import sys; import partdistillation.functional.dense_crf; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

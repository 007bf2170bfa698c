"""Dense CRF (Kraehenbuehl and Koltun, 2011): label maps whose borders follow the image.

Mean-field inference with Potts compatibility and two Gaussian kernels, one over position and one over
position and colour, each normalized symmetrically. Model, parameters and approximations are pydensecrf's.

All pixels' probabilities Q are updated at once: Q = softmax(unary + sum_k weight_k * filter_k(Q)), from
Q = softmax(unary). `kernels.mean_field` does it, filtering on `kernels.permutohedral`'s lattice.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int64, Integer, UInt8
from numpy.typing import NDArray

from partdistillation.errors import InputError
from partdistillation.functional.arrays import as_array

if TYPE_CHECKING:
    from partdistillation.kernels.mean_field import Kernel


def dense_crf(
    image: UInt8[np.ndarray, "height width 3"],
    labels: Integer[np.ndarray, "height width"],
    num_labels: int,
    *,
    gt_prob: float,
    gaussian_sxy: float,
    gaussian_weight: float,
    bilateral_sxy: float,
    bilateral_srgb: float,
    bilateral_weight: float,
    iterations: int,
) -> Int64[np.ndarray, "height width"]:
    """The most probable label of each pixel, given noisy labels (supplement, section 2).

    Mean field on a fully connected CRF with Potts compatibility, on the permutohedral lattice: the model and
    the approximations of pydensecrf. The paper's settings are .7, 3, 3, 20, 13, 10 and 10 steps.

    Args:
        image: RGB, uint8.
        labels: noisy labels in 0..num_labels-1; 0 is a label like the others.
        num_labels: how many labels there are.
        gt_prob: probability that a pixel's given label is right; the others share the rest equally.
        gaussian_sxy: standard deviation of the position kernel, in pixels.
        gaussian_weight: its weight.
        bilateral_sxy: standard deviation of the position-and-colour kernel in position, in pixels.
        bilateral_srgb: and in colour, in units of 1/255.
        bilateral_weight: its weight.
        iterations: mean-field steps.

    Returns:
        Labels in the numbering of `labels`. A label that no pixel is given wins nowhere as long as
        gt_prob >= 1 / num_labels.

    Raises:
        InputError: shapes that differ, labels or settings out of range.
    """
    marginals = dense_crf_marginals(
        image,
        labels,
        num_labels,
        gt_prob=gt_prob,
        gaussian_sxy=gaussian_sxy,
        gaussian_weight=gaussian_weight,
        bilateral_sxy=bilateral_sxy,
        bilateral_srgb=bilateral_srgb,
        bilateral_weight=bilateral_weight,
        iterations=iterations,
    )
    best: Int64[np.ndarray, "height width"] = marginals.argmax(axis=0)
    return best


def dense_crf_marginals(
    image: UInt8[np.ndarray, "height width 3"],
    labels: Integer[np.ndarray, "height width"],
    num_labels: int,
    *,
    gt_prob: float,
    gaussian_sxy: float,
    gaussian_weight: float,
    bilateral_sxy: float,
    bilateral_srgb: float,
    bilateral_weight: float,
    iterations: int,
    certain_beyond: float = math.inf,
) -> Float32[np.ndarray, "labels height width"]:
    """Each pixel's probability of each label, by mean field.

    Args:
        image: RGB, uint8.
        labels: noisy labels in 0..num_labels-1; 0 (usually the background) is a label like the others.
        num_labels: how many labels there are.
        gt_prob: probability that a pixel's given label is right; the others share the rest equally.
        gaussian_sxy: standard deviation of the position kernel, in pixels.
        gaussian_weight: its weight.
        bilateral_sxy: standard deviation of the position-and-colour kernel in position, in pixels.
        bilateral_srgb: and in colour, in units of 1/255.
        bilateral_weight: its weight.
        iterations: mean-field steps; 0 gives the probabilities before any smoothing.
        certain_beyond: pixels with no other label than 0 within so many rows and columns are taken for
            certain of label 0, which saves their time. At twice bilateral_sxy next to nothing else changes.

    Raises:
        InputError: shapes that differ, labels or settings out of range.
    """
    image, labels = as_array(image, "an image"), as_array(labels, "labels")
    _check_arrays(image, labels, num_labels)
    _check_settings(gt_prob, gaussian_weight, bilateral_weight, iterations, certain_beyond)
    height, width = labels.shape
    if num_labels == 1:
        return np.ones((1, height, width), np.float32)
    from partdistillation.kernels.mean_field import mean_field  # numba takes most of a second to import

    near = _near_other_labels(labels, certain_beyond)
    kernels = [
        (_position_kernel(height, width, gaussian_sxy), gaussian_weight),
        (_image_kernel(image.tobytes(), height, width, bilateral_sxy, bilateral_srgb), bilateral_weight),
    ]
    bonus = math.log(gt_prob) - math.log((1 - gt_prob) / (num_labels - 1))
    flat = labels.reshape(-1).astype(np.int32)
    if near is None:
        marginals = mean_field(flat, num_labels, bonus, kernels, iterations)
    else:
        marginals = np.zeros((num_labels, labels.size), np.float32)
        marginals[0] = 1
        some = [(kernel.at(near), weight) for kernel, weight in kernels]
        marginals[:, near] = mean_field(flat[near], num_labels, bonus, some, iterations)
    return marginals.reshape(num_labels, height, width)


def _near_other_labels(
    labels: Integer[np.ndarray, "height width"], reach: float
) -> Int64[np.ndarray, " pixels"] | None:
    """The pixels that have another label than 0 within `reach` rows and columns; None for all."""
    from scipy.ndimage import maximum_filter

    if reach >= max(labels.shape):
        return None
    near = maximum_filter((labels != 0).view(np.uint8), size=2 * int(reach) + 1, mode="constant")
    return None if near.all() else np.flatnonzero(near)


def _check_arrays(image: np.ndarray, labels: np.ndarray, num_labels: int) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"Expected a uint8 image of height x width x 3, found {image.dtype} {image.shape}.")
    if labels.shape != image.shape[:2] or not np.issubdtype(labels.dtype, np.integer) or labels.size == 0:
        raise InputError(
            f"Expected an integer label for each pixel of the image, {image.shape[0]} x {image.shape[1]} "
            f"(at least one), found {labels.dtype} {labels.shape}; resize one of them to the other's size."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_labels:
        raise InputError(
            f"Expected labels in 0..{num_labels - 1}, found {low}..{high}; raise num_labels or renumber."
        )


def _check_settings(
    gt_prob: float, gaussian_weight: float, bilateral_weight: float, iterations: int, certain_beyond: float
) -> None:
    if not 0 < gt_prob < 1:
        raise InputError(f"Expected gt_prob between 0 and 1, both excluded, found {gt_prob}.")
    for name, weight in (("gaussian_weight", gaussian_weight), ("bilateral_weight", bilateral_weight)):
        if not 0 <= weight < math.inf:
            raise InputError(f"Expected {name} of at least 0, found {weight}; 0 switches the kernel off.")
    if iterations < 0:
        raise InputError(f"Expected at least 0 iterations, found {iterations}.")
    if not certain_beyond >= 0:
        raise InputError(f"Expected certain_beyond of at least 0 pixels, found {certain_beyond}.")


def _positions(height: int, width: int) -> list[NDArray[np.int64]]:
    """The pixels' y and x, to be broadcast.

    The order matters a little, since the lattice treats no two axes alike: this one is the authors'.
    """
    return [np.arange(height)[:, None], np.arange(width)]


@lru_cache(maxsize=1)
def _position_kernel(height: int, width: int, deviation: float) -> "Kernel":
    return _kernel(height, width, (_positions(height, width), deviation))


@lru_cache(maxsize=1)  # the objects of an image share it, and it takes as long as the mean field
def _image_kernel(pixels: bytes, height: int, width: int, sxy: float, srgb: float) -> "Kernel":
    colours = np.moveaxis(np.frombuffer(pixels, np.uint8).reshape(height, width, 3), -1, 0)
    return _kernel(height, width, (_positions(height, width), sxy), (list(colours), srgb))


def _kernel(height: int, width: int, *parts: tuple[Sequence[NDArray[Any]], float]) -> "Kernel":
    """The normalized Gaussian over the joined features, each part given with its standard deviation."""
    from partdistillation.kernels.mean_field import Kernel
    from partdistillation.kernels.permutohedral import Lattice

    for _, deviation in parts:
        if not 0 < deviation < math.inf:
            raise InputError(f"Expected standard deviations above 0, found {deviation}.")
    scaled = [
        np.broadcast_to(feature.astype(np.float32) / np.float32(deviation), (height, width))
        for part, deviation in parts
        for feature in part
    ]
    return Kernel.over(Lattice.around(np.stack(scaled).reshape(len(scaled), -1).T))

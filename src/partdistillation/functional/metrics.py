"""How good are the parts? Average recall of masks, and mean IoU after mapping part ids to true parts.

All numbers are fractions in 0..1 (the paper prints percent); NaN = not defined (nothing to measure).
A confusion matrix has one row a predicted part id and one column a true part, in pixels; the last row and
the last column are the background. Functions of one take a stack of them too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from partdistillation.errors import InputError
from partdistillation.functional.arrays import as_array
from partdistillation.functional.mask_gate import as_masks
from partdistillation.functional.masks import EncodedMasks, paint, pairwise_iou
from partdistillation.kernels import counting

Protocol = Literal["strict", "paper"]

IOU_THRESHOLDS: Float[np.ndarray, " threshold"] = np.linspace(0.5, 0.95, 10)
"""0.5, 0.55, ..., 0.95, bit for bit those of pycocotools."""

DEFAULT_KS = (1, 10, 50, 100, 200)


class ImageMasks(NamedTuple):
    """One image's true parts and its proposals, classes ignored."""

    truth: Bool[np.ndarray, "truth height width"] | EncodedMasks
    proposals: Bool[np.ndarray, "proposal height width"] | EncodedMasks
    scores: Float[np.ndarray, " proposal"]


@dataclass(frozen=True)
class Recall:
    """Recall of true parts; `recalls[k]` holds a value for each of `IOU_THRESHOLDS`, NaN without parts."""

    recalls: Mapping[int, tuple[float, ...]]
    positives: int
    """True parts that were looked for."""
    images: int
    """Images that counted."""

    @property
    def average(self) -> dict[int, float]:
        """AR@k for every k: the mean over the IoU thresholds."""
        return {k: float(np.mean(values)) for k, values in self.recalls.items()}


class RecallCounter:
    """Average recall, image by image, in constant memory.

    `strict` matches as pycocotools does: proposals, best score first, each take the free true part that they
    overlap most, at every threshold anew; every image counts. `paper` matches as the released code does: the
    largest overlap of all is paired first, in single precision, and an image without proposals is left out.
    """

    def __init__(self, ks: Sequence[int] = DEFAULT_KS, *, protocol: Protocol = "strict") -> None:
        if not ks or min(ks) < 1:
            raise ValueError(
                f"expected numbers of proposals k >= 1, found {tuple(ks)}; pass for example (1, 10)"
            )
        self.ks = tuple(ks)
        self.protocol = protocol
        self._hits = {k: np.zeros(len(IOU_THRESHOLDS), dtype=np.int64) for k in self.ks}
        self._positives = 0
        self._images = 0

    def add(
        self, overlaps: Float[np.ndarray, "truth proposal"], scores: Float[np.ndarray, " proposal"]
    ) -> None:
        """Count one image, from the IoU of each true part with each proposal."""
        counted = self.count(overlaps, scores)
        if counted is None:
            return
        self._images += 1
        self._positives += len(overlaps)
        for k, hits in counted.items():
            self._hits[k] += hits

    def count(
        self, overlaps: Float[np.ndarray, "truth proposal"], scores: Float[np.ndarray, " proposal"]
    ) -> Mapping[int, Int[np.ndarray, " threshold"]] | None:
        """The true parts of one image that are found, by k and IoU threshold; None if it doesn't count."""
        if 0 in overlaps.shape:
            nothing = np.zeros(len(IOU_THRESHOLDS), dtype=np.int64)
            return None if self.protocol == "paper" else dict.fromkeys(self.ks, nothing)
        ranked = overlaps[:, np.argsort(-np.asarray(scores), kind="stable")[: max(self.ks)]]
        find = _count_by_score if self.protocol == "strict" else _count_by_overlap
        return find(ranked, self.ks)

    def result(self) -> Recall:
        """The recalls of all images so far; NaN where no true part was counted."""
        recalls = {k: tuple((hits / (self._positives or np.nan)).tolist()) for k, hits in self._hits.items()}
        return Recall(recalls, self._positives, self._images)


def average_recall(
    images: Iterable[ImageMasks], ks: Sequence[int] = DEFAULT_KS, *, protocol: Protocol = "strict"
) -> Recall:
    """Recall of class-agnostic masks by the k best proposals of each image (AR@k), over IoU 0.5:0.05:0.95.

    Equal to pycocotools' COCOeval with `useCats = 0`, no crowds and the area range "all", where `protocol` is
    "strict"; "paper" gives the numbers of the released code (see `RecallCounter`).

    Args:
        images: `(truth, proposals, scores)` an image: bool masks n x H x W and m x H x W, or `EncodedMasks`
            (quickest), and m scores; masks may be whatever `mask_gate.as_masks` takes. Read once, image by
            image.
        ks: how many proposals an image may use, best scores first.
        protocol: how proposals are matched, and whether images without proposals count.

    Raises:
        InputError: masks of different sizes, or that can't be told from other things; not a score a proposal.
    """
    counter = RecallCounter(ks, protocol=protocol)
    for truth, proposals, scores in images:
        counter.add(*_overlaps(as_masks(truth), as_masks(proposals), as_array(scores, "scores")))
    return counter.result()


def _overlaps(
    truth: Bool[np.ndarray, "truth height width"] | EncodedMasks,
    proposals: Bool[np.ndarray, "proposal _height _width"] | EncodedMasks,
    scores: NDArray[Any],
) -> tuple[Float[np.ndarray, "truth proposal"], NDArray[Any]]:
    """IoUs and scores, which are checked."""
    sizes = [len(masks.counts if isinstance(masks, EncodedMasks) else masks) for masks in (truth, proposals)]
    if scores.shape != (sizes[1],) or not np.isfinite(scores).all():
        raise InputError(
            f"Expected a finite score for each of {sizes[1]} proposals, found scores of shape {scores.shape}."
        )
    return pairwise_iou(truth, proposals) if all(sizes) else np.zeros(sizes), scores


def _count_by_score(
    ranked: Float[np.ndarray, "truth proposal"], ks: Sequence[int]
) -> dict[int, Int[np.ndarray, " threshold"]]:
    """True parts found at each threshold. Matches don't depend on worse proposals: one pass serves all k."""
    total = take_parts(ranked).cumsum(axis=0)
    return {k: total[min(k, len(total)) - 1] for k in ks}


def take_parts(ranked: Float[np.ndarray, "truth proposal"]) -> Int[np.ndarray, "proposal threshold"]:
    """1 where a proposal (best first) takes a free true part at an IoU threshold, as pycocotools does."""
    limits = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    return counting.take_free(np.ascontiguousarray(ranked.T, dtype=np.float64), limits)


def _count_by_overlap(
    ranked: Float[np.ndarray, "truth proposal"], ks: Sequence[int]
) -> dict[int, Int[np.ndarray, " threshold"]]:
    """True parts found at each threshold where the largest overlap is paired first."""
    limits = IOU_THRESHOLDS.astype(np.float32)[:, None]
    return {k: (_greedy_overlaps(ranked[:, :k]).astype(np.float32) >= limits).sum(axis=1) for k in ks}


def _greedy_overlaps(overlaps: Float[np.ndarray, "truth proposal"]) -> Float[np.ndarray, " pair"]:
    """The IoU of pairs of a true part and a proposal, largest first, each used once."""
    left = overlaps.copy()
    pairs = np.zeros(min(left.shape))
    for i in range(len(pairs)):
        truth, proposal = np.unravel_index(left.argmax(), left.shape)
        pairs[i] = left[truth, proposal]
        left[truth, :] = -1
        left[:, proposal] = -1
    return pairs


def label_map(
    masks: Bool[np.ndarray, "mask height width"] | EncodedMasks, ids: Sequence[int]
) -> Int[np.ndarray, "height width"]:
    """Paint masks in order, so that the later one wins: 0 = background, `ids[i] + 1` inside mask i."""
    if isinstance(masks, EncodedMasks):
        return paint(masks, [part + 1 for part in ids])
    painted = np.zeros(masks.shape[1:], dtype=np.int64)
    for mask, part in zip(masks, ids, strict=True):
        painted[mask] = part + 1
    return painted


def confusion_matrix(
    predicted: Int[np.ndarray, "height width"],
    truth: Int[np.ndarray, "height width"],
    *,
    num_predicted: int,
    num_truth: int,
) -> Int[np.ndarray, "rows columns"]:
    """Count pixels by predicted part (rows) and true part (columns), the background last.

    The label maps hold 0 for the background and 1..n for parts 0..n-1; ValueError for labels out of range,
    InputError for what isn't two maps of whole numbers and one size.
    """
    predicted, truth = as_array(predicted, "a label map"), as_array(truth, "a label map")
    if predicted.shape != truth.shape or "f" in (predicted.dtype.kind, truth.dtype.kind):
        raise InputError(
            "Expected two label maps of whole numbers and of one size, found "
            f"{predicted.dtype} {predicted.shape} and {truth.dtype} {truth.shape}."
        )
    # Of maps that are both in columns (as encodings are painted) no copy is needed.
    order: Literal["F", "C"] = "F" if predicted.flags.f_contiguous and truth.flags.f_contiguous else "C"
    counts = np.zeros((num_predicted + 1, num_truth + 1), dtype=np.int64)
    rows, columns = (labels.ravel(order).astype(np.int64, copy=False) for labels in (predicted, truth))
    if counting.count_pairs(rows, columns, counts):
        return counts
    for name, labels, parts in (("predicted", predicted, num_predicted), ("truth", truth, num_truth)):
        if not 0 <= labels.min() <= labels.max() <= parts:
            labelled = f"{labels.min()}..{labels.max()}"
            raise ValueError(f"expected {name} labels 0..{parts}, found {labelled}; renumber them")
    raise AssertionError("expected a label out of range")


def majority_vote(
    confusion: Num[np.ndarray, "*stack rows columns"],
) -> Int[np.ndarray, "*stack rows-1"]:
    """Map every part id to the true part that it covers most (supplement, section 4); several may share one.

    `confusion` counts pixels (any numbers): a row a predicted part id, a column a true part, the last row and
    the last column being the background. A stack of matrices, such as bootstrap replicates, gives a stack of
    mappings; so do `apply_mapping` and `mean_iou`.

    The background has no vote and the first of equals wins, so an id that never touches a true part goes to
    part 0, as in the released code: its pixels count as errors. All -1 (background) if there is no true part.
    """
    votes = _pixels(confusion)[..., :-1, :-1]
    if votes.shape[-1] == 0:
        return np.full(votes.shape[:-1], -1, dtype=np.int64)
    mapping: Int[np.ndarray, "*stack rows-1"] = votes.argmax(axis=-1)
    return mapping


def hungarian_match(
    confusion: Num[np.ndarray, "*stack rows columns"],
) -> Int[np.ndarray, "*stack rows-1"]:
    """Map part ids to true parts one to one, sharing the most pixels in all; -1 (background) = no partner."""
    votes = _pixels(confusion)[..., :-1, :-1]
    mapping = np.full(votes.shape[:-1], -1, dtype=np.int64)
    for place in np.ndindex(votes.shape[:-2]):
        rows, columns = linear_sum_assignment(votes[place], maximize=True)
        mapping[place][rows] = columns
    shared = (votes > 0) & (mapping[..., None] == np.arange(votes.shape[-1]))
    return np.where(shared.any(axis=-1), mapping, -1)


def apply_mapping(
    confusion: Num[np.ndarray, "*stack rows columns"], mapping: Int[np.ndarray, "*stack rows-1"]
) -> Num[np.ndarray, "*stack columns columns"]:
    """The confusion matrix after part ids were replaced by true parts (-1 = background).

    It is square, the background last.
    InputError for a mapping to parts that the matrix doesn't have.
    """
    confusion, mapping = _pixels(confusion), as_array(mapping, "a mapping")
    columns = confusion.shape[-1]
    if mapping.size and not -1 <= mapping.min() <= mapping.max() < columns - 1:
        raise InputError(
            f"Expected a mapping to the true parts 0 to {columns - 2} or to -1 (background), found "
            f"{mapping.min()} to {mapping.max()}."
        )
    background = np.full((*mapping.shape[:-1], 1), -1)
    chosen = np.concatenate([mapping, background], axis=-1) % columns
    one_hot = (np.arange(columns)[:, None] == chosen[..., None, :]).astype(confusion.dtype)
    mapped: Num[np.ndarray, "*stack columns columns"] = one_hot @ confusion
    return mapped


@dataclass(frozen=True, eq=False)
class IouScores:
    """Scores of a class's parts; NaN where a part isn't in the ground truth (precision: prediction)."""

    iou: Float[np.ndarray, "*stack part"]
    """Intersection over union of each part, its pixels counted over all images."""
    accuracy: Float[np.ndarray, "*stack part"]
    """Share of the part's pixels that were found (recall)."""
    precision: Float[np.ndarray, "*stack part"]
    """Share of the pixels predicted as the part that are right (the released code's IoPred)."""
    pixels: Num[np.ndarray, "*stack part"]
    """The part's pixels in the ground truth."""

    @property
    def mean_iou(self) -> float:
        """Mean over the parts that are in the ground truth."""
        return float(nan_mean(self.iou))


def mean_iou(confusion: Num[np.ndarray, "*stack rows columns"]) -> IouScores:
    """Per-part IoU, accuracy and precision of a mapped confusion matrix; `.mean_iou` is the class's mIoU.

    The background isn't a class, but parts predicted on it and parts missed count. ValueError if not square:
    map the part ids first (`apply_mapping(confusion, majority_vote(confusion))`).
    """
    confusion = as_array(confusion, "a confusion matrix")
    if confusion.ndim < 2 or confusion.shape[-1] != confusion.shape[-2]:
        raise ValueError(f"expected a square matrix, found {confusion.shape}; use apply_mapping first")
    right = np.diagonal(confusion, axis1=-2, axis2=-1)[..., :-1].astype(np.float64)
    truth = confusion.sum(axis=-2)[..., :-1]
    predicted = confusion.sum(axis=-1)[..., :-1]
    present = np.where(truth > 0, truth, np.nan)
    return IouScores(
        iou=right / (present + predicted - right),
        accuracy=right / present,
        precision=right / np.where(predicted > 0, predicted, np.nan),
        pixels=truth,
    )


def _pixels(confusion: object) -> NDArray[Any]:
    """Confusion matrices, at least the background's row and column."""
    counts = as_array(confusion, "a confusion matrix")
    if counts.ndim < 2 or 0 in counts.shape[-2:]:
        raise InputError(
            "Expected a confusion matrix (predicted parts, true parts), the background last in both, found "
            f"the shape {counts.shape}."
        )
    return counts


class Averages(NamedTuple):
    """Scores over object classes: `c_`, mean of the classes' means; `a_`, mean over all their parts."""

    c_miou: Float[np.ndarray, "*stack"]
    a_miou: Float[np.ndarray, "*stack"]
    c_macc: Float[np.ndarray, "*stack"]
    a_macc: Float[np.ndarray, "*stack"]


def average_over_classes(classes: Sequence[IouScores]) -> Averages:
    """Average per-class scores in both ways that the released code prints (C-mIoU, A-mIoU, ...)."""

    def both(kind: Literal["iou", "accuracy"]) -> tuple[np.ndarray, np.ndarray]:
        values: list[Float[np.ndarray, "*stack _"]] = [getattr(scores, kind) for scores in classes]
        return mean_over_classes([nan_mean(v) for v in values]), nan_mean(np.concatenate(values, axis=-1))

    if not classes:
        return Averages(*[np.array(np.nan)] * 4)
    return Averages(*both("iou"), *both("accuracy"))


def mean_over_classes(values: Sequence[Float[np.ndarray, "*stack"]]) -> Float[np.ndarray, "*stack"]:
    """Mean of the classes' values that are defined; NaN if none is."""
    return nan_mean(np.stack(values, axis=-1)) if values else np.array(np.nan)


def nan_mean(values: Float[np.ndarray, "*stack n"]) -> Float[np.ndarray, "*stack"]:
    """Mean along the last axis of the numbers that are defined; NaN (without a warning) where none is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.asarray(total / np.where(count > 0, count, np.nan))

"""What `models.postprocess` makes of a part model's output, in NumPy: the same parts without torch.

Resizing is linear, so a mask is `rows @ logits @ columns.T` with two small matrices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from partdistillation.data.canvas import Geometry
from partdistillation.errors import InputError
from partdistillation.functional.masks import box, resize_mask
from partdistillation.inference.base import LabelledMask


@dataclass(frozen=True, eq=False)
class OnnxView:
    """What the network says of one image."""

    queries: Float32[np.ndarray, "query dim"]
    """What the head reads."""
    mask_logits: Float32[np.ndarray, "query h w"]
    """On the whole canvas, mostly at 1/4 of its size."""
    features: Float32[np.ndarray, "channel rows columns"]
    """The encoder's, by which objects that are found get their classes."""
    geometry: Geometry


def normalized(
    canvas: UInt8[np.ndarray, "height width 3"], mean: Sequence[float], std: Sequence[float]
) -> Float32[np.ndarray, "1 3 height width"]:
    """A canvas as networks read it: 0..255 to 0..1, minus `mean`, over `std`, channels first."""
    scaled = canvas.astype(np.float32) / np.float32(255) - np.asarray(mean, np.float32)
    return np.ascontiguousarray((scaled / np.asarray(std, np.float32)).transpose(2, 0, 1)[None])


def part_probabilities(
    queries: Float32[np.ndarray, "query dim"], rows: Float32[np.ndarray, "logits dim_and_bias"]
) -> Float32[np.ndarray, "query parts"]:
    """Each query's probabilities of the parts of one object class, whose last row is "no object"."""
    logits = queries @ rows[:, :-1].T + rows[:, -1]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Float32[np.ndarray, "query parts"] = (
        exponentials / exponentials.sum(axis=1, keepdims=True)
    )[:, :-1]
    return probabilities


def segment_parts(
    view: OnnxView,
    probabilities: Float32[np.ndarray, "query parts"],
    object_mask: Bool[np.ndarray, "height width"],
    *,
    min_ratio: float,
    min_score: float,
) -> list[LabelledMask]:
    """An object's parts: each pixel goes to one query, each query to its best part class.

    A part's score is its best query's; kept are parts whose share of the object is over `min_ratio` and whose
    score is over `min_score`, in ascending order of their classes.

    Raises:
        InputError: the object mask is empty or of another size than the image.
    """
    if object_mask.shape != view.geometry.image or not object_mask.any():
        raise InputError(
            f"Expected an object mask of the image's size {view.geometry.image} with at least one pixel; "
            f"found {object_mask.shape} with {int(object_mask.sum())} pixels"
        )
    scores, labels = probabilities.max(axis=1), probabilities.argmax(axis=1)
    size = view.geometry.working
    small = shrunk(object_mask, size)
    x0, y0, x1, y1 = (int(edge) for edge in box(small))
    inside = small[y0:y1, x0:x1]
    queries = _winners(view, scores, (y0, y1), (x0, x1))[inside]
    parts = []
    for label in np.unique(labels[queries]).tolist():
        of_label = labels[queries] == label
        score = float(scores[queries[of_label]].max())
        if np.float32(np.count_nonzero(of_label) / len(queries)) > min_ratio and score > min_score:
            mask = np.zeros(size, np.bool_)
            mask[y0:y1, x0:x1][inside] = of_label
            parts.append((label, score, _at_size(mask, object_mask)))
    return parts


def _winners(
    view: OnnxView, scores: Float32[np.ndarray, " query"], rows: tuple[int, int], columns: tuple[int, int]
) -> Int[np.ndarray, "height width"]:
    """Of each pixel of a box the query whose probability times score is largest; of equals, the first."""
    geometry, working = view.geometry, view.geometry.working
    (vertical, cells_down), (horizontal, cells_across) = (
        _cropped(resizing(view.mask_logits.shape[axis + 1], canvas, content, size), span)
        for axis, canvas, content, size, span in zip(
            (0, 1), geometry.canvas, geometry.content, working, (rows, columns), strict=True
        )
    )
    logits = view.mask_logits[:, cells_down, cells_across]
    best = np.full((len(vertical), len(horizontal)), -1, np.float32)
    winners = np.zeros(best.shape, np.int64)
    for query, (cells, score) in enumerate(zip(logits, scores, strict=True)):
        weighted = score / (1 + np.exp(-(vertical @ cells @ horizontal.T).clip(min=-80)))
        better = weighted > best
        best[better] = weighted[better]
        winners[better] = query
    return winners


def resizing(cells: int, canvas: int, content: int, size: int) -> Float32[np.ndarray, "size cells"]:
    """Bilinear resizing along one axis: of cells to the canvas, cut to the content, to `size`."""
    matrix: Float32[np.ndarray, "size cells"] = _linear(content, size) @ _linear(cells, canvas)[:content]
    return matrix


def _linear(old: int, new: int) -> Float32[np.ndarray, "new old"]:
    """The matrix of linear resizing; edges are repeated (`align_corners=False`)."""
    places = ((np.arange(new, dtype=np.float32) + 0.5) * np.float32(old / new) - 0.5).clip(min=0)
    below = places.astype(np.int64).clip(max=old - 1)
    above = np.minimum(below + 1, old - 1)
    share = places - below.astype(np.float32)
    matrix = np.zeros((new, old), np.float32)
    np.add.at(matrix, (np.arange(new), below), 1 - share)
    np.add.at(matrix, (np.arange(new), above), share)
    return matrix


def _cropped(
    matrix: Float32[np.ndarray, "size cells"], span: tuple[int, int]
) -> tuple[Float32[np.ndarray, "pixel cell"], slice]:
    """A matrix's rows for a span of pixels, and the cells that have any weight there."""
    rows = matrix[slice(*span)]
    used = np.flatnonzero(rows.any(axis=0))
    cells = slice(int(used[0]), int(used[-1]) + 1)
    return rows[:, cells], cells


def shrunk(mask: Bool[np.ndarray, "height width"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The mask at a smaller size: True where any pixel is, so that enlarging it covers all of them again."""
    if mask.shape == size:
        return mask
    for axis, count in enumerate(size):
        across = np.moveaxis(mask, axis, 0)
        rows = [across[start:end].any(axis=0) for start, end in _spans(len(across), count)]
        mask = np.moveaxis(np.stack(rows), 0, axis)
    return mask


def _at_size(
    mask: Bool[np.ndarray, "h w"], object_mask: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """A part's mask at the image's size, inside the object."""
    if mask.shape == object_mask.shape:
        return mask
    whole: Bool[np.ndarray, "height width"] = resize_mask(mask, *object_mask.shape) & object_mask
    return whole


def object_feature(view: OnnxView, mask: Bool[np.ndarray, "height width"]) -> Float32[np.ndarray, " channel"]:
    """What the encoder sees inside a mask, averaged, of unit length: as `objects.object_features`."""
    geometry = view.geometry
    inside = mask.astype(np.float32)
    for axis in (0, 1):
        inside = np.moveaxis(inside, axis, 0)
        inside = _averaging(len(inside), geometry.content[axis]) @ inside
        padding = geometry.canvas[axis] - geometry.content[axis]
        inside = np.pad(inside, ((0, padding), (0, 0)))
        inside = np.moveaxis(_averaging(len(inside), view.features.shape[axis + 1]) @ inside, 0, axis)
    feature = np.tensordot(view.features, inside, axes=2)
    length: Float32[np.ndarray, " channel"] = feature / np.linalg.norm(feature)
    return length


def _averaging(old: int, new: int) -> Float32[np.ndarray, "new old"]:
    """The matrix of resizing by area."""
    matrix = np.zeros((new, old), np.float32)
    for row, (start, end) in zip(matrix, _spans(old, new), strict=True):
        row[start:end] = 1 / (end - start)
    return matrix


def _spans(old: int, new: int) -> list[tuple[int, int]]:
    """Of each of `new` places the old ones that it covers, in whole or in part."""
    return [(place * old // new, -(-(place + 1) * old // new)) for place in range(new)]

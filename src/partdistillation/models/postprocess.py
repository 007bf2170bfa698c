"""A network on a whole image, and its queries turned into masks of the image's size (section 4.3).

Stage 4, the part model and the instance segmentation model all see images this way. One image at a time: an
image's masks don't depend on its neighbours in a batch.

Resizing is linear, so a mask is `rows @ logits @ columns.T` with two small matrices, of which a box needs a
few rows only.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, interpolate, max_pool2d

from partdistillation.data.canvas import Geometry, lay_on_canvas
from partdistillation.errors import InputError
from partdistillation.functional.masks import box, resize_mask
from partdistillation.functional.ranking import Parts, Proposals, unique_parts, unique_proposals
from partdistillation.models.encoder import normalize_images
from partdistillation.models.heads import ClassHead
from partdistillation.models.part_mask2former import PartMask2Former, mask_logits

_MARGIN = 1e-4
"""More than rounding can move a probability."""


@dataclass(frozen=True, eq=False)
class View:
    """What the decoder's last layer says of one image."""

    queries: Float[Tensor, "query dim"]
    """What heads read, and the proposals' features."""
    mask_logits: Float[Tensor, "query h w"]
    """On the whole canvas, mostly at 1/4 of its size."""
    geometry: Geometry


@torch.no_grad()
def run_network(
    network: PartMask2Former, image: UInt8[np.ndarray, "height width 3"], image_size: int
) -> View:
    """Encode and decode an image as it lies on its canvas."""
    pixels, geometry = on_canvas(network, image, image_size)
    output = network(pixels)
    return View(output.queries[-1, 0], mask_logits(output)[0], geometry)


def on_canvas(
    network: PartMask2Former, image: UInt8[np.ndarray, "height width 3"], image_size: int
) -> tuple[Float[Tensor, "1 3 canvas_height canvas_width"], Geometry]:
    """An image as a network reads it: its longest side `image_size`, padded to multiples of 32."""
    canvas, geometry = lay_on_canvas(image, image_size)
    pixels = torch.from_numpy(canvas).to(next(network.parameters()).device)
    normalized = normalize_images(pixels, network.info.pixel_mean, network.info.pixel_std)[None]
    return normalized, geometry


@torch.no_grad()
def class_probabilities(
    network: PartMask2Former, view: View, object_class: int | None = None
) -> Float[Tensor, "query class"]:
    """Each query's probabilities, without that of "no object": of a class head's classes, or for a part head
    of the parts of `object_class`.
    """
    head = network.class_predictor
    if isinstance(head, ClassHead):
        logits = head(view.queries)
    elif object_class is None:
        raise ValueError("a part head needs the object's class")
    else:
        logits = head(view.queries[None], torch.tensor([object_class], device=view.queries.device))[0]
    probabilities: Tensor = logits.softmax(dim=-1)
    return probabilities[:, :-1]


def _part_scores(network: PartMask2Former, view: View, object_class: int | None) -> Float[Tensor, " query"]:
    """P(part) of each query: by the best row of the object's class, or of any."""
    if network.info.head == "classes" or object_class is not None:
        return class_probabilities(network, view, object_class).amax(dim=1)
    scores = torch.zeros(len(view.queries), dtype=torch.float32, device=view.queries.device)
    for index in range(len(network.info.class_names)):
        scores = torch.maximum(scores, class_probabilities(network, view, index).amax(dim=1))
    return scores


def full_masks(logits: Float[Tensor, "query h w"], geometry: Geometry) -> Float[Tensor, "query height width"]:
    """Mask logits at the image's size: bilinear to the canvas, cut to the content, bilinear again.

    It takes 4 bytes a query and pixel: ask for the queries that are needed.
    """
    height, width = geometry.image
    crop = _cropped(logits, geometry, geometry.image, (0, 0, width, height))
    return crop.enlarged(torch.arange(len(logits), device=logits.device))


@torch.no_grad()
def propose_parts(
    network: PartMask2Former,
    view: View,
    object_mask: Bool[np.ndarray, "height width"],
    *,
    per_pixel: bool,
    min_ratio: float,
    min_score: float,
    keep_all_if_none: bool,
    object_class: int | None = None,
) -> Proposals:
    """The salient proposals that a model has for an object (eq. 1 to 3).

    As `functional.ranking.unique_proposals`, with P(part) as score; on the CPU, masks at the image's size.
    For a part model P(part) is that of the best part of `object_class`, the index in
    `network.info.class_names`; with None, where it doesn't know the object's class, of any class.
    With `per_pixel=False`, where masks overlap and compete for a rank instead of pixels, the scores come
    back times the mean probability inside the mask, as Mask2Former ranks its masks.

    Raises:
        InputError: the object mask is empty or of another size than the image.
    """
    scores = _part_scores(network, view, object_class)
    patch = _Patch(view, object_mask)
    queries = patch.contenders(scores) if per_pixel else patch.positive()
    kept = unique_proposals(
        patch.crop.enlarged(queries),
        scores[queries],
        view.queries[queries],
        patch.inside,
        per_pixel=per_pixel,
        min_ratio=min_ratio,
        min_score=min_score,
        keep_all_if_none=keep_all_if_none,
    )
    ranked = kept.scores
    if not per_pixel:
        probabilities = patch.crop.enlarged(queries[kept.queries]).sigmoid()
        ranked = ranked * (probabilities * kept.masks).sum(dim=(1, 2)) / kept.masks.sum(dim=(1, 2))
    return Proposals(
        queries[kept.queries].cpu(),
        patch.pasted(kept.masks),
        ranked.cpu(),
        kept.ratios.cpu(),
        kept.features.cpu(),
    )


@torch.no_grad()
def segment_parts(
    network: PartMask2Former,
    view: View,
    object_mask: Bool[np.ndarray, "height width"],
    object_class: int,
    *,
    min_ratio: float,
    min_score: float,
    keep_all_if_none: bool = False,
) -> Parts:
    """An object's parts by the part model: each pixel goes to one query, each query to its best part class.

    As `functional.ranking.unique_parts`; on the CPU, masks at the image's size. `object_class` is the index
    in `network.info.class_names`.

    Raises:
        InputError: the object mask is empty or of another size than the image.
    """
    scores, labels = class_probabilities(network, view, object_class).max(dim=1)
    patch = _Patch(view, object_mask)
    queries = patch.contenders(scores)
    kept = unique_parts(
        patch.crop.enlarged(queries),
        scores[queries],
        labels[queries],
        patch.inside,
        min_ratio=min_ratio,
        min_score=min_score,
        keep_all_if_none=keep_all_if_none,
    )
    return Parts(kept.labels.cpu(), patch.pasted(kept.masks), kept.scores.cpu(), kept.ratios.cpu())


@dataclass(frozen=True, eq=False)
class _Crop:
    """The cells of the mask logits that a box of the image depends on, and the matrices that resize them."""

    logits: Float[Tensor, "query h w"]
    rows: Float[Tensor, "height h"]
    columns: Float[Tensor, "width w"]

    def enlarged(self, queries: Int[Tensor, " chosen"]) -> Float[Tensor, "chosen height width"]:
        return self.rows @ self.logits[queries] @ self.columns.T


class _Patch:
    """An object's surroundings: all that is computed of an image to give the object's pixels to queries."""

    def __init__(self, view: View, object_mask: Bool[np.ndarray, "height width"]) -> None:
        if object_mask.shape != view.geometry.image or not object_mask.any():
            raise InputError(
                f"Expected an object mask of the image's size {view.geometry.image} with at least one pixel; "
                f"found {object_mask.shape} with {int(object_mask.sum())} pixels"
            )
        self._object_mask = object_mask
        self._size = view.geometry.working
        small = _shrunk(object_mask, self._size)
        x0, y0, x1, y1 = (int(edge) for edge in box(small))
        self._box = (x0, y0, x1, y1)
        self.crop = _cropped(view.mask_logits, view.geometry, self._size, self._box)
        self.inside = torch.from_numpy(small[y0:y1, x0:x1]).to(view.mask_logits.device)

    def contenders(self, scores: Float[Tensor, " query"]) -> Int[Tensor, " chosen"]:
        """The queries that may win a pixel, ascending; most can't, and needn't be enlarged.

        Every enlarged value lies between the least and the largest of 3 x 3 cells. So whoever's largest is
        below another's least doesn't win there.
        """
        values = (self.crop.logits.sigmoid() * scores[:, None, None])[None]
        largest = max_pool2d(values, 3, stride=1, padding=1)[0]
        least = -max_pool2d(-values, 3, stride=1, padding=1)[0]
        return (largest >= least.amax(dim=0) - _MARGIN).flatten(1).any(dim=1).nonzero()[:, 0]

    def positive(self) -> Int[Tensor, " chosen"]:
        """The queries whose masks may have a pixel, ascending."""
        return (self.crop.logits > 0).flatten(1).any(dim=1).nonzero()[:, 0]

    def pasted(self, masks: Bool[Tensor, "kept _h _w"]) -> Bool[Tensor, "kept height width"]:
        """The patch's masks as masks of the image, on the CPU."""
        x0, y0, x1, y1 = self._box
        whole = np.zeros((len(masks), *self._size), np.bool_)
        whole[:, y0:y1, x0:x1] = masks.cpu().numpy()
        if self._size != self._object_mask.shape:
            height, width = self._object_mask.shape
            whole = np.array([resize_mask(mask, height, width) & self._object_mask for mask in whole])
            whole = whole.reshape(len(masks), height, width)
        return torch.from_numpy(whole)


def _cropped(
    logits: Float[Tensor, "query h w"],
    geometry: Geometry,
    size: tuple[int, int],
    box: tuple[int, int, int, int],
) -> _Crop:
    x0, y0, x1, y1 = box
    rows, columns = (
        _resizing(logits.shape[axis + 1], geometry.canvas[axis], geometry.content[axis], size[axis])[span]
        for axis, span in enumerate((slice(y0, y1), slice(x0, x1)))
    )
    top, bottom = _support(rows)
    left, right = _support(columns)
    return _Crop(
        logits[:, top:bottom, left:right],
        rows[:, top:bottom].to(logits.device),
        columns[:, left:right].to(logits.device),
    )


def _resizing(cells: int, canvas: int, content: int, size: int) -> Float[Tensor, "size cells"]:
    """What `interpolate` does along one axis to each cell: to the canvas, cut to the content, to `size`."""
    on_canvas = interpolate(
        torch.eye(cells, dtype=torch.float32)[None], size=canvas, mode="linear", align_corners=False
    )
    return interpolate(on_canvas[..., :content], size=size, mode="linear", align_corners=False)[0].T


def _support(matrix: Float[Tensor, "pixel cell"]) -> tuple[int, int]:
    """The span of cells that have any weight."""
    used = matrix.any(dim=0).nonzero()
    return int(used[0]), int(used[-1]) + 1


def _shrunk(mask: Bool[np.ndarray, "height width"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The mask at a smaller size: True where any pixel is, so that enlarging it covers all of them again."""
    if mask.shape == size:
        return mask
    pooled = adaptive_max_pool2d(torch.from_numpy(mask)[None].float(), size)[0]
    shrunk: Bool[np.ndarray, "h w"] = (pooled > 0).numpy()
    return shrunk

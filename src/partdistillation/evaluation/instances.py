"""An instance segmentation model on a data set, as Mask2Former is measured on COCO."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from partdistillation.config import Device
from partdistillation.data.coco import CocoDataset, read_instances
from partdistillation.data.images import ImageInput, load_image
from partdistillation.errors import InputError
from partdistillation.evaluation.mask_ap import FoundInstance, ImageInstances, MaskAp, score
from partdistillation.functional.masks import EncodedMask, encode
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import View, class_probabilities, full_masks, run_network
from partdistillation.models.sources import pinned, resolve
from partdistillation.objects.mask2former import TOP, inference_size, load_instance_model
from partdistillation.runs import terminal
from partdistillation.runs.progress import progress
from partdistillation.runs.remote import bring
from partdistillation.runs.stage_reader import contents_hash

NAME = "mask_ap"
"""What the files of a measurement are called."""
_NAMED = 3

_log = terminal.logger(__name__)


def measure(model: str | Path, images: Path, truth: CocoDataset, *, device: Device = "auto") -> MaskAp:
    """Mask AP of a model (a directory, a published one's name or `builtin:NAME`) on a folder of images.

    The model's classes are those of the ground truth that have the same name; of the others nothing is
    found, so they have an AP of 0 if they occur. Images that can't be read, or have another size than the
    ground truth says, are left out and named in the log.

    Raises:
        CheckpointError: the model can't be loaded, or isn't an instance segmentation model.
        InputError: no class of the model is in the ground truth, or no image can be used.
    """
    return score(truth, find_all(load_instance_model(model, choose_device(device)), images, truth))


def evaluate(
    model: str | Path, images: Path, objects: Path, *, out: Path, device: Device = "auto", again: bool = True
) -> MaskAp | None:
    """Measure a model's mask AP, print it, and write `out/mask_ap.json` and `out/mask_ap.md`.

    Unless `again`, nothing is done where the same was measured: None is returned.

    Args:
        model: as for `measure`.
        images: the photographs' folder, or its URL.
        objects: their COCO instances (.json), or their URL.
        out: folder to write to.
        device: where the network runs.
        again: measure whatever is in `out`.

    Raises:
        CheckpointError, InputError: as `measure`; or `objects` can't be read.
    """
    images, objects = bring(images, out), bring(objects, out)
    files = resolve(str(model)).files
    measured = {
        "model": contents_hash(files[0]) if files else pinned(str(model)),
        "objects": contents_hash(objects),
    }
    path = out / f"{NAME}.json"
    if not again and path.is_file() and json.loads(path.read_bytes()).get("measured") == measured:
        return None
    truth = read_instances(objects)
    truth.log_notes()
    mask_ap = measure(model, images, truth, device=device)
    replace(mask_ap.tables(), content={**vars(mask_ap), "measured": measured}).write(out / NAME)
    mask_ap.tables(classes=False).show()
    return mask_ap


def find_all(network: PartMask2Former, images: Path, truth: CocoDataset) -> Iterator[ImageInstances]:
    """The instances in each image of the ground truth that can be used, one image at a time.

    Raises:
        InputError: no class of the model is in the ground truth.
    """
    rows = _shared_classes(network.info.class_names, truth)
    problems = []
    with progress("mask AP", len(truth.images), unit="images") as advance:
        for photograph, entry in zip(truth.inputs(images), truth.images, strict=True):
            try:
                pixels = _read(photograph, (entry.height, entry.width))
            except InputError as error:
                problems.append(str(error))
            else:
                yield ImageInstances(entry, tuple(ranked_instances(network, pixels, rows)))
            advance()
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        _log.warning(
            "%d of %d images are left out of mask AP: %s%s",
            len(problems), len(truth.images), "; ".join(problems[:_NAMED]), more,
        )  # fmt: skip


def ranked_instances(
    network: PartMask2Former, image: UInt8[np.ndarray, "height width 3"], classes: Mapping[int, str]
) -> Iterator[FoundInstance]:
    """Mask2Former's instance inference: the `TOP` most probable pairs of a query and a class.

    A query may come with several classes, each counted for itself, as COCO's AP allows
    (`objects.mask2former.find_instances` gives it once). A mask is where its logit is positive; its score is
    the class's probability times the mean mask probability inside the mask. Empty masks, which would come
    last with a score of 0, are left out. `classes` are the names by the head's rows.
    """
    size = inference_size(image.shape[0], image.shape[1], network.info.image_size)
    view = run_network(network, image, size)
    rows = list(classes)
    pairs = class_probabilities(network, view)[:, rows].flatten()
    probabilities, best = pairs.topk(min(TOP, len(pairs)))
    masks: dict[int, tuple[bytes, float]] = {}
    for probability, pair in zip(probabilities.tolist(), best.tolist(), strict=True):
        query, place = divmod(pair, len(rows))
        if query not in masks:
            masks[query] = _mask(view, query)
        counts, inside = masks[query]
        if inside:
            mask = EncodedMask(counts, *view.geometry.image)
            yield FoundInstance(classes[rows[place]], probability * inside, mask)


@torch.no_grad()
def _mask(view: View, query: int) -> tuple[bytes, float]:
    """A query's mask, encoded, and the mean probability inside it; 0 where it is empty."""
    logits = full_masks(view.mask_logits[query][None], view.geometry)[0]
    mask = logits > 0
    inside = float(logits[mask].sigmoid().mean()) if mask.any() else 0.0
    return encode(mask.cpu().numpy()), inside


def _shared_classes(names: Sequence[str], truth: CocoDataset) -> dict[int, str]:
    """Those of the model's classes that the ground truth has, by their row."""
    wanted = {category.name for category in truth.categories}
    rows = {row: name for row, name in enumerate(names) if name in wanted}
    if not rows:
        raise InputError(
            f"expected classes of the model in {truth.path}, found none: the model has "
            f"{_some(sorted(names))}, the file {_some(sorted(wanted))}; names must be the same"
        )
    if unknown := sorted(wanted - set(names)):
        _log.warning("the model doesn't know %d classes of %s: %s", len(unknown), truth.path, _some(unknown))
    return rows


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _read(image: ImageInput, size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    if image.problem:
        raise InputError(f"image {image.image_id}: {image.problem}")
    pixels = load_image(image.path)
    if pixels.shape[:2] != size:
        raise InputError(
            f"{image.path}: expected {size[1]} x {size[0]} pixels as the annotations say, found "
            f"{pixels.shape[1]} x {pixels.shape[0]}"
        )
    return pixels

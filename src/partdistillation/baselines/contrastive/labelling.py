"""Parts by the networks of the contrastive baseline: of a run's own objects, or of held-out ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from partdistillation.baselines.contrastive.network import MODEL, ContrastiveNet, class_folder
from partdistillation.baselines.contrastive.samples import square_around
from partdistillation.config import Device, Inputs
from partdistillation.data.object_views import ObjectCrop, cut, load_object
from partdistillation.errors import InputError
from partdistillation.functional.masks import encode
from partdistillation.functional.thin_plate_splines import resample
from partdistillation.models.devices import choose_device
from partdistillation.runs import terminal
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import ObjectParts, ObjectRow, Part, PartRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import StageReader, contents_hash, read_rows
from partdistillation.stages import objects

_PIXELS = 2**20
"""Pixels of an object that are classified at a time."""

_PartsOfObjects = dict[tuple[str, int], tuple[Part, ...]]
"""By image id and object id."""

_log = terminal.logger(__name__)


def label(inputs: Inputs, folder: Path, out: Path) -> Path:
    """Write `out`, a stage of PartRow: each object's pixels by their most probable part.

    The objects are those of `inputs.out/objects`, in images of `inputs.images`; they need not be those that
    the networks in `folder` have learned from. Objects of a class without a network have no parts, which is
    logged. Run again to go on.

    Raises:
        InputError: there is no network for any of the objects, or an image has changed.
        CheckpointError: a network can't be loaded.
    """
    objects_dir = inputs.out / objects.FOLDER
    models = _models(folder, objects_dir)
    return run_shards(
        out,
        row=PartRow,
        shards=StageReader(objects_dir, ObjectRow).shards,
        settings={"networks": {category: contents_hash(model) for category, model in models.items()}},
        upstream=[objects_dir],
        make_work=partial(_make_labeller, inputs.need("images"), objects_dir, models, inputs.device),
        workers=inputs.workers,
        engine=inputs.driver,
        label="contrastive: parts",
    )


def _models(folder: Path, objects_dir: Path) -> dict[str, Path]:
    """The networks of the objects' classes, as far as there are any."""
    rows = read_rows(objects_dir, ObjectRow)
    wanted = sorted({instance.category for row in rows for instance in row.objects})
    places = {category: class_folder(folder, category) / MODEL for category in wanted}
    models = {category: place for category, place in places.items() if place.is_dir()}
    missing = [category for category in wanted if category not in models]
    if wanted and not models:
        raise InputError(
            f"{folder}: expected networks of these objects' classes ({', '.join(missing[:5])}), found none; "
            "train them with `partdistill baseline contrastive`"
        )
    if missing:
        _log.warning("no network, and so no parts, for objects of %d classes: %s", len(missing), missing[:5])
    return models


def _make_labeller(
    images_dir: Path, objects_dir: Path, models: Mapping[str, Path], device: Device
) -> Callable[[Shard[ImageRef]], list[PartRow]]:
    reader, where = StageReader(objects_dir, ObjectRow), choose_device(device)

    def work(shard: Shard[ImageRef]) -> list[PartRow]:
        rows = list(reader.read(shard.name))
        parts: _PartsOfObjects = {}
        categories = {instance.category for row in rows for instance in row.objects}
        for category in sorted(categories & models.keys()):
            network = ContrastiveNet.load(models[category]).to(where)  # one at a time: they are large
            parts |= _parts_of_class(category, rows, images_dir, network)
        return [_part_row(row, parts) for row in rows]

    return work


def _parts_of_class(
    category: str, rows: Sequence[ObjectRow], images_dir: Path, network: ContrastiveNet
) -> Iterator[tuple[tuple[str, int], tuple[Part, ...]]]:
    for row in rows:
        for instance in row.objects:
            if instance.category == category:
                crop = ObjectCrop(row.file_name, row.height, row.width, instance.rle, 0)
                parts = object_parts(*load_object(images_dir, crop), network)
                yield (row.image_id, instance.object_id), parts


def _part_row(row: ObjectRow, parts: _PartsOfObjects) -> PartRow:
    labelled = (
        ObjectParts(instance.object_id, instance.category, parts.get((row.image_id, instance.object_id), ()))
        for instance in row.objects
    )
    return row.to(PartRow, labelled)


def object_parts(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    network: ContrastiveNet,
) -> tuple[Part, ...]:
    """The parts of an object: every pixel of its mask is of the most probable.

    A part's score is the mean probability of its pixels.
    """
    probabilities = pixel_probabilities(image, mask, network)
    scores, labels = (values.cpu().numpy() for values in probabilities.max(dim=1))
    parts = []
    for number in np.unique(labels):
        region = np.zeros(mask.shape, np.bool_)
        region[mask] = labels == number
        score = float(scores[labels == number].mean())
        parts.append(Part(int(number), score, score, int(np.count_nonzero(region)), encode(region)))
    return tuple(parts)


@torch.no_grad()
def pixel_probabilities(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    network: ContrastiveNet,
) -> Float[Tensor, "pixel part"]:
    """Part probabilities of a mask's pixels, row by row, from the logits of the object's square."""
    placement = square_around(mask)
    device = next(network.parameters()).device
    pixels = torch.from_numpy(cut(image, mask, placement, network.image_size)[0].copy())[None].to(device)
    logits = network(network.normalized(pixels))
    rows, columns = np.nonzero(mask)
    places = (np.stack([columns, rows], axis=1) + 0.5 - placement.centre) @ np.linalg.inv(placement.matrix).T
    grid = torch.from_numpy(places.astype(np.float32)).to(device)
    sampled = [resample(logits, some[None, None])[0, :, 0].T for some in torch.split(grid, _PIXELS)]
    return torch.cat(sampled).softmax(dim=1)

"""Stage 4: proposals become parts, by clustering their features within each object class (section 4.3)."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch.nn.functional import normalize

from partdistillation.config import Device, Inputs, RankingConfig, Recipe
from partdistillation.data.images import load_image
from partdistillation.errors import StoreError
from partdistillation.functional.clustering import cluster_features
from partdistillation.functional.masks import decode, encode
from partdistillation.functional.ranking import part_probabilities
from partdistillation.functional.stability import cluster_stability
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import View, propose_parts, run_network
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import (
    Object,
    ObjectParts,
    ObjectProposals,
    ObjectRow,
    Part,
    PartRow,
    Proposal,
    ProposalRow,
)
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.store import StageReader, read_rows, stage_hash
from partdistillation.stages import objects, part_classes, proposals
from partdistillation.stages.class_features import ClassFeatures, sorted_by_class
from partdistillation.stages.part_classes import Centroids

FEATURES = "features"
PART_CLASSES = part_classes.FOLDER
PARTS = "parts"
_SCRATCH = ".features"


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/features`, `out/part_classes` and `out/parts`."""
    collect(
        inputs,
        recipe.ranking,
        model_dir=inputs.out / proposals.FOLDER,
        objects_dir=inputs.out / objects.FOLDER,
    )
    find_part_classes(inputs, recipe.ranking)
    return label(inputs, recipe.ranking)


# ---------------------------------------------------------------------- the proposals and their features


def collect(inputs: Inputs, config: RankingConfig, *, model_dir: Path, objects_dir: Path) -> Path:
    """Write `out/features`: for every object its salient proposals (eq. 1 to 3) with their query features.

    `model_dir` is the proposal model; for the evaluation on another data set it may be a part model.
    """
    return run_shards(
        inputs.out / FEATURES,
        row=ProposalRow,
        shards=StageReader(objects_dir, ObjectRow).shards,
        settings=collecting_settings(config),
        upstream=[objects_dir, model_dir],
        make_work=partial(
            _make_collector, inputs.need("images"), objects_dir, model_dir, config, inputs.device
        ),
        workers=inputs.workers,
        label="ranking: features",
    )


def collecting_settings(config: RankingConfig) -> dict[str, Json]:
    """The settings that decide the proposals of an image."""
    names = ("image_size", "per_pixel", "min_ratio", "min_score", "label_min_ratio", "label_min_score",
             "keep_all_if_none", "normalize")  # fmt: skip
    return {name: value for name, value in config.to_dict().items() if name in names}


def _make_collector(
    images_dir: Path, objects_dir: Path, model_dir: Path, config: RankingConfig, device: Device
) -> Callable[[Shard[ImageRef]], list[ProposalRow]]:
    reader = StageReader(objects_dir, ObjectRow)
    model = PartMask2Former.from_pretrained(model_dir).to(choose_device(device))

    def work(shard: Shard[ImageRef]) -> list[ProposalRow]:
        return [proposal_row(row, images_dir, model, config) for row in reader.read(shard.name)]

    return work


def proposal_row(
    row: ObjectRow, images_dir: Path, model: PartMask2Former, config: RankingConfig
) -> ProposalRow:
    """The proposals of one image's objects; the network runs once an image."""
    header = (row.image_id, row.file_name, row.width, row.height, row.status, row.reason)
    if row.status == "rejected":
        return ProposalRow(*header, ())
    view = run_network(model, load_image(images_dir / row.file_name), config.image_size)
    return ProposalRow(*header, tuple(_proposals(found, row, view, config, model) for found in row.objects))


def _proposals(
    found: Object, row: ObjectRow, view: View, config: RankingConfig, model: PartMask2Former
) -> ObjectProposals:
    kept = propose_parts(
        model,
        view,
        decode(found.rle, row.height, row.width),
        object_class=_object_class(model, found.category),
        per_pixel=config.per_pixel,
        min_ratio=config.label_min_ratio,
        min_score=config.label_min_score,
        keep_all_if_none=config.keep_all_if_none,
    )
    features = normalize(kept.features, dim=1) if config.normalize else kept.features
    proposals = tuple(
        Proposal(
            query=int(query),
            score=float(score),
            ratio=float(ratio),
            area=int(np.count_nonzero(mask)),
            rle=encode(mask),
            feature=feature.astype(np.float16),
        )
        for query, score, ratio, mask, feature in zip(
            kept.queries, kept.scores, kept.ratios, kept.masks.numpy(), features.numpy(), strict=True
        )
    )
    return ObjectProposals(found.object_id, found.category, proposals)


def _object_class(model: PartMask2Former, category: str) -> int | None:
    """The class's row in a part model; None in another model, or where it doesn't know the class."""
    names = model.info.class_names
    return names.index(category) if model.info.head == "parts" and category in names else None


# ---------------------------------------------------------------------- part classes


def find_part_classes(inputs: Inputs, config: RankingConfig) -> Path:
    """Write `out/part_classes`: the centroids of each object class's proposals, and how many there were."""
    folder = inputs.out / PART_CLASSES
    origin: dict[str, Json] = {
        "settings": _clustering_settings(config),
        "features": stage_hash(inputs.out / FEATURES),
    }
    if part_classes.are_found(folder, origin, also_delete=PARTS):
        return folder
    centroids: dict[str, np.ndarray] = {}
    classes: dict[str, dict[str, Json]] = {}
    with sorted_by_class(folder / _SCRATCH) as features:
        _collect_salient(inputs.out / FEATURES, config, features)
        for category in features.categories():
            found = features.read(category)
            centroids[category], classes[category] = _part_classes(category, found, config)
    if not centroids:
        raise StoreError(
            "expected proposals that pass the filters, found none: train the proposal model for longer, or "
            f"lower ranking.min_score ({config.min_score}) or ranking.min_ratio ({config.min_ratio})"
        )
    part_classes.write(folder, centroids, origin, classes)
    return folder


def _collect_salient(folder: Path, config: RankingConfig, features: ClassFeatures) -> None:
    """The features of the proposals that pass the first filters."""
    for row in read_rows(folder, ProposalRow):
        for found in row.objects:
            for one in salient(found.proposals, config):
                features.add(found.category, one.feature[None])


def _part_classes(
    category: str, features: Float[np.ndarray, "n dim"], config: RankingConfig
) -> tuple[Float[np.ndarray, "part dim"], dict[str, Json]]:
    """The centroids of an object class, and what `part_classes.json` says of it."""
    features = features.astype(np.float32)
    count, about = config.num_parts, {}
    if config.part_count == "stability":
        stability = cluster_stability(features, most=config.num_parts, seed=config.seed)
        count = stability.chosen
        measured = zip(stability.counts, stability.means, strict=True)
        about = {"stability": {str(tried): round(mean, 4) for tried, mean in measured}}
    centroids = _cluster(category, features, count, config)
    return centroids, {"proposals": len(features), "part_classes": len(centroids), **about}


def _cluster(
    category: str, features: Float[np.ndarray, "n dim"], count: int, config: RankingConfig
) -> Float[np.ndarray, "part dim"]:
    """The centroids of an object class; says where they are fewer than `count`."""
    found = cluster_features(features, k=count, restarts=config.restarts, seed=config.seed)
    if len(found) < count:
        print(
            f"ranking: {category}: {len(found)} part classes instead of {count}, as it has "
            f"{len(features)} proposals with {len(found)} different features",
            file=sys.stderr,
        )
    return found


def _clustering_settings(config: RankingConfig) -> dict[str, Json]:
    names = ["min_ratio", "min_score", "keep_all_if_none", "num_parts", "restarts", "seed"]
    if config.part_count != "fixed":  # so that the part classes of earlier runs stay valid
        names.append("part_count")
    return {name: value for name, value in config.to_dict().items() if name in names}


def salient(found: Sequence[Proposal], config: RankingConfig) -> list[Proposal]:
    """The proposals of an object that are clustered: those over tau_r, then those over tau_s."""
    kept = list(found)
    for attribute, threshold in (("ratio", config.min_ratio), ("score", config.min_score)):
        passed = [one for one in kept if getattr(one, attribute) > threshold]
        if passed or not config.keep_all_if_none:
            kept = passed
    return kept


# ---------------------------------------------------------------------- parts


def label(inputs: Inputs, config: RankingConfig) -> Path:
    """Write `out/parts`: every proposal with the part class that is nearest to it (eq. 4 and 5)."""
    features_dir, classes_dir = inputs.out / FEATURES, inputs.out / PART_CLASSES
    return run_shards(
        inputs.out / PARTS,
        row=PartRow,
        shards=StageReader(features_dir, ProposalRow).shards,
        settings={"distance": config.distance},
        upstream=[features_dir, classes_dir],
        make_work=partial(_make_labeller, features_dir, classes_dir, config),
        workers=inputs.workers,
        label="ranking: parts",
    )


def _make_labeller(
    features_dir: Path, classes_dir: Path, config: RankingConfig
) -> Callable[[Shard[ImageRef]], list[PartRow]]:
    reader = StageReader(features_dir, ProposalRow)
    centroids = part_classes.read(classes_dir)
    return lambda shard: [part_row(row, centroids, config) for row in reader.read(shard.name)]


def part_row(row: ProposalRow, centroids: Centroids, config: RankingConfig) -> PartRow:
    """The parts of one image's objects."""
    header = (row.image_id, row.file_name, row.width, row.height, row.status, row.reason)
    return PartRow(*header, tuple(_ranked(found, centroids, config) for found in row.objects))


def _ranked(found: ObjectProposals, centroids: Centroids, config: RankingConfig) -> ObjectParts:
    if not found.proposals or found.category not in centroids:
        return ObjectParts(found.object_id, found.category, ())
    features = np.stack([one.feature for one in found.proposals]).astype(np.float32)
    probabilities = part_probabilities(features, centroids[found.category], distance=config.distance)
    parts = (
        Part(int(best), float(row[best]), one.score, one.area, one.rle)
        for one, row, best in zip(found.proposals, probabilities, probabilities.argmax(axis=1), strict=True)
    )
    return ObjectParts(found.object_id, found.category, tuple(parts))

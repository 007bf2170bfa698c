"""Stage 4: proposals become parts, by clustering their features within each object class (section 4.3)."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from partdistillation.config import (
    ClusteringConfig,
    Inputs,
    LabellingConfig,
    Recipe,
)
from partdistillation.errors import StoreError
from partdistillation.functional.clustering import cluster_features
from partdistillation.functional.ranking import part_probabilities
from partdistillation.functional.stability import cluster_stability
from partdistillation.models.devices import choose_device
from partdistillation.runs.claims import by_one
from partdistillation.runs.engine import map_rows
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import (
    ObjectParts,
    ObjectProposals,
    Part,
    PartRow,
    Proposal,
    ProposalRow,
)
from partdistillation.runs.stage_log import Stage
from partdistillation.runs.store import read_rows, stage_hash
from partdistillation.runs.terminal import say
from partdistillation.stages import candidates, objects, part_classes, proposals, segments
from partdistillation.stages.class_features import ClassFeatures, sorted_by_class
from partdistillation.stages.part_classes import Centroids

PART_CLASSES = part_classes.FOLDER
PARTS = "parts"
STAGE = Stage(
    "ranking", folders=(candidates.FEATURES, PART_CLASSES, PARTS), sections=("ranking",), has_rows=True
)
_SCRATCH = ".features"


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/features`, `out/part_classes` and `out/parts`."""
    choose_device(inputs.device)
    objects.require_unchanged(inputs)
    objects_dir = inputs.out / objects.FOLDER
    if recipe.ranking.candidates == "segments":
        candidates.collect_segments(
            inputs, recipe, objects_dir=objects_dir, segments_dir=inputs.out / segments.FOLDER
        )
    else:
        candidates.collect(inputs, recipe, model_dir=inputs.out / proposals.FOLDER, objects_dir=objects_dir)
    with by_one(inputs, PART_CLASSES, done=(inputs.out / PART_CLASSES / part_classes.DESCRIPTION).exists):
        find_part_classes(inputs, recipe.ranking)
    return label(inputs, recipe.ranking)


# ---------------------------------------------------------------------- part classes


def find_part_classes(inputs: Inputs, config: ClusteringConfig) -> Path:
    """Write `out/part_classes`: the centroids of each object class's proposals, and how many there were."""
    folder = inputs.out / PART_CLASSES
    origin: dict[str, Json] = {
        "settings": config.part(ClusteringConfig).fingerprint(),
        "features": stage_hash(inputs.out / candidates.FEATURES),
    }
    if part_classes.are_found(folder, origin, also_delete=PARTS):
        return folder
    centroids: dict[str, np.ndarray] = {}
    classes: dict[str, dict[str, Json]] = {}
    with sorted_by_class(folder / _SCRATCH) as features:
        _collect_salient(inputs.out / candidates.FEATURES, config, features)
        for category in features.categories():
            centroids[category], classes[category] = _part_classes(category, features.read(category), config)
    if not centroids:
        raise StoreError(
            "expected proposals that pass the filters, found none: train the proposal model for longer, or "
            f"lower ranking.min_score ({config.min_score}) or ranking.min_ratio ({config.min_ratio})"
        )
    part_classes.write(folder, centroids, origin, classes)
    return folder


def _collect_salient(folder: Path, config: ClusteringConfig, features: ClassFeatures) -> None:
    """The features of the proposals that pass the first filters."""
    for row in read_rows(folder, ProposalRow):
        for proposed in row.objects:
            for proposal in salient(proposed.proposals, config):
                features.add(proposed.category, proposal.feature[None])


def _part_classes(
    category: str, features: Float[np.ndarray, "n dim"], config: ClusteringConfig
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
    category: str, features: Float[np.ndarray, "n dim"], count: int, config: ClusteringConfig
) -> Float[np.ndarray, "part dim"]:
    """The centroids of an object class; says where they are fewer than `count`."""
    centroids = cluster_features(features, k=count, restarts=config.restarts, seed=config.seed)
    if len(centroids) < count:
        say(
            f"ranking: {category}: {len(centroids)} part classes instead of {count}, as it has "
            f"{len(features)} proposals with {len(centroids)} different features",
            stderr=True,
        )
    return centroids


def salient(proposals: Sequence[Proposal], config: ClusteringConfig) -> list[Proposal]:
    """The proposals of an object that are clustered: those over tau_r, then those over tau_s."""
    kept = list(proposals)
    for attribute, threshold in (("ratio", config.min_ratio), ("score", config.min_score)):
        passed = [proposal for proposal in kept if getattr(proposal, attribute) > threshold]
        if passed or not config.keep_all_if_none:
            kept = passed
    return kept


# ---------------------------------------------------------------------- parts


def label(inputs: Inputs, config: LabellingConfig) -> Path:
    """Write `out/parts`: every proposal with the part class that is nearest to it (eq. 4 and 5)."""
    features_dir, classes_dir = inputs.out / candidates.FEATURES, inputs.out / PART_CLASSES
    return map_rows(
        inputs.out / PARTS,
        source=features_dir,
        read=ProposalRow,
        row=PartRow,
        make=partial(_make_labeller, classes_dir, config),
        settings=config.part(LabellingConfig).fingerprint(),
        upstream=[classes_dir],
        workers=inputs.workers,
        engine=inputs.driver,
        label="ranking: parts",
    )


def _make_labeller(classes_dir: Path, config: LabellingConfig) -> Callable[[ProposalRow], PartRow]:
    return partial(part_row, centroids=part_classes.read(classes_dir), config=config)


def part_row(row: ProposalRow, centroids: Centroids, config: LabellingConfig) -> PartRow:
    """The parts of one image's objects."""
    return row.to(PartRow, (_ranked(proposed, centroids, config) for proposed in row.objects))


def _ranked(proposed: ObjectProposals, centroids: Centroids, config: LabellingConfig) -> ObjectParts:
    category, proposals = proposed.category, proposed.proposals
    if not proposals or category not in centroids:
        return ObjectParts(proposed.object_id, category, ())
    features = np.stack([proposal.feature for proposal in proposals]).astype(np.float32)
    probabilities = part_probabilities(features, centroids[category], distance=config.distance)
    parts = (
        Part(int(best), float(row[best]), proposal.score, proposal.area, proposal.rle)
        for proposal, row, best in zip(proposals, probabilities, probabilities.argmax(axis=1), strict=True)
    )
    return ObjectParts(proposed.object_id, category, tuple(parts))

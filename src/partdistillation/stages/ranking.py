"""Stage 4: proposals become parts, by clustering their features within each object class (section 4.3)."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float16

from partdistillation.config import (
    ClusteringConfig,
    Inputs,
    LabellingConfig,
    Recipe,
)
from partdistillation.errors import StoreError
from partdistillation.functional.clustering import cluster_features, cluster_stream, sampled
from partdistillation.functional.ranking import part_probabilities
from partdistillation.functional.stability import cluster_stability
from partdistillation.models.devices import choose_device
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
from partdistillation.runs.stage_reader import stage_hash
from partdistillation.stages import candidates, objects, part_classes, proposals, segments
from partdistillation.stages.class_clustering import Clusters, Pieces
from partdistillation.stages.part_classes import Centroids

PART_CLASSES = part_classes.FOLDER
PARTS = "parts"
STAGE = Stage(
    "ranking", folders=(candidates.FEATURES, PART_CLASSES, PARTS), sections=("ranking",), has_rows=True
)
AT_ONCE = 200_000
"""Proposals of an object class that are clustered as they are; more of them as a stream."""


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
    find_part_classes(inputs, recipe.ranking)
    return label(inputs, recipe.ranking)


# ---------------------------------------------------------------------- part classes


def find_part_classes(inputs: Inputs, config: ClusteringConfig) -> Path:
    """Write `out/part_classes`: the centroids of each object class's proposals, and how many there were.

    Raises:
        StoreError: no proposal passes the filters.
        SettingsChanged: they are there, but with other settings or from other features.
    """
    folder, features_dir = inputs.out / PART_CLASSES, inputs.out / candidates.FEATURES
    settings = config.part(ClusteringConfig)
    found = part_classes.find(
        folder,
        inputs,
        source=features_dir,
        read=ProposalRow,
        features=partial(_salient_features, config=settings),
        cluster=partial(_part_classes, config=settings),
        origin={"settings": settings.fingerprint(), "features": stage_hash(features_dir)},
        also_delete=PARTS,
        label="ranking",
    )
    if not found:
        raise StoreError(
            "expected proposals that pass the filters, found none: train the proposal model for longer, or "
            f"lower ranking.min_score ({config.min_score}) or ranking.min_ratio ({config.min_ratio})"
        )
    return folder


def _salient_features(
    row: ProposalRow, config: ClusteringConfig
) -> Iterator[tuple[str, Float16[np.ndarray, "n dim"]]]:
    """By object class, the features of the proposals that pass the first filters."""
    for proposed in row.objects:
        if proposals := salient(proposed.proposals, config):
            yield proposed.category, np.stack([proposal.feature for proposal in proposals])


def _part_classes(count: int, pieces: Pieces, config: ClusteringConfig) -> Clusters:
    """The part classes of an object class; of a very large one only a piece is in memory."""
    large, seed = count > AT_ONCE, config.seed
    features = sampled(pieces(), count, seed) if large else np.concatenate([*pieces()])
    features = features.astype(np.float32)
    wanted, about = config.num_parts, dict[str, Json]()
    if config.part_count == "stability":
        stability = cluster_stability(features, most=config.num_parts, seed=seed)
        wanted = stability.chosen
        measured = zip(stability.counts, stability.means, strict=True)
        about = {"stability": {str(tried): round(mean, 4) for tried, mean in measured}}
    if large:
        centroids = cluster_stream(pieces, k=wanted, restarts=config.restarts, seed=seed)
    else:
        centroids = cluster_features(features, k=wanted, restarts=config.restarts, seed=seed)
    remark = ""
    if len(centroids) < wanted:
        remark = (
            f"{len(centroids)} part classes instead of {wanted}, as it has {count} proposals with "
            f"{len(centroids)} different features"
        )
    return Clusters(centroids, {"proposals": count, "part_classes": len(centroids), **about}, remark)


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

"""Stage 4: proposals become parts, by clustering their features within each object class (section 4.3)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from partdistillation.config import (
    ClusteringConfig,
    CollectingConfig,
    Device,
    Inputs,
    LabellingConfig,
    PixelsConfig,
    Recipe,
)
from partdistillation.data.images import load_image_of
from partdistillation.data.transforms import resize_longest
from partdistillation.errors import StoreError
from partdistillation.functional.clustering import cluster_features
from partdistillation.functional.masks import decode, encode
from partdistillation.functional.pooling import pooled
from partdistillation.functional.ranking import Proposals, part_probabilities
from partdistillation.functional.stability import cluster_stability
from partdistillation.models.devices import choose_device
from partdistillation.models.encoder import padded_size
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import View, propose_parts, run_network
from partdistillation.runs.engine import map_rows
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
from partdistillation.runs.stage_log import Stage
from partdistillation.runs.store import read_rows, stage_hash
from partdistillation.runs.terminal import say
from partdistillation.stages import objects, part_classes, proposals
from partdistillation.stages.class_features import ClassFeatures, sorted_by_class
from partdistillation.stages.part_classes import Centroids
from partdistillation.stages.pixel_features import (
    PixelFeatures,
    encoder_files,
    encoder_settings,
    make_features,
)

FEATURES = "features"
PART_CLASSES = part_classes.FOLDER
PARTS = "parts"
STAGE = Stage("ranking", folders=(FEATURES, PART_CLASSES, PARTS), sections=("ranking",))
_SCRATCH = ".features"

Image = UInt8[np.ndarray, "height width 3"]
Pool = Callable[[Bool[Tensor, "mask height width"]], Float[Tensor, "mask channel"]]
"""From masks of one image to the encoders' features inside them."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/features`, `out/part_classes` and `out/parts`."""
    choose_device(inputs.device)
    objects.require_unchanged(inputs)
    collect(inputs, recipe, model_dir=inputs.out / proposals.FOLDER, objects_dir=inputs.out / objects.FOLDER)
    find_part_classes(inputs, recipe.ranking)
    return label(inputs, recipe.ranking)


# ---------------------------------------------------------------------- the proposals and their features


def collect(inputs: Inputs, recipe: Recipe, *, model_dir: Path, objects_dir: Path) -> Path:
    """Write `out/features`: for every object its salient proposals (eq. 1 to 3) with their features.

    These are the queries' (the paper), or the segments' encoders' inside each proposal, or both.
    `model_dir` is the proposal model; for the evaluation on another data set it may be a part model.
    """
    return map_rows(
        inputs.out / FEATURES,
        source=objects_dir,
        read=ObjectRow,
        row=ProposalRow,
        make=partial(make_proposer, inputs.need("images"), model_dir, recipe, inputs.device),
        settings=collecting_settings(recipe),
        upstream=[model_dir, *collecting_files(recipe)],
        workers=inputs.workers,
        label="ranking: features",
    )


def _pooled_pixels(recipe: Recipe) -> PixelsConfig | None:
    """What is averaged inside proposals; None where only the queries' features count.

    The encoders see the image as for the segments; every level counts as much as another, whatever
    `segments.level_norm` says.
    """
    if recipe.ranking.features == "query":
        return None
    return replace(
        recipe.segments.part(PixelsConfig),
        features="encoder",
        levels=recipe.ranking.levels,
        level_norm="unit",
    )


def collecting_settings(recipe: Recipe) -> dict[str, Json]:
    """What decides the proposals and their features."""
    pixels = _pooled_pixels(recipe)
    settings = recipe.ranking.part(CollectingConfig).fingerprint()
    if pixels is None:
        return settings
    return settings | {"pixels": pixels.fingerprint() | encoder_settings(recipe.encoder, pixels)}


def collecting_files(recipe: Recipe) -> list[Path]:
    """The encoders' folders that features are averaged of."""
    pixels = _pooled_pixels(recipe)
    return [] if pixels is None else encoder_files(recipe.encoder, pixels)


def make_proposer(
    images_dir: Path, model_dir: Path, recipe: Recipe, device: Device
) -> Callable[[ObjectRow], ProposalRow]:
    """The function that finds the proposals of one image, with its networks loaded."""
    place, pixels = choose_device(device), _pooled_pixels(recipe)
    return partial(
        proposal_row,
        images_dir=images_dir,
        model=PartMask2Former.from_pretrained(model_dir).to(place),
        config=recipe.ranking,
        pool=None if pixels is None else _make_pool(recipe.encoder, pixels, place),
    )


def proposal_row(
    row: ObjectRow,
    images_dir: Path,
    model: PartMask2Former,
    config: CollectingConfig,
    pool: Callable[[Image], Pool] | None,
) -> ProposalRow:
    """The proposals of one image's objects; the networks run once an image.

    Raises:
        InputError: the image can't be read, or has another size than when its objects were found.
    """
    image = load_image_of(images_dir / row.file_name, row.height, row.width)
    view = run_network(model, image, config.image_size)
    within = None if pool is None else pool(image)
    return row.to(
        ProposalRow, (_proposals(instance, row, view, config, model, within) for instance in row.objects)
    )


def _make_pool(encoder: str, config: PixelsConfig, device: torch.device) -> Callable[[Image], Pool]:
    return partial(_pool, make_features(encoder, config, device), config.image_size)


def _pool(features: PixelFeatures, image_size: int, image: Image) -> Pool:
    """The function from an image's masks to the encoders' features inside them."""
    small = resize_longest(image, image_size)
    content = small.shape[0], small.shape[1]
    field = padded_size(*content, features.stride)
    return partial(pooled, features(small), content=content, field=field)


def _proposals(
    instance: Object,
    row: ObjectRow,
    view: View,
    config: CollectingConfig,
    model: PartMask2Former,
    pool: Pool | None,
) -> ObjectProposals:
    kept = propose_parts(
        model,
        view,
        decode(instance.rle, row.height, row.width),
        object_class=_object_class(model, instance.category),
        per_pixel=config.per_pixel,
        min_ratio=config.label_min_ratio,
        min_score=config.label_min_score,
        keep_all_if_none=config.keep_all_if_none,
    )
    features = _features(kept, config, pool)
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
    return ObjectProposals(instance.object_id, instance.category, proposals)


def _features(kept: Proposals, config: CollectingConfig, pool: Pool | None) -> Float[Tensor, "proposal dim"]:
    """What proposals are clustered by: their queries' features, the encoders' inside them, or both."""
    queries = normalize(kept.features, dim=1) if config.normalize else kept.features
    if pool is None or len(kept.masks) == 0:
        return queries
    averaged = normalize(pool(kept.masks), dim=1)
    return averaged if config.features == "encoder" else torch.cat([queries, averaged], dim=1)


def _object_class(model: PartMask2Former, category: str) -> int | None:
    """The class's row in a part model; None in another model, or where it doesn't know the class."""
    names = model.info.class_names
    return names.index(category) if model.info.head == "parts" and category in names else None


# ---------------------------------------------------------------------- part classes


def find_part_classes(inputs: Inputs, config: ClusteringConfig) -> Path:
    """Write `out/part_classes`: the centroids of each object class's proposals, and how many there were."""
    folder = inputs.out / PART_CLASSES
    origin: dict[str, Json] = {
        "settings": config.part(ClusteringConfig).fingerprint(),
        "features": stage_hash(inputs.out / FEATURES),
    }
    if part_classes.are_found(folder, origin, also_delete=PARTS):
        return folder
    centroids: dict[str, np.ndarray] = {}
    classes: dict[str, dict[str, Json]] = {}
    with sorted_by_class(folder / _SCRATCH) as features:
        _collect_salient(inputs.out / FEATURES, config, features)
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
    features_dir, classes_dir = inputs.out / FEATURES, inputs.out / PART_CLASSES
    return map_rows(
        inputs.out / PARTS,
        source=features_dir,
        read=ProposalRow,
        row=PartRow,
        make=partial(_make_labeller, classes_dir, config),
        settings=config.part(LabellingConfig).fingerprint(),
        upstream=[classes_dir],
        workers=inputs.workers,
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

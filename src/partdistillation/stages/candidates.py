"""Stage 4's first step: what may become a part, with its features (paper, section 4.3, equations 1 to 3).

The proposal model's masks with their queries' features, as in the paper; or with the encoder's features
inside the masks; or the segments themselves, where a proposal model is trained too little to better them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from partdistillation.config import (
    CollectingConfig,
    Device,
    Inputs,
    PixelsConfig,
    Recipe,
)
from partdistillation.data.canvas import padded_size
from partdistillation.data.images import load_image_of
from partdistillation.data.transforms import resize_longest
from partdistillation.functional.masks import decode, encode
from partdistillation.functional.pooling import pooled
from partdistillation.functional.ranking import Proposals
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import View, propose_parts, run_network
from partdistillation.runs import run_folder
from partdistillation.runs.engine import map_rows, run_shards
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import (
    Object,
    ObjectProposals,
    ObjectRow,
    ObjectSegments,
    Proposal,
    ProposalRow,
    SegmentRow,
)
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import StageReader
from partdistillation.stages.pixel_features import (
    PixelFeatures,
    encoder_files,
    encoder_settings,
    make_features,
)

FEATURES = run_folder.FEATURES
Image = UInt8[np.ndarray, "height width 3"]
Pool = Callable[[Bool[Tensor, "mask height width"]], Float[Tensor, "mask channel"]]
"""From masks of one image to the encoders' features inside them."""


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
        images=inputs.need("images"),
        settings=collecting_settings(recipe),
        upstream=[model_dir, *collecting_files(recipe)],
        workers=inputs.workers,
        engine=inputs.driver,
        label="ranking: features",
    )


def collect_segments(inputs: Inputs, recipe: Recipe, *, objects_dir: Path, segments_dir: Path) -> Path:
    """Write `out/features` with the segments of every object in place of proposals, each sure of itself."""
    return run_shards(
        inputs.out / FEATURES,
        row=ProposalRow,
        shards=StageReader(objects_dir, ObjectRow).shards,
        settings=collecting_settings(recipe),
        upstream=[objects_dir, segments_dir, *collecting_files(recipe)],
        make_work=partial(_make_segment_work, inputs, recipe, objects_dir, segments_dir),
        workers=inputs.workers,
        engine=inputs.driver,
        label="ranking: features",
    )


def _make_segment_work(
    inputs: Inputs, recipe: Recipe, objects_dir: Path, segments_dir: Path
) -> Callable[[Shard[ImageRef]], list[ProposalRow]]:
    propose = make_segment_proposer(inputs.need("images"), recipe, inputs.device)
    wholes, pieces = StageReader(objects_dir, ObjectRow), StageReader(segments_dir, SegmentRow)
    return lambda shard: [
        propose(*pair) for pair in zip(wholes.read(shard.name), pieces.read(shard.name), strict=True)
    ]


def make_segment_proposer(
    images_dir: Path, recipe: Recipe, device: Device
) -> Callable[[ObjectRow, SegmentRow], ProposalRow]:
    """The function from one image's segments to proposals, with its encoders loaded."""
    pixels = _pooled_pixels(recipe)
    assert pixels is not None
    pool = _make_pool(recipe.encoder, pixels, choose_device(device))

    def propose(row: ObjectRow, segmented: SegmentRow) -> ProposalRow:
        if row.status == "rejected":
            return row.to(ProposalRow, ())
        within = pool(load_image_of(images_dir / row.file_name, row.height, row.width))
        pairs = zip(row.objects, segmented.objects, strict=True)
        return row.to(ProposalRow, (_as_proposals(*pair, row, within, recipe.ranking) for pair in pairs))

    return propose


def _as_proposals(
    instance: Object, segmented: ObjectSegments, row: ObjectRow, within: Pool, config: CollectingConfig
) -> ObjectProposals:
    kept = [
        (number, segment)
        for number, segment in enumerate(segmented.segments)
        if segment.area > config.label_min_ratio * instance.area
    ]
    if not kept:
        return ObjectProposals(instance.object_id, instance.category, ())
    masks = np.stack([decode(segment.rle, row.height, row.width) for _, segment in kept])
    features = normalize(within(torch.from_numpy(masks)), dim=1).numpy().astype(np.float16)
    proposals = (
        Proposal(number, 1.0, segment.area / instance.area, segment.area, segment.rle, feature)
        for (number, segment), feature in zip(kept, features, strict=True)
    )
    return ObjectProposals(instance.object_id, instance.category, tuple(proposals))


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

"""Every way to parts, measured on the same validation images inside the same object masks.

What a stage adds shows only against the one before, and against controls that learned nothing: the trained
encoder's segments against those of random weights and of colour and position, the proposals against the
segments, the part model against one-stage clustering, a supervised model and no parts at all.

Everything is labelled as a stage is, into the validation's own folder, so that it can be resumed and seen.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from partdistillation.config import Inputs, RankingConfig, Recipe, SegmentsConfig
from partdistillation.data.coco import CocoDataset, read_parts
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.class_map import ClassMap, Labelled, labelled_under
from partdistillation.evaluation.run import Predictions
from partdistillation.evaluation.scores import Evaluation
from partdistillation.functional.metrics import Protocol
from partdistillation.inference import PartSegmenter, part_row
from partdistillation.models.devices import choose_device
from partdistillation.models.pretrained import read_info
from partdistillation.runs.engine import map_rows, mapped, run_shards
from partdistillation.runs.manifest import Json
from partdistillation.runs.part_table import PartTable
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, SegmentRow
from partdistillation.runs.remote import bring_inputs
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import StageReader, read_rows
from partdistillation.stages import candidates, objects, ranking, segments
from partdistillation.stages.pixel_features import encoder_files, make_features

Kind = Literal["result", "control", "baseline"]


class Measured(NamedTuple):
    """A way to parts and what it is worth under both protocols."""

    name: str
    kind: Kind
    strict: Evaluation
    paper: Evaluation

    @property
    def evaluations(self) -> tuple[Evaluation, Evaluation]:
        """Under both of them."""
        return self.strict, self.paper

    def under(self, protocol: Protocol) -> Evaluation:
        """What it is worth under one of them."""
        return self.strict if protocol == "strict" else self.paper


@dataclass(frozen=True)
class Validation:
    """Images with given objects and true parts, from which nothing is learned."""

    inputs: Inputs
    """`out` is the validation's own folder; `images`, `objects` and `parts` are all given."""
    recipe: Recipe
    class_map: ClassMap = field(default_factory=dict)
    """By which of a model's classes some of these objects' are read; the others keep their name."""
    part_table: PartTable | None = None
    """What becomes of a part model's own part classes; without it the table in the model's folder, if any."""

    def prepare(self) -> None:
        """Write `out/objects`, which everything else here reads.

        Objects that a file has are read as annotations, wherever those come from that were learned from.
        """
        recipe = self.recipe
        bring_inputs(self.inputs)
        if self.inputs.need("objects").is_file():
            recipe = replace(recipe, objects=replace(recipe.objects, source="annotations"))
        objects.run(replace(self.inputs, workers=1), recipe)

    @property
    def objects_dir(self) -> Path:
        return self.inputs.out / objects.FOLDER

    def score(
        self,
        name: str,
        kind: Kind,
        predictions: Iterable[Predictions],
        left_out: Collection[str] = (),
        *,
        named: bool = True,
    ) -> Measured:
        """Score predictions under both protocols, without the true parts of some object classes.

        Proposals and segments, which have no part ids, are not `named`.
        """
        truth = self._truth.without(left_out)
        return Measured(name, kind, *evaluation.score(predictions, truth, named=named))

    @cached_property
    def _truth(self) -> CocoDataset:
        return read_parts(self.inputs.need("parts"), self.inputs.parts_class)

    def true_classes(self) -> tuple[str, ...]:
        """The object classes that have true parts, in alphabetical order."""
        truth = self._truth
        used = {category.supercategory for category in truth.categories if category.id in truth.used}
        return tuple(sorted(used))


# ---------------------------------------------------------------------- segments


def segment_controls(config: SegmentsConfig) -> dict[str, tuple[Kind, SegmentsConfig]]:
    """The method's segments, each of its levels alone, and as controls features without learning.

    Colour and position are assigned by Euclidean distance: dot products of values in 0..1 favour the bright.
    """
    both = " + ".join(map(str, config.levels))
    alone: dict[str, tuple[Kind, SegmentsConfig]] = {
        f"segments: encoder, {level}": ("result", replace(config, levels=(level,))) for level in config.levels
    }
    coarse: dict[str, tuple[Kind, SegmentsConfig]] = {}
    if fewer := config.coarse_k:
        coarse[f"segments: encoder, {both}, k = {fewer}"] = ("result", replace(config, k=fewer, coarse_k=0))
    return {
        f"segments: encoder, {both}": ("result", config),
        **coarse,
        **alone,
        f"segments: random encoder, {both}": ("control", replace(config, features="random")),
        "segments: RGB + xy": ("control", replace(config, features="rgb_xy", metric="l2")),
    }


def measure_segments(
    validation: Validation, ways: Mapping[str, tuple[Kind, SegmentsConfig]] | None = None
) -> list[Measured]:
    """Group the objects' pixels in several ways; without `ways` those of `segment_controls`."""
    ways = segment_controls(validation.recipe.segments) if ways is None else ways
    _label_segments(validation, {name: config for name, (_, config) in ways.items()})
    measured = []
    for number, (name, (kind, _)) in enumerate(ways.items()):
        whole = read_rows(validation.objects_dir, ObjectRow)
        rows = zip(segment_rows(validation, number), whole, strict=True)
        predictions = (evaluation.segments(row, objects_row) for row, objects_row in rows)
        measured.append(validation.score(name, kind, predictions, named=False))
    return measured


def segment_rows(validation: Validation, number: int = 0) -> Iterator[SegmentRow]:
    """The segments of the control at a place of `segment_controls`; 0 is the method itself."""
    for row in read_rows(validation.inputs.out / segments.FOLDER, SegmentRow):
        control, image_id = row.image_id.split(":", 1)
        if int(control) == number:
            yield replace(row, image_id=image_id)


def _label_segments(validation: Validation, configs: Mapping[str, SegmentsConfig]) -> Path:
    """Write `out/segments`, a row an image and control.

    One stage for all, as processes take seconds to start; image by image, as the controls share an image's
    CRF kernels, which take most of the time.
    """
    inputs, encoder, numbers = validation.inputs, validation.recipe.encoder, range(len(configs))
    files = {file for config in configs.values() for file in encoder_files(encoder, config)}
    return run_shards(
        inputs.out / segments.FOLDER,
        row=SegmentRow,
        shards=[
            Shard(shard.name, tuple(ImageRef(_id(*pair)) for pair in product(shard.inputs, numbers)))
            for shard in StageReader(validation.objects_dir, ObjectRow).shards
        ],
        settings={name: config.fingerprint() for name, config in configs.items()} | {"encoder": encoder},
        upstream=[validation.objects_dir, *sorted(files)],
        make_work=partial(_make_segmenter, validation, tuple(configs.values())),
        workers=inputs.workers,
        label="validation: segments",
    )


def _id(image: ImageRef | ObjectRow, control: int) -> str:
    return f"{control}:{image.image_id}"


def _make_segmenter(
    validation: Validation, configs: Sequence[SegmentsConfig]
) -> Callable[[Shard[ImageRef]], list[SegmentRow]]:
    inputs, encoder = validation.inputs, validation.recipe.encoder
    reader, images_dir = StageReader(validation.objects_dir, ObjectRow), inputs.need("images")
    device = choose_device(inputs.device)
    ways = [
        partial(
            segments.segment_row,
            images_dir=images_dir,
            features=make_features(encoder, config, device),
            config=config,
        )
        for config in configs
    ]

    def label(row: ObjectRow) -> Iterator[SegmentRow]:
        for number, segment in enumerate(ways):
            yield replace(mapped(SegmentRow, segment, row), image_id=_id(row, number))

    return lambda shard: [labelled for row in reader.read(shard.name) for labelled in label(row)]


# ---------------------------------------------------------------------- proposals and parts


def measure_proposals(validation: Validation, model: Path, folder: str = "proposals") -> list[Measured]:
    """A model's proposals: as they are (cut to the object), and as stage 4 takes them on."""
    config = validation.recipe.ranking
    raw = replace(
        config,
        per_pixel=False,
        label_min_ratio=0.0,
        label_min_score=0.0,
        keep_all_if_none=False,
        features="query",
        candidates="proposals",
    )
    kinds: dict[str, tuple[str, RankingConfig]] = {
        f"{folder}_raw": ("proposals: overlapping", raw),
        folder: ("proposals: unique per pixel", config),
    }
    measured = []
    for place, (name, settings) in kinds.items():
        rows = read_rows(_propose(validation, place, model, settings), ProposalRow)
        measured.append(validation.score(name, "result", map(evaluation.proposals, rows), named=False))
    return measured


def measure_model(validation: Validation, model: Path) -> list[Measured]:
    """A model of any stage on images of any data set, in all the ways that the paper scores one.

    Overlapping proposals give AR@k; part ids are the model's own ("mapped"; only of a part model), and those
    of a clustering on these images ("clustered"). Object classes that a part model doesn't know don't count
    in "mapped"; where it knows none, there is no such row.
    """
    measured = measure_proposals(validation, model)
    if read_info(model).head == "parts":
        unknown = unknown_classes(validation, model)
        if unknown != validation.true_classes():
            measured.append(
                measure_parts(validation, model, "mapped", "parts: mapped", "result", left_out=unknown)
            )
    return [*measured, measure_clustered(validation, model, "clustered", "parts: clustered", "result")]


def unknown_classes(validation: Validation, model: Path) -> tuple[str, ...]:
    """The object classes with true parts that a part model doesn't know; none, if it isn't a part model."""
    info, names = read_info(model), validation.class_map
    if info.head != "parts":
        return ()
    return tuple(name for name in validation.true_classes() if names.get(name, name) not in info.class_names)


def measure_clustered(validation: Validation, model: Path, folder: str, name: str, kind: Kind) -> Measured:
    """A model's proposals, whichever model's, as the part classes of a clustering on these very images.

    The paper's "mIoU-clustered" (supplement, section 4): stage 4 on the images that are scored, so that the
    model's own part classes, and whether it knows the object classes, don't count. Where no proposal passes
    the filters there are no part classes, and the mIoU is 0.
    """
    inputs = replace(validation.inputs, out=validation.inputs.out / folder)
    config = validation.recipe.ranking
    # as `candidates.collect`, under the names that the model has for the classes
    features = _propose(validation, f"{folder}/{candidates.FEATURES}", model, config, inputs.workers)
    proposed = (instance for row in read_rows(features, ProposalRow) for instance in row.objects)
    if not any(ranking.salient(instance.proposals, config) for instance in proposed):
        return validation.score(name, kind, map(evaluation.proposals, read_rows(features, ProposalRow)))
    ranking.find_part_classes(inputs, config)
    rows = read_rows(ranking.label(inputs, config), PartRow)
    return validation.score(name, kind, map(evaluation.labelled_parts, rows))


def _propose(
    validation: Validation, folder: str, model: Path, config: RankingConfig, workers: int = 1
) -> Path:
    inputs, recipe = validation.inputs, replace(validation.recipe, ranking=config)
    make = partial(candidates.make_proposer, inputs.need("images"), model, recipe, inputs.device)
    settings, files = candidates.collecting_settings(recipe), candidates.collecting_files(recipe)
    return _label(validation, folder, ProposalRow, model, settings, make, workers, files)


def measure_parts(
    validation: Validation, model: Path, folder: str, name: str, kind: Kind, *, left_out: Collection[str] = ()
) -> Measured:
    """A part model's parts, as users get them; scored without the true parts of the classes left out."""
    table = validation.part_table
    settings: dict[str, Json] = {} if table is None else {"part_table": table.edits}
    stage = _label(validation, folder, PartRow, model, settings, partial(_segmenter, model, validation))
    rows = read_rows(stage, PartRow)
    return validation.score(name, kind, map(evaluation.labelled_parts, rows), left_out)


def _segmenter(model: Path, validation: Validation) -> Callable[[ObjectRow], PartRow]:
    inputs = validation.inputs
    segmenter = PartSegmenter.from_pretrained(model, device=inputs.device, part_table=validation.part_table)
    return partial(part_row, segmenter, images_dir=inputs.need("images"))


def measure_whole_objects(validation: Validation) -> Measured:
    """The control that finds no parts."""
    rows = read_rows(validation.objects_dir, ObjectRow)
    return validation.score("whole object as one part", "control", map(evaluation.whole_objects, rows))


def _label(
    validation: Validation,
    folder: str,
    row: type[Labelled],
    model: Path,
    settings: Mapping[str, Json],
    make: Callable[[], Callable[[ObjectRow], Labelled]],
    workers: int = 1,
    files: Sequence[Path] = (),
) -> Path:
    """Label the validation's objects with a model; in this process that is quicker than to start others."""
    names: Json = dict(validation.class_map)
    return map_rows(
        validation.inputs.out / folder,
        source=validation.objects_dir,
        read=ObjectRow,
        row=row,
        make=partial(_make_labeller, validation.class_map, make),
        images=validation.inputs.need("images"),
        settings={**settings, **({"class_map": names} if names else {})},
        upstream=[model, *files],
        workers=workers,
        label=f"validation: {folder.replace('_', ' ')}",
    )


def _make_labeller(
    names: ClassMap, make: Callable[[], Callable[[ObjectRow], Labelled]]
) -> Callable[[ObjectRow], Labelled]:
    return partial(labelled_under, names, make())

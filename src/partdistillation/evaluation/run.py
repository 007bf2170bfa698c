"""Evaluation of files: a stage's rows, or COCO, against ground-truth parts in the COCO layout."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from pyarrow import parquet

from partdistillation.config import CONFIG_FILE
from partdistillation.data.coco import CocoDataset, CocoImage, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError
from partdistillation.evaluation.parts import ImageParts, PredictedPart, TruePart
from partdistillation.evaluation.protocol import Evaluator
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.scores import Evaluation
from partdistillation.functional.masks import EncodedMask, encoded_from_coco
from partdistillation.functional.metrics import Protocol
from partdistillation.runs import terminal
from partdistillation.runs.manifest import load
from partdistillation.runs.mirror import fetch
from partdistillation.runs.part_table import PartTable
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, Row, SegmentRow
from partdistillation.runs.run_folder import find_stage
from partdistillation.runs.stage_reader import contents_hash, read_rows

PROTOCOLS: tuple[Protocol, ...] = ("strict", "paper")
STAGES = ("predictions", "parts")
"""Folders that hold parts: in one that `predict` wrote, and in a run's."""
_NAMED = 5
_HEADER = ("image_id", "file_name", "width", "height")

_log = terminal.logger(__name__)


class Predictions(NamedTuple):
    """What was predicted in one image."""

    image_id: str
    file_name: str
    parts: tuple[PredictedPart, ...]


def score(
    predictions: Iterable[Predictions],
    truth: CocoDataset,
    protocols: Iterable[Protocol] = PROTOCOLS,
    *,
    named: bool = True,
) -> list[Evaluation]:
    """Score predictions on every image of the ground truth, an image at a time, in one pass.

    An image of the ground truth that the predictions lack counts as one without predictions; predictions in
    other images are left out. Proposals and segments, which have no part ids, are not `named`.

    Raises:
        InputError: the ground truth is unusable, has no parts or is of other images altogether, or sizes
            differ.
    """
    if not any(annotations or unusable for _, annotations, unusable in truth.annotated()):
        raise InputError(
            f"{truth.path}: expected parts to compare with, found none in {len(truth.images)} images: the "
            "split is empty"
        )
    evaluators = [Evaluator(protocol, named=named) for protocol in protocols]
    first, classes, met = "", set[str](), set[str]()
    for predicted in predictions:
        first = first or predicted.file_name
        classes |= {part.category for part in predicted.parts}
        image = truth.find(ImageInput(predicted.image_id, predicted.file_name, Path(predicted.file_name)))
        if image is not None and str(image.id) not in met:
            met.add(str(image.id))
            _add(evaluators, truth, image, predicted.parts)
    if not met:
        raise InputError(
            f"expected predictions in images of {truth.path}, found none{_disagreement(first, truth)}"
        )
    if named:
        _say_other_classes(classes, truth)
    for image in truth.images:
        if str(image.id) not in met:
            _add(evaluators, truth, image, ())
    return [evaluator.result() for evaluator in evaluators]


def _say_other_classes(classes: Collection[str], truth: CocoDataset) -> None:
    """Say in the log where no part can be right, as the object classes are called otherwise."""
    true = {category.supercategory for category in truth.categories}
    if classes and not true & set(classes):
        _log.warning(
            "the predictions' object classes (%s) aren't those of %s (%s), so that no part has the right "
            "name: names must be the same to the letter",
            ", ".join(sorted(classes)[:_NAMED]),
            truth.path,
            ", ".join(sorted(true)[:_NAMED]),
        )


def _disagreement(predicted: str, truth: CocoDataset) -> str:
    """What is wrong where no image is on both sides, by the file name of a prediction."""
    if not predicted:
        return " at all: no image was predicted in; the log of stage 1 says why images were rejected"
    names = [image.file_name for image in truth.images]
    alike = next((name for name in names if PurePath(name).name == PurePath(predicted).name), None)
    if alike is not None:
        return (
            f": the predictions call an image {predicted!r}, the true parts {alike!r}; names are relative "
            "to the folder of images: predict with another --images, or change the folders in `file_name`"
        )
    return (
        f": neither ids nor file names agree; the predictions have {predicted!r}, the true parts "
        f"{names[0]!r}: are they of the same photographs?"
    )


def _add(
    evaluators: Iterable[Evaluator], truth: CocoDataset, image: CocoImage, parts: tuple[PredictedPart, ...]
) -> None:
    true = tuple(TruePart(part.category, part.name, part.encoded) for part in parts_of(truth, image))
    for evaluator in evaluators:
        evaluator.add(ImageParts(true, parts, str(image.id)))


# ---------------------------------------------------------------------- where predictions come from


def read_predictions(path: Path, part_table: PartTable | None = None) -> Iterator[Predictions]:
    """The parts in a folder that `predict` wrote, in a run's, in one of their stages, or in a COCO file.

    With a part table: without the parts that it rejects, and with those that it joins as one.

    Raises:
        InputError: it is none of these; or it is a COCO file, which has no part ids, and there is a table.
    """
    source = _stage_or_file(path)
    if not source.is_file():
        rows = read_rows(source, PartRow)
        return map(labelled_parts, rows if part_table is None else map(part_table.applied, rows))
    if part_table is not None:
        raise InputError(
            f"{path}: expected a folder with part ids, which a part table is about, found a COCO file; give "
            "the folder that it was written to"
        )
    return coco_predictions(source)


def check_images(predictions: Path, truth: CocoDataset) -> None:
    """Make sure, before masks are read, that images have the truth's sizes; log which only one side has.

    Raises:
        InputError: there are no predictions, or an image has another size in them.
    """
    others: list[str] = []
    met: set[str] = set()
    for image_id, file_name, width, height in _sizes(_stage_or_file(predictions)):
        image = truth.find(ImageInput(image_id, file_name, Path(file_name)))
        if image is None:
            others.append(file_name)
            continue
        met.add(str(image.id))
        if not image.problem and (width, height) != (image.width, image.height):
            raise InputError(
                f"{predictions}: expected {file_name} with {image.width} x {image.height} pixels as in "
                f"{truth.path}, found predictions of {width} x {height}: scale them to that size"
            )
    missed = [image.file_name for image in truth.images if str(image.id) not in met]
    for names, what in (
        (missed, f"images of {truth.path} have no predictions and count as missed"),
        (others, f"images with predictions aren't in {truth.path} and don't count"),
    ):
        if names and met:  # of other images altogether `score` says what is wrong
            _log.warning("%s: %d %s, such as %s", predictions, len(names), what, names[0])


def _sizes(source: Path) -> Iterator[tuple[str, str, int, int]]:
    """Id, file name, width and height of every image that could be used."""
    if source.is_file():
        for image in read_parts(source).images:
            if not image.problem:
                yield str(image.id), image.file_name, image.width, image.height
        return
    for shard in load(source).shards:
        header = parquet.read_table(fetch(source / shard.file), columns=[*_HEADER, "status"])
        for row in header.to_pylist():
            if row["status"] != "rejected":
                yield row["image_id"], row["file_name"], row["width"], row["height"]


def provenance(predictions: Path, truth: Path, part_table: Path | None = None) -> Provenance:
    """What `read_predictions` and `read_parts` read of these, by hashes.

    Raises:
        InputError: there are no predictions.
    """
    source = _stage_or_file(predictions)
    config = predictions / CONFIG_FILE
    return Provenance(
        predictions=contents_hash(source),
        truth=contents_hash(truth),
        made_from={
            **({} if source.is_file() else load(source).upstream),
            **({} if part_table is None else {"part table": contents_hash(part_table)}),
        },
        config=hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else "",
    )


def _stage_or_file(path: Path) -> Path:
    if path.is_file():
        return path
    if (folder := find_stage(path, STAGES)) is not None:
        return folder
    raise InputError(
        f"{path}: expected a folder that predict wrote, a run's with its parts, or a COCO .json; found none "
        f"of {', '.join(STAGES)} in it"
    )


def coco_predictions(path: Path) -> Iterator[Predictions]:
    """The parts of a COCO file such as `predict` writes: a category is a part class of its supercategory."""
    dataset = read_parts(path)
    part = {category.id: number for number, category in enumerate(dataset.categories)}
    for image in dataset.images:
        annotations = [annotation for annotation in dataset.of(image.id) if not annotation.crowd]
        objects = {str(annotation.object_id): number for number, annotation in enumerate(annotations)}
        parts = tuple(
            PredictedPart(
                annotation.category.supercategory,
                encoded_from_coco(annotation.segmentation, image.height, image.width),
                1.0 if annotation.score is None else annotation.score,
                part[annotation.category.id],
                objects[str(annotation.object_id)],
            )
            for annotation in annotations
        )
        yield Predictions(str(image.id), image.file_name, parts)


def labelled_parts(row: PartRow) -> Predictions:
    """Parts with part classes: stage 4's, a part model's, or a baseline's."""
    parts = ((instance, part, part.score, part.part) for instance in row.objects for part in instance.parts)
    return _predictions(row, parts)


def proposals(row: ProposalRow) -> Predictions:
    """Proposals, which have scores but no part classes yet."""
    pairs = ((instance, proposal) for instance in row.objects for proposal in instance.proposals)
    return _predictions(row, ((instance, proposal, proposal.score, None) for instance, proposal in pairs))


def segments(row: SegmentRow, objects: ObjectRow) -> Predictions:
    """Segments; they have no scores, so the largest come first."""
    grouped = zip(objects.objects, row.objects, strict=True)
    pairs = ((instance, segment) for instance, labelled in grouped for segment in labelled.segments)
    return _predictions(row, ((instance, segment, float(segment.area), None) for instance, segment in pairs))


def whole_objects(row: ObjectRow) -> Predictions:
    """The control that knows no parts: every object is one part."""
    return _predictions(row, ((instance, instance, instance.score, 0) for instance in row.objects))


def _predictions(row: Row, parts: Iterable[tuple[Any, Any, float, int | None]]) -> Predictions:
    """Of the object, the record with the part's mask, its score, and its part id if any."""
    predicted = tuple(
        PredictedPart(
            instance.category, EncodedMask(part.rle, row.height, row.width), score, number, instance.object_id
        )
        for instance, part, score, number in parts
    )
    return Predictions(row.image_id, row.file_name, predicted)

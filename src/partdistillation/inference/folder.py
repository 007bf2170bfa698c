"""From a folder of photographs to their parts: rows, COCO and pictures. Resumable as every stage."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from partdistillation.config import Device, Driver, Inputs, ObjectsConfig, RayCluster
from partdistillation.data.coco import CocoDataset
from partdistillation.data.image_folder import scan
from partdistillation.data.images import ImageInput, load_image_of
from partdistillation.data.paths import advice, is_file, is_folder
from partdistillation.errors import InputError
from partdistillation.export import coco
from partdistillation.export.labels import Catalog
from partdistillation.export.picture_names import picture_names
from partdistillation.functional.masks import decode
from partdistillation.inference.base import (
    MAX_OBJECTS,
    MAX_OVERLAP,
    MIN_OBJECT_SCORE,
    MIN_RATIO,
    MIN_SCORE,
)
from partdistillation.inference.exports import PREDICTIONS, labels_of, write_classes
from partdistillation.inference.result import FoundObject, FoundPart, Result
from partdistillation.inference.rows import part_row
from partdistillation.inference.segmenter import PartSegmenter, objects_model_in
from partdistillation.models.devices import choose_device
from partdistillation.models.sources import folder_of, pinned, resolve
from partdistillation.objects.annotations import AnnotatedObjects
from partdistillation.objects.labelling import plain_list
from partdistillation.objects.masks import MaskedObjects, namesakes
from partdistillation.objects.segmented import SegmentedObjects
from partdistillation.runs.atomic import make_folder
from partdistillation.runs.claims import by_one
from partdistillation.runs.engine import map_rows
from partdistillation.runs.manifest import Json
from partdistillation.runs.mirror import is_mirrored
from partdistillation.runs.ray_cluster import connected
from partdistillation.runs.records import ObjectRow, PartRow
from partdistillation.runs.remote import bring
from partdistillation.runs.run_folder import OBJECTS
from partdistillation.runs.shards import make_shards, shard_size
from partdistillation.runs.stage_reader import read_rows
from partdistillation.runs.tar_index import SUFFIX
from partdistillation.settings import at_home
from partdistillation.stages.objects import Plan, taken_apart, write

_LAST = "predictions.json"
"""What is written last."""
PICTURES = "pictures"
MAX_PICTURES = 50

_NameOf = Callable[[str, int], str]
"""From object class and part class to what the part is called."""


def predict(
    model: str | Path,
    images: Path,
    objects: Path | None = None,
    *,
    out: Path,
    device: Device = "auto",
    part_table: Path | None = None,
    objects_model: str | Path | None = None,
    min_score: float = MIN_SCORE,
    min_object_score: float = MIN_OBJECT_SCORE,
    max_overlap: float = MAX_OVERLAP,
    workers: int = 1,
    engine: Driver = "processes",
) -> Path:
    """Find the parts in a folder of photographs, or in one. Run again with the same arguments to resume.

    Writes the stages `out/objects` and `out/predictions` (a row an image), the same in the COCO layout as
    `out/objects.json` and `out/predictions.json`, and pictures of the first `MAX_PICTURES` images.

    Args:
        model: the part model: a directory, or a published one's name.
        images: a folder of photographs, or one photograph; or the URL of one of these.
        objects: object masks as COCO instances (.json) or a folder of masks, or a URL; by default the
            instance segmentation model in the part model's folder finds the objects.
        out: the folder to write to.
        device: where networks run.
        part_table: which part classes are joined, left out and how they are called; by default the model's,
            if its folder has one.
        objects_model: the instance segmentation model that finds the objects where `objects` aren't given: a
            directory, or a published one's name; by default the one in the part model's folder.
        min_score: the least score of a part.
        min_object_score: the least score of an object that is found.
        max_overlap: the largest IoU of two objects that it finds, whatever their classes.
        workers: processes that work side by side; what they find doesn't depend on it.
        engine: whose they are: this call's, a Ray cluster's (actors), or ("shared") those of all calls with
            the same `out`.

    Raises:
        InputError, ConfigError, CheckpointError: what is given can't be used.
        SettingsChanged, StoreError: `out` holds something else.
    """
    out = at_home(out)
    images = bring(at_home(images), out)
    objects = None if objects is None else bring(at_home(objects), out)
    part_table = None if part_table is None else at_home(part_table)
    choose_device(device)
    driver = connected(engine, workers)
    shared = driver == "shared" or is_mirrored(out)
    joint = Inputs(out=out, engine="shared" if shared else "processes")
    is_done = partial(_is_new, out / _LAST, _state(out / _LAST))
    images_dir = images if is_folder(images) else images.parent
    dataset = taken_apart(joint, objects) if objects is not None and not is_folder(objects) else None
    inputs = (
        dataset.inputs(images) if dataset is not None and is_folder(images) else _photographs(images, out)
    )
    model = folder_of(model)  # of a published one: what every process loads
    load = partial(
        PartSegmenter.from_pretrained,
        model,
        objects_model=objects_model,
        device=device,
        part_table=part_table,
    )
    segmenter = load()
    if workers <= 1 and not isinstance(driver, RayCluster):  # one is enough for both stages
        load = partial(_same, segmenter)
    if objects is None:
        config = ObjectsConfig(max_objects=MAX_OBJECTS, min_score=min_object_score, max_overlap=max_overlap)
        finder_of_all = objects_model or objects_model_in(model)
        plan = _found_objects(segmenter, load, finder_of_all, inputs, config)
    else:
        plan = _given_objects(dataset, objects, inputs)
    shards = make_shards(plan.images, size=shard_size(len(plan.images)))
    write(out / OBJECTS, plan, shards, images_dir, workers, driver)
    _predictions(segmenter, load, model, images_dir, out, min_score, workers, driver)
    ids = {} if dataset is None else {str(image.id): image.id for image in dataset.images}
    with by_one(joint, "results", done=is_done):
        if not (shared and is_done()):
            write_classes(out, _with_categories(segmenter.catalog, dataset))
            labels = labels_of(out, ids=ids)
            coco.write_objects(out / "objects.json", labels.images, labels.catalog)
            _draw(images_dir, out, segmenter.part_name)
            coco.write_parts(out / _LAST, labels.images, labels.catalog)
    return out


def _is_new(path: Path, before: tuple[int, int] | None) -> bool:
    return _state(path) != before


def _state(path: Path) -> tuple[int, int] | None:
    """What is another when a file has been written anew."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _photographs(images: Path, out: Path) -> list[ImageInput]:
    if is_folder(images) or images.suffix == SUFFIX:  # of an archive it says what to do
        return list(scan(images, out).images)
    if not is_file(images):
        raise InputError(
            f"{images}: expected a folder of photographs, or one photograph, found neither; {advice(images)}"
        )
    return [ImageInput(images.name, images.name, images)]


def _with_categories(catalog: Catalog, dataset: CocoDataset | None) -> Catalog:
    """The model's classes and then those of an annotation file that it doesn't know, which have no parts."""
    categories = () if dataset is None else (category.name for category in dataset.categories)
    return {**catalog, **{name: () for name in categories if name not in catalog}}


def _same(segmenter: PartSegmenter) -> PartSegmenter:
    return segmenter


def _finder(load: Callable[[], PartSegmenter], config: ObjectsConfig) -> SegmentedObjects:
    segmenter = load()
    finder = segmenter.finder_of(config.min_score)
    return SegmentedObjects(finder, plain_list(segmenter.class_names), config)


def _found_objects(
    segmenter: PartSegmenter,
    load: Callable[[], PartSegmenter],
    objects_model: str | Path | None,
    inputs: list[ImageInput],
    config: ObjectsConfig,
) -> Plan:
    _ = segmenter.objects_finder  # now, if it can't be loaded
    # Here the model is to say what a photograph shows, even where its folder does too.
    inputs = [replace(image, category=None) for image in inputs]
    settings: dict[str, Json] = {
        "classes": segmenter.class_names,
        "max_objects": config.max_found,
        "min_score": config.min_score,
        "max_overlap": config.max_overlap,
    }
    source = None if objects_model is None else resolve(str(objects_model))
    if source is not None and not source.files:
        settings["published_objects_model"] = pinned(str(objects_model))
    make = partial(_finder, load, config)
    return Plan(inputs, make, settings, () if source is None else source.files)


def _given_objects(dataset: CocoDataset | None, objects: Path, inputs: list[ImageInput]) -> Plan:
    if dataset is None:
        masks = partial(MaskedObjects, objects, None, 0.0, alike=namesakes(inputs))
        return Plan(inputs, masks, {"masks": objects.name}, masks=objects)
    dataset.log_notes()
    return Plan(inputs, partial(AnnotatedObjects, dataset, None, 0.0), {}, (objects,))


def _labeller(
    load: Callable[[], PartSegmenter], images_dir: Path, min_score: float
) -> Callable[[ObjectRow], PartRow]:
    return partial(part_row, load(), images_dir=images_dir, min_score=min_score)


def _predictions(
    segmenter: PartSegmenter,
    load: Callable[[], PartSegmenter],
    model: Path,
    images_dir: Path,
    out: Path,
    min_score: float,
    workers: int,
    driver: Driver,
) -> None:
    map_rows(
        out / PREDICTIONS,
        source=out / OBJECTS,
        read=ObjectRow,
        row=PartRow,
        make=partial(_labeller, load, images_dir, min_score),
        images=images_dir,
        workers=workers,
        engine=driver,
        settings={
            "min_ratio": MIN_RATIO,
            "min_score": min_score,
            **({"part_table": edits} if (edits := segmenter.part_table.edits) else {}),
        },
        upstream=(model,),
        label="predictions",
    )


def _rows(out: Path) -> Iterator[tuple[ObjectRow, PartRow]]:
    return zip(read_rows(out / OBJECTS, ObjectRow), read_rows(out / PREDICTIONS, PartRow), strict=True)


def _draw(images_dir: Path, out: Path, name_of: _NameOf) -> None:
    usable = (pair for pair in _rows(out) if pair[0].status == "ok")
    drawn = list(islice(usable, MAX_PICTURES))
    names = picture_names([row.file_name for row, _ in drawn])
    for (row, predicted), name in zip(drawn, names, strict=True):
        path = out / PICTURES / name
        make_folder(path.parent)
        _result(images_dir, row, predicted, name_of).plot(path)


def _result(images_dir: Path, row: ObjectRow, predicted: PartRow, name_of: _NameOf) -> Result:
    size = (row.height, row.width)
    objects = tuple(
        FoundObject(
            instance.category,
            instance.score,
            decode(instance.rle, *size),
            tuple(
                FoundPart(part.part, name_of(parts.category, part.part), part.score, decode(part.rle, *size))
                for part in parts.parts
            ),
        )
        for instance, parts in zip(row.objects, predicted.objects, strict=True)
    )
    return Result(load_image_of(images_dir / row.file_name, *size), objects, row.file_name)

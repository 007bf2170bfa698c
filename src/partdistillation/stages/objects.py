"""Stage 1: find the objects whose parts are learned (paper, section 4.1)."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from partdistillation.classes.class_list import ClassList, read_class_list
from partdistillation.config import LITE0, Device, Driver, Inputs, KeptObjectsConfig, ObjectsConfig, Recipe
from partdistillation.data import foreign_formats
from partdistillation.data.coco import CocoDataset, read_instances
from partdistillation.data.coco_store import database_of
from partdistillation.data.image_folder import FolderScan, scan
from partdistillation.data.images import ImageInput, damage_allowed
from partdistillation.data.paths import in_brackets, is_folder
from partdistillation.errors import ConfigError, InputError
from partdistillation.models.sources import DRAWINGS_ONLY
from partdistillation.objects import ObjectSource, log_rejected
from partdistillation.objects.annotations import AnnotatedObjects
from partdistillation.objects.copied import CopiedObjects
from partdistillation.objects.labelling import open_vocabulary, plain_list
from partdistillation.objects.masks import MaskedObjects, mask_files, namesakes, require_masks
from partdistillation.objects.new_classes import NewClasses
from partdistillation.objects.salient import NOTHING_SALIENT
from partdistillation.runs import listings, seen, terminal
from partdistillation.runs.claims import by_one
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import Json, canonical_hash
from partdistillation.runs.mirror import fetch
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.remote import bring_inputs
from partdistillation.runs.run_folder import OBJECTS
from partdistillation.runs.shards import Shard, make_shards, shard_size
from partdistillation.runs.stage_log import Stage
from partdistillation.runs.stage_reader import read_rows
from partdistillation.runs.store import require_same_upstream

FOLDER = OBJECTS
STAGE = Stage("objects", folders=(FOLDER,), sections=("objects",), reads=("objects",), has_rows=True)

_LISTED = 5
_LOOKED_AT, _LARGEST_DRAWING = 50, 256

_log = terminal.logger(__name__)


class Plan(NamedTuple):
    """What a source of objects goes through, and what decides its rows."""

    images: Sequence[ImageInput]
    make: Callable[[], ObjectSource]
    settings: Mapping[str, Json]
    upstream: Sequence[Path] = ()
    masks: Path | None = None
    """Folder of masks that the objects are read from, if there is one."""


def run(inputs: Inputs, recipe: Recipe, *, known: Collection[str] = ()) -> Path:
    """Write `out/objects`: a row an image, with its objects, of a model's the best (and people).

    Objects of the classes that are `known`, because a model has learned them already, are left out.
    """
    plan = plan_of(inputs, recipe)
    images_dir = inputs.need("images")
    if known:
        make = partial(_of_new_classes, plan.make, frozenset(known))
        plan = plan._replace(make=make, settings={**plan.settings, "known": sorted(known)})
    by = _category if all(image.category for image in plan.images) else None
    shards = make_shards(plan.images, size=shard_size(len(plan.images)), by=by)
    return write(inputs.out / FOLDER, plan, shards, images_dir, inputs.workers, inputs.driver)


def plan_of(inputs: Inputs, recipe: Recipe) -> Plan:
    """The images, and what finds, or knows, their objects.

    Raises:
        ConfigError, InputError, CheckpointError: something of it can't be used.
    """
    bring_inputs(inputs)
    plan = _plan(inputs, inputs.need("images", in_brackets), recipe)
    if recipe.objects.allow_damaged:
        plan = plan._replace(make=partial(_tolerant, plan.make))
    return plan


def write(
    folder: Path,
    plan: Plan,
    shards: Sequence[Shard[ImageInput]],
    images_dir: Path,
    workers: int = 0,
    engine: Driver = "processes",
) -> Path:
    """Write the rows of a plan's images, and say in the log how many can't be used."""
    run_shards(
        folder,
        row=ObjectRow,
        shards=shards,
        settings=plan.settings,
        upstream=plan.upstream,
        make_work=partial(_make_work, plan.make, folder, plan.masks),
        workers=workers,
        engine=engine,
        label="objects",
    )
    paths = {image.file_name: image.path for image in plan.images}
    places = {**seen.places(None, plan.masks), "photographs": lambda name: paths.get(name, folder)}
    seen.require_unchanged(folder, places)
    log_rejected(read_rows(folder, ObjectRow), images_dir)
    return folder


def _plan(inputs: Inputs, images_dir: Path, recipe: Recipe) -> Plan:
    match recipe.objects.source:
        case "annotations":
            return _annotations(inputs, images_dir, recipe.objects)
        case "masks":
            return _masks(inputs, images_dir, recipe.objects)
        case "run":
            return _other_run(inputs, images_dir, recipe.objects)
        case _:
            return _model(inputs, images_dir, recipe)


def _annotations(inputs: Inputs, images_dir: Path, config: ObjectsConfig) -> Plan:
    path = inputs.need("objects", in_brackets)
    if is_folder(path):
        raise ConfigError(f"--objects: expected a COCO .json file, found the folder {path}; {_instead(path)}")
    dataset = taken_apart(inputs, path)
    dataset.log_notes()
    make = partial(_annotated, dataset, config)
    return Plan(dataset.inputs(images_dir), make, _kept(config), [path])


def taken_apart(inputs: Inputs, path: Path) -> CocoDataset:
    """The annotations, so that a process reads those of its images alone; one worker takes them apart.

    Raises:
        InputError: the file can't be used as a whole.
        SettingsChanged: there are rows that were made from another one.
    """
    folder = inputs.out / FOLDER
    require_same_upstream(folder, [path])
    database = database_of(path, folder)
    with by_one(inputs, "annotations", done=lambda: fetch(database).exists()):
        return read_instances(path, folder)


def _instead(folder: Path) -> str:
    return foreign_formats.of_folder(folder) or (
        "for a folder of masks add --objects.source masks, for another run's objects --objects.source run"
    )


def _masks(inputs: Inputs, images_dir: Path, config: ObjectsConfig) -> Plan:
    folder = inputs.need("objects", in_brackets)
    if not is_folder(folder):
        raise ConfigError(f"--objects: expected a folder of masks, found the file {folder}")
    classes = None if config.classes is None else read_class_list(config.classes)
    require_masks(folder)
    images = scan(images_dir, inputs.out).images
    return Plan(
        images,
        partial(MaskedObjects, folder, config.max_objects, config.min_area, classes, namesakes(images)),
        _kept(config) if classes is None else {**_kept(config), "classes": _fingerprint(classes)},
        masks=folder,
    )


def _other_run(inputs: Inputs, images_dir: Path, config: ObjectsConfig) -> Plan:
    run_folder = inputs.need("objects", in_brackets)
    if run_folder.is_file():
        raise ConfigError(f"--objects: expected the folder of another run, found the file {run_folder}")
    folder = run_folder / FOLDER if (run_folder / FOLDER).is_dir() else run_folder
    if folder.resolve() == (inputs.out / FOLDER).resolve():
        raise ConfigError(
            f"--objects: expected another run than the one that --out names, found {run_folder}"
        )
    copied = CopiedObjects.of(folder, max_objects=config.max_objects, min_area=config.min_area)
    return Plan(scan(images_dir, inputs.out).images, partial(_same, copied), _kept(config), [folder])


def _kept(config: ObjectsConfig) -> dict[str, Json]:
    """What decides the rows where the objects are there already."""
    return config.part(KeptObjectsConfig).fingerprint()


def _model(inputs: Inputs, images_dir: Path, recipe: Recipe) -> Plan:
    from partdistillation.models.devices import choose_device
    from partdistillation.objects.models import fingerprints

    choose_device(inputs.device)
    config, photographs = recipe.objects, scan(images_dir, inputs.out)
    if config.source == "salient":
        photographs = _one_class_a_photograph(photographs, images_dir)
    classes = None if config.classes is None else read_class_list(config.classes)
    if classes is not None:
        _say_unlisted(photographs.categories, classes)
    elif config.source == "salient":
        classes = plain_list(photographs.categories)
    elif config.source != "mask2former":
        classes = open_vocabulary(photographs.categories)
    settings: dict[str, Json] = {
        **config.fingerprint(),
        "max_objects": config.max_found,
        "classes": None if classes is None else _fingerprint(classes),
        "models": fingerprints(config, recipe.encoder),
    }
    make = partial(_segmented, config, recipe.encoder, classes, inputs.device)
    return Plan(photographs.images, make, settings)


def _one_class_a_photograph(photographs: FolderScan, images_dir: Path) -> FolderScan:
    """Photographs with the class that each shows, which saliency can't tell: that of its folder.

    Where there are no class folders all are of one class, which is called as the folder is.
    """
    if not photographs.categories:
        name = images_dir.resolve().name
        _log.warning("%s: no class folders in it, so all photographs are of one class, %r", images_dir, name)
        images = (replace(image, category=name) for image in photographs.images)
    else:
        images = (
            image
            if image.category or image.problem
            else replace(image, problem="expected a class folder around it, as the others have")
            for image in photographs.images
        )
    return replace(photographs, images=tuple(images))


def _say_unlisted(folders: Sequence[str], classes: ClassList) -> None:
    """Mostly a slip of the list: it takes long, and finds other things than its images are of."""
    unlisted = [folder for folder in folders if classes.of_folder(folder) is None]
    if unlisted:
        _log.warning(
            "%d of %d folders of images aren't in --objects.classes, such as %s: their images are searched "
            "for all of its classes",
            len(unlisted),
            len(folders),
            unlisted[0],
        )


def _fingerprint(classes: ClassList) -> str:
    """Of the classes themselves: neither the file's place nor its comments count."""
    return canonical_hash(list(classes.entries))


def _category(image: ImageInput) -> str:
    assert image.category is not None
    return image.category


def _make_work(
    make: Callable[[], ObjectSource], folder: Path, masks: Path | None
) -> Callable[[Shard[ImageInput]], list[ObjectRow]]:
    """The function from a shard to its rows, which also notes what files they were made from."""
    source = make()

    def work(shard: Shard[ImageInput]) -> list[ObjectRow]:
        with listings.fetched(_paths(shard, masks)):
            # Looked at before, or what changes meanwhile isn't noticed.
            before = [_files(image, masks) for image in shard.inputs]
            rows = list(source(shard.inputs))
        used = [files for files, row in zip(before, rows, strict=False) if row.status == "ok"]
        kinds: tuple[seen.Kind, ...] = ("photographs", "masks")
        seen.record(
            folder, shard.name, {kind: dict(chain(*(files[kind] for files in used))) for kind in kinds}
        )
        return rows

    return work


def _paths(shard: Shard[ImageInput], masks: Path | None) -> Iterator[Path]:
    """Of a shard's photographs and masks."""
    for image in shard.inputs:
        yield image.path
        yield from () if masks is None else mask_files(masks, image)


def _files(image: ImageInput, masks: Path | None) -> dict[seen.Kind, list[tuple[str, seen.Seen]]]:
    """What an image's row is made from, as it is now."""
    of_objects = [] if masks is None else mask_files(masks, image)
    named = [(path.relative_to(masks).as_posix(), path) for path in of_objects if masks is not None]
    return {"photographs": _looked([(image.file_name, image.path)]), "masks": _looked(named)}


def _looked(files: Sequence[tuple[str, Path]]) -> list[tuple[str, seen.Seen]]:
    looks = ((name, seen.look(path)) for name, path in files)
    return [(name, look) for name, look in looks if look is not None]


def require_usable(folder: Path) -> None:
    """Make sure that there is anything to go on with.

    Raises:
        InputError: every photograph was rejected; the message says why.
    """
    reasons: Counter[str] = Counter()
    for row in read_rows(folder, ObjectRow):
        if row.status == "ok":
            return
        reasons[row.reason] += 1
    listed = [f"{count} x {reason}" for reason, count in reasons.most_common(_LISTED)]
    if len(reasons) > _LISTED:
        listed.append(f"and {len(reasons) - _LISTED} other reasons")
    raise InputError(
        f"expected photographs with objects, found all {reasons.total()} rejected:\n  "
        + "\n  ".join(listed)
        + f"\nSee to these, delete {folder}, and run the same command again."
    )


def encoder_remark(folder: Path, encoders: Sequence[str]) -> str:
    """What to say where an encoder that has seen drawings alone meets photographs; else nothing.

    PartShapes' drawings are small PNG files; photographs are JPEGs, or larger.
    """
    if DRAWINGS_ONLY not in encoders:
        return ""
    rows = list(islice((row for row in read_rows(folder, ObjectRow) if row.status == "ok"), _LOOKED_AT))
    photographs = sum(
        row.file_name.lower().endswith((".jpg", ".jpeg")) or max(row.height, row.width) > _LARGEST_DRAWING
        for row in rows
    )
    if 2 * photographs <= len(rows):
        return ""
    return (
        f"{DRAWINGS_ONLY} was trained on drawings, and these are photographs: it groups their pixels no "
        f"better than colour and position do. For photographs take --encoder {LITE0}, or a published model"
    )


def require_unchanged(inputs: Inputs) -> None:
    """Make sure that photographs and masks are those that stage 1 has seen, for a stage that reads them.

    Raises:
        InputError: some aren't; the message names them.
    """
    seen.require_unchanged(inputs.out / FOLDER, seen.places(inputs.place("images"), inputs.place("objects")))


def _annotated(dataset: CocoDataset, config: ObjectsConfig) -> ObjectSource:
    return AnnotatedObjects(dataset, config.max_objects, config.min_area)


def _tolerant(make: Callable[[], ObjectSource]) -> ObjectSource:
    source = make()

    def tolerant(images: Sequence[ImageInput]) -> list[ObjectRow]:
        with damage_allowed():
            return list(source(images))

    return tolerant


def _of_new_classes(make: Callable[[], ObjectSource], known: frozenset[str]) -> ObjectSource:
    return NewClasses(make(), known)


def _same(source: ObjectSource) -> ObjectSource:
    return source


def _segmented(
    config: ObjectsConfig, encoder: str, classes: ClassList | None, device: Device
) -> ObjectSource:
    from partdistillation.objects.models import load_segmenter
    from partdistillation.objects.segmented import SegmentedObjects

    segmenter = load_segmenter(config, encoder, device)
    if config.source == "salient":
        assert classes is not None
        return SegmentedObjects(segmenter, classes, config, missing=NOTHING_SALIENT)
    return SegmentedObjects(segmenter, classes or plain_list(segmenter.vocabulary or ()), config)

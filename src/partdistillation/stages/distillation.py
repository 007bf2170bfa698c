"""Stage 5: the part model learns the ranked parts, each object class with rows of its own (section 4.4)."""

import shutil
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from partdistillation.config import ArchitectureConfig, Inputs, Recipe, TrainingConfig
from partdistillation.data.examples import LabelledImage, LabelledImages, LabelledMask
from partdistillation.errors import InputError
from partdistillation.models.devices import choose_device
from partdistillation.models.heads import PartHead
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.sources import pinned, resolve
from partdistillation.objects import OBJECTS_MODEL
from partdistillation.objects.object_features import write_means
from partdistillation.objects.saliency_weights import is_saliency, weights_file
from partdistillation.runs.atomic import make_folder
from partdistillation.runs.digests import write_digests
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import ObjectRow, PartRow
from partdistillation.runs.run_folder import PART_MODEL
from partdistillation.runs.stage_log import Stage
from partdistillation.runs.stage_reader import contents_hash, read_rows
from partdistillation.stages import objects, proposals, ranking
from partdistillation.stages.pretrain import is_backbone, start_of, starting_network
from partdistillation.training.loop import Run, is_finished, processes, train
from partdistillation.training.objective import SetPrediction

FOLDER = PART_MODEL
STAGE = Stage("distillation", folders=(FOLDER,), sections=("distillation",))
"""In the part model's folder: the instance segmentation model, for images whose objects aren't given."""


@dataclass(frozen=True)
class Lesson:
    """What a part model learns, and from where it starts: stage 5's own, or a baseline's."""

    name: str
    """As in the log and the progress bar."""
    parts: Path
    """Stage of labelled parts (PartRow), over the run's objects."""
    num_parts: int
    """Part classes an object class."""
    initial: str
    """The network to start from: a model's folder, or a name that `models.sources` resolves."""
    architecture: ArchitectureConfig
    """What is built around `initial` where that is a plain backbone."""
    model: Path
    """Folder of the finished part model; its losses and checkpoints go beside it."""
    config: TrainingConfig
    exact_rows: bool
    """How rows of classes are updated that a step doesn't see (`distillation.exact_rows`)."""
    objects_model: str
    """What finds objects and is put into the folder: an instance segmentation model, named as `initial` is,
    or a saliency network's file; nothing where empty."""

    def depends_on(self, objects_dir: Path) -> dict[str, Json]:
        """All of it that decides the model, files by their contents."""
        return {
            "settings": self.config.fingerprint(),
            "exact_rows": self.exact_rows,
            "num_parts": self.num_parts,
            "objects": contents_hash(objects_dir),
            "parts": contents_hash(self.parts),
            "initial": self._start(),
            "objects_model": _contents(self.objects_model),
        }

    def _start(self) -> Json:
        if is_backbone(self.initial):
            return dict(start_of(self.initial, self.architecture))
        return _contents(self.initial)


def _contents(model: str) -> Json:
    """Of a published model its commit."""
    if not model or is_saliency(model):
        return [contents_hash(Path(model))] if model else []
    return list(map(contents_hash, resolve(model).files)) or pinned(model)


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/part_model`: the proposal network with K part classes an object class."""
    return learn_parts(lesson(inputs, recipe), inputs)


def lesson(inputs: Inputs, recipe: Recipe) -> Lesson:
    """Stage 5's own."""
    return Lesson(
        name="distillation",
        parts=inputs.out / ranking.PARTS,
        num_parts=recipe.ranking.num_parts,
        initial=str(inputs.out / proposals.FOLDER),
        architecture=recipe.pretrain.part(ArchitectureConfig),
        model=inputs.out / FOLDER,
        config=recipe.distillation,
        exact_rows=recipe.distillation.exact_rows,
        objects_model=_finder(recipe),
    )


def _finder(recipe: Recipe) -> str:
    """What found the objects, or could have: it goes with the part model."""
    if recipe.objects.source == "salient":
        return str(weights_file(recipe.objects.model))
    return "" if is_backbone(recipe.encoder) else recipe.encoder


def learn_parts(lesson: Lesson, inputs: Inputs) -> Path:
    """Train a part model on labelled parts; return its folder.

    Raises:
        InputError: no part is large enough to be learned.
        SettingsChanged: the model was trained, or begun, with other settings or from other parts.
    """
    config, device = lesson.config, choose_device(inputs.device)
    objects.require_unchanged(inputs)
    objects_dir = inputs.out / objects.FOLDER
    training = Run(lesson.model.parent, lesson.name, lesson.model, lesson.depends_on(objects_dir))
    if is_finished(training):
        return training.model_dir
    parts = part_ids(lesson.parts)
    names = tuple(parts)
    images = part_images(objects_dir, lesson.parts, names, config)
    config = config.limited(len(images))
    samples = LabelledImages(inputs.need("images"), images, config)
    with processes(device):
        pretrained = starting_network(lesson.initial, lesson.architecture, seed=config.seed)
        model = pretrained.with_head(names, num_parts=lesson.num_parts, seed=config.seed)
        assert isinstance(model.class_predictor, PartHead)
        model.class_predictor.keep_only(tuple(parts.values()))
        model.info = replace(model.info, image_size=config.image_size)
        model.set_frozen(config.freeze)
        model.to(device)
        return train(
            model,
            samples,
            SetPrediction(model, config, device),
            config,
            training,
            save=lambda path: _save(model, path, lesson, inputs, config.steps),
            device=device,
            exact_rows=lesson.exact_rows,
        )


def part_ids(parts_dir: Path) -> dict[str, frozenset[int]]:
    """The object classes that have parts to learn, by name, each with the part classes that occur.

    Raises:
        InputError: no object has a part.
    """
    ids: defaultdict[str, set[int]] = defaultdict(set)
    for row in read_rows(parts_dir, PartRow):
        for labelled in row.objects:
            for part in labelled.parts:
                ids[labelled.category].add(part.part)
    if not ids:
        raise InputError(
            f"expected objects with parts in {parts_dir}, found none: lower ranking.label_min_score and "
            "ranking.label_min_ratio, or train the proposal model for longer"
        )
    return {name: frozenset(ids[name]) for name in sorted(ids)}


def part_images(
    objects_dir: Path, parts_dir: Path, names: tuple[str, ...] | None, config: TrainingConfig
) -> list[LabelledImage]:
    """The training set (eq. 5): every part with its part class, of objects that are large enough.

    With `names=None` all parts are of one class, as a proposal model learns them.
    """
    index = {name: place for place, name in enumerate(names or ())}
    images = []
    rows = zip(read_rows(objects_dir, ObjectRow), read_rows(parts_dir, PartRow), strict=True)
    for row, part_row in rows:
        masks = tuple(
            LabelledMask(part.rle, part.part, index[labelled.category])
            if names
            else LabelledMask(part.rle, 0)
            for instance, labelled in zip(row.objects, part_row.objects, strict=True)
            if instance.area >= config.min_object_area * row.height * row.width
            for part in labelled.parts
            if part.area >= config.min_mask_area * instance.area
        )
        if masks:
            images.append(LabelledImage(row.file_name, row.height, row.width, masks))
    return images


def _save(model: PartMask2Former, path: Path, lesson: Lesson, inputs: Inputs, steps: int) -> None:
    """The part model and, so that its folder is all that is needed, the model that finds the objects."""
    model.save_pretrained(path, metadata={"stage": lesson.name, "steps": steps})
    if not lesson.objects_model:
        return
    if is_saliency(lesson.objects_model):
        folder, file = make_folder(path / OBJECTS_MODEL), Path(lesson.objects_model)
        shutil.copyfile(file, folder / file.name)
        rows = read_rows(inputs.out / objects.FOLDER, ObjectRow)
        write_means(folder, model.eval(), rows, inputs.need("images"))
        write_digests(folder)
        return
    source = resolve(lesson.objects_model)
    if source.files:
        shutil.copytree(source.path, path / OBJECTS_MODEL, copy_function=shutil.copyfile)
    else:
        PartMask2Former.from_pretrained(source.path).save_pretrained(path / OBJECTS_MODEL)

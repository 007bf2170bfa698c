"""Stage 5: the part model learns the ranked parts, each object class with rows of its own (section 4.4)."""

import shutil
from pathlib import Path

from partdistillation.config import DistillationConfig, Inputs, Recipe
from partdistillation.data.examples import LabelledImage, LabelledImages, LabelledMask
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.sources import resolve
from partdistillation.objective import SetPrediction
from partdistillation.records import ObjectRow, PartRow
from partdistillation.stages import objects, proposals, ranking
from partdistillation.store import contents_hash, read_rows
from partdistillation.training import Run, decisive, is_trained, processes, train

FOLDER = "part_model"
OBJECTS_MODEL = "objects_model"
"""In the part model's folder: the instance segmentation model, for images whose objects aren't given."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/part_model`: the proposal network with K part classes an object class."""
    config, device = recipe.distillation, choose_device(inputs.device)
    objects_dir, parts_dir = inputs.out / objects.FOLDER, inputs.out / ranking.PARTS
    proposal_dir = inputs.out / proposals.FOLDER
    depends = {
        "settings": decisive(config),
        "num_parts": recipe.ranking.num_parts,
        "objects": contents_hash(objects_dir),
        "parts": contents_hash(parts_dir),
        "proposal_model": contents_hash(proposal_dir),
    }
    training = Run(inputs.out, "distillation", inputs.out / FOLDER, depends)
    if is_trained(training):
        return training.model_dir
    names = tuple(sorted({found.category for row in read_rows(parts_dir, PartRow) for found in row.objects}))
    samples = LabelledImages(
        inputs.need("images"), part_images(objects_dir, parts_dir, names, config), config
    )
    with processes(device):
        model = PartMask2Former.from_pretrained(proposal_dir).with_head(
            names, num_parts=recipe.ranking.num_parts, seed=config.seed
        )
        model.set_frozen(config.freeze)
        model.to(device)
        return train(
            model,
            samples,
            SetPrediction(model, config, device),
            config,
            training,
            save=lambda path: _save(model, path, recipe, config),
            device=device,
        )


def part_images(
    objects_dir: Path, parts_dir: Path, names: tuple[str, ...], config: DistillationConfig
) -> list[LabelledImage]:
    """The training set (eq. 5): every part with its part class, of objects that are large enough."""
    index = {name: place for place, name in enumerate(names)}
    images = []
    rows = zip(read_rows(objects_dir, ObjectRow), read_rows(parts_dir, PartRow), strict=True)
    for row, ranked in rows:
        masks = tuple(
            LabelledMask(part.rle, label=part.part, object_class=index[its.category])
            for found, its in zip(row.objects, ranked.objects, strict=True)
            if found.area >= config.min_object_area * row.height * row.width
            for part in its.parts
            if part.area >= config.min_mask_area * found.area
        )
        if masks:
            images.append(LabelledImage(row.file_name, row.height, row.width, masks))
    return images


def _save(model: PartMask2Former, path: Path, recipe: Recipe, config: DistillationConfig) -> None:
    """The part model and, so that its folder is all that is needed, the model that finds the objects."""
    model.save_pretrained(path, metadata={"stage": "distillation", "steps": config.steps})
    source = resolve(recipe.encoder).path
    if isinstance(source, Path):
        shutil.copytree(source, path / OBJECTS_MODEL, copy_function=shutil.copyfile)
    else:
        PartMask2Former.from_pretrained(source).save_pretrained(path / OBJECTS_MODEL)

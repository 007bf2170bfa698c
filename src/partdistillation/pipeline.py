"""The method in order: from images and object masks to a part model (paper, section 4)."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from partdistillation.config import Inputs, ObjectFiles, Recipe
from partdistillation.data.coco import read_instances
from partdistillation.data.paths import in_brackets
from partdistillation.evaluation import instances
from partdistillation.models.devices import choose_device
from partdistillation.models.pretrained import read_config
from partdistillation.models.sources import resolve
from partdistillation.objects.salient import SalientObjects
from partdistillation.report import run as run_report
from partdistillation.report.objects_found import show_objects
from partdistillation.runs.part_table import read_part_table
from partdistillation.runs.ray_cluster import connected
from partdistillation.runs.remote import bring_inputs
from partdistillation.runs.stage_log import StageLog, is_first_process, seconds
from partdistillation.runs.terminal import say
from partdistillation.stages import distillation, growing, ranking, retraining
from partdistillation.stages import objects as objects_stage
from partdistillation.stages import pretrain as pretrain_stage
from partdistillation.stages import proposals as proposals_stage
from partdistillation.stages import segments as segments_stage
from partdistillation.stages.pixel_features import encoders_of
from partdistillation.stages.pretrain import is_backbone

STAGES = StageLog(
    (
        pretrain_stage.STAGE,
        objects_stage.STAGE,
        segments_stage.STAGE,
        proposals_stage.STAGE,
        ranking.STAGE,
        distillation.STAGE,
    )
)


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Stages 1 to 5 and the report, whose page is returned.

    Run again with the same arguments to go on where it was stopped. Each stage is a function of the same two
    arguments: `pretrain`, `objects`, `segments`, `proposals`, `rank`, `distill`, `report`.

    Raises:
        ConfigError, InputError, CheckpointError: images, objects, device or encoder can't be used; found out
            before hours are spent. Or no photograph can be used, which stage 1 finds out.
        SettingsChanged: a stage has begun with other settings; the folder keeps remembering those.
    """
    recipe = with_source(inputs, recipe)
    check(inputs, recipe)
    objects(inputs, recipe)  # masks with classes
    show_objects(inputs)
    objects_stage.require_usable(inputs.out / objects_stage.FOLDER)
    if remark := objects_stage.encoder_remark(inputs.out / objects_stage.FOLDER, encoders_of(recipe)):
        say(remark, stderr=True)
    segments(inputs, recipe)  # every object's pixels, grouped by their features
    proposals(inputs, recipe)  # a model that finds such segments, and better ones, in any image
    rank(inputs, recipe)  # its proposals, clustered within each object class: labelled parts
    distill(inputs, recipe)  # a model that finds and names the parts
    page = report(inputs, recipe)
    say(f"Open {page}")
    return page


def with_source(inputs: Inputs, recipe: Recipe) -> Recipe:
    """The recipe; where there are no object masks, what stands out in a photograph is its object."""
    if inputs.objects is not None or recipe.objects.source != "annotations":
        return recipe
    return replace(recipe, objects=replace(recipe.objects, source="salient"))


def check(inputs: Inputs, recipe: Recipe) -> None:
    """Make sure that a run can begin: what is the user's first, then what may have to be fetched.

    Raises:
        ConfigError, InputError, CheckpointError: images, objects, device, encoder or Ray can't be used.
    """
    bring_inputs(inputs)
    inputs.need("images", in_brackets)
    choose_device(inputs.device)
    connected(inputs.driver, inputs.workers)
    source = resolve(recipe.encoder)
    if recipe.objects.source in get_args(ObjectFiles):
        path = inputs.need("objects", in_brackets)
        if recipe.objects.source == "annotations" and path.is_file() and not source.files:
            read_instances(path)
    if recipe.objects.source == "salient":
        SalientObjects.from_pretrained(recipe.objects.model)
    is_backbone(recipe.encoder)  # or a Mask2Former: stages 1 and 2 take others, stage 3 goes on training it
    for name in recipe.segments.encoders:
        read_config(resolve(name).path)


def pretrain(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 0: an instance segmentation model, where no published one is used.

    With `--val-images` and `--val-objects`, the mask AP on these is printed, and left in `out/mask_ap.md`.
    """
    model = STAGES.run(pretrain_stage.STAGE, pretrain_stage.run, inputs, recipe)
    if inputs.val_images is not None and inputs.val_objects is not None and is_first_process():
        instances.evaluate(
            model,
            inputs.need("val_images"),
            inputs.need("val_objects"),
            out=inputs.out,
            device=inputs.device,
            again=False,
        )
    return model


def objects(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 1: the objects whose parts are learned (section 4.1)."""
    return STAGES.run(objects_stage.STAGE, objects_stage.run, inputs, recipe)


def segments(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 2: class-agnostic segments of every object (section 4.2)."""
    return STAGES.run(segments_stage.STAGE, segments_stage.run, inputs, recipe)


def proposals(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 3: the proposal model, taught by the segments (section 4.2)."""
    return STAGES.run(proposals_stage.STAGE, proposals_stage.run, inputs, recipe)


def rank(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 4: proposals become parts (section 4.3)."""
    return STAGES.run(ranking.STAGE, ranking.run, inputs, recipe)


def distill(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 5: the part model, taught by the parts (section 4.4)."""
    return STAGES.run(distillation.STAGE, distillation.run, inputs, recipe)


def report(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/report/index.html` about whatever of the run is there, and return it."""
    return run_report.write(inputs, recipe, seconds=seconds(inputs.out))


def retrain(inputs: Inputs, recipe: Recipe, part_table: Path) -> Path:
    """Stage 5 on the parts as a part table has them: `out/retrained`, beside the run's own model.

    Raises:
        InputError: the table can't be read or used.
    """
    return retraining.run(inputs, recipe, read_part_table(part_table))


def grow(inputs: Inputs, recipe: Recipe, model: Path) -> Path:
    """Write `out/part_model`, a part model with more object classes, those of `inputs.images`; return it.

    The folder `out` is a run of the new photographs alone. The old model isn't touched, and all that it says
    of its own classes the new one says too.

    Raises:
        InputError: the model isn't a run's, or has some of the classes; or as `run`.
    """
    base = growing.read_base(model, inputs.out)
    recipe = with_source(inputs, base.fitted(inputs, recipe))
    check(inputs, recipe)
    growing.require_new(base, inputs, recipe)
    STAGES.run(objects_stage.STAGE, partial(objects_stage.run, known=base.info.class_names), inputs, recipe)
    show_objects(inputs)
    objects_stage.require_usable(inputs.out / objects_stage.FOLDER)
    growing.take_proposal_model(base, inputs)
    if recipe.ranking.candidates == "segments":
        segments(inputs, replace(recipe, segments=replace(recipe.segments, coarse_k=0)))
    rank(inputs, recipe)
    grown = STAGES.run(distillation.STAGE, partial(growing.run, base=base), inputs, recipe)
    report(inputs, recipe)
    return grown

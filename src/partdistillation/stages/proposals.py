"""Stage 3: learn class-agnostic part proposals from the segments (paper, section 4.2)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from partdistillation.config import ArchitectureConfig, Inputs, ProposalsConfig, Recipe, TrainingConfig
from partdistillation.data.examples import LabelledImage, LabelledImages, LabelledMask
from partdistillation.models.devices import choose_device
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import read_info
from partdistillation.models.sources import resolve
from partdistillation.runs import terminal
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import ObjectRow, SegmentRow
from partdistillation.runs.run_folder import PROPOSAL_MODEL
from partdistillation.runs.stage_log import Stage, is_first_process
from partdistillation.runs.stage_reader import contents_hash, read_rows
from partdistillation.stages import objects, segments
from partdistillation.stages.pretrain import is_backbone, start_of, starting_network
from partdistillation.training.loop import Run, is_finished, processes, train
from partdistillation.training.objective import SetPrediction

FOLDER = PROPOSAL_MODEL
STAGE = Stage("proposals", folders=(FOLDER,), sections=("proposals", "encoder"))
CLASS = "part"
_LISTED = 5

_log = terminal.logger(__name__)


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/proposal_model`: stage 0's network, taught to find segments."""
    config = recipe.proposals
    choose_device(inputs.device)
    objects.require_unchanged(inputs)
    objects_dir = inputs.out / objects.FOLDER
    segments_dirs = [inputs.out / folder for folder in segments.ways(recipe)]
    depends: dict[str, Json] = {
        "settings": config.fingerprint(),
        **start_of(recipe.encoder, recipe.pretrain.part(ArchitectureConfig)),
        "objects": contents_hash(objects_dir),
        **{folder.name: contents_hash(folder) for folder in segments_dirs},
    }
    training = Run(inputs.out, "proposals", inputs.out / FOLDER, depends)
    if not is_finished(training) and is_first_process():
        if not is_backbone(recipe.encoder):
            say_unknown_classes(objects_dir, recipe.encoder)
        elif recipe.objects.source != "salient":
            _log.warning(
                "%s finds no objects: `partdistill predict` and PartSegmenter will need them given "
                "(--objects), or an instance segmentation model (--objects-model)",
                recipe.encoder,
            )
    return learn(
        training,
        lambda: segment_images(objects_dir, segments_dirs, config),
        inputs,
        recipe,
        config=config,
    )


def say_unknown_classes(objects_dir: Path, encoder: str) -> None:
    """Say in the log, before hours of training, which classes `predict` won't find by itself afterwards.

    The encoder goes with the part model to find objects where none are given; it may know other classes.
    """
    learned = sorted(
        {instance.category for row in read_rows(objects_dir, ObjectRow) for instance in row.objects}
    )
    known = read_info(resolve(encoder).path).class_names
    unknown = [name for name in learned if name not in known]
    if unknown:
        _log.warning(
            "%s doesn't know %d of %d object classes, such as %r (it knows %s%s): `partdistill predict` and "
            "PartSegmenter won't find their objects by themselves. Give them the objects then (--objects), "
            "or an instance segmentation model of these classes, as `partdistill pretrain` makes "
            "(--objects-model)",
            encoder,
            len(unknown),
            len(learned),
            unknown[0],
            ", ".join(known[:_LISTED]),
            " ..." if len(known) > _LISTED else "",
        )


def learn(
    training: Run,
    images: Callable[[], list[LabelledImage]],
    inputs: Inputs,
    recipe: Recipe,
    *,
    config: TrainingConfig,
) -> Path:
    """Train a proposal model on masks of one class, from the recipe's encoder; return its folder."""
    if is_finished(training):
        return training.model_dir
    device = choose_device(inputs.device)
    learned = images()
    config = config.limited(len(learned))
    samples = LabelledImages(inputs.need("images"), learned, config)
    with processes(device):
        model = proposal_model(recipe, config).to(device)
        return train(
            model,
            samples,
            SetPrediction(model, config, device),
            config,
            training,
            save=lambda path: model.save_pretrained(
                path, metadata={"stage": training.name, "steps": config.steps}
            ),
            device=device,
        )


def proposal_model(recipe: Recipe, config: TrainingConfig) -> PartMask2Former:
    """Stage 0's network, or a new one around a plain backbone, with a new head of one class."""
    architecture = recipe.pretrain.part(ArchitectureConfig)
    pretrained = starting_network(recipe.encoder, architecture, seed=config.seed)
    model = pretrained.with_head((CLASS,), seed=config.seed)
    model.info = replace(model.info, image_size=config.image_size)
    model.set_frozen(config.freeze)
    return model


def segment_images(
    objects_dir: Path, segments_dirs: Sequence[Path], config: ProposalsConfig
) -> list[LabelledImage]:
    """The training set: segments that are large enough, of objects that are large enough."""
    segmented = (read_rows(folder, SegmentRow) for folder in segments_dirs)
    return labelled(read_rows(objects_dir, ObjectRow), zip(*segmented, strict=True), config)


def labelled(
    rows: Iterable[ObjectRow], segmented: Iterable[Sequence[SegmentRow]], config: ProposalsConfig
) -> list[LabelledImage]:
    """The images of the rows that have such segments; an image may be segmented in several ways."""
    images = []
    for row, ways in zip(rows, segmented, strict=True):
        masks = tuple(
            LabelledMask(segment.rle, label=0)
            for instance, *grouped in zip(row.objects, *(way.objects for way in ways), strict=True)
            if instance.area >= config.min_object_area * row.height * row.width
            for segment in chain.from_iterable(way.segments for way in grouped)
            if segment.area >= config.min_mask_area * instance.area
        )
        if masks:
            images.append(LabelledImage(row.file_name, row.height, row.width, masks))
    return images

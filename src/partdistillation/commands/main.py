"""The command line: a subcommand a stage, and run, demo, predict, evaluate, report, classes, doctor, convert.

No logic and no torch here: a command is parsed into a dataclass, then calls one function, imported only then.
Settings come, later over earlier, from the recipe `paper`, the run's own config.yaml (unless a recipe or a
file is named), `--recipe`, `--config`, and the dotted flags.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import FlagConversionOff, FlagCreatePairsOff, Positional, arg
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from partdistillation import config
from partdistillation.baselines import NAMES as BASELINES
from partdistillation.baselines import Name as Baseline
from partdistillation.config import Device, Inputs, Recipe
from partdistillation.errors import ConfigError, PartDistillationError
from partdistillation.experiments.ablation_grids import Name as Ablation
from partdistillation.recipes import PAPER, RECIPES, recipe
from partdistillation.settings import did_you_mean

if TYPE_CHECKING:
    from partdistillation.experiments.runs import Run


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What every command takes."""

    debug: Annotated[bool, FlagCreatePairsOff] = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class ProfiledArguments(Arguments):
    """What every command takes that may take long."""

    profile: Annotated[bool, FlagCreatePairsOff] = False
    """Print time and memory by step at the end, and write them to OUT/profile.json."""

    @property
    def folder(self) -> Path:
        """What the command writes to."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class StageArguments(ProfiledArguments):
    """What every stage, and all of them in a row, takes."""

    inputs: Annotated[Inputs, arg(name="")] = field(default_factory=Inputs)
    settings: Annotated[Recipe, arg(name=""), FlagConversionOff] = PAPER
    recipe: Annotated[str | None, arg(metavar="|".join(RECIPES))] = None
    """Named settings to start from."""
    config: Path | None = None
    """YAML file with settings to start from, over the recipe's."""

    @property
    def folder(self) -> Path:
        return self.inputs.out


@dataclass(frozen=True, kw_only=True)
class ObjectsArguments(StageArguments):
    """What stage 1 takes besides."""

    show: int = 0
    """Draw this many images (at most 100), chosen at random, with their objects: OUT/objects_sheet.png."""

    def __post_init__(self) -> None:
        if not 0 <= self.show <= 100:
            raise ConfigError(f"--show: expected 0 to 100 images, found {self.show}")


@dataclass(frozen=True, kw_only=True)
class DistillArguments(StageArguments):
    """What stage 5 takes besides."""

    parts_table: Path | None = None
    """Part table: learn its joined parts as one and its rejected ones not at all, into OUT/retrained."""


@dataclass(frozen=True, kw_only=True)
class PredictArguments(ProfiledArguments):
    model: Positional[Path]
    """Folder of a part model, as in OUT/part_model."""
    images: Path
    """Folder of photographs, or one photograph."""
    objects: Path | None = None
    """Object masks (COCO .json, or a folder of masks); without them the model finds the objects itself."""
    out: Path = Path("out/predictions")
    """Folder to write to."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU if there is one."""
    parts_table: Path | None = None
    """Part table: which parts are joined, left out and what they are called; without it the model's own."""

    @property
    def folder(self) -> Path:
        return self.out


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments(Arguments):
    parts: Path
    """Ground-truth parts in the COCO layout (.json)."""
    predictions: Path | None = None
    """Folder of a run, or one that `partdistill predict` wrote."""
    protocol: Literal["both", "paper", "strict"] = "both"
    """`paper` drops predictions that miss the ground truth before scoring; `strict` never looks at it."""
    parts_table: Path | None = None
    """Part table, which joins parts, leaves some out and names them; with a model, its own part classes."""
    model: Path | None = None
    """Instead of predictions: folder of a part or proposal model, to be scored on any data set."""
    class_map: Path | None = None
    """With a part model that has other names for classes: YAML lines `class of the data: model's class`."""
    images: Path | None = None
    """With a model: folder of the photographs."""
    objects: Path | None = None
    """With a model: their object masks, COCO instances (.json)."""
    out: Path = Path("out/evaluation")
    """With a model: folder to write to."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU if there is one."""


@dataclass(frozen=True, kw_only=True)
class EvaluateObjectsArguments(ProfiledArguments):
    model: Positional[str]
    """Instance segmentation model: a published Mask2Former's name, or a folder."""
    images: Path
    """Folder of photographs."""
    objects: Path
    """Their objects: COCO instances (.json)."""
    out: Path = Path("out/mask_ap")
    """Folder to write mask_ap.json and mask_ap.md to."""
    device: Device = "auto"
    """Where the network runs; auto takes a GPU if there is one."""

    @property
    def folder(self) -> Path:
        return self.out


@dataclass(frozen=True, kw_only=True)
class ExperimentArguments(StageArguments):
    """What experiments over several seeds take."""

    seeds: Annotated[tuple[int, ...], arg(metavar="SEED [SEED ...]")] = (0,)
    """A run for each, in OUT/seed-N; of several there are means and standard deviations."""
    demo: Annotated[bool, FlagCreatePairsOff] = False
    """On PartShapes, the drawings in the package, with the recipe `demo` unless another is named."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            found = " ".join(map(str, self.seeds)) or "none"
            raise ConfigError(f"--seeds: expected numbers of at least 0, each once, found {found}")

    def runs(self) -> "Iterable[Run]":
        """A run a seed."""
        from partdistillation.experiments import runs

        if self.demo:
            return runs.part_shapes(self.inputs, self.seeds, self.settings)
        return runs.own_data(self.inputs, self.seeds, self.settings)


@dataclass(frozen=True, kw_only=True)
class FewShotArguments(ExperimentArguments):
    """What few-shot training takes besides."""

    models: Annotated[tuple[str, ...], arg(metavar="MODEL [MODEL ...]")] = ("run:part_model",)
    """What to start from, each by itself: models' folders, published models' names, `builtin:part-shapes`, or
    `run:` and a folder in each run's own, such as run:part_model, which is made where it isn't there."""


@dataclass(frozen=True, kw_only=True)
class CompareArguments(ExperimentArguments):
    """What the comparison takes besides."""

    baselines: Annotated[tuple[Baseline, ...], arg(metavar="NAME [NAME ...]")] = BASELINES
    """Which of them to train; `contrastive` is a training for each object class."""


@dataclass(frozen=True, kw_only=True)
class AblateArguments(ExperimentArguments):
    """Which ablation."""

    name: Positional[Literal["all", Ablation]] = "all"
    """What is changed."""


@dataclass(frozen=True, kw_only=True)
class CollagesArguments(ProfiledArguments):
    out: Positional[Path]
    """Folder of a run, or one that `partdistill predict` wrote; the collages go to OUT/collages."""
    images: Path | None = None
    """Folder of the photographs, where the run doesn't remember it."""
    seed: int = 0
    """Decides which images are shown."""
    size: Annotated[int, arg(metavar="PIXELS")] = 200
    """Side of an image in a collage."""
    workers: int = 2
    """Processes that draw side by side."""

    @property
    def folder(self) -> Path:
        return self.out

    def __post_init__(self) -> None:
        if not 50 <= self.size <= 2000:
            raise ConfigError(f"--size: expected 50 to 2000 pixels, found {self.size}")


@dataclass(frozen=True, kw_only=True)
class ReviewScoresArguments(Arguments):
    reviewed: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder of a run that was reviewed, or a file of verdicts (.jsonl)."""
    others: Annotated[Positional[tuple[Path, ...]], arg(metavar="[OUT ...]")] = ()
    """More of them, to be compared on the same object classes."""
    groups: Annotated[tuple[str, ...], arg(metavar="[NAME=FILE ...]")] = ()
    """Class lists whose object classes are scored by themselves too."""
    out: Path | None = None
    """Folder to write to; without it that of the first verdicts."""


@dataclass(frozen=True, kw_only=True)
class ReviewArguments(Arguments):
    out: Positional[Annotated[tuple[Path, ...], arg(metavar="OUT [OTHER ...]")]]
    """Folders of runs, or that `partdistill predict` wrote; verdicts are kept in the first, OUT/review."""
    images: Path | None = None
    """Folder of the photographs, where the runs don't remember it."""
    host: str = "127.0.0.1"
    """Address to listen at; others than loopback need --token."""
    port: int = 8765
    """Port to listen at; 0 takes a free one."""
    token: str | None = None
    """What reviewers must have, at least 16 characters."""
    verdicts: int = 1
    """How many reviewers are to judge each part."""
    seed: int = 0
    """Decides which images are shown, and the order of object classes."""
    export: Path | None = None
    """Instead of serving: write the verdicts to this file (.jsonl)."""

    def __post_init__(self) -> None:
        if not self.out:
            raise ConfigError("expected the folder of a run to review, found none")
        if self.verdicts < 1:
            raise ConfigError(f"--verdicts: expected at least 1, found {self.verdicts}")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port: expected 0 to 65535, found {self.port}")


@dataclass(frozen=True, kw_only=True)
class ConsistencyArguments(Arguments):
    out: Positional[Path]
    """Folder of a run."""
    parts: Path | None = None
    """Ground-truth parts (.json), where there are any: to compare consistency with purity."""
    verdicts: Path | None = None
    """Reviewers' verdicts (.jsonl), to compare with; without it those in OUT/review, if any."""
    seed: int = 0
    """Draws the masks that are compared, of part classes with many."""


@dataclass(frozen=True, kw_only=True)
class PartTableArguments(Arguments):
    reviewed: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder of a run that was reviewed, or a file of verdicts (.jsonl)."""
    run: str | None = None
    """The run whose parts the table is about, where several were reviewed together."""
    out: Path | None = None
    """File to write; without it part_table.json beside the verdicts."""


@dataclass(frozen=True, kw_only=True)
class FigureArguments(Arguments):
    """What every figure takes."""

    out: Path
    """The figure to write: .png (300 dpi) or .pdf."""


@dataclass(frozen=True, kw_only=True)
class ImagesFigureArguments(FigureArguments):
    """What every figure of images takes besides."""

    images: Path | None = None
    """Folder of the photographs, where the run doesn't remember it."""
    names: Annotated[tuple[str, ...], arg(metavar="[NAME ...]")] = ()
    """File names of the images to show; without them some at random."""
    count: int = 4
    """How many images to show at random."""
    seed: int = 0
    """Decides which."""

    def __post_init__(self) -> None:
        if not 1 <= max(self.count, len(self.names)) <= 50:
            raise ConfigError(f"--count: expected 1 to 50 images, found {max(self.count, len(self.names))}")


@dataclass(frozen=True, kw_only=True)
class StagesFigureArguments(ImagesFigureArguments):
    run: Positional[Path]
    """Folder of a run, or one that `partdistill predict` wrote."""
    parts_table: Path | None = None
    """Part table: which parts are joined, left out and what they are called."""


@dataclass(frozen=True, kw_only=True)
class ComparedFigureArguments(ImagesFigureArguments):
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]")]
    """Folders of runs, or of their stages, of the same photographs."""
    labels: Annotated[tuple[str, ...], arg(metavar="[LABEL ...]")] = ()
    """What to write above the columns, instead of the folders' names."""


@dataclass(frozen=True, kw_only=True)
class DiscoveryFigureArguments(FigureArguments):
    scores: Annotated[Positional[tuple[Path, ...]], arg(metavar="SCORES [SCORES ...]")]
    """Scores that `partdistill review-scores` wrote (.json)."""
    counted: Literal["unique", "consistent"] = "unique"
    """Which part classes are counted."""


@dataclass(frozen=True, kw_only=True)
class DemoArguments(ProfiledArguments):
    out: Path = Path("out/demo")
    """Folder of the run."""
    seed: int = 0
    """Decides the drawings and everything learned from them."""
    from_scratch: Annotated[bool, FlagCreatePairsOff] = False
    """Train stage 0 too, instead of starting from the weights in the package."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU if there is one."""
    workers: int = 2
    """Processes that label images side by side; above 1, the baselines are trained beside the method."""

    @property
    def folder(self) -> Path:
        return self.out


@dataclass(frozen=True, kw_only=True)
class ClassesArguments(Arguments):
    names: Path | None = None
    """Class names, one a line, or a folder of class folders: shows what each can mean; nothing is sampled."""
    available: Path | None = None
    """Classes to sample from: a folder of ImageNet's class folders (n01440764, ...), or a text file with an
    id a line; without it all of WordNet."""
    excluded: Path | None = None
    """Subtrees to leave out (.txt), instead of the paper's."""
    inside: Path | None = None
    """Subtrees of PartImageNet's classes (.txt), instead of those of its super-categories."""
    wordnet: Path | None = None
    """Folder of WordNet 3.0's data.noun and index.noun; without it the usual places."""
    out: Path = Path("out/classes")
    """Folder to write to."""
    seed: int = 0
    """Decides the samples."""


@dataclass(frozen=True, kw_only=True)
class DoctorArguments(Arguments):
    out: Path | None = None
    """Folder of a run whose files are to be verified."""
    dataset: Annotated[tuple[str, Path] | None, arg(metavar="NAME DIR")] = None
    """Part data set (docs/part-datasets.md), and the folder of the copy to check, instead."""


@dataclass(frozen=True, kw_only=True)
class PrepareArguments(Arguments):
    name: Annotated[Positional[str], arg(metavar="NAME")]
    """Part data set, such as part_imagenet_ood or paco; docs/part-datasets.md has all."""
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder of the data set; nothing in it is changed."""
    split: Annotated[str, arg(metavar="SPLIT")]
    """Which of its splits."""
    out: Path
    """Folder to write objects_SPLIT.json and parts_SPLIT.json to."""


@dataclass(frozen=True, kw_only=True)
class ConvertArguments(Arguments):
    checkpoint: Positional[Path]
    """Published checkpoint (.pkl or .pth)."""
    out: Path
    """Folder of the model to write."""


@dataclass(frozen=True, kw_only=True)
class ConvertMask2FormerArguments(ConvertArguments):
    class_names: Annotated[tuple[str, ...] | None, arg(metavar="NAME [NAME ...]")] = None
    """Names of the object classes, in the checkpoint's order; without them COCO's for 80, else numbers."""
    class_list: Path | None = None
    """Instead of --class-names: a file with a name a line."""
    num_parts: int = 0
    """Part classes an object class (8 in the released part models); 0 for a model without parts."""
    normalize_mask_embeddings: Annotated[bool, FlagCreatePairsOff] = False
    """The released code's QUERY_FEATURE_NORMALIZE."""


def pretrain(arguments: StageArguments) -> None:
    """Stage 0: train an instance segmentation model on object masks."""
    from partdistillation import pipeline

    pipeline.pretrain(arguments.inputs, arguments.settings)


def objects(arguments: ObjectsArguments) -> None:
    """Stage 1: find, or collect, the object masks of every image."""
    from partdistillation import pipeline
    from partdistillation.report.objects_found import show_objects

    pipeline.objects(arguments.inputs, arguments.settings)
    show_objects(arguments.inputs, arguments.show)


def segments(arguments: StageArguments) -> None:
    """Stage 2: group the pixels of every object into segments."""
    from partdistillation import pipeline

    pipeline.segments(arguments.inputs, arguments.settings)


def proposals(arguments: StageArguments) -> None:
    """Stage 3: train the class-agnostic proposal model on the segments."""
    from partdistillation import pipeline

    pipeline.proposals(arguments.inputs, arguments.settings)


def rank(arguments: StageArguments) -> None:
    """Stage 4: cluster the proposals of every object class into part classes."""
    from partdistillation import pipeline

    pipeline.rank(arguments.inputs, arguments.settings)


def distill(arguments: DistillArguments) -> None:
    """Stage 5: train the part model on the ranked parts."""
    from partdistillation import pipeline

    if arguments.parts_table is None:
        pipeline.distill(arguments.inputs, arguments.settings)
    else:
        pipeline.retrain(arguments.inputs, arguments.settings, arguments.parts_table)


def run(arguments: StageArguments) -> None:
    """Stages 1 to 5 and the report: from photographs to labelled parts."""
    from partdistillation import pipeline

    pipeline.run(arguments.inputs, arguments.settings)


def report(arguments: StageArguments) -> None:
    """Write OUT/report/index.html: what ran, tables, curves and pictures."""
    from partdistillation import pipeline

    pipeline.report(arguments.inputs, arguments.settings)


def predict(arguments: PredictArguments) -> None:
    """Find the parts in new photographs with a part model."""
    from partdistillation import inference

    folder = inference.predict(
        arguments.model,
        arguments.images,
        arguments.objects,
        out=arguments.out,
        device=arguments.device,
        part_table=arguments.parts_table,
    )
    print(f"Look into {folder}")


def evaluate(arguments: EvaluateArguments) -> None:
    """Compare predictions, or a model, with ground-truth parts: AR@k, mIoU, AP."""
    from partdistillation.evaluation.of_model import evaluate_model
    from partdistillation.evaluation.of_predictions import evaluate

    match arguments:
        case EvaluateArguments(
            predictions=Path() as predictions, model=None, class_map=None, images=None, objects=None
        ):
            evaluate(
                predictions,
                arguments.parts,
                protocol=arguments.protocol,
                part_table=arguments.parts_table,
            )
        case EvaluateArguments(predictions=None, model=Path() as model):
            inputs = Inputs(
                out=arguments.out,
                images=arguments.images,
                objects=arguments.objects,
                parts=arguments.parts,
                device=arguments.device,
            )
            evaluate_model(
                model,
                inputs,
                PAPER,
                protocol=arguments.protocol,
                class_map=arguments.class_map,
                part_table=arguments.parts_table,
            )
        case _:
            raise ConfigError(
                "expected either --predictions, or --model with --images and --objects; those and "
                "--class-map go with --model"
            )


def baseline_supervised(arguments: StageArguments) -> None:
    """Train the network on true parts, every object class's by name."""
    from partdistillation.baselines.run import run_baseline

    run_baseline("supervised", arguments.inputs, arguments.settings)


def baseline_supervised_agnostic(arguments: StageArguments) -> None:
    """Supervised, but all parts as one class (to compare with proposals)."""
    from partdistillation.baselines.run import run_baseline

    run_baseline("supervised-agnostic", arguments.inputs, arguments.settings)


def baseline_one_stage(arguments: StageArguments) -> None:
    """One-stage self-training: pixels of a class clustered over the whole data set."""
    from partdistillation.baselines.run import run_baseline

    run_baseline("one-stage", arguments.inputs, arguments.settings)


def baseline_contrastive(arguments: StageArguments) -> None:
    """Train Choudhury et al.'s contrastive reconstruction, a network an object class."""
    from partdistillation.baselines.run import run_baseline

    run_baseline("contrastive", arguments.inputs, arguments.settings)


def few_shot(arguments: FewShotArguments) -> None:
    """Fine-tune models on 1 to 100 % of the true parts and plot how they learn."""
    from partdistillation.experiments import few_shot

    few_shot.few_shot(arguments.runs(), arguments.inputs.out, arguments.models)


def evaluate_objects(arguments: EvaluateObjectsArguments) -> None:
    """Compare an instance segmentation model with true objects: mask AP, as on COCO."""
    from partdistillation.evaluation import instances

    instances.evaluate(
        arguments.model, arguments.images, arguments.objects, out=arguments.out, device=arguments.device
    )


def compare(arguments: CompareArguments) -> None:
    """The paper's main comparison: the method and all baselines on the same images."""
    from partdistillation.experiments import compare

    compare.compare(arguments.runs(), arguments.inputs.out, arguments.baselines)


def ablate(arguments: AblateArguments) -> None:
    """The paper's ablations, its numbers beside ours."""
    from partdistillation.experiments import ablations

    ablations.ablate(arguments.name, arguments.runs(), arguments.inputs.out)


def collages(arguments: CollagesArguments) -> None:
    """Draw 9 images at random of every part class, to judge them by."""
    from partdistillation.review import collages

    made = collages.write_collages(
        arguments.out,
        arguments.images,
        seed=arguments.seed,
        size=arguments.size,
        workers=arguments.workers,
    )
    print(collages.summary(made, arguments.out / collages.FOLDER))


def review_scores(arguments: ReviewScoresArguments) -> None:
    """Score reviewed parts: precision@k, diversity, agreement; runs side by side."""
    from partdistillation.review import scores as review_scores

    review_scores.run([arguments.reviewed, *arguments.others], arguments.groups, out=arguments.out)


def review(arguments: ReviewArguments) -> None:
    """Judge the parts in a browser: which are real, what they are called."""
    from partdistillation.review import serve

    if arguments.export is not None:
        count = serve.export(arguments.out[0], arguments.export)
        print(f"{count} verdicts in {arguments.export}")
        return
    serve.serve(
        arguments.out,
        images=arguments.images,
        host=arguments.host,
        port=arguments.port,
        token=arguments.token,
        verdicts=arguments.verdicts,
        seed=arguments.seed,
    )


def consistency(arguments: ConsistencyArguments) -> None:
    """Estimate, without people, how consistent each part class of a run is."""
    from partdistillation.evaluation import consistency_report

    consistency_report.run(
        arguments.out, parts=arguments.parts, verdicts=arguments.verdicts, seed=arguments.seed
    )


def part_table(arguments: PartTableArguments) -> None:
    """Write what reviewers agree on, names, merges and rejections, as a part table."""
    from partdistillation.review import scores as review_scores

    review_scores.make_part_table(arguments.reviewed, run=arguments.run, out=arguments.out)


def figure_stages(arguments: StagesFigureArguments) -> None:
    """Images side by side with their objects, segments, proposals and parts."""
    from partdistillation.report import figures

    choice = figures.Choice(arguments.names, arguments.count, arguments.seed)
    table = arguments.parts_table
    print(figures.stages(arguments.run, arguments.out, choice, arguments.images, table))


def figure_grouping(arguments: ComparedFigureArguments) -> None:
    """Images with their segments by several runs: by encoder, say."""
    from partdistillation.report import figures

    choice = figures.Choice(arguments.names, arguments.count, arguments.seed)
    print(figures.grouping(arguments.runs, arguments.out, choice, arguments.images, arguments.labels))


def figure_predictions(arguments: ComparedFigureArguments) -> None:
    """Images with the parts that several methods find."""
    from partdistillation.report import figures

    choice = figures.Choice(arguments.names, arguments.count, arguments.seed)
    print(figures.predictions(arguments.runs, arguments.out, choice, arguments.images, arguments.labels))


def figure_discovery(arguments: DiscoveryFigureArguments) -> None:
    """Curves of unique or consistent part classes, from reviews."""
    from partdistillation.report import figures

    print(figures.discovery(arguments.scores, arguments.out, counted=arguments.counted))


def demo(arguments: DemoArguments) -> None:
    """The whole pipeline on PartShapes, the data set in the package."""
    from partdistillation.experiments import demo

    demo.run(
        arguments.out,
        seed=arguments.seed,
        from_scratch=arguments.from_scratch,
        device=arguments.device,
        workers=arguments.workers,
    )


def classes(arguments: ClassesArguments) -> None:
    """Show what class names mean (WordNet), or sample ImageNet-21K's as in the paper."""
    from partdistillation.classes import run as classes

    classes.run(
        arguments.names,
        available=arguments.available,
        excluded=arguments.excluded,
        inside=arguments.inside,
        wordnet_dir=arguments.wordnet,
        seed=arguments.seed,
        out=arguments.out,
    )


def doctor(arguments: DoctorArguments) -> None:
    """Print versions, device, memory and disk; verify a run's files, or a data set's."""
    from partdistillation.commands import doctor

    if arguments.dataset is None:
        doctor.run(arguments.out)
    else:
        doctor.check_dataset(*arguments.dataset)


def prepare(arguments: PrepareArguments) -> None:
    """Write a split of a published part data set as COCO objects + parts."""
    from partdistillation.datasets import prepare as all_part_datasets

    all_part_datasets.prepare(arguments.name, arguments.folder, arguments.split, arguments.out)


def convert_mask2former(arguments: ConvertMask2FormerArguments) -> None:
    """Turn a released checkpoint, the authors' or Mask2Former's, into a model folder."""
    from partdistillation.classes.class_list import read_class_list
    from partdistillation.convert import mask2former

    names = arguments.class_names
    if arguments.class_list is not None:
        if names:
            raise ConfigError("expected --class-names or --class-list, found both")
        names = tuple(entry.name for entry in read_class_list(arguments.class_list).entries)
    mask2former.convert_checkpoint(
        arguments.checkpoint,
        arguments.out,
        class_names=names,
        num_parts=arguments.num_parts,
        normalize_mask_embeddings=arguments.normalize_mask_embeddings,
    )
    print(f"Wrote {arguments.out}")


def convert_detic(arguments: ConvertArguments) -> None:
    """Turn the published checkpoint of Detic into a model folder."""
    from partdistillation.convert import detic

    detic.convert_checkpoint(arguments.checkpoint, arguments.out)
    print(f"Wrote {arguments.out}")


STAGES = (run, pretrain, objects, segments, proposals, rank, distill, report)
COMMANDS: dict[str, tuple[type[Arguments], Callable[[Any], None]]] = {
    **{stage.__name__: (StageArguments, stage) for stage in STAGES},
    "objects": (ObjectsArguments, objects),
    "distill": (DistillArguments, distill),
    "predict": (PredictArguments, predict),
    "evaluate": (EvaluateArguments, evaluate),
    "baseline supervised": (StageArguments, baseline_supervised),
    "baseline supervised-agnostic": (StageArguments, baseline_supervised_agnostic),
    "baseline one-stage": (StageArguments, baseline_one_stage),
    "baseline contrastive": (StageArguments, baseline_contrastive),
    "few-shot": (FewShotArguments, few_shot),
    "compare": (CompareArguments, compare),
    "ablate": (AblateArguments, ablate),
    "evaluate-objects": (EvaluateObjectsArguments, evaluate_objects),
    "collages": (CollagesArguments, collages),
    "figure stages": (StagesFigureArguments, figure_stages),
    "figure grouping": (ComparedFigureArguments, figure_grouping),
    "figure predictions": (ComparedFigureArguments, figure_predictions),
    "figure discovery": (DiscoveryFigureArguments, figure_discovery),
    "review-scores": (ReviewScoresArguments, review_scores),
    "review": (ReviewArguments, review),
    "consistency": (ConsistencyArguments, consistency),
    "part-table": (PartTableArguments, part_table),
    "demo": (DemoArguments, demo),
    "classes": (ClassesArguments, classes),
    "prepare": (PrepareArguments, prepare),
    "doctor": (DoctorArguments, doctor),
    "convert mask2former": (ConvertMask2FormerArguments, convert_mask2former),
    "convert detic": (ConvertArguments, convert_detic),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 (an error that the message explains) or 130 (stopped)."""
    args = list(sys.argv[1:] if args is None else args)
    try:
        return _dispatch(args)
    except PartDistillationError as error:
        if "--debug" in args:
            traceback.print_exc()
        print(f"partdistill: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `partdistill run --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(args: Sequence[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if args[0] == "--version":
        from partdistillation import __version__

        print(f"partdistill {__version__}")
        return 0
    words = 1 if args[0] in COMMANDS else 2
    name = " ".join(args[:words])
    if name not in COMMANDS:
        raise ConfigError(_unknown(args))
    arguments_type, command = COMMANDS[name]
    arguments = _parse(arguments_type, name, args[words:])
    with _profile(arguments):
        command(arguments)
    return 0


def _unknown(args: Sequence[str]) -> str:
    if group := [name for name in COMMANDS if name.startswith(f"{args[0]} ")]:
        commands = " or ".join(f"`partdistill {name}`" for name in group)
        return f"expected {commands}, found {' '.join(args[1:2]) or 'nothing'!r} after {args[0]}."
    return f"unknown command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}"


def _profile(arguments: Arguments) -> AbstractContextManager[None]:
    if not (isinstance(arguments, ProfiledArguments) and arguments.profile):
        return nullcontext()
    from partdistillation.runs import profiling

    return profiling.shown(arguments.folder)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}} {command.__doc__}" for name, (_, command) in COMMANDS.items())
    return f"""usage: partdistill COMMAND [options]

From photographs and object class names to labelled parts, and a model that segments them.

commands:
{commands}

`partdistill COMMAND --help` lists a command's options; `partdistill --version` prints the version."""


def _parse(arguments_type: type[Arguments], name: str, args: Sequence[str]) -> Arguments:
    return tyro.cli(
        arguments_type,
        prog=f"partdistill {name}",
        description=COMMANDS[name][1].__doc__,
        args=args,
        default=(
            _starting_point(arguments_type, args)
            if issubclass(arguments_type, StageArguments)
            else tyro.MISSING_NONPROP
        ),
        registry=_REGISTRY,
    )


def _starting_point(arguments_type: type[StageArguments], args: Sequence[str]) -> StageArguments:
    """The defaults of the flags: a look ahead at those flags that decide where settings start from."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--out", "--recipe", "--config"):
        parser.add_argument(flag, nargs="?")  # a missing value is reported by the full parser
    parser.add_argument("--demo", action="store_true")
    ahead, _ = parser.parse_known_args(list(args))
    inputs = Inputs(out=Path(ahead.out)) if ahead.out else Inputs()
    settings = recipe(ahead.recipe or ("demo" if ahead.demo else "paper"))
    remembered = next(filter(Path.is_file, _remembering(arguments_type, inputs.out, demo=ahead.demo)), None)
    if remembered:
        inputs, settings_then = config.from_yaml(remembered, inputs, PAPER)
        if not (ahead.recipe or ahead.config):
            settings = settings_then
    if ahead.config:
        inputs, settings = config.from_yaml(Path(ahead.config), inputs, settings)
    return arguments_type(inputs=inputs, settings=settings)


def _remembering(arguments_type: type[StageArguments], out: Path, *, demo: bool) -> list[Path]:
    """Where settings may be remembered: of an experiment in its runs, which differ by their seeds alone."""
    own = out / config.CONFIG_FILE
    if not issubclass(arguments_type, ExperimentArguments):
        return [own]
    runs = sorted(out.glob(f"seed-*/{config.CONFIG_FILE}"))
    return runs if demo else [*runs, own]


_REGISTRY = ConstructorRegistry()


@_REGISTRY.primitive_rule
def _boolean(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[bool] | None:
    """Booleans as YAML writes them."""
    if info.type is not bool:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{true,false}",
        instance_from_str=_read_boolean,
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value).lower()],
    )


def _read_boolean(words: list[str]) -> bool:
    match words[0].lower():
        case "true":
            return True
        case "false":
            return False
    raise ValueError(f"expected true or false, found {words[0]!r}")


@_REGISTRY.primitive_rule
def _optional_path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path | None] | None:
    """Paths that may be left out: shown as PATH; nobody writes None."""
    if info.type != Path | None:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: Path(words[0]),
        is_instance=lambda value: value is None or isinstance(value, Path),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )

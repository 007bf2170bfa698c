"""Commands that say how good parts are: against ground truth, by people, by themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from partdistillation.commands.arguments import (
    Arguments,
    Command,
    Positional,
    ProfiledArguments,
    SettingsArguments,
    Written,
)
from partdistillation.config import Device, Inputs
from partdistillation.errors import ConfigError
from partdistillation.recipes import PAPER
from partdistillation.runs.terminal import say
from partdistillation.settings import PositiveInt, Range


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments(SettingsArguments):
    parts: Path
    """Ground-truth parts in the COCO layout (.json)."""
    parts_class: str = ""
    """Object class of all parts, where their categories name none as `supercategory`."""
    predictions: Path | None = None
    """Folder of a run, or one that `partdistill predict` wrote."""
    against: Path | None = None
    """Other predictions for the same images: how far those of --predictions are above, with intervals."""
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


def evaluate(arguments: EvaluateArguments) -> None:
    """Compare predictions, or a model, with true parts: AR@k, mIoU, AP."""
    from partdistillation.evaluation.difference import compare
    from partdistillation.evaluation.of_model import evaluate_model
    from partdistillation.evaluation.of_predictions import evaluate

    protocol, table = arguments.protocol, arguments.parts_table
    match arguments:
        case EvaluateArguments(predictions=Path() as predictions, against=Path() as against, model=None) if (
            table is None and not _of_models(arguments)
        ):
            compare(
                predictions,
                against,
                arguments.parts,
                protocol=protocol,
                parts_class=arguments.parts_class,
            )
        case EvaluateArguments(against=Path()):
            raise ConfigError(
                "--against goes with --predictions, and with nothing that asks for a model or a table"
            )
        case EvaluateArguments(predictions=Path() as predictions, model=None) if not _of_models(arguments):
            evaluate(
                predictions,
                arguments.parts,
                protocol=protocol,
                part_table=table,
                parts_class=arguments.parts_class,
            )
        case EvaluateArguments(predictions=None, model=Path() as model):
            inputs = Inputs(
                out=arguments.out,
                images=arguments.images,
                objects=arguments.objects,
                parts=arguments.parts,
                parts_class=arguments.parts_class,
                device=arguments.device,
            )
            evaluate_model(
                model,
                inputs,
                arguments.settings,
                protocol=protocol,
                class_map=arguments.class_map,
                part_table=table,
            )
        case _:
            raise ConfigError(
                "expected either --predictions, or --model with --images and --objects; those, --class-map, "
                "--recipe, --config and settings go with --model"
            )


def _of_models(arguments: EvaluateArguments) -> bool:
    """Whether anything was said that only scoring a model reads."""
    values = (arguments.class_map, arguments.images, arguments.objects, arguments.recipe, arguments.config)
    return any(values) or arguments.settings != PAPER


@dataclass(frozen=True, kw_only=True)
class EvaluateObjectsArguments(ProfiledArguments):
    model: Annotated[str, Positional("MODEL")]
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


def evaluate_objects(arguments: EvaluateObjectsArguments) -> None:
    """Compare an instance segmentation model with true objects: mask AP."""
    from partdistillation.evaluation import instances

    instances.evaluate(
        arguments.model, arguments.images, arguments.objects, out=arguments.out, device=arguments.device
    )


@dataclass(frozen=True, kw_only=True)
class CollagesArguments(ProfiledArguments):
    out: Annotated[Path, Positional("OUT")]
    """Folder of a run, or one that `partdistill predict` wrote; the collages go to OUT/collages."""
    images: Path | None = None
    """Folder of the photographs, where the run doesn't remember it."""
    seed: int = 0
    """Decides which images are shown."""
    size: Annotated[int, Range(50, 2000), Written("PIXELS")] = 200
    """Side of an image in a collage."""
    workers: int = 2
    """Processes that draw side by side."""

    @property
    def folder(self) -> Path:
        return self.out


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
    say(collages.summary(made, arguments.out / collages.FOLDER))


@dataclass(frozen=True, kw_only=True)
class ReviewArguments(Arguments):
    out: Annotated[tuple[Path, ...], Positional("OUT")]
    """Folders of runs, or that `partdistill predict` wrote; verdicts are kept in the first, OUT/review."""
    images: Path | None = None
    """Folder of the photographs, where the runs don't remember it."""
    host: str = "127.0.0.1"
    """Address to listen at; others than loopback need --token."""
    port: Annotated[int, Range(0, 65535)] = 8765
    """Port to listen at; 0 takes a free one."""
    token: str | None = None
    """What reviewers must have, at least 16 characters."""
    verdicts: PositiveInt = 1
    """How many reviewers are to judge each part."""
    seed: int = 0
    """Decides which images are shown, and the order of object classes."""
    export: Path | None = None
    """Instead of serving: write the verdicts to this file (.jsonl)."""


def review(arguments: ReviewArguments) -> None:
    """Judge the parts in a browser: which are real, what they are called."""
    from partdistillation.review import serve

    if arguments.export is not None:
        count = serve.export(arguments.out[0], arguments.export)
        none = f"nobody has answered yet: {arguments.export} isn't written"
        say(f"{count} verdicts in {arguments.export}" if count else none)
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


@dataclass(frozen=True, kw_only=True)
class ReviewScoresArguments(Arguments):
    reviewed: Annotated[Path, Positional("OUT")]
    """Folder of a run that was reviewed, or a file of verdicts (.jsonl)."""
    others: Annotated[tuple[Path, ...], Positional("OTHER")] = ()
    """More of them, to be compared on the same object classes."""
    groups: Annotated[tuple[str, ...], Written("NAME=FILE")] = ()
    """Class lists whose object classes are scored by themselves too."""
    out: Path | None = None
    """Folder to write to; without it that of the first verdicts."""


def review_scores(arguments: ReviewScoresArguments) -> None:
    """Score reviewed parts: precision@k, diversity, agreement."""
    from partdistillation.review import scores

    scores.run([arguments.reviewed, *arguments.others], arguments.groups, out=arguments.out)


@dataclass(frozen=True, kw_only=True)
class ConsistencyArguments(Arguments):
    out: Annotated[Path, Positional("OUT")]
    """Folder of a run."""
    parts: Path | None = None
    """Ground-truth parts (.json), where there are any: to compare consistency with purity."""
    parts_class: str = ""
    """Object class of all parts, where their categories name none as `supercategory`."""
    verdicts: Path | None = None
    """Reviewers' verdicts (.jsonl), to compare with; without it those in OUT/review, if any."""
    seed: int = 0
    """Draws the masks that are compared, of part classes with many."""


def consistency(arguments: ConsistencyArguments) -> None:
    """Estimate, without people, how consistent each part class is."""
    from partdistillation.evaluation import consistency_report

    consistency_report.run(
        arguments.out,
        parts=arguments.parts,
        parts_class=arguments.parts_class,
        verdicts=arguments.verdicts,
        seed=arguments.seed,
    )


@dataclass(frozen=True, kw_only=True)
class PartTableArguments(Arguments):
    reviewed: Annotated[Path, Positional("OUT")]
    """Folder of a run that was reviewed, or a file of verdicts (.jsonl)."""
    run: str | None = None
    """The run whose parts the table is about, where several were reviewed together."""
    out: Path | None = None
    """File to write; without it part_table.json beside the verdicts."""


def part_table(arguments: PartTableArguments) -> None:
    """Write what reviewers agree on, names, merges and rejections."""
    from partdistillation.review import scores

    scores.make_part_table(arguments.reviewed, run=arguments.run, out=arguments.out)


COMMANDS = (
    Command("evaluate", EvaluateArguments, evaluate, settings=("ranking",)),
    Command("evaluate-objects", EvaluateObjectsArguments, evaluate_objects),
    Command("collages", CollagesArguments, collages),
    Command("review", ReviewArguments, review),
    Command("review-scores", ReviewScoresArguments, review_scores),
    Command("part-table", PartTableArguments, part_table),
    Command("consistency", ConsistencyArguments, consistency),
)

"""What a run starts from: class lists, data sets, weights, checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from partdistillation.commands.arguments import Arguments, Command, Positional, Written
from partdistillation.errors import ConfigError
from partdistillation.runs.terminal import say


@dataclass(frozen=True, kw_only=True)
class ClassesArguments(Arguments):
    names: Path | None = None
    """Class names, one a line, or a folder of class folders: shows what each can mean; nothing is sampled."""
    keep_names: bool = False
    """Take names as they are that WordNet doesn't have, or that mean what another does."""
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


def classes(arguments: ClassesArguments) -> None:
    """Show what class names mean (WordNet), or sample ImageNet-21K's."""
    from partdistillation.classes import run as classes

    classes.run(
        arguments.names,
        keep_names=arguments.keep_names,
        available=arguments.available,
        excluded=arguments.excluded,
        inside=arguments.inside,
        wordnet_dir=arguments.wordnet,
        seed=arguments.seed,
        out=arguments.out,
    )


@dataclass(frozen=True, kw_only=True)
class PrepareArguments(Arguments):
    name: Annotated[str, Positional("NAME")]
    """Part data set, such as part_imagenet_ood or paco; docs/part-datasets.md has all."""
    folder: Annotated[Path, Positional("FOLDER")]
    """Folder of the data set; nothing in it is changed."""
    split: Annotated[str, Written("SPLIT")]
    """Which of its splits."""
    out: Path
    """Folder to write objects_SPLIT.json and parts_SPLIT.json to."""


def prepare(arguments: PrepareArguments) -> None:
    """Write a split of a published part data set as COCO objects + parts."""
    from partdistillation.datasets import prepare

    prepare.prepare(arguments.name, arguments.folder, arguments.split, arguments.out)


@dataclass(frozen=True, kw_only=True)
class ConvertArguments(Arguments):
    checkpoint: Annotated[Path, Positional("CHECKPOINT")]
    """Published checkpoint (.pkl or .pth)."""
    out: Path
    """Folder of the model to write."""


@dataclass(frozen=True, kw_only=True)
class ConvertMask2FormerArguments(ConvertArguments):
    class_names: Annotated[tuple[str, ...] | None, Written("NAME")] = None
    """Names of the object classes, in the checkpoint's order; without them COCO's for 80, else numbers."""
    class_list: Path | None = None
    """Instead of --class-names: a file with a name a line."""
    num_parts: int = 0
    """Part classes an object class (8 in the released part models); 0 for a model without parts."""
    normalize_mask_embeddings: bool = False
    """The released code's QUERY_FEATURE_NORMALIZE."""


def convert_mask2former(arguments: ConvertMask2FormerArguments) -> None:
    """Make a model folder of a checkpoint of the authors or of Mask2Former."""
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
    say(f"Wrote {arguments.out}")


def convert_detic(arguments: ConvertArguments) -> None:
    """Make a model folder of the published checkpoint of Detic."""
    from partdistillation.convert import detic

    detic.convert_checkpoint(arguments.checkpoint, arguments.out)
    say(f"Wrote {arguments.out}")


@dataclass(frozen=True, kw_only=True)
class WeightsArguments(Arguments):
    name: Annotated[str, Positional("NAME")] = "u2netp"
    """The network: u2netp, which finds what stands out in a photograph (4 MB)."""


def weights(arguments: WeightsArguments) -> None:
    """Get the network that finds objects where no masks are given."""
    from partdistillation.objects.saliency_weights import fetch

    say(f"{fetch(arguments.name)} is there")


COMMANDS = (
    Command("weights", WeightsArguments, weights),
    Command("classes", ClassesArguments, classes),
    Command("prepare", PrepareArguments, prepare),
    Command("convert mask2former", ConvertMask2FormerArguments, convert_mask2former),
    Command("convert detic", ConvertArguments, convert_detic),
)

"""Figures for papers and slides, of images and of curves."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from partdistillation.commands.arguments import Arguments, Command, Positional, Written
from partdistillation.errors import ConfigError
from partdistillation.runs.terminal import say

if TYPE_CHECKING:
    from partdistillation.report.figures import Choice


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
    names: Annotated[tuple[str, ...], Written("NAME")] = ()
    """File names of the images to show; without them some at random."""
    count: int = 4
    """How many images to show at random."""
    seed: int = 0
    """Decides which."""

    def __post_init__(self) -> None:
        count = max(self.count, len(self.names))
        if not 1 <= count <= 50:
            raise ConfigError(f"--count: expected 1 to 50 images, found {count}")

    def choice(self) -> "Choice":
        """Which images to show."""
        from partdistillation.report import figures

        return figures.Choice(self.names, self.count, self.seed)


@dataclass(frozen=True, kw_only=True)
class StagesFigureArguments(ImagesFigureArguments):
    run: Annotated[Path, Positional("RUN")]
    """Folder of a run, or one that `partdistill predict` wrote."""
    parts_table: Path | None = None
    """Part table: which parts are joined, left out and what they are called."""


def figure_stages(arguments: StagesFigureArguments) -> None:
    """Images side by side with objects, segments, proposals and parts."""
    from partdistillation.report import figures

    table = arguments.parts_table
    say(figures.stages(arguments.run, arguments.out, arguments.choice(), arguments.images, table))


@dataclass(frozen=True, kw_only=True)
class ComparedFigureArguments(ImagesFigureArguments):
    runs: Annotated[tuple[Path, ...], Positional("RUN")]
    """Folders of runs, or of their stages, of the same photographs."""
    labels: Annotated[tuple[str, ...], Written("LABEL")] = ()
    """What to write above the columns, instead of the folders' names."""


def figure_grouping(arguments: ComparedFigureArguments) -> None:
    """Images with their segments by several runs: by encoder, say."""
    from partdistillation.report import figures

    choice, labels = arguments.choice(), arguments.labels
    say(figures.grouping(arguments.runs, arguments.out, choice, arguments.images, labels))


def figure_predictions(arguments: ComparedFigureArguments) -> None:
    """Images with the parts that several methods find."""
    from partdistillation.report import figures

    choice, labels = arguments.choice(), arguments.labels
    say(figures.predictions(arguments.runs, arguments.out, choice, arguments.images, labels))


@dataclass(frozen=True, kw_only=True)
class DiscoveryFigureArguments(FigureArguments):
    scores: Annotated[tuple[Path, ...], Positional("SCORES")]
    """Scores that `partdistill review-scores` wrote (.json)."""
    counted: Literal["unique", "consistent"] = "unique"
    """Which part classes are counted."""


def figure_discovery(arguments: DiscoveryFigureArguments) -> None:
    """Curves of unique or consistent part classes, from reviews."""
    from partdistillation.report import figures

    say(figures.discovery(arguments.scores, arguments.out, counted=arguments.counted))


COMMANDS = (
    Command("figure stages", StagesFigureArguments, figure_stages),
    Command("figure grouping", ComparedFigureArguments, figure_grouping),
    Command("figure predictions", ComparedFigureArguments, figure_predictions),
    Command("figure discovery", DiscoveryFigureArguments, figure_discovery),
)

"""What a folder holds that a run, `predict` or a validation wrote."""

from collections.abc import Sequence
from pathlib import Path

from partdistillation import config
from partdistillation.config import Inputs, Recipe, stand_in
from partdistillation.errors import InputError, StoreError
from partdistillation.recipes import PAPER
from partdistillation.runs import listings, seen
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.manifest import MANIFEST
from partdistillation.runs.remote import bring

OBJECTS = "objects"
"""Folder of stage 1, in a run and in what `predict` wrote."""
SEGMENTS, PROPOSAL_MODEL, FEATURES, PART_CLASSES = "segments", "proposal_model", "features", "part_classes"
"""Folders of stages 2 to 4, whose own modules bring PyTorch, and with it seconds."""
COARSE_SEGMENTS = "coarse_segments"
"""Of stage 2, where objects are grouped into fewer segments too (`segments.coarse_k`)."""
PART_MODEL, RETRAINED = "part_model", "retrained"
"""Of stage 5: the model, and the folder with parts and a model that a part table has changed."""
VALIDATION = "validation"
"""Folder in a run of what its models say of the held-out images."""
PARTS = ("parts", "predictions")
"""Folders with labelled parts: a run's, and those that `predict` wrote."""
STUDIO = "studio"
"""Folder in a run of what the studio keeps about it."""
FIRST_LOOK = "first_look.png"
"""What an estimate draws: a few photographs with their objects and segments."""


def save_settings(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `config.yaml` into the run's folder, whole or not at all; every later command starts from it.

    Raises:
        StoreError: the folder can't be written.
    """
    path = make_folder(inputs.out) / config.CONFIG_FILE
    replace_file(path, config.to_yaml(recipe, inputs).encode())
    return path


def stage_in(folder: Path, names: Sequence[str]) -> Path:
    """The folder itself if it is a stage's, or else the first of these stages that is in it.

    Raises:
        InputError: neither.
    """
    stage = find_stage(folder, names)
    if stage is None:
        inside = f", or one with {' or '.join(names)} in it; found neither" if names else "; found none"
        raise InputError(
            f"{folder}: expected a stage's folder{inside}. "
            "Give the folder of a run (--out of `partdistill run`), or of `partdistill predict`"
        )
    return stage


def find_stage(folder: Path, names: Sequence[str]) -> Path | None:
    """As `stage_in`, or None.

    Raises:
        StoreError: a stage has lost its manifest.
    """
    for place in (folder, *(folder / name for name in names)):
        if (place / MANIFEST).is_file():
            return place
        if place.is_dir() and any(place.glob("*.parquet")):
            raise StoreError(
                f"expected a manifest beside the rows in {place}, found no {MANIFEST}: it can't be told "
                "whether they are whole. Run the command that made them again, in another folder"
            )
    return None


def run_of(model: Path) -> Path | None:
    """The run that a part model's folder lies in: the run's own model, or one trained again on its parts."""
    model = model.absolute()
    run = model.parents[1] if model.parent.name == RETRAINED else model.parent
    return run if model.name == PART_MODEL and (run / config.CONFIG_FILE).is_file() else None


def images_of(run: Path, images: Path | None) -> Path:
    """The folder of photographs: as given, or as `remembered_images`.

    Raises:
        InputError: neither; or there is no such folder, or nothing at such a URL.
        ConfigError: the run's settings can't be read.
    """
    home, place = _remembered(run)
    place = images or place
    if place is None:
        raise InputError(f"{run} doesn't say where its photographs are: give their folder as --images")
    folder = bring(place, home)
    if not (folder.is_dir() or listings.is_folder(folder)):
        raise InputError(
            f"expected a folder of photographs at {folder}, found none: give its new place as --images"
        )
    seen.warn_of_changes(run / OBJECTS, seen.places(folder, None))
    return folder


def remembered_images(folder: Path) -> Path | None:
    """The folder of photographs that the run remembers which a folder is, or lies in.

    In its validation these are the held-out ones: the others may have the same names.

    Raises:
        ConfigError: the run's settings can't be read.
    """
    run, place = _remembered(folder)
    return None if place is None else stand_in(place, run)


def _remembered(folder: Path) -> tuple[Path, Path | None]:
    """The run that a folder is, or lies in (else the folder), and where it says that its photographs are."""
    held_out = False
    for run in (folder.absolute(), *folder.absolute().parents[:2]):
        if (run / config.CONFIG_FILE).is_file():
            inputs, _ = config.from_yaml(run / config.CONFIG_FILE, Inputs(), PAPER)
            return run, inputs.val_images if held_out else inputs.images
        held_out = held_out or run.name == VALIDATION
    return folder, None

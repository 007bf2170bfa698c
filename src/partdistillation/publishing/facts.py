"""What a model card says of a part model: what it was made from, on what, and what it is worth."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from partdistillation import config
from partdistillation.config import LITE0, Inputs, Recipe
from partdistillation.errors import InputError
from partdistillation.evaluation.scores import TITLES
from partdistillation.models.sources import BUILTIN
from partdistillation.recipes import PAPER
from partdistillation.runs.digests import TRAINING
from partdistillation.runs.manifest import load
from partdistillation.runs.notes import read_note
from partdistillation.runs.run_folder import OBJECTS
from partdistillation.runs.stage_reader import contents_hash

ZOO = "CC BY-NC 4.0, as all of Mask2Former's model zoo: not for commercial use"
_UNKNOWN = "not known here: look it up where the model is published"
_UNKNOWN_FOLDER = "not known here: look at what it was made from"
_MEASURED = ("c_miou", "a_miou", "part_ap", "part_ap50")
_MAPPED = "parts: mapped"
"""Of the rows in an evaluation of a model: its own part classes."""
_MOST_BYTES = 50_000_000
"""Of an evaluation's file."""


class Base(NamedTuple):
    """A model that another was made from."""

    role: str
    name: str
    """As it is published, or only the last name of a folder: paths stay at home."""
    license: str
    published: bool = False
    """Whether the hub has it, under that name."""


class Data(NamedTuple):
    """The photographs of a run."""

    name: str
    """Of their folder."""
    photographs: int


class Measured(NamedTuple):
    """A part model's scores on some true parts."""

    protocol: str
    data: str
    images: int
    scores: Mapping[str, float]
    """Fractions by what they are called."""


@dataclass(frozen=True)
class Facts:
    """What is known of how a part model was made."""

    bases: tuple[Base, ...] = ()
    data: Data | None = None
    measured: tuple[Measured, ...] = ()
    salient: bool = False
    """Whether the objects are what stands out in a photograph, one in each."""
    grown: bool = False
    """Whether only the newest object classes were learned in this run."""


def read_facts(model: Path, run: Path | None, evaluations: Sequence[Path] = ()) -> Facts:
    """What the run of a part model says, and those evaluations that are of this model.

    Args:
        model: the part model's folder.
        run: the run's folder, where there is one.
        evaluations: what `partdistill evaluate --model` wrote: `evaluation.json`, or the folder with it; by
            default those in the run's folder.

    Raises:
        InputError: an evaluation can't be read, or is of another model.
        ConfigError, StoreError: the run's settings or objects can't be read.
    """
    measured = tuple(_measured(model, run, evaluations))
    if run is None:
        return Facts(measured=measured)
    inputs, recipe = config.from_yaml(run / config.CONFIG_FILE, Inputs(), PAPER)
    data = None
    if inputs.images is not None:
        shards = load(run / OBJECTS).shards
        data = Data(inputs.images.name, sum(shard.rows for shard in shards))
    grown = "grown" in read_note(model / TRAINING)
    return Facts(tuple(_bases(recipe)), data, measured, recipe.objects.source == "salient", grown)


def _bases(recipe: Recipe) -> Iterator[Base]:
    yield base(recipe.encoder, "network that training began from")
    for name in recipe.segments.encoders:
        yield base(name, "features that pixels were grouped by")
    if recipe.objects.source == "salient":
        name = recipe.objects.model or "u2netp"
        yield Base("what finds the objects", Path(name).name, _LICENSES.get(Path(name).stem, _UNKNOWN))
    elif recipe.objects.model:
        yield base(recipe.objects.model, "what found the objects")


_LICENSES = {
    LITE0: "Apache-2.0",
    f"{BUILTIN}part-shapes": "MIT, as this software; it has seen drawings alone",
    "u2netp": "Apache-2.0",
}


def base(name: str, role: str) -> Base:
    """A base model as a card names it, with its licence where that is known."""
    if name in _LICENSES:
        return Base(role, name, _LICENSES[name])
    if Path(name).expanduser().exists() or name.startswith((".", "~", "/")) or name.count("/") != 1:
        return Base(role, f"a local folder, {Path(name).name}", _UNKNOWN_FOLDER)
    published = name.partition("@")[0]
    zoo = re.fullmatch(r"facebook/(mask2former|maskformer)-.*", published)
    return Base(role, published, ZOO if zoo else _UNKNOWN, published=True)


# ---------------------------------------------------------------------- scores


def _measured(model: Path, run: Path | None, evaluations: Sequence[Path]) -> Iterator[Measured]:
    files = [path / "evaluation.json" if path.is_dir() else path for path in evaluations]
    own = contents_hash(model)
    for path in files or _in_run(run):
        try:
            yield from _scores(_read(path), own)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if files:
                raise InputError(
                    f"{path}: expected the evaluation.json that `partdistill evaluate --model {model}` "
                    f"wrote, found {error}"
                ) from error


def _in_run(run: Path | None) -> list[Path]:
    if run is None:
        return []
    return sorted({*run.glob("evaluation.json"), *run.glob("*/evaluation.json")})


def _read(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: expected an evaluation.json, found none; check the path")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES:,} bytes")
    return json.loads(path.read_bytes())


def _scores(content: Any, model: str) -> Iterator[Measured]:
    """The scores of a model with this hash as a table of a model has them, or one of what it predicted."""
    provenance = content["provenance"]
    if model not in provenance["made_from"].values():
        raise ValueError("one of another model")
    rows = content.get("rows", [{"name": _MAPPED, **content}])
    for row in rows:
        if row["name"] != _MAPPED:
            continue
        for values in row["protocols"]:
            scores = {TITLES[name]: float(values[name]) for name in _MEASURED if values[name] is not None}
            data = f"true parts with SHA-256 {provenance['truth'][:12]}"
            yield Measured(str(values["protocol"]), data, int(values["images"]), scores)

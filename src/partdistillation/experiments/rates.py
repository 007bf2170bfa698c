"""What labelling and training take, by unit: measured on a few photographs, by a finished run, or given."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

from partdistillation.errors import InputError
from partdistillation.runs import profiling
from partdistillation.runs.manifest import MANIFEST
from partdistillation.runs.mirror import is_mirrored, storage_at, url_of
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.run_folder import (
    COARSE_SEGMENTS,
    FEATURES,
    OBJECTS,
    PART_CLASSES,
    PART_MODEL,
    PARTS,
    PROPOSAL_MODEL,
    SEGMENTS,
)
from partdistillation.runs.stage_log import SECONDS
from partdistillation.runs.stage_reader import read_rows
from partdistillation.status.metrics import metrics_of
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import Rows, rows_of

OF_AN_OBJECT = ("group", "refine", "encode masks")
"""Steps of the segments stage (`runs.profiling`) that are done for every object; others for a photograph."""
TRAININGS = ("proposals", "distillation")
_LABELS = {
    OBJECTS: ("objects",),
    SEGMENTS: ("segments", "coarse segments"),
    FEATURES: ("ranking: features",),
    PARTS[0]: ("ranking: parts",),
}
"""What steps that label are called in a profile, by the folders that they write."""
_MODELS = {"proposals": PROPOSAL_MODEL, "distillation": PART_MODEL}
_DESCRIPTION = f"{PART_CLASSES}/part_classes.json"


@dataclass(frozen=True)
class Labelling:
    """What a photograph takes of one worker: a process, with its GPU where there is one."""

    seconds: float
    """Whatever is in it."""
    object_seconds: float = 0.0
    """For each of its objects, besides."""
    bytes: float = 0.0
    """Of its row."""

    def __add__(self, other: "Labelling") -> "Labelling":
        """Both, one after the other."""
        return Labelling(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))

    def of(self, objects: float) -> float:
        """Seconds of a photograph with so many objects."""
        return self.seconds + self.object_seconds * objects


@dataclass(frozen=True)
class Training:
    """What a step takes of one worker."""

    step: float
    """Seconds, however few images it has."""
    image: float
    """Seconds an image."""
    bytes: float = 0.0
    """Of the model."""

    def of(self, images: float) -> float:
        """Seconds of a step with so many images."""
        return self.step + self.image * images


@dataclass(frozen=True)
class Rates:
    """All that a plan is made from. What isn't known isn't there."""

    source: str
    """Where they were measured, in words."""
    objects: float
    """Of a photograph."""
    proposals: float
    """Of an object, that are clustered."""
    classes: int
    """Object classes."""
    labelling: Mapping[str, Labelling] = field(default_factory=dict)
    """By what is written: objects, segments, features, parts."""
    training: Mapping[str, Training] = field(default_factory=dict)
    """By stage: proposals, distillation."""
    clustering: float | None = None
    """Seconds a proposal, on one worker."""
    commit: float = 0.0
    """Seconds a shard, whatever is in it: until it is safely on the disk."""
    assumptions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As a file holds them."""
        return asdict(self)


def read_rates(path: Path) -> Rates:
    """Rates from a JSON file: what `partdistill plan --json` printed, or `benchmarks/gpu.py --rates` wrote.

    Raises:
        InputError: it holds something else.
    """
    try:
        values = json.loads(path.read_bytes())
        values = values.get("rates", values)
        rates = Rates(
            source=str(values["source"]),
            objects=float(values["objects"]),
            proposals=float(values["proposals"]),
            classes=int(values["classes"]),
            labelling={str(name): Labelling(**rate) for name, rate in values["labelling"].items()},
            training={str(name): Training(**rate) for name, rate in values["training"].items()},
            clustering=values.get("clustering"),
            commit=values.get("commit", 0.0),
            assumptions=tuple(map(str, values.get("assumptions", ()))),
        )
        numbers = [
            *_numbers(rates),
            rates.objects,
            rates.proposals,
            rates.classes,
            rates.clustering or 0.0,
            rates.commit,
        ]
        if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
            raise InputError(f"{path}: expected rates that are numbers from 0 on, found {numbers}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected rates, as `partdistill plan --json` prints or `benchmarks/gpu.py --rates` "
            f"writes them; found something else ({error!r})"
        ) from None
    return rates


def _numbers(rates: Rates) -> list[float]:
    return [
        number
        for rate in (*rates.labelling.values(), *rates.training.values())
        for number in vars(rate).values()
    ]


# ---------------------------------------------------------------------- of a finished run


def rates_of_run(out: str) -> Rates:
    """From what a finished run remembers: how long its stages took, its rows, its profile if it has any.

    Raises:
        InputError: it isn't finished, or is no run.
        StoreError: some of it is damaged.
    """
    files = RunFiles(out, storage_at(Path(out)))
    if files.folder is None:
        raise InputError(
            f"{files.place}: expected the folder of a run on a disk of this machine; copy it, or give rates "
            "as a file (--rates)"
        )
    seconds, rows = _finished(files)
    profile, ranking = files.note(profiling.FILE), _ranking(files.folder, seconds["ranking"])
    classes = files.note(_DESCRIPTION).get("classes", {})
    objects, proposals = _objects(files.folder), sum(entry.get("proposals", 0) for entry in classes.values())
    each = objects / rows[OBJECTS].done
    spent = {OBJECTS: seconds["objects"], SEGMENTS: seconds["segments"], **ranking}
    labelling = {
        name: _labelling(_profiled(profile, _LABELS[name]) or spent[name], there)
        for name, there in rows.items()
    }
    apart = PART_CLASSES in ranking
    if (coarse := rows_of(files, COARSE_SEGMENTS)) is not None and coarse.done:
        labelling[SEGMENTS] += _labelling(0.0, coarse)
    labelling[SEGMENTS] = _by_object(labelling[SEGMENTS], profile, each)
    return Rates(
        source=f"the run {url_of(Path(out)) or files.place}",
        objects=each,
        proposals=proposals / objects if objects else 0.0,
        classes=len(classes),
        labelling=labelling,
        training={
            name: _training(files, name, seconds[name], profile, files.folder / _MODELS[name])
            for name in TRAININGS
        },
        clustering=ranking[PART_CLASSES] / proposals if apart and proposals else None,
        assumptions=(
            *(() if apart else ("in the time of ranking's features is that of its clustering and parts",)),
            "a worker is as fast as all that the run was done with together, machines and processes; in "
            "stages with a profile (--profile), as each of its processes",
            "each of its stages was done by one command, without a stop",
        ),
    )


def _finished(files: RunFiles) -> tuple[dict[str, float], dict[str, Rows]]:
    """How long stages took, and the rows that they have written.

    Raises:
        InputError: some haven't ended.
    """
    seconds = {name: value for name, value in files.note(SECONDS).items() if isinstance(value, int | float)}
    rows = {
        name: there
        for name in _LABELS
        if (there := rows_of(files, name)) is not None and there.done == there.total
    }
    missing = [name for name in ("objects", "segments", "ranking", *TRAININGS) if name not in seconds]
    missing += [f"{name}/" for name in _LABELS if name not in rows]
    if missing:
        raise InputError(
            f"{files.place}: expected a finished run, which says how long each stage took; it says nothing "
            f"of {', '.join(missing)}. Let it finish, or measure with --photographs"
        )
    return seconds, rows


def _labelling(seconds: float, rows: Rows) -> Labelling:
    """Of a photograph, from those of all."""
    return Labelling(seconds / rows.done, bytes=sum(shard.size for shard in rows.committed) / rows.done)


def _objects(run: Path) -> int:
    """How many its photographs have."""
    return sum(len(row.objects) for row in read_rows(run / OBJECTS, ObjectRow))


def _ranking(folder: Path, seconds: float) -> dict[str, float]:
    """The three steps of stage 4, by when their last files were written; of a copy, all in the first."""
    ends = [folder / FEATURES / MANIFEST, folder / _DESCRIPTION, folder / PARTS[0] / MANIFEST]
    features, classes, parts = (path.stat().st_mtime for path in ends)
    clustering, labelling = classes - features, parts - classes
    if is_mirrored(folder) or min(clustering, labelling) < 0 or clustering + labelling > seconds:
        return {FEATURES: seconds, PARTS[0]: 0.0}
    return {FEATURES: seconds - clustering - labelling, PART_CLASSES: clustering, PARTS[0]: labelling}


def _profiled(profile: Mapping[str, Any], labels: Collection[str], step: str = "") -> float | None:
    """Seconds of a step, of all processes together."""
    rows = [row for label in labels for row in profile.get(label, ()) if row.get("step") == step]
    return sum(float(row["wall_seconds"]) for row in rows) if rows else None


def _by_object(rate: Labelling, profile: Mapping[str, Any], objects: float) -> Labelling:
    """What is done for every object apart from what is done once, where there is a profile."""
    labels = _LABELS[SEGMENTS]
    whole = _profiled(profile, labels)
    if not whole or not objects:
        return rate
    share = sum(_profiled(profile, labels, step) or 0.0 for step in OF_AN_OBJECT) / whole
    return Labelling(rate.seconds * (1 - share), rate.seconds * share / objects, rate.bytes)


def _training(
    files: RunFiles, stage: str, seconds: float, profile: Mapping[str, Any], model: Path
) -> Training:
    recipe = files.settings()[1]
    config = recipe.proposals if stage == "proposals" else recipe.distillation
    steps = metrics_of(files).steps.get(stage, 0)
    if not steps:
        raise InputError(f"{files.place}: expected lines of {stage} in metrics.jsonl, found none")
    update = (_profiled(profile, stage, "optimizer") or 0.0) / steps
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    return Training(update, (seconds / steps - update) / config.batch_size, float(size))

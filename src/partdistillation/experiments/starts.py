"""The models that an experiment starts from: what each is called, and whether it can be loaded."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from partdistillation.errors import ConfigError
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.sources import BUILTIN, resolve

OWN = "run:"
"""Before the path of a model in the folder of each run: `run:part_model`."""


class Start(NamedTuple):
    """A model to start from."""

    name: str
    """A safe folder name, no other start's."""
    asked: str
    """How it was asked for."""
    source: str
    """What `models.sources` resolves: a folder, a published model's name, or a model in this package."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What hashes are of; nothing of a published model."""
        return resolve(self.source).files

    def check(self) -> None:
        """Load the model, and let go of it.

        Raises:
            CheckpointError: it can't be loaded.
        """
        PartMask2Former.from_pretrained(resolve(self.source).path)


def starts(models: Sequence[str], folder: Path, taken: Collection[str] = ()) -> list[Start]:
    """The models by name, those of a run's own in its `folder`; `taken` are names that none may have.

    A name is the end of a path, as much of it as tells the models apart: `part_model`, or `mine-part_model`.

    Raises:
        ConfigError: there is no model, or two would have one name however much of their paths it had.
    """
    if not models:
        raise ConfigError("--models: expected at least one model to start from, found none")
    models_to_start = []
    for name, model in zip(names(models, taken), models, strict=True):
        own = model.startswith(OWN)
        # absolute, or a relative folder might be taken for a published model's name
        source = str(folder.absolute() / model.removeprefix(OWN)) if own else model
        models_to_start.append(Start(name, model, source))
    return models_to_start


def names(models: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Safe names, as short as they can be; in the order of the models.

    Raises:
        ConfigError: two have one name however much of their paths it has.
    """
    paths = [_path(model) for model in models]
    lengths = [1] * len(paths)
    while True:
        short = ["-".join(path[-length:]) for path, length in zip(paths, lengths, strict=True)]
        same = [name.casefold() for name in short]  # some file systems don't tell A from a
        clashing = [i for i, name in enumerate(same) if same.count(name) > 1 or name in taken]
        if not clashing:
            return short
        longer = [i for i in clashing if lengths[i] < len(paths[i])]
        if not longer:
            raise ConfigError(
                f"--models: expected models with names of their own, found {short[clashing[0]]} for "
                f"{' and '.join(models[i] for i in clashing if same[i] == same[clashing[0]])}; give each "
                "model once, or rename its folder"
            )
        for i in longer:
            lengths[i] += 1


def _path(model: str) -> list[str]:
    """What a name can be made of, with nothing in it that a folder's name can't have."""
    if model.startswith(BUILTIN):
        steps: Sequence[str] = [model]
    elif model.startswith(OWN):
        steps = Path(model.removeprefix(OWN)).parts
    else:
        path = Path(model).expanduser()
        steps = path.resolve().parts if path.exists() else path.parts
    safe = [re.sub(r"[^\w.-]+", "-", step).strip(".-") for step in steps]
    return [step for step in safe if step] or ["model"]

"""A folder of part classes: each object class's centroids, and a description of what they were found from."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save

from partdistillation.errors import SettingsChanged, StoreError
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.digests import require_whole, write_digests
from partdistillation.runs.manifest import Json, differences
from partdistillation.runs.run_folder import PART_CLASSES
from partdistillation.runs.tensor_keys import key_of, name_of

FOLDER = PART_CLASSES
_CENTROIDS = "centroids.safetensors"
_DESCRIPTION = "part_classes.json"

Centroids = Mapping[str, Float[np.ndarray, "part dim"]]
Origin = Mapping[str, Json]
"""What part classes follow from: the settings, and a hash of the features."""


def are_found(folder: Path, origin: Origin, *, also_delete: str) -> bool:
    """Whether the part classes are there. `also_delete` is what is made of them, for the message.

    Raises:
        SettingsChanged: they are, but with other settings or from other features.
    """
    path = folder / _DESCRIPTION
    if not path.exists():
        return False
    require_whole(folder)
    changes = differences({key: json.loads(path.read_bytes()).get(key) for key in origin}, origin)
    if changes:
        raise SettingsChanged(
            f"{folder} was made with other settings or features:\n  "
            + "\n  ".join(changes)
            + "\nGo back to the old ones, choose another --out, or "
            + f"delete {folder} and {also_delete} beside it."
        )
    return True


def write(folder: Path, centroids: Centroids, origin: Origin, classes: Mapping[str, Json]) -> None:
    """Write the folder; `classes` is what the description says of each object class."""
    make_folder(folder)
    text = json.dumps({**origin, "classes": classes}, indent=1, ensure_ascii=False)
    keyed = {key_of(name): rows for name, rows in centroids.items()}
    files = {_CENTROIDS: save(keyed), _DESCRIPTION: (text + "\n").encode()}
    write_digests(folder, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    for name, data in files.items():  # the description last: it says that the folder is whole
        replace_file(folder / name, data)


def read(folder: Path) -> Centroids:
    """The centroids of every object class.

    Raises:
        StoreError: there are none.
        CheckpointError: they are damaged.
    """
    if not (folder / _CENTROIDS).is_file():
        raise StoreError(
            f"expected part classes in {folder}, found none: run `partdistill rank` to find them"
        )
    require_whole(folder)
    return {name_of(key): rows for key, rows in load_file(folder / _CENTROIDS).items()}

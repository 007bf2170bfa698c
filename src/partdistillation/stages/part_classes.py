"""A folder of part classes: each object class's centroids, and a description of what they were found from."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Shaped
from safetensors import safe_open
from safetensors.numpy import save

from partdistillation.config import Inputs
from partdistillation.errors import SettingsChanged, StoreError
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.claims import by_one
from partdistillation.runs.digests import require_whole, write_digests
from partdistillation.runs.manifest import Json, differences
from partdistillation.runs.mirror import refresh_folder
from partdistillation.runs.records import Row
from partdistillation.runs.run_folder import PART_CLASSES
from partdistillation.runs.tensor_keys import key_of, name_of
from partdistillation.runs.terminal import say
from partdistillation.stages.class_clustering import Cluster, cluster_classes, remove_scratch

FOLDER = PART_CLASSES
_CENTROIDS = "centroids.safetensors"
DESCRIPTION = "part_classes.json"

S = TypeVar("S", bound=Row)
Centroids = Mapping[str, Float[np.ndarray, "part dim"]]
Origin = Mapping[str, Json]
"""What part classes follow from: the settings, and a hash of the features."""


def find(
    folder: Path,
    inputs: Inputs,
    *,
    source: Path,
    read: type[S],
    features: Callable[[S], Iterable[tuple[str, Shaped[np.ndarray, "n dim"]]]],
    cluster: Cluster,
    origin: Origin,
    also_delete: str,
    label: str,
) -> bool:
    """Write the part classes of a stage's features, if they aren't there; whether there are any.

    As `class_clustering.cluster_classes`, but that several workers may share it, of whom one writes.

    Raises:
        SettingsChanged: they are there, but with other settings or from other features.
    """
    if are_found(folder, origin, also_delete=also_delete):
        remove_scratch(folder)
        return True
    try:
        clusters = cluster_classes(
            folder,
            inputs,
            source=source,
            read=read,
            features=features,
            cluster=cluster,
            origin=origin,
            label=f"{label}: part classes",
        )
    except StoreError:  # what another one removed, who had finished while this one was stopped
        refresh_folder(folder)
        if are_found(folder, origin, also_delete=also_delete):
            remove_scratch(folder)  # what this one has added since
            return True
        raise
    if clusters:
        task = "-".join(folder.relative_to(inputs.out).parts)
        with by_one(inputs, task, done=(folder / DESCRIPTION).exists):
            if not are_found(folder, origin, also_delete=also_delete):
                for category, found in clusters.items():
                    if found.remark:
                        say(f"{label}: {category}: {found.remark}", stderr=True)
                centroids = {category: found.centroids for category, found in clusters.items()}
                write(folder, centroids, origin, {name: found.about for name, found in clusters.items()})
    remove_scratch(folder)
    return bool(clusters)


def are_found(folder: Path, origin: Origin, *, also_delete: str) -> bool:
    """Whether the part classes are there. `also_delete` is what is made of them, for the message.

    Raises:
        SettingsChanged: they are, but with other settings or from other features.
    """
    path = folder / DESCRIPTION
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
    files = {_CENTROIDS: save(keyed), DESCRIPTION: (text + "\n").encode()}
    write_digests(folder, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    for name, data in files.items():  # the description last: it says that the folder is whole
        replace_file(folder / name, data)


def read(folder: Path) -> Centroids:
    """The centroids of every object class, each read from disk when it is asked for.

    Raises:
        StoreError: there are none.
        CheckpointError: they are damaged.
    """
    if not (folder / _CENTROIDS).is_file():
        raise StoreError(
            f"expected part classes in {folder}, found none: run `partdistill rank` to find them"
        )
    require_whole(folder)
    return _StoredCentroids(folder / _CENTROIDS)


class _StoredCentroids(Mapping[str, Float[np.ndarray, "part dim"]]):
    def __init__(self, path: Path) -> None:
        self._file: Any = safe_open(path, framework="numpy")
        keys = self._file.keys()  # type: ignore[no-untyped-call]
        self._keys = {name_of(key): key for key in sorted(keys)}

    def __getitem__(self, name: str) -> Float[np.ndarray, "part dim"]:
        rows: Float[np.ndarray, "part dim"] = self._file.get_tensor(self._keys[name])
        return rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

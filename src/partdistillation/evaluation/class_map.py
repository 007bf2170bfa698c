"""A data set's object classes under the names that a model knows them by: for zero-shot evaluation.

A YAML file, a line a class of the data set, and by which of the model's classes it is read:

    tabby: cat
    Siamese: cat
    n01440764: Fish

Several classes may be read by the same one. Classes that aren't named keep their name.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import yaml

from partdistillation.errors import InputError
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow
from partdistillation.settings import did_you_mean

ClassMap = Mapping[str, str]
"""The model's class by the data set's."""

Labelled = TypeVar("Labelled", ProposalRow, PartRow)


def read_class_map(path: Path, *, own: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Read by which of a model's classes those of a data set are read.

    Args:
        path: the YAML file. Whatever stands there is text: `no` and `1` are names.
        own: the data set's object classes.
        known: the model's.

    Raises:
        InputError: the file can't be read, isn't such lines, names a class twice or one that isn't there.
    """
    names: dict[str, str] = {}
    for name, read_as in _lines(path):
        if name in names:
            raise InputError(f"{path}: expected every class once, found {name!r} twice")
        names[name] = read_as
    if not names:
        raise InputError(f"{path}: expected lines `class of the data set: class of the model`, found none")
    for name, read_as in names.items():
        _check(f"{path}: {name!r}", name, own, "the data set's object classes")
        _check(f"{path}: {name}: {read_as!r}", read_as, known, "the model's object classes")
    return names


def labelled_under(names: ClassMap, label: Callable[[ObjectRow], Labelled], row: ObjectRow) -> Labelled:
    """Label an image's objects as the classes that `names` says; what is found is of their own classes."""
    categories = {instance.object_id: instance.category for instance in row.objects}
    read = tuple(
        replace(instance, category=names.get(instance.category, instance.category))
        for instance in row.objects
    )
    labelled = label(replace(row, objects=read))
    back = tuple(replace(instance, category=categories[instance.object_id]) for instance in labelled.objects)
    return replace(labelled, objects=back)


def _lines(path: Path) -> list[tuple[str, str]]:
    """As the file has them: a parsed mapping would hide a class that is there twice."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a YAML file that can be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:  # of brackets nested too deeply
        raise InputError(f"{path}: expected YAML: {error}") from error
    if root is None:
        return []
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    scalars = all(isinstance(node, yaml.ScalarNode) and node.value for pair in pairs for node in pair)
    if not pairs or not scalars:
        raise InputError(
            f"{path}: expected lines `class of the data set: class of the model`, one name on either side"
        )
    return [(key.value, value.value) for key, value in pairs]


def _check(where: str, name: str, among: Collection[str], what: str) -> None:
    if name not in among:
        raise InputError(f"{where}: expected one of {what}, found another.{did_you_mean(name, among)}")

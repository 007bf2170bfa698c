"""Which of the objects that a model finds are kept, and under what name (paper, section 4.1).

Where the class of a photograph is known, only objects of that class count, the best ten of them. People may
be looked for besides, under several names, which find the same people more than once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from partdistillation.classes.class_list import ClassEntry, ClassList
from partdistillation.errors import ConfigError
from partdistillation.functional.masks import EncodedMasks, pairwise_iou
from partdistillation.runs.records import Object
from partdistillation.settings import did_you_mean

PEOPLE = ("human", "man", "woman", "toddler", "person")
"""What people are looked for as, on ImageNet-1K, whose classes don't name them."""
PERSON = "person"
"""The class of those that are found so."""
PEOPLE_SCORE = 0.3
"""They are kept above this score."""
SAME = 0.5
"""Masks with a higher IoU show one object."""

_SYNSET = re.compile(r"n\d{8}")


def open_vocabulary(folders: Sequence[str]) -> ClassList:
    """The classes to ask for where no list says them, and the model takes any name: the folders' names.

    Underscores stand for spaces.

    Raises:
        ConfigError: there are no class folders, or their names say nothing.
    """
    advice = "give a list of classes with --objects.classes (docs/datasets.md says what it looks like)"
    if not folders:
        raise ConfigError(
            "this model finds what it is asked for; expected photographs in folders named after their class, "
            f"found none: {advice}"
        )
    if all(map(_SYNSET.fullmatch, folders)):
        raise ConfigError(
            "this model finds what it is asked for by name; expected folders named in words, found WordNet's "
            f"numbers ({folders[0]}): {advice}, with these folders in its third column"
        )
    return ClassList(tuple(ClassEntry(name, name.replace("_", " "), name) for name in folders))


def plain_list(names: Iterable[str]) -> ClassList:
    """Classes that are called in their folders, and asked for, as they are called."""
    return ClassList(tuple(ClassEntry(name, name, name) for name in names))


def known_prompts(classes: ClassList, vocabulary: Sequence[str]) -> tuple[str, ...]:
    """What of a list a model of a fixed vocabulary can be asked for.

    Raises:
        ConfigError: nothing; the message names the nearest class that it knows.
    """
    prompts = tuple(dict.fromkeys(entry.prompt for entry in classes.entries))
    known = set(vocabulary)
    usable = tuple(prompt for prompt in prompts if prompt in known)
    if not usable:
        raise ConfigError(
            f"--objects.classes: expected classes that the model knows, found none of its {len(vocabulary)}, "
            f"and {prompts[0]!r} first.{did_you_mean(prompts[0], vocabulary)}"
        )
    return usable


def best(
    objects: Iterable[Object], *, pixels: int, max_objects: int | None, min_area: float
) -> tuple[list[Object], list[str]]:
    """The best objects by score, then area, and what was left out.

    Left out are those without pixels or under `min_area` (a share of the image's `pixels`), and those after
    the best `max_objects`, if there is a limit.
    """
    ranked = sorted(objects, key=lambda candidate: (-candidate.score, -candidate.area))
    large = [candidate for candidate in ranked if candidate.area >= max(1, min_area * pixels)]
    left_out = []
    if len(large) < len(ranked):
        left_out.append(f"{len(ranked) - len(large)} empty or smaller than {min_area:g} of the image")
    if max_objects is not None and len(large) > max_objects:
        left_out.append(f"{len(large) - max_objects} after the best {max_objects}")
    return large[:max_objects], left_out


def distinct(
    objects: Iterable[Object],
    height: int,
    width: int,
    *,
    max_overlap: float = SAME,
    taken: Sequence[Object] = (),
) -> list[Object]:
    """The objects, best first, without those whose mask is that of a better one, or of one `taken`.

    That is, whose IoU with it is over `max_overlap`, whatever their classes.
    """
    kept = list(taken)
    for candidate in sorted(objects, key=lambda candidate: (-candidate.score, -candidate.area)):
        if _overlap(kept, candidate, height, width) <= max_overlap:
            kept.append(candidate)
    return kept[len(taken) :]


def _overlap(kept: Sequence[Object], candidate: Object, height: int, width: int) -> float:
    """The largest IoU with any of those that are kept."""
    others = EncodedMasks([other.rle for other in kept], height, width)
    return float(pairwise_iou(EncodedMasks([candidate.rle], height, width), others).max(initial=0.0))


def people(
    objects: Iterable[Object], height: int, width: int, *, taken: Sequence[Object] = ()
) -> list[Object]:
    """Objects found as `PEOPLE`, each person once, as `PERSON`; `taken` are those that are known already."""
    persons = [replace(candidate, category=PERSON) for candidate in objects if candidate.score > PEOPLE_SCORE]
    return distinct(persons, height, width, taken=taken)


def named(objects: Iterable[Object], names: Mapping[str, str]) -> list[Object]:
    """Objects under their classes' names, by what they were asked for as."""
    return [replace(candidate, category=names[candidate.category]) for candidate in objects]

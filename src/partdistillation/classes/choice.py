"""Which classes: the paper's choice among ImageNet-21K's by WordNet (supplement, "Manual evaluation").

Subtrees of "non-object" and "object without parts" categories are left out; of the rest come nested random
samples, and samples inside and outside the subtrees that PartImageNet's classes are from. The paper names
the subtrees by words; which senses are meant is our reading, in the tables below.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from partdistillation.classes.class_list import content_lines, folders_or_lines
from partdistillation.classes.wordnet import SENSE, SYNSET_ID, WordNet, listed_sense
from partdistillation.errors import InputError

Subtrees: TypeAlias = Mapping[str, tuple[str, ...]]
"""Words of the paper, and the senses that are the roots."""

EXCLUDED: Subtrees = {
    "food": ("food.n.01", "food.n.02"),
    "foodstuff": ("foodstuff.n.02",),
    "room": ("room.n.01",),
    "herb": ("herb.n.01",),
    "tree": ("tree.n.01",),
    "fungus": ("fungus.n.01",),
    "event": ("event.n.01",),
    "act": ("act.n.02",),
    "area": ("area.n.01", "area.n.05"),
    "grass": ("grass.n.01",),
    "geological formation": ("geological_formation.n.01",),
    "sauce": ("sauce.n.01",),
    "woody plant": ("woody_plant.n.01",),
    "structure": ("structure.n.01",),
    "abstraction": ("abstraction.n.06",),
    "casting": ("casting.n.01",),
    "plant organ": ("plant_organ.n.01",),
    "mixed drink": ("mixed_drink.n.01",),
    "plant part": ("plant_part.n.01",),
    "body part": ("body_part.n.01",),
    "part": ("part.n.02", "part.n.03"),
    "region": ("region.n.01", "region.n.03"),
    "mechanism": ("mechanism.n.05",),
    "fabric": ("fabric.n.01",),
    "material": ("material.n.01",),
    "vine": ("vine.n.01",),
    "substance": ("substance.n.01", "substance.n.07"),
    "beverage": ("beverage.n.01",),
    "attribute": ("attribute.n.02",),
    "natural phenomenon": ("natural_phenomenon.n.01",),
    "meal": ("meal.n.01",),
    "cosmetic": ("cosmetic.n.01",),
    "weed": ("weed.n.01",),
}
"""What is left out, in the paper's order."""

PART_IMAGENET: Subtrees = {
    "quadruped": ("carnivore.n.01", "ungulate.n.01"),
    "biped": ("ape.n.01", "monkey.n.01"),
    "fish": ("fish.n.01",),
    "bird": ("bird.n.01",),
    "snake": ("snake.n.01",),
    "reptile": ("reptile.n.01",),
    "car": ("motor_vehicle.n.01", "bus.n.01"),
    "bicycle": ("bicycle.n.01", "tricycle.n.01"),
    "boat": ("boat.n.01", "sailing_vessel.n.01"),
    "aeroplane": ("airplane.n.01",),
    "bottle": ("bottle.n.01",),
}
"""PartImageNet's super-categories and the subtrees that stand for them. WordNet has nothing below "quadruped"
and "biped", and PartImageNet's 23 kinds of car are more than the 10 that ImageNet-1K has below "car"."""

SIZES = (100, 500, 1_000, 5_000, 10_000)
SIDE = 300
"""Classes inside PartImageNet's subtrees, and as many outside."""


@dataclass(frozen=True)
class Candidates:
    """The classes to choose from."""

    offsets: frozenset[int]
    unknown: tuple[str, ...] = ()
    """Folders, or lines of a file, that are no class of WordNet's."""


class Sample(NamedTuple):
    name: str
    """Of the file to write, without its suffix."""
    wanted: int
    offsets: tuple[int, ...]
    """The classes, at random; fewer than wanted where there are no more."""


@dataclass(frozen=True)
class Choice:
    remaining: tuple[int, ...]
    """The candidates that aren't left out, in the order of WordNet."""
    samples: tuple[Sample, ...]


def all_kinds(wordnet: WordNet) -> Candidates:
    """Every noun that is a kind of things: individuals (the Eiffel Tower) are no classes."""
    return Candidates(
        frozenset(synset.offset for synset in wordnet.synsets.values() if not synset.individual)
    )


def read_candidates(path: Path, wordnet: WordNet) -> Candidates:
    """Classes by ImageNet's ids: the folders of a directory, or the lines of a text file.

    A line starts with an id ("n01440764 tench, Tinca tinca") or a sense (`tench.n.01`); the rest is ignored.

    Raises:
        InputError: `path` can't be read, or names no class that WordNet has.
    """
    words = [listed_sense(line) or line.split()[0] for _, line in folders_or_lines(path)]
    offsets: set[int] = set()
    unknown = []
    for word in words:
        try:
            offsets.add(wordnet.sense(word).offset)
        except InputError:
            unknown.append(word)
    if not offsets:
        first = f" ({', '.join(words[:3])} ...)" if words else ""
        raise InputError(
            f"{path}: expected classes by their ids in ImageNet, such as n01440764, found {len(words)} other "
            f"names{first}; give a folder of class folders, or a text file with an id a line"
        )
    return Candidates(frozenset(offsets), tuple(unknown))


def read_roots(path: Path, wordnet: WordNet) -> tuple[int, ...]:
    """Roots of subtrees: a sense (`food.n.02`), an id, or a name that has one sense, a line; the rest after a
    tab is ignored.

    Raises:
        InputError: the file can't be read or is empty, or a line (which the message names) isn't such a root.
    """
    roots = []
    for number, line in content_lines(path):
        try:
            roots.append(_root(line.split("\t")[0].strip(), wordnet))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
    if not roots:
        raise InputError(f"{path}: expected subtrees, one a line, found none")
    return tuple(roots)


def roots_of(senses: Subtrees, wordnet: WordNet) -> tuple[int, ...]:
    """The synsets of one of the tables above."""
    return tuple(wordnet.sense(sense).offset for group in senses.values() for sense in group)


def choose(
    wordnet: WordNet,
    candidates: Collection[int],
    *,
    excluded: Iterable[int],
    inside: Iterable[int],
    seed: int,
) -> Choice:
    """Leave out the subtrees of `excluded`, then sample; a smaller sample is the start of a larger one.

    Whether a class is drawn before another depends on the two and the seed alone, so that other candidates or
    subtrees change a sample little. What is above a root of `inside` ("vertebrate" above "bird") is neither
    inside nor outside.
    """
    roots = tuple(inside)
    remaining = sorted(set(candidates) - wordnet.subtree(excluded))
    within = wordnet.subtree(roots)
    above = frozenset[int]().union(*(wordnet.ancestors(root) for root in roots))
    order = _shuffled(remaining, seed, "classes")
    inner = _shuffled((offset for offset in remaining if offset in within), seed, "inside")
    outer = _shuffled((offset for offset in remaining if offset not in within | above), seed, "outside")
    return Choice(
        tuple(remaining),
        (
            *(Sample(f"classes_{size}", size, order[:size]) for size in SIZES),
            Sample(f"inside_{SIDE}", SIDE, inner[:SIDE]),
            Sample(f"outside_{SIDE}", SIDE, outer[:SIDE]),
        ),
    )


def _root(word: str, wordnet: WordNet) -> int:
    if SYNSET_ID.fullmatch(word) or SENSE.fullmatch(word):
        return wordnet.sense(word).offset
    senses = wordnet.senses_of(word)
    if not senses:
        raise InputError(wordnet.unknown(word))
    if len(senses) > 1:
        first = "; ".join(
            f"{wordnet.sense_name(sense.offset, word)}: {sense.definition}" for sense in senses[:4]
        )
        raise InputError(
            f"expected one sense of {word!r}, found {len(senses)} ({first} ...): write the sense"
        )
    return senses[0].offset


def _shuffled(offsets: Iterable[int], seed: int, purpose: str) -> tuple[int, ...]:
    def place(offset: int) -> bytes:
        return hashlib.blake2b(f"{seed} {purpose} {offset}".encode(), digest_size=16).digest()

    return tuple(sorted(offsets, key=place))

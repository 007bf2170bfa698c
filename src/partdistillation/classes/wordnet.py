"""WordNet's nouns, read from its own dictionary files: what a name can mean, and what is a kind of what.

`data.noun` holds a synset a line (wndb(5WN)): its offset, lemmas, pointers and gloss. `index.noun` holds the
senses of a lemma, the most frequent one first. ImageNet's ids are the offsets of WordNet 3.0: n02012849 is
the wading bird among the senses of "crane". A sense is written as NLTK does: `crane.n.05` is the fifth.
"""

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from partdistillation.errors import InputError

VERSION = "3.0"
FILES = ("data.noun", "index.noun")

SYNSET_ID = re.compile(r"n(\d{8})")
SENSE = re.compile(r"(.+)\.n\.(\d{1,2})")

_LISTED = re.compile(r"(n\d{8}|\S+\.n\.\d{1,2})(?=[\s,;:]|$)")

_LICENCE = re.compile(r" +\d+ WordNet (\d+\.\d+) Copyright")
_HYPERNYM = re.compile(r" @(i?) (\d{8}) n")

_Parsed = TypeVar("_Parsed")


class Synset(NamedTuple):
    """A set of nouns of one meaning."""

    offset: int
    lemmas: tuple[str, ...]
    """The nouns, with spaces ("dairy cattle"); the first one is its name."""
    gloss: str
    """Definition and examples."""
    hypernyms: tuple[int, ...]
    """Offsets of what this is a kind of or, of an individual, an instance of; in the order of the file."""
    individual: bool
    """Whether this is one thing (Big Ben), not a kind of things (clock tower)."""

    @property
    def id(self) -> str:
        """As ImageNet names its folders: "n02012849"."""
        return f"n{self.offset:08d}"

    @property
    def name(self) -> str:
        return self.lemmas[0]

    @property
    def definition(self) -> str:
        """The gloss without its examples, which are in quotation marks."""
        return self.gloss.split('; "')[0]


@dataclass(frozen=True, eq=False)
class WordNet:
    """The noun hierarchy. Individuals are below what they are instances of, as kinds are below hypernyms."""

    synsets: Mapping[int, Synset] = field(repr=False)
    """By offset."""
    senses: Mapping[str, tuple[int, ...]] = field(repr=False)
    """By lemma (lower case, underscores for spaces), the most frequent sense first."""

    @cached_property
    def hyponyms(self) -> Mapping[int, tuple[int, ...]]:
        """What is a kind or an instance of a synset; those without any are left out."""
        below: defaultdict[int, list[int]] = defaultdict(list)
        for synset in self.synsets.values():
            for above in synset.hypernyms:
                below[above].append(synset.offset)
        return {offset: tuple(children) for offset, children in below.items()}

    def subtree(self, roots: Iterable[int]) -> frozenset[int]:
        """The roots and everything below them, individuals too."""
        return _closure(roots, lambda offset: self.hyponyms.get(offset, ()))

    def ancestors(self, offset: int) -> frozenset[int]:
        """Everything above a synset, on every path to the top; without the synset itself."""
        above = self.synsets[offset].hypernyms
        return _closure(above, lambda above: self.synsets[above].hypernyms)

    def senses_of(self, name: str) -> tuple[Synset, ...]:
        """The senses of a noun, the most frequent one first; none where WordNet doesn't have it."""
        return tuple(self.synsets[offset] for offset in self.senses.get(_key(name), ()))

    def sense(self, text: str) -> Synset:
        """The synset of `crane.n.05` or `n02012849`.

        Raises:
            InputError: `text` is neither, or there is no such synset.
        """
        if match := SYNSET_ID.fullmatch(text):
            if int(match[1]) in self.synsets:
                return self.synsets[int(match[1])]
            raise InputError(f"expected the id of a noun in WordNet {VERSION}, found {text!r}")
        if not (match := SENSE.fullmatch(text)):
            raise InputError(f"expected a sense like 'crane.n.05' or 'n02012849', found {text!r}")
        senses = self.senses_of(match[1])
        if not senses:
            raise InputError(f"{self.unknown(match[1])} (in {text!r})")
        if not 1 <= int(match[2]) <= len(senses):
            raise InputError(f"expected one of the {len(senses)} senses of {match[1]!r}, found {text!r}")
        return senses[int(match[2]) - 1]

    def sense_name(self, offset: int, lemma: str | None = None) -> str:
        """How a synset is written: a lemma of it (else the first), and which of the lemma's senses it is."""
        lemma = _key(lemma or self.synsets[offset].name)
        return f"{lemma}.n.{self.senses[lemma].index(offset) + 1:02d}"

    def unknown(self, name: str) -> str:
        """The message that WordNet doesn't have a noun, with the nearest ones that it has."""
        near = difflib.get_close_matches(_key(name), self.senses, n=3, cutoff=0.7)
        hint = f"; nearest: {', '.join(word.replace('_', ' ') for word in near)}" if near else ""
        return f"{name!r} is no noun of WordNet {VERSION}{hint}"


def read_wordnet(folder: Path | None = None) -> WordNet:
    """Read the nouns of WordNet 3.0 from the folder of its dictionary files; None looks at the usual places.

    Raises:
        InputError: no folder has the files, they are of another version, or damaged.
    """
    folder = _find(usual_places()) if folder is None else _find([folder])
    data, index = (folder / name for name in FILES)
    synsets = {synset.offset: synset for synset in _parsed(data, _synset)}
    senses = dict(_parsed(index, _senses))
    if not synsets:
        raise InputError(f"{data}: expected WordNet's synsets, found none; {_INSTALL}")
    missing = {above for synset in synsets.values() for above in synset.hypernyms} - synsets.keys()
    missing |= {offset for offsets in senses.values() for offset in offsets} - synsets.keys()
    if missing:
        raise InputError(
            f"{data}: expected every synset that is named here and in {index.name}, "
            f"found none for {min(missing):08d}: the files are damaged, or of two versions; {_INSTALL}"
        )
    return WordNet(synsets, senses)


def usual_places() -> list[Path]:
    """Where WordNet's dictionary files are, as its own programs, Debian and NLTK know it."""
    home = Path.home()
    variables = [Path(os.environ[name]) for name in ("WNSEARCHDIR",) if name in os.environ]
    variables += [Path(os.environ[name]) / "dict" for name in ("WNHOME",) if name in os.environ]
    return [
        *variables,
        Path("/usr/share/wordnet"),
        Path("/usr/local/WordNet-3.0/dict"),
        *(root / "corpora" / "wordnet" for root in (home / "nltk_data", Path("/usr/share/nltk_data"))),
    ]


_INSTALL = (
    "install WordNet 3.0 (on Debian or Ubuntu: `apt-get install wordnet-base`; elsewhere unpack "
    "https://wordnetcode.princeton.edu/3.0/WNdb-3.0.tar.gz) and give its folder with --wordnet"
)


def listed_sense(line: str) -> str | None:
    """The id or sense that a line starts with, as in lists of ImageNet: "n01440764 tench, Tinca tinca"."""
    match = _LISTED.match(line.lstrip())
    return match[1] if match else None


def _find(folders: Iterable[Path]) -> Path:
    folders = list(folders)
    for folder in folders:
        if all((folder / name).is_file() for name in FILES):
            return folder
    places = ", ".join(str(folder) for folder in folders)
    raise InputError(f"expected WordNet's {' and '.join(FILES)}, found none in {places}: {_INSTALL}")


def _parsed(path: Path, parse: Callable[[str], _Parsed]) -> Iterator[_Parsed]:
    """What the lines of a dictionary file say; the licence above them, indented, tells the version."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a dictionary file of WordNet: {error}; {_INSTALL}") from error
    for number, line in enumerate(lines, start=1):
        try:
            if line and not line.startswith("  "):
                yield parse(line)
        except (ValueError, IndexError):
            raise InputError(
                f"{path}, line {number}: expected an entry as in wndb(5WN), found {line[:40]!r}; {_INSTALL}"
            ) from None
        if (match := _LICENCE.match(line)) and match[1] != VERSION:
            raise InputError(
                f"{path}: expected WordNet {VERSION}, whose offsets are ImageNet's ids, "
                f"found {match[1]}; {_INSTALL}"
            )


def _synset(line: str) -> Synset:
    """`offset file n lemmas_hex (lemma id)* pointers (symbol offset pos places)* | gloss`."""
    fields, _, gloss = line.partition(" | ")
    offset, _, _, count, rest = fields.split(" ", 4)
    words = rest.split(" ", 2 * int(count, 16))
    lemmas = tuple([lemma.replace("_", " ") for lemma in words[:-1:2]])
    pointers = words[-1]
    above = _HYPERNYM.findall(pointers)
    if not lemmas or pointers.rstrip().count(" ") != 4 * int(pointers[:3]):
        raise ValueError(line)
    return Synset(
        int(offset),
        lemmas,
        gloss.strip(),
        tuple([int(hypernym) for _, hypernym in above]),
        any(individual for individual, _ in above),
    )


def _senses(line: str) -> tuple[str, tuple[int, ...]]:
    """`lemma n senses pointers (symbol)* senses tagged_senses (offset)*`."""
    words = line.split()
    count = int(words[2])
    if count < 1 or len(words) != 6 + int(words[3]) + count:
        raise ValueError(line)
    return words[0], tuple(int(offset) for offset in words[-count:])


def _key(name: str) -> str:
    """A noun as `index.noun` writes it."""
    return "_".join(name.lower().replace("_", " ").split())


def _closure(start: Iterable[int], following: Callable[[int], Iterable[int]]) -> frozenset[int]:
    reached: set[int] = set()
    waiting = list(start)
    while waiting:
        offset = waiting.pop()
        if offset not in reached:
            reached.add(offset)
            waiting += following(offset)
    return frozenset(reached)

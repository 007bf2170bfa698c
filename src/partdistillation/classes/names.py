"""Class names as people write them: what each can mean, what is taken, how two cranes are told apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from partdistillation.classes.class_list import ClassEntry, ClassList, folders_or_lines
from partdistillation.classes.wordnet import SENSE, SYNSET_ID, Synset, WordNet, listed_sense
from partdistillation.errors import InputError

AS_WRITTEN = "-"
"""Instead of a sense: the name isn't looked up."""
UNKNOWN = "unknown to WordNet"
"""The note of a class whose name WordNet doesn't have."""

_MENTIONED = 10
_HOW_TO_WRITE = (
    "Write a noun of WordNet, or a sense such as crane.n.05; for a name of your own write the name, "
    f"a tab, and a sense, or {AS_WRITTEN} to take the name as it is; --keep-names takes all these as written."
)


class UnclearNames(InputError):
    """Names that WordNet doesn't have, or that mean what another one does."""

    def __init__(
        self, place: str, unknown: Mapping[int, str], twice: Sequence[str], wordnet: WordNet
    ) -> None:
        """`unknown` are names by their lines; `twice` is what to say of those that mean the same."""
        # Looking for the nearest nouns takes half a second a name.
        first = [
            f"line {number}: {wordnet.unknown(name)}" for number, name in islice(unknown.items(), _MENTIONED)
        ]
        lines = [f"{place}: expected nouns of WordNet, each meaning something else"]
        lines += _counted(f"{len(unknown):,} of them it doesn't have", first, len(unknown))
        lines += _counted(f"{len(twice):,} mean what another does", twice, len(twice))
        super().__init__("\n  ".join([*lines, _HOW_TO_WRITE]))
        self.unknown = tuple(unknown.values())


def _counted(title: str, first: Sequence[str], count: int) -> list[str]:
    others = ["  ..."] if count > _MENTIONED else []
    return [f"{title}:", *(f"  {text}" for text in first[:_MENTIONED]), *others] if count else []


class Noun(NamedTuple):
    """One word for one synset."""

    lemma: str
    offset: int


@dataclass(frozen=True)
class NamedClass:
    """A line of a file of names."""

    entry: ClassEntry
    senses: tuple[Synset, ...]
    """All that the name can mean, the most frequent one first."""
    chosen: Synset | None
    """What it is taken to mean; None where the name isn't looked up."""
    ambiguous: bool
    """Whether the choice was ours, and there is another sense that is a kind of physical things."""
    note: str = ""
    """Why the name was taken as written."""


def imagenet_classes(wordnet: WordNet, offsets: Sequence[int]) -> ClassList:
    """Classes of ImageNet: named by their first noun, in folders named by their ids."""
    synsets = [wordnet.synsets[offset] for offset in offsets]
    names = unique_names(wordnet, [Noun(synset.name, synset.offset) for synset in synsets])
    return ClassList(
        tuple(ClassEntry(name, synset.name, synset.id) for name, synset in zip(names, synsets, strict=True))
    )


def unique_names(wordnet: WordNet, nouns: Sequence[Noun]) -> list[str]:
    """The nouns; those that are the same (but for case) with what each is a kind of: "crane (wading bird)".

    Where that is the same too, the number of the sense is added: "window (opening, sense 7)".
    """
    names = [noun.lemma for noun in nouns]
    for label in (_kind, _kind_and_number):
        count = Counter(name.casefold() for name in names)
        names = [
            f"{noun.lemma} ({label(wordnet, noun)})" if count[name.casefold()] > 1 else name
            for name, noun in zip(names, nouns, strict=True)
        ]
    return names


def kind_of(wordnet: WordNet, offset: int) -> str:
    """What a synset is a kind (or an instance) of: its first hypernym; nothing at the hierarchy's top."""
    above = wordnet.synsets[offset].hypernyms
    return wordnet.synsets[above[0]].name if above else ""


def is_object(wordnet: WordNet, synset: Synset) -> bool:
    """Whether this is a kind of physical things, so that there can be photographs of it."""
    physical = {sense.offset for sense in wordnet.senses_of("physical entity")}
    return not synset.individual and bool(physical & {synset.offset, *wordnet.ancestors(synset.offset)})


def read_names(path: Path, wordnet: WordNet, *, keep: bool = False) -> list[NamedClass]:
    """Read class names, one a line: `crane`, `crane.n.05`, `n02012849`, or a name of one's own and its
    meaning, `wading crane<TAB>crane.n.05`: a sense, an id, the sense's number, or `-` for "as written".
    Lines of ImageNet's lists, `n01440764 tench, Tinca tinca`, are their ids.

    A name alone takes its first sense that is a kind of physical things, else its first. The folder is what
    was written, where that is a name or an id alone, else the class's name. `path` may also be a folder of
    class folders, whose names are taken. `keep` takes names as written that WordNet doesn't have, or that
    mean what an earlier line does.

    Raises:
        UnclearNames: there are such names, and they aren't to be kept.
        InputError: the file can't be read, a sense or an id isn't there, or is there twice.
    """
    lines: list[_Line] = []
    numbers: dict[int, int] = {}  # of the line that means a synset
    problems: list[str] = []
    twice: list[str] = []
    unknown: dict[int, str] = {}
    for number, text in folders_or_lines(path):
        try:
            line = _line(text, wordnet)
        except InputError as error:
            problems.append(f"line {number}: {error}")
            continue
        if line.chosen and (first := numbers.setdefault(line.chosen.offset, number)) != number:
            same = f"means {wordnet.sense_name(line.chosen.offset)}, as line {first}"
            (twice if line.alone else problems).append(f"line {number}: {line.lemma!r} {same}")
            line = _as_written(text.strip(), same)
        if line.note == UNKNOWN:
            unknown[number] = line.lemma
        lines.append(line)
    if problems:
        raise InputError("\n  ".join([*_counted(str(path), problems, len(problems)), _HOW_TO_WRITE]))
    if (unknown or twice) and not keep:
        raise UnclearNames(f"{path}, {len(lines):,} names", unknown, twice, wordnet)
    if not lines:
        raise InputError(f"{path}: expected class names, one a line, found none")
    return _with_entries(path, lines, wordnet)


@dataclass(frozen=True)
class _Line:
    lemma: str
    """The noun that was written; what a text model reads."""
    own_name: str | None
    """The class's name, where it is to be another."""
    folder: str | None
    senses: tuple[Synset, ...]
    chosen: Synset | None
    ambiguous: bool = False
    note: str = ""

    @property
    def alone(self) -> bool:
        """Whether a name was written and nothing of its meaning, so that the sense was our choice."""
        return self.folder is not None and not SYNSET_ID.fullmatch(self.folder)


def _as_written(name: str, note: str = "not looked up") -> _Line:
    return _Line(name, name, None, (), None, note=note)


def _line(text: str, wordnet: WordNet) -> _Line:
    name, _, meaning = (part.strip() for part in text.partition("\t"))
    if not name:
        raise InputError("expected a name before the tab, found nothing")
    if meaning == AS_WRITTEN:
        return _as_written(name)
    if listed := _listed(name, meaning):
        return _with_sense(listed, listed, wordnet)
    if meaning.isdecimal():
        meaning = f"{name}.n.{int(meaning):02d}"
    if meaning or SENSE.fullmatch(name) or SYNSET_ID.fullmatch(name):
        return _with_sense(name, meaning or name, wordnet)
    senses = wordnet.senses_of(name)
    if not senses:
        return _as_written(name, UNKNOWN)
    objects = [sense for sense in senses if is_object(wordnet, sense)]
    return _Line(
        name.replace("_", " "), None, name, senses, (objects or senses)[0], ambiguous=len(objects) > 1
    )


def _listed(name: str, meaning: str) -> str | None:
    """The id or sense of a line that describes it: after spaces or a comma, or an id's after a tab."""
    if meaning:
        meant = meaning.isdecimal() or SENSE.fullmatch(meaning) or SYNSET_ID.fullmatch(meaning)
        return None if meant or not SYNSET_ID.fullmatch(name) else name
    return None if SENSE.fullmatch(name) else listed_sense(name)


def _with_sense(name: str, meaning: str, wordnet: WordNet) -> _Line:
    chosen = wordnet.sense(meaning)
    match = SENSE.fullmatch(meaning)
    lemma = match[1].replace("_", " ") if match else chosen.name
    own_name = None if name in (meaning, lemma) else name
    folder = name if SYNSET_ID.fullmatch(name) else None
    return _Line(lemma, own_name, folder, wordnet.senses_of(lemma), chosen)


def _with_entries(path: Path, lines: Sequence[_Line], wordnet: WordNet) -> list[NamedClass]:
    looked_up = [
        Noun(line.lemma, line.chosen.offset) for line in lines if line.chosen and line.own_name is None
    ]
    names = dict(zip(looked_up, unique_names(wordnet, looked_up), strict=True))
    classes = []
    for line in lines:
        name = line.own_name or names[Noun(line.lemma, line.chosen.offset if line.chosen else -1)]
        entry = ClassEntry(name, line.lemma, line.folder or name)
        classes.append(NamedClass(entry, line.senses, line.chosen, line.ambiguous, line.note))
    try:
        ClassList(tuple(named.entry for named in classes))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return classes


def _kind(wordnet: WordNet, noun: Noun) -> str:
    return kind_of(wordnet, noun.offset) or _number(wordnet, noun)


def _kind_and_number(wordnet: WordNet, noun: Noun) -> str:
    return f"{_kind(wordnet, noun)}, {_number(wordnet, noun)}"


def _number(wordnet: WordNet, noun: Noun) -> str:
    return f"sense {int(wordnet.sense_name(noun.offset, noun.lemma).rpartition('.')[2])}"

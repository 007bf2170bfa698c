"""Class names as people write them: what each can mean, what is taken, how two cranes are told apart."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from partdistillation.classes.class_list import ClassEntry, ClassList, folders_or_lines
from partdistillation.classes.wordnet import SENSE, SYNSET_ID, Synset, WordNet
from partdistillation.errors import InputError

AS_WRITTEN = "-"
"""Instead of a sense: the name isn't looked up."""

_MENTIONED = 10
_HOW_TO_WRITE = (
    "Write a noun of WordNet, or a sense such as crane.n.05; for a name of your own write the name, "
    f"a tab, and a sense, or {AS_WRITTEN} to take the name as it is."
)


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
    ambiguous: bool = False
    """Whether the choice was ours, and there is another sense that is a kind of physical things."""


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


def read_names(path: Path, wordnet: WordNet) -> list[NamedClass]:
    """Read class names, one a line: `crane`, `crane.n.05`, `n02012849`, or a name of one's own and its
    meaning, `wading crane<TAB>crane.n.05`: a sense, an id, the sense's number, or `-` for "as written".

    A name alone takes its first sense that is a kind of physical things, else its first. The folder is what
    was written, where that is a name or an id alone, else the class's name. `path` may also be a folder of
    class folders, whose names are taken.

    Raises:
        InputError: the file can't be read, WordNet doesn't have a name, two lines mean the same.
    """
    lines: list[NamedClass] = []
    numbers: dict[int, int] = {}  # of the line that means a synset
    problems: list[str] = []
    for number, text in folders_or_lines(path):
        try:
            line = _line(text, wordnet)
        except InputError as error:
            problems.append(f"line {number}: {error}")
            if len(problems) == _MENTIONED:  # looking for the nearest nouns takes half a second a name
                problems.append("...")
                break
            continue
        lines.append(line)
        if line.chosen and numbers.setdefault(line.chosen.offset, number) != number:
            sense = wordnet.sense_name(line.chosen.offset)
            problems.append(
                f"line {number}: {line.entry.prompt!r} means {sense}, as line {numbers[line.chosen.offset]}"
            )
    if problems:
        raise InputError("\n  ".join([f"{path}:", *problems, _HOW_TO_WRITE]))
    if not lines:
        raise InputError(f"{path}: expected class names, one a line, found none")
    return _with_entries(path, lines, wordnet)


def _line(text: str, wordnet: WordNet) -> NamedClass:
    """What a line says; its entry has no name or folder yet where the others decide them."""
    name, _, meaning = (part.strip() for part in text.partition("\t"))
    if not name:
        raise InputError("expected a name before the tab, found nothing")
    if meaning == AS_WRITTEN:
        return NamedClass(ClassEntry(name, name, ""), (), None)
    if meaning.isdecimal():
        meaning = f"{name}.n.{int(meaning):02d}"
    if meaning or SENSE.fullmatch(name) or SYNSET_ID.fullmatch(name):
        return _with_sense(name, meaning or name, wordnet)
    senses = wordnet.senses_of(name)
    if not senses:
        raise InputError(wordnet.unknown(name))
    objects = [sense for sense in senses if is_object(wordnet, sense)]
    entry = ClassEntry("", name.replace("_", " "), name)
    return NamedClass(entry, senses, (objects or senses)[0], ambiguous=len(objects) > 1)


def _with_sense(name: str, meaning: str, wordnet: WordNet) -> NamedClass:
    chosen = wordnet.sense(meaning)
    match = SENSE.fullmatch(meaning)
    lemma = match[1].replace("_", " ") if match else chosen.name
    own_name = "" if name in (meaning, lemma) else name
    folder = name if SYNSET_ID.fullmatch(name) else ""
    return NamedClass(ClassEntry(own_name, lemma, folder), wordnet.senses_of(lemma), chosen)


def _with_entries(path: Path, lines: Sequence[NamedClass], wordnet: WordNet) -> list[NamedClass]:
    looked_up = [
        Noun(line.entry.prompt, line.chosen.offset) for line in lines if line.chosen and not line.entry.name
    ]
    names = dict(zip(looked_up, unique_names(wordnet, looked_up), strict=True))
    classes = []
    for line in lines:
        own_name, lemma, folder = line.entry
        name = own_name or names[Noun(lemma, line.chosen.offset if line.chosen else -1)]
        classes.append(replace(line, entry=ClassEntry(name, lemma, folder or name)))
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

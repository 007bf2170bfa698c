"""`partdistill classes`: what class names mean, or which of WordNet's classes to take, as class lists."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from partdistillation.classes import choice as class_choice
from partdistillation.classes.choice import Candidates, Choice, Sample
from partdistillation.classes.class_list import ClassList, write_class_list
from partdistillation.classes.names import (
    UNKNOWN,
    NamedClass,
    UnclearNames,
    imagenet_classes,
    is_object,
    kind_of,
    read_names,
)
from partdistillation.classes.wordnet import VERSION, Synset, WordNet, read_wordnet
from partdistillation.errors import ConfigError, InputError
from partdistillation.runs.atomic import make_folder, remove_file, replace_file
from partdistillation.runs.console import PlainConsole, words
from partdistillation.runs.terminal import say

NAMES = "classes.txt"
EXCLUDED = "excluded.txt"
UNKNOWN_NAMES = "unknown.txt"
PART_IMAGENET = "part_imagenet.txt"
SUMMARY = "summary.json"

_SHOWN = 3


def run(
    names: Path | None,
    *,
    keep_names: bool = False,
    available: Path | None,
    excluded: Path | None,
    inside: Path | None,
    wordnet_dir: Path | None,
    seed: int,
    out: Path,
) -> Path:
    """Show what `names` mean, else sample classes. The folder that was written to.

    Raises:
        ConfigError: options of both are given, or `out` can't be a folder.
        InputError: no WordNet, or a file that can't be used.
    """
    if names is None:
        if keep_names:
            raise ConfigError("expected --keep-names together with --names, found it alone")
        return sample(available, excluded, inside, wordnet_dir=wordnet_dir, seed=seed, out=out)
    options = {"--available": available, "--excluded": excluded, "--inside": inside}
    sampling = [option for option, value in options.items() if value is not None]
    if sampling:
        raise ConfigError(
            f"expected --names, or options of sampling, found both (--names and {', '.join(sampling)}): "
            "with --names every name is taken"
        )
    return from_names(names, keep=keep_names, wordnet_dir=wordnet_dir, out=out)


def from_names(names: Path, *, keep: bool = False, wordnet_dir: Path | None, out: Path) -> Path:
    """Print what each name can mean in WordNet and what it is taken to mean; write the class list.

    Names that WordNet doesn't have are all in `out/unknown.txt`; `keep` takes them as written.

    Raises:
        InputError: no WordNet, a file that can't be read, a name that WordNet doesn't have.
    """
    wordnet = read_wordnet(wordnet_dir)
    try:
        classes = read_names(names, wordnet, keep=keep)
    except UnclearNames as error:
        if not error.unknown:
            raise
        path = _write_unknown(make_folder(out), error.unknown)
        raise InputError(f"{error}\nAll that WordNet doesn't have: {path}") from None
    console = PlainConsole()
    for named in classes:
        console.print(_title(named))
        console.print(_meanings(named, wordnet))
    path = make_folder(out) / NAMES
    write_class_list(path, ClassList(tuple(named.entry for named in classes)))
    say(f"\n{_classes(len(classes))} in {path}")
    if keep:
        say(_kept(classes))
    _write_unknown(path.parent, [named.entry.name for named in classes if named.note == UNKNOWN])
    console.print(_advice(classes, wordnet))
    return path.parent


def sample(
    available: Path | None,
    excluded: Path | None,
    inside: Path | None,
    *,
    wordnet_dir: Path | None,
    seed: int,
    out: Path,
) -> Path:
    """Write nested random samples of classes, and samples inside and outside PartImageNet's subtrees.

    Candidates are the classes of `available` (ImageNet's ids: folders, or a text file), by default all of
    WordNet's; `excluded` and `inside` are files of subtrees in place of the paper's.

    Raises:
        InputError: no WordNet, a file that can't be read or names nothing, or every class is left out.
    """
    wordnet = read_wordnet(wordnet_dir)
    candidates = (
        class_choice.read_candidates(available, wordnet) if available else class_choice.all_kinds(wordnet)
    )
    left_out = _roots(excluded, class_choice.EXCLUDED, wordnet)
    within = _roots(inside, class_choice.PART_IMAGENET, wordnet)
    choice = class_choice.choose(wordnet, candidates.offsets, excluded=left_out, inside=within, seed=seed)
    if not choice.remaining:
        raise InputError(
            f"{available or 'WordNet'}: expected classes outside the subtrees that are left out, "
            f"found none among {_classes(len(candidates.offsets))}; name fewer subtrees, with --excluded"
        )
    folder = make_folder(out)
    _write_samples(folder, choice, wordnet)
    _write_roots(folder / EXCLUDED, left_out, wordnet)
    _write_roots(folder / PART_IMAGENET, within, wordnet)
    summary = {
        "seed": seed,
        "wordnet": VERSION,
        "available": str(available) if available else "WordNet",
        **_counts(candidates, choice),
        "excluded": _described(left_out, candidates.offsets, wordnet),
        "part_imagenet": _described(within, choice.remaining, wordnet),
    }
    replace_file(folder / SUMMARY, (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())
    _print_choice(candidates, choice, folder)
    return folder


# ---------------------------------------------------------------------- what names mean


def _write_unknown(folder: Path, names: Sequence[str]) -> Path:
    """The file with a name a line; without any there is none, nor that of an earlier run."""
    path = folder / UNKNOWN_NAMES
    if names:
        replace_file(path, "".join(f"{name}\n" for name in names).encode())
    else:
        remove_file(path)
    return path


def _title(named: NamedClass) -> Text:
    name = words(named.entry.name, "bold")
    if named.chosen is None:
        return name + Text(f"  as written, {named.note}", style="dim")
    return name + Text("  ambiguous" if named.ambiguous else "", style="yellow")


def _meanings(named: NamedClass, wordnet: WordNet) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for sense in named.senses:
        chosen = sense == named.chosen
        table.add_row(
            "  >" if chosen else "   ",
            words(wordnet.sense_name(sense.offset, named.entry.prompt)),
            _meaning(sense, wordnet),
            style="" if chosen or is_object(wordnet, sense) else "dim",
        )
    return table


def _meaning(sense: Synset, wordnet: WordNet) -> Text:
    kind = kind_of(wordnet, sense.offset)
    return Text(f"{kind}: " if kind else "", style="italic") + Text(sense.definition, style="not italic")


def _kept(classes: Sequence[NamedClass]) -> str:
    unknown = sum(named.note == UNKNOWN for named in classes)
    same = sum(named.note.startswith("means") for named in classes)
    listed = f" ({UNKNOWN_NAMES} lists them)" if unknown else ""
    return f"Taken as written: {unknown:,} unknown to WordNet{listed}, {same:,} that mean what another does."


def _advice(classes: Sequence[NamedClass], wordnet: WordNet) -> str:
    ambiguous = [named for named in classes if named.ambiguous]
    if not ambiguous:
        return "None of them is ambiguous."
    first = ambiguous[0]
    other = next(sense for sense in first.senses if sense != first.chosen and is_object(wordnet, sense))
    word = first.entry.prompt
    return (
        f"Ambiguous: {len(ambiguous):,}. The sense marked > was taken: the first that is a kind of things. "
        f"If another is meant, write that: {wordnet.sense_name(other.offset, word)} in place of {word}."
    )


# ---------------------------------------------------------------------- which classes


def _roots(path: Path | None, table: class_choice.Subtrees, wordnet: WordNet) -> tuple[int, ...]:
    return class_choice.roots_of(table, wordnet) if path is None else class_choice.read_roots(path, wordnet)


def _write_samples(folder: Path, choice: Choice, wordnet: WordNet) -> None:
    """A class has the same name in all lists: names are made unique among all that could have been chosen."""
    entries = imagenet_classes(wordnet, choice.remaining).entries
    by_offset = dict(zip(choice.remaining, entries, strict=True))
    for sample in choice.samples:
        path = folder / f"{sample.name}.txt"
        if sample.offsets:
            write_class_list(path, ClassList(tuple(by_offset[offset] for offset in sample.offsets)))
        else:
            remove_file(path)  # of an earlier run: a list without classes isn't one


def _write_roots(path: Path, roots: Sequence[int], wordnet: WordNet) -> None:
    lines = [f"{wordnet.sense_name(root)}\t{wordnet.synsets[root].definition}\n" for root in roots]
    replace_file(path, "".join(lines).encode())


def _counts(candidates: Candidates, choice: Choice) -> dict[str, Any]:
    lists = {
        sample.name: {"wanted": sample.wanted, "classes": len(sample.offsets)} for sample in choice.samples
    }
    return {
        "candidates": len(candidates.offsets),
        "unknown": list(candidates.unknown),
        "left_out": len(candidates.offsets) - len(choice.remaining),
        "remaining": len(choice.remaining),
        "lists": lists,
    }


def _described(roots: Sequence[int], classes: Collection[int], wordnet: WordNet) -> list[dict[str, Any]]:
    """Each subtree, and how many of the classes are in it (a class can be in several)."""
    return [
        {
            "sense": wordnet.sense_name(root),
            "id": wordnet.synsets[root].id,
            "definition": wordnet.synsets[root].definition,
            "classes": len(wordnet.subtree([root]).intersection(classes)),
        }
        for root in roots
    ]


def _print_choice(candidates: Candidates, choice: Choice, folder: Path) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    total = len(candidates.offsets)
    if candidates.unknown:
        first = ", ".join(candidates.unknown[:_SHOWN]) + (" ..." if len(candidates.unknown) > _SHOWN else "")
        table.add_row("unknown to WordNet", f"{len(candidates.unknown):,}", words(first))
    table.add_row("classes", f"{total:,}")
    table.add_row("in excluded subtrees", f"{total - len(choice.remaining):,}", f"listed in {EXCLUDED}")
    table.add_row("remaining", f"{len(choice.remaining):,}")
    for sample in choice.samples:
        table.add_row(f"  {sample.name}.txt", f"{len(sample.offsets):,}", _shortage(sample))
    PlainConsole().print(table)
    say(f"Look into {folder}")


def _shortage(sample: Sample) -> str:
    if not sample.offsets:
        return f"none of the {sample.wanted:,} wanted: not written"
    if len(sample.offsets) < sample.wanted:
        return f"fewer than the {sample.wanted:,} wanted: all there are"
    return ""


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count:,} classes"

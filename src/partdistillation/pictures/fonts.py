"""Which fonts have the letters of a text: DejaVu Sans, then fonts of packages, then those of the system.

matplotlib brings DejaVu Sans and lays texts out: it takes a letter from the first of several fonts that has
it, joins Arabic, stacks Devanagari and turns Hebrew around. What no font has is written as a number: U+8ECA.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from matplotlib import get_data_path
from matplotlib.font_manager import FontEntry, FontPath, fontManager, get_font
from matplotlib.ft2font import FaceFlags, FT2Font

from partdistillation.errors import to_install
from partdistillation.runs import terminal

_log = terminal.logger(__name__)

PACKAGES = ("noto_cjk_sans_otc", "manimgx_fonts")
"""The modules that hold the fonts of the extra `fonts`."""
_JOINER, _NON_JOINER = "\u200d", "\u200c"
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_VARIANTS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_UNSEEN = _VARIANTS | {_JOINER, _NON_JOINER}
"""What decides how other letters look and has no look of its own: no font needs to have it."""


class Lettering(NamedTuple):
    """A text that can be drawn, and the fonts that have its letters, in the order in which to look."""

    text: str
    fonts: tuple[FontPath, ...]


def lettering(text: str) -> Lettering:
    """What can be drawn of a line of text: letters that no font has are named by their numbers."""
    written: list[str] = []
    fonts = {_packaged()[0]}
    for letter in _clusters(text):
        font = _font_of(letter)
        if font is None:
            _suggest_fonts()
            written.append(f" U+{ord(letter):04X} ")
        else:
            fonts.add(font)
            written.append(letter)
    packaged = [font for font in _packaged() if font in fonts]
    return Lettering(" ".join("".join(written).split()), (*packaged, *sorted(fonts.difference(packaged))))


def families(text: str) -> list[str]:
    """The names of a text's fonts, for matplotlib's `font.family`; it is told where those of packages are."""
    known = {entry.fname for entry in fontManager.ttflist}
    fonts = lettering(text).fonts
    for path in {font.path for font in fonts} - known:
        fontManager.addfont(path)
    return [get_font(font).family_name for font in fonts]


def _clusters(text: str) -> Iterator[str]:
    """Letters with what changes or joins them, as one font draws them; without it where none has all."""
    clusters: list[str] = []
    for letter in text:
        if clusters and (_extends(letter) or clusters[-1][-1] == _JOINER):
            clusters[-1] += letter
        else:
            clusters.append(letter)
    for cluster in clusters:
        if _font_of(cluster):
            yield cluster
        else:
            yield from [letter for letter in cluster if not _extends(letter)] or cluster[0]


def _extends(letter: str) -> bool:
    """Whether a letter changes the one before it: accents, vowel signs, joiners, the colour of a skin."""
    return unicodedata.category(letter)[0] == "M" or letter in _UNSEEN or letter in _SKIN_TONES


@lru_cache(4096)
def _font_of(cluster: str) -> FontPath | None:
    """The first font that has every letter of a cluster."""
    letters = frozenset(ord(letter) for letter in cluster if letter not in _UNSEEN)
    for font in _packaged():
        if letters <= _letters_of(font):
            return font
    return next((font for font in _system() if _has(font, letters)), None)


@cache
def _packaged() -> tuple[FontPath, ...]:
    """DejaVu Sans and the fonts of packages: texts that they cover look the same on every machine."""
    return (FontPath(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 0), *_of_packages())


def _of_packages() -> Iterator[FontPath]:
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            files = sorted(str(file) for file in Path(folder).glob("*.tt[cf]") if "Italic" not in file.name)
            yield from (FontPath(file, 0) for file in files)


@cache
def _letters_of(font: FontPath) -> frozenset[int]:
    return frozenset(FT2Font(font.path).get_charmap())


@cache
def _system() -> tuple[FontPath, ...]:
    """The fonts that matplotlib knows of, plain ones first."""
    entries = sorted(fontManager.ttflist, key=_plainness)
    # A font of last resort has boxes for all letters.
    return tuple(FontPath(entry.fname, entry.index) for entry in entries if "Resort" not in entry.name)


def _plainness(entry: FontEntry) -> tuple[object, ...]:
    thickness = abs(int(entry.weight) - 400)
    return entry.style != "normal", thickness, "Sans" not in entry.name, entry.name, entry.fname, entry.index


def _has(font: FontPath, letters: frozenset[int]) -> bool:
    """Whether a font has these letters as outlines: pictures of emoji can't be drawn."""
    try:
        face = FT2Font(font.path, face_index=font.face_index)
    except (OSError, RuntimeError):  # removed since matplotlib looked, or damaged
        return False
    drawn = face.scalable and FaceFlags.COLOR not in face.face_flags
    return drawn and all(face.get_char_index(letter) for letter in letters)


@cache
def _suggest_fonts() -> None:
    """Say once in a process how to get more letters."""
    _log.warning(
        "Some names have letters that no font here has: in pictures their numbers are written, as U+8ECA. "
        "Fonts of most scripts come by `%s`; those of the system are used too.",
        to_install("fonts"),
    )

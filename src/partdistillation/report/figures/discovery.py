"""Discovery curves: what share of the part classes is consistent, and unique among those, by k of 9 images.

The supplement's Fig. 1; the curves come from `partdistill review-scores`.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from partdistillation.errors import InputError
from partdistillation.pictures.curves import Curve
from partdistillation.pictures.plots import plot
from partdistillation.report.figures.files import check_path, write

Counted = Literal["unique", "consistent"]
_KEYS: dict[Counted, str] = {"unique": "unique_curves", "consistent": "curves"}


def discovery(scores: Sequence[Path], path: Path, *, counted: Counted = "unique") -> Path:
    """Draw the curves of one or several reviews over each other.

    Args:
        scores: files with `{"curves": {label: {"k": [3, 4, ...], "value": [0.9, 0.8, ...]}}}`, and the like
            for unique part classes under `unique_curves`; or the folders they lie in as `scores.json`.
        path: the figure to write, .png or .pdf.
        counted: consistent part classes, or of these only the unique ones.

    Raises:
        InputError: a file that can't be read or has no such curves, or one that can't be written.
    """
    check_path(path)
    files = [file / "scores.json" if file.is_dir() else file for file in scores]
    curves = [(file, curve) for file in files for curve in _curves(file, _KEYS[counted])]
    if len({curve.label for _, curve in curves}) < len(curves):
        owners = _told_apart({file for file, _ in curves})
        curves = [(file, replace(curve, label=f"{owners[file]}: {curve.label}")) for file, curve in curves]
    drawn = plot(
        [curve for _, curve in curves],
        x="at least k of 9 images show the same part",
        y=f"{counted} part classes (%)",
        suffix=path.suffix,
    )
    return write(path, drawn)


def _told_apart(files: Collection[Path]) -> dict[Path, str]:
    """The nearest folder above each file in whose name all differ: `mine` of out/mine/review/scores.json."""
    folders = {file: file.absolute().parent.parts for file in files}
    for place in range(1, max(map(len, folders.values()))):
        names = {file: parts[-min(place, len(parts))] for file, parts in folders.items()}
        if len(set(names.values())) == len(names):
            return names
    return {file: str(file.parent) for file in files}


def _curves(path: Path, key: str) -> Iterator[Curve]:
    """Percent by k."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected scores as JSON, found {error}") from None
    curves = document.get(key) if isinstance(document, dict) else None
    if not isinstance(curves, dict) or not curves:
        raise InputError(
            f"{path}: expected curves under {key!r}, found none; they come from `partdistill review-scores`"
        )
    for label, curve in curves.items():
        if not _is_curve(curve):
            raise InputError(
                f'{path}: expected {{"k": [...], "value": [...]}} of as many numbers as the curve {label!r}, '
                f"found {curve!r:.80}"
            )
        yield Curve(label, tuple(zip(curve["k"], (100 * value for value in curve["value"]), strict=True)))


def _is_curve(curve: Any) -> bool:
    match curve:
        case {"k": [*k], "value": [*value]}:
            return len(k) == len(value) > 0 and all(
                isinstance(number, int | float) and not isinstance(number, bool) for number in (*k, *value)
            )
    return False

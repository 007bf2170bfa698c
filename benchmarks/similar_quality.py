"""More like this: how often what is found shows the same true part, against parts drawn at random.

    python benchmarks/similar_quality.py OUT PARTS.json [OUT PARTS.json ...]

For each run OUT with the true parts of its photographs: of the 10 parts most similar to one, the share that
shows the same true part; the expected share of parts drawn at random from its object class (chance), and from
its part class (what a gallery shows); the same over all object classes, where true parts are the same by name
alone. And of the 10 most typical examples of a part class, and of all of them, the share that shows the true
part that most of them show, a mean over part classes.

A part shows the true part of its object's class that has most of its pixels, if that has half of them; parts
that show none are wrong answers, and aren't asked for. The runs are copied, not changed.
"""

import argparse
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from timing import machine

from partdistillation.data.coco import read_parts
from partdistillation.data.coco_parts import GroundTruthPart, parts_of
from partdistillation.data.images import ImageInput
from partdistillation.evaluation.tables import Grid, percent
from partdistillation.functional.masks import decode
from partdistillation.runs.records import PartRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.studio.similar import PartKey, SimilarParts

COUNT = 10


class Shown(NamedTuple):
    """What a part of the run shows."""

    category: str
    part: int
    name: str
    """Of the true part; empty where none has half of its pixels."""


Parts = Mapping[PartKey, Shown]


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="OUT PARTS.json")
    paths = parser.parse_args().runs
    rows = {str(out): _row(out, truth) for out, truth in zip(paths[::2], paths[1::2], strict=True)}
    columns = next(iter(rows.values()))
    grid = Grid(("run", *columns), {"": [(name, *row.values()) for name, row in rows.items()]})
    print(f"{machine()}\n\n{grid.markdown()}")


def _row(out: Path, truth: Path) -> Mapping[str, str]:
    """What is measured of a run, by column."""
    parts = dict(_shown(out, truth))
    queries = [key for key, shown in parts.items() if shown.name]
    if not queries:
        raise SystemExit(f"{out}: expected parts that show true ones of {truth}, found none of {len(parts)}")
    beside = Counter(key.image_id for key in parts)
    with tempfile.TemporaryDirectory() as scratch:
        for stage in ("features", "parts"):
            shutil.copytree(out / stage, Path(scratch) / stage)
        similar = SimilarParts.open(Path(scratch))
        same, everywhere = [], []
        for key in queries:
            nearest = [near.key for near in similar.of(key, count=COUNT + beside[key.image_id])]
            same.append((key, nearest))
            everywhere.append((key, [near.key for near in similar.of(key, same_class=False, count=COUNT)]))
        classes = sorted({(shown.category, shown.part) for shown in parts.values()})
        typical = {
            which: [near.key for near in similar.most_typical(*which, count=COUNT)] for which in classes
        }
    examples = {which: [key for key, shown in parts.items() if shown[:2] == which] for which in classes}
    elsewhere = [(key, [near for near in keys if near.image_id != key.image_id]) for key, keys in same]
    return {
        "parts": f"{len(parts):,}",
        "that show a true one": f"{len(queries):,}",
        f"precision@{COUNT}": _precision(parts, same),
        "in other photographs": _precision(parts, elsewhere),
        "chance": _chance(parts, queries, lambda shown: shown.category),
        "in its part class": _chance(parts, queries, lambda shown: (shown.category, shown.part)),
        f"all classes, precision@{COUNT}": _precision(parts, everywhere),
        "all classes, chance": _chance(parts, queries, lambda _: None),
        f"{COUNT} most typical": _purity(parts, typical),
        "all examples": _purity(parts, examples),
    }


def _precision(parts: Parts, answers: Sequence[tuple[PartKey, Sequence[PartKey]]]) -> str:
    """The mean share of the first answers that show what the part does."""
    return percent(
        statistics.mean(
            statistics.mean(parts[near].name == parts[key].name for near in nearest[:COUNT])
            for key, nearest in answers
        )
    )


def _chance(parts: Parts, queries: Sequence[PartKey], group: Callable[[Shown], object]) -> str:
    """The expected precision of parts drawn from the others of a part's group."""
    sizes = Counter(group(shown) for shown in parts.values())
    alike = Counter((group(shown), shown.name) for shown in parts.values())
    asked = [(group(parts[key]), parts[key].name) for key in queries]
    return percent(
        statistics.mean((alike[among, name] - 1) / max(sizes[among] - 1, 1) for among, name in asked)
    )


def _purity(parts: Parts, chosen: Mapping[tuple[str, int], Sequence[PartKey]]) -> str:
    """The mean share of examples that show the true part that most examples of their part class show."""
    names = {which: Counter[str]() for which in chosen}
    for shown in parts.values():
        if shown.name:
            names[shown.category, shown.part][shown.name] += 1
    shares = []
    for which, keys in chosen.items():
        ((name, _),) = names[which].most_common(1) or (("?", 0),)
        shares.append(statistics.mean(parts[key].name == name for key in keys))
    return percent(statistics.mean(shares))


def _shown(out: Path, truth: Path) -> Iterator[tuple[PartKey, Shown]]:
    """What each part of a run shows."""
    dataset = read_parts(truth)
    for row in read_rows(out / "parts", PartRow):
        image = dataset.find(ImageInput(row.image_id, row.file_name, Path(row.file_name)))
        true = () if image is None else parts_of(dataset, image)
        for labelled in row.objects:
            candidates = [part for part in true if part.category == labelled.category]
            for place, part in enumerate(labelled.parts):
                name = _name(decode(part.rle, row.height, row.width), candidates)
                key = PartKey(row.image_id, labelled.object_id, place)
                yield key, Shown(labelled.category, part.part, name)


def _name(mask: NDArray[np.bool_], candidates: Sequence[GroundTruthPart]) -> str:
    pixels = Counter({part.name: 0 for part in candidates})
    for part in candidates:
        pixels[part.name] += int(np.count_nonzero(mask & part.mask))
    name, most = max(pixels.items(), key=lambda item: item[1], default=("", 0))
    return name if 2 * most >= np.count_nonzero(mask) else ""


if __name__ == "__main__":
    main()

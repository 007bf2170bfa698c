"""Figures of images side by side: a run's stages, groupings of pixels, predictions of several methods."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from partdistillation.errors import ConfigError
from partdistillation.pictures.colors import PALETTE, color_of
from partdistillation.pictures.legends import LegendRow
from partdistillation.pictures.pages import Page, colored, page_bytes, panel_size
from partdistillation.pictures.sizes import resized
from partdistillation.pictures.text import note_picture
from partdistillation.report.figures.files import check_path, write
from partdistillation.report.figures.sources import (
    Choice,
    Names,
    Way,
    choose,
    names_for,
    require_same_photographs,
    rows_of,
    ways_in,
)
from partdistillation.report.label_maps import LabelMap, matched, numbered_map, part_map
from partdistillation.review.collages.drawing import read_image
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, Row, SegmentRow
from partdistillation.runs.run_folder import PARTS, find_stage, images_of, stage_in
from partdistillation.runs.stage_reader import read_rows

Pixels = UInt8[np.ndarray, "_ _ 3"]


class Column(NamedTuple):
    """A column of a figure: its caption, and what it shows of each image."""

    caption: str
    maps: Sequence[LabelMap]
    palettes: Sequence[UInt8[np.ndarray, "color 3"]] | None = None
    """Where colours differ by image."""


def stages(
    run: Path, path: Path, choice: Choice, images: Path | None = None, part_table: Path | None = None
) -> Path:
    """What a run made of images: the image, its objects, segments, proposals and parts, as far as there are.

    Args:
        run: folder of a run, of a validation in a demo, or of what `predict` wrote.
        path: the figure to write.
        choice: which images.
        images: folder of the photographs, where the run doesn't remember it.
        part_table: which parts are joined or left out, and what they are called.

    Raises:
        InputError: no such run, photographs or images, or a file that can't be written.
        StoreError: a stage isn't finished, or damaged.
    """
    check_path(path)
    folder, images_dir = stage_in(run / "objects", ()), images_of(run, images)
    ids = choose(read_rows(folder, ObjectRow), choice, folder)
    rows = rows_of(ids, read_rows(folder, ObjectRow), folder)
    categories = sorted(_categories(read_rows(folder, ObjectRow)))
    columns = [_objects(rows, categories)]
    if segments := find_stage(run, ("segments",)):
        way = ways_in(segments)[0]
        columns.append(Column("segments", [_segment_map(row) for row in _segments(way, ids)]))
    if proposals := find_stage(run, ("features", "proposals")):
        maps = [_proposal_map(row) for row in rows_of(ids, read_rows(proposals, ProposalRow), proposals)]
        alike = columns[1].maps if segments else maps
        columns.append(Column("proposals", list(map(matched, maps, alike))))
    legend = [_object_legend(rows, categories)]
    if parts := find_stage(run, PARTS):
        labelled, names = _labelled(ids, parts, part_table)
        columns.append(Column("parts", list(map(part_map, labelled))))
        legend += _part_legend(labelled, names)
    return _save(path, images_dir, rows, columns, legend)


def grouping(
    runs: Sequence[Path], path: Path, choice: Choice, images: Path | None = None, labels: Sequence[str] = ()
) -> Path:
    """Pixel groupings of the same images side by side (supplement, Fig. 2): of runs with other encoders, say.

    Args:
        runs: folders of runs; of a demo's validation, all its ways of grouping are shown.
        path: the figure to write.
        choice: which images.
        images: folder of the photographs, where the first run doesn't remember it.
        labels: what to write above the columns; without them the names of the runs or of their ways.

    Raises:
        InputError, ConfigError, StoreError: as `stages`; other images, other photographs of the same ids, or
            other labels than there are columns.
    """
    check_path(path)
    ways = [way for run in runs for way in ways_in(stage_in(run, ("segments",)))]
    images_dir = images_of(runs[0], images)
    captions = _captions([way.name for way in ways], labels)
    ids = choose(ways[0].rows(), choice, ways[0].folder)
    grouped = [_segments(way, ids) for way in ways]
    for way, rows in zip(ways, grouped, strict=True):
        require_same_photographs(way.folder, rows, images_dir, grouped[0])
    reference = list(map(_segment_map, grouped[0]))
    columns = [
        Column(caption, list(map(matched, map(_segment_map, rows), reference)))
        for caption, rows in zip(captions, grouped, strict=True)
    ]
    return _save(path, images_dir, grouped[0], columns, ())


def predictions(
    folders: Sequence[Path],
    path: Path,
    choice: Choice,
    images: Path | None = None,
    labels: Sequence[str] = (),
) -> Path:
    """Predictions of several methods on the same images side by side (supplement, Fig. 3).

    Args:
        folders: of labelled parts: runs, what `predict` wrote, or their stages.
        path: the figure to write.
        choice: which images.
        images: folder of the photographs, where the first run doesn't remember it.
        labels: what to write above the columns; without them the folders' names.

    Raises:
        InputError, ConfigError, StoreError: as `grouping`.
    """
    check_path(path)
    parts_dirs = [stage_in(folder, PARTS) for folder in folders]
    images_dir = images_of(folders[0], images)
    captions = _captions([folder.resolve().name.replace("_", " ") for folder in folders], labels)
    ids = choose(read_rows(parts_dirs[0], PartRow), choice, parts_dirs[0])
    labelled = [_labelled(ids, folder) for folder in parts_dirs]
    for folder, (rows, _) in zip(parts_dirs, labelled, strict=True):
        require_same_photographs(folder, rows, images_dir, labelled[0][0])
    columns = [
        Column(caption, list(map(part_map, rows)))
        for caption, (rows, _) in zip(captions, labelled, strict=True)
    ]
    return _save(path, images_dir, labelled[0][0], columns, _legend_of_methods(captions, labelled))


def _captions(names: Sequence[str], labels: Sequence[str]) -> Sequence[str]:
    if labels and len(labels) != len(names):
        raise ConfigError(
            f"--labels: expected {len(names)}, one for each of {', '.join(names)}, found {len(labels)}"
        )
    return labels or names


# ---------------------------------------------------------------------- columns


def _categories(rows: Iterable[ObjectRow]) -> set[str]:
    return {instance.category for row in rows for instance in row.objects}


def _objects(rows: Sequence[ObjectRow], categories: Sequence[str]) -> Column:
    """Objects in their classes' colours, and a line between two of a class."""
    place = {name: i for i, name in enumerate(categories)}
    palettes = [np.array([color_of(place[instance.category]) for instance in row.objects]) for row in rows]
    # Smaller objects lie on larger ones.
    maps = [numbered_map(row, row.objects, [-instance.area for instance in row.objects]) for row in rows]
    return Column("objects", maps, palettes)


def _segment_map(row: SegmentRow) -> LabelMap:
    """Numbers that mean nothing."""
    return numbered_map(row, [segment for instance in row.objects for segment in instance.segments])


def _proposal_map(row: ProposalRow) -> LabelMap:
    """Numbers that mean nothing, the best score on top."""
    proposals = (proposal for instance in row.objects for proposal in instance.proposals)
    ordered = sorted(proposals, key=lambda proposal: proposal.score)
    return numbered_map(row, ordered)


def _segments(way: Way, ids: Sequence[str]) -> list[SegmentRow]:
    return rows_of(ids, way.rows(), way.folder)


def _labelled(ids: Sequence[str], stage: Path, part_table: Path | None = None) -> tuple[list[PartRow], Names]:
    names = names_for(stage, part_table)
    rows = rows_of(ids, read_rows(stage, PartRow), stage)
    return [names.table.applied(row) for row in rows], names


# ---------------------------------------------------------------------- legends


def _object_legend(rows: Sequence[ObjectRow], categories: Sequence[str]) -> LegendRow:
    seen = _categories(rows)
    entries = tuple((name, color_of(i)) for i, name in enumerate(categories) if name in seen)
    return LegendRow("objects", entries)


def _part_legend(rows: Sequence[PartRow], names: Names) -> list[LegendRow]:
    """The parts that are seen, by object class; part id i has the palette's colour i, as everywhere."""
    seen: dict[str, set[int]] = {}
    for row in rows:
        for instance in row.objects:
            seen.setdefault(instance.category, set()).update(part.part for part in instance.parts)
    return [
        LegendRow(category, tuple((names.name(category, part), color_of(part)) for part in sorted(parts)))
        for category, parts in sorted(seen.items())
        if parts
    ]


def _legend_of_methods(
    captions: Sequence[str], labelled: Sequence[tuple[list[PartRow], Names]]
) -> list[LegendRow]:
    """A line an object class for all methods that don't name their parts, and one for each that does."""
    nameless = [row for rows, names in labelled if not names for row in rows]
    legend = _part_legend(nameless, Names())
    for caption, (rows, names) in zip(captions, labelled, strict=True):
        if names:
            legend += [row._replace(title=f"{row.title}, {caption}") for row in _part_legend(rows, names)]
    return sorted(legend, key=lambda row: row.title)


# ---------------------------------------------------------------------- pictures


def _save(
    path: Path, images_dir: Path, rows: Sequence[Row], columns: Sequence[Column], legend: Sequence[LegendRow]
) -> Path:
    panels = tuple(tuple(_panels(images_dir, row, columns, place)) for place, row in enumerate(rows))
    page = Page(("image", *(column.caption for column in columns)), panels, tuple(legend))
    return write(path, page_bytes(page, path.suffix.lower()))


def _panels(images_dir: Path, row: Row, columns: Sequence[Column], place: int) -> Iterator[Pixels]:
    size = panel_size(row.height, row.width, 1 + len(columns))
    image = read_image(images_dir / row.file_name, row.width, row.height)
    panel = note_picture(image, size.width, size.height) if isinstance(image, str) else resized(image, *size)
    yield panel
    for column in columns:
        palette = column.palettes[place] if column.palettes else PALETTE
        yield colored(panel, column.maps[place], palette)

"""What figures show, which images, in which colours; that they are files for print."""

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.commands import main as cli
from partdistillation.config import Inputs, SegmentsConfig
from partdistillation.errors import ConfigError, InputError, StoreError
from partdistillation.evaluation.controls import segment_controls
from partdistillation.functional.masks import box, encode
from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.curves import Curve
from partdistillation.pictures.pages import panel_size
from partdistillation.recipes import PAPER
from partdistillation.report.figures import Choice, discovery, grouping, predictions, stages
from partdistillation.report.figures.files import write
from partdistillation.report.figures.sources import choose, names_for, ways_in
from partdistillation.runs.engine import run_shards
from partdistillation.runs.part_table import ClassParts, PartTable, write_part_table
from partdistillation.runs.records import (
    Object,
    ObjectParts,
    ObjectProposals,
    ObjectRow,
    ObjectSegments,
    Part,
    PartRow,
    Proposal,
    ProposalRow,
    Segment,
    SegmentRow,
)
from partdistillation.runs.run_folder import save_settings
from partdistillation.runs.shards import ImageRef, Shard

Write = Callable[[Path, Sequence[Any]], Path]

SIDE = 40
WHOLE, UPPER, LOWER = (np.zeros((SIDE, SIDE), bool) for _ in range(3))
WHOLE[10:30, 5:35], UPPER[10:20, 5:35], LOWER[20:30, 5:35] = True, True, True
NO_FEATURE = np.zeros(1, np.float16)


def row_of(image_id: str) -> tuple[str, str, int, int, Any, str]:
    return image_id, f"{image_id}.png", SIDE, SIDE, "ok", ""


def object_row(image_id: str, category: str = "car") -> ObjectRow:
    found = Object(0, category, 0.9, int(WHOLE.sum()), box(WHOLE), encode(WHOLE))
    return ObjectRow(*row_of(image_id), (found,))


def segment_row(image_id: str, *masks: np.ndarray) -> SegmentRow:
    segments = tuple(Segment(int(mask.sum()), encode(mask)) for mask in masks)
    return SegmentRow(*row_of(image_id), (ObjectSegments(0, segments),))


def proposal_row(image_id: str, *masks: np.ndarray) -> ProposalRow:
    found = tuple(
        Proposal(i, 0.9 - 0.1 * i, 0.5, int(mask.sum()), encode(mask), NO_FEATURE)
        for i, mask in enumerate(masks)
    )
    return ProposalRow(*row_of(image_id), (ObjectProposals(0, "car", found),))


def part_row(image_id: str, *parts: tuple[int, np.ndarray], category: str = "car") -> PartRow:
    found = tuple(Part(part, 0.5, 0.9 - 0.1 * i, 1, encode(mask)) for i, (part, mask) in enumerate(parts))
    return PartRow(*row_of(image_id), (ObjectParts(0, category, found),))


IDS = [f"{i:02d}" for i in range(6)]


@pytest.fixture
def run(tmp_path: Path, write_stage: Write) -> Path:
    """A run's folder with all stages of six grey photographs, each an object cut into two."""
    out = tmp_path / "run"
    photos = tmp_path / "photos"
    photos.mkdir()
    for image_id in IDS:
        Image.new("RGB", (SIDE, SIDE), (128, 128, 128)).save(photos / f"{image_id}.png")
    write_stage(out / "objects", [object_row(one) for one in IDS])
    write_stage(out / "segments", [segment_row(one, UPPER, LOWER) for one in IDS])
    write_stage(out / "features", [proposal_row(one, UPPER, LOWER) for one in IDS])
    write_stage(out / "parts", [part_row(one, (3, UPPER), (1, LOWER)) for one in IDS])
    save_settings(Inputs(out=out, images=photos), PAPER)
    return out


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def panels(path: Path, columns: int) -> np.ndarray:
    """The first row of panels of a figure with square images: column x height x width x 3."""
    picture = opened(path)
    height, width = panel_size(SIDE, SIDE, columns)
    step = (picture.shape[1] - width) // (columns - 1)
    return np.stack([picture[46 : 46 + height, i * step : i * step + width] for i in range(columns)])


def color_at(panel: np.ndarray, y: float, x: float) -> np.ndarray:
    """At a place in pixels of the photograph."""
    scale = len(panel) / SIDE
    color: np.ndarray = panel[round(scale * y), round(scale * x)].astype(int)
    return color


def is_like(color: np.ndarray, number: int) -> bool:
    """Whether it is the palette's colour laid over grey."""
    expected = 0.62 * PALETTE[number].astype(int) + 0.38 * 128
    return bool(np.abs(color - expected).max() <= 2)


# ---------------------------------------------------------------------- kinds


def test_stages_side_by_side(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figure.png"
    assert cli.main(["figure", "stages", str(run), "--out", str(path), "--count", "2"]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    image, objects, segments, proposals, parts = panels(path, 5)
    assert (color_at(image, 15, 20) == 128).all()
    assert (color_at(parts, 5, 20) == 128).all()  # outside
    assert is_like(color_at(objects, 15, 20), 0)
    assert is_like(color_at(objects, 25, 20), 0)
    for panel in (segments, proposals):  # the same colours: they share the same pixels
        assert is_like(color_at(panel, 15, 20), 0)
        assert is_like(color_at(panel, 25, 20), 1)
    assert is_like(color_at(parts, 15, 20), 3)  # the part's id is its colour
    assert is_like(color_at(parts, 25, 20), 1)


def test_stages_that_there_are_not_are_left_out(run: Path, tmp_path: Path) -> None:
    (run / "features").rename(run / "gone")
    (run / "parts").rename(run / "predictions")  # as `predict` calls them
    path = stages(run, tmp_path / "figure.png", Choice(names=["03"]))
    *_, parts = panels(path, 4)
    assert is_like(color_at(parts, 15, 20), 3)


def test_a_part_table_names_joins_and_rejects(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    write_part_table(table, PartTable({"car": ClassParts({3: "roof"}, rejected=frozenset({1}))}))
    *_, parts = panels(stages(run, tmp_path / "figure.png", Choice(count=1), part_table=table), 5)
    assert is_like(color_at(parts, 15, 20), 3)
    assert (color_at(parts, 25, 20) == 128).all()
    assert names_for(run / "parts", table).name("car", 3) == "roof"


def test_groupings_side_by_side(run: Path, tmp_path: Path, write_stage: Write) -> None:
    # The other run's segments are named the other way round, and there is one more.
    extra = np.zeros_like(WHOLE)
    extra[22:28, 6:12] = True
    write_stage(tmp_path / "other" / "segments", [segment_row(one, LOWER, UPPER, extra) for one in IDS])
    path = grouping([run, tmp_path / "other"], tmp_path / "figure.png", Choice(count=1), labels=["a", "b"])
    _, first, second = panels(path, 3)
    for panel in (first, second):
        assert is_like(color_at(panel, 15, 20), 0)
        assert is_like(color_at(panel, 25, 20), 1)
    assert is_like(color_at(second, 25, 9), 2)


def test_a_validation_shows_all_its_ways_to_group_pixels(tmp_path: Path, write_stage: Write) -> None:
    ways = {name: settings for name, (_, settings) in segment_controls(SegmentsConfig()).items()}
    rows = [segment_row("0", UPPER)]
    rows = [
        segment_row(f"{i}:{one}", UPPER if i else LOWER) for one in ("a:b", "c") for i in range(len(ways))
    ]
    folder = run_shards(
        tmp_path / "segments",
        row=SegmentRow,
        shards=[Shard("all", tuple(ImageRef(row.image_id) for row in rows))],
        settings={name: settings.to_dict() for name, settings in ways.items()} | {"encoder": "swin"},
        make_work=lambda: lambda _: rows,
        label="segments",
    )
    found = ways_in(folder)
    assert [f"segments: {way.name}" for way in found] == list(ways)
    assert [[row.image_id for row in way.rows()] for way in found] == [["a:b", "c"]] * len(ways)
    assert [next(way.rows()).objects[0].segments[0].rle for way in found[:2]] == [
        encode(LOWER),
        encode(UPPER),
    ]


@pytest.mark.slow
def test_predictions_of_methods_side_by_side(run: Path, tmp_path: Path, write_stage: Write) -> None:
    other = tmp_path / "out" / "baselines" / "supervised"
    write_stage(other / "parts", [part_row(one, (0, WHOLE)) for one in IDS])
    (other / "part_names.json").write_text('{"car": ["body"]}', encoding="utf-8")
    path = tmp_path / "figure.png"
    command = [
        "figure",
        "predictions",
        str(run),
        str(other),
        "--out",
        str(path),
        "--labels",
        "ours",
        "supervised",
    ]
    assert cli.main(command) == 0
    _, ours, supervised = panels(path, 3)
    assert is_like(color_at(ours, 15, 20), 3)
    assert is_like(color_at(supervised, 15, 20), 0)
    assert names_for(other / "parts").name("car", 0) == "body"
    assert names_for(run / "parts").name("car", 0) == "part 0"


def test_labels_are_one_a_column(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--labels: expected 2, one for each of run, run, found 1"):
        predictions([run, run], tmp_path / "figure.png", Choice(), labels=["a"])


def test_other_images_are_refused(run: Path, tmp_path: Path, write_stage: Write) -> None:
    write_stage(tmp_path / "other" / "parts", [part_row("elsewhere", (0, WHOLE))])
    with pytest.raises(InputError, match=r"expected the same images in .*other.parts as in the first folder"):
        predictions([run, tmp_path / "other"], tmp_path / "figure.png", Choice())


@pytest.mark.slow
def test_other_photographs_of_the_same_names_are_refused(
    run: Path, tmp_path: Path, write_stage: Write
) -> None:
    """Two data sets that number their images alike: segments of one would lie on photographs of the other."""
    other, photos = tmp_path / "other", tmp_path / "other photos"
    photos.mkdir()
    for image_id in IDS:
        Image.new("RGB", (SIDE, SIDE), (128, 128, 128)).save(photos / f"{image_id}.png")
    write_stage(other / "segments", [segment_row(one, UPPER, LOWER) for one in IDS])
    write_stage(other / "parts", [part_row(one, (0, WHOLE)) for one in IDS])
    save_settings(Inputs(out=other, images=photos), PAPER)
    path = tmp_path / "figure.png"
    grouping([run, other], path, Choice())  # a copy will do
    for image_id in IDS:
        Image.new("RGB", (SIDE, SIDE), (128, 128, 100)).save(photos / f"{image_id}.png")
    for figure in (grouping, predictions):
        with pytest.raises(InputError, match="compare what was made from the same photographs"):
            figure([run, other], path, Choice())
    (other / "config.yaml").unlink()  # it can't be told
    predictions([run, other], path, Choice())
    row = replace(part_row(IDS[0]), width=SIDE + 1)
    write_stage(tmp_path / "larger", [row])
    with pytest.raises(InputError, match=r"another image of .* of 41 x 40 pixels"):
        predictions([run, tmp_path / "larger"], path, Choice(names=[IDS[0]]))


@pytest.mark.slow
def test_a_validation_is_of_the_held_out_photographs(run: Path, tmp_path: Path, write_stage: Write) -> None:
    """Which may have the names of those that were learned from."""
    held_out = tmp_path / "held out"
    held_out.mkdir()
    for image_id in IDS:
        Image.new("RGB", (SIDE, SIDE), (10, 20, 30)).save(held_out / f"{image_id}.png")
    inputs = Inputs(out=run, images=tmp_path / "photos", val_images=held_out, val_objects=run / "objects")
    save_settings(inputs, PAPER)
    write_stage(run / "validation" / "objects", [object_row(one) for one in IDS])
    write_stage(run / "validation" / "parts", [part_row(one, (0, UPPER)) for one in IDS])
    path = tmp_path / "figure.png"
    assert color_at(panels(stages(run / "validation", path, Choice()), 3)[0], 5, 5).tolist() == [10, 20, 30]
    predictions([run / "validation" / "parts"], path, Choice())
    assert color_at(panels(path, 2)[0], 5, 5).tolist() == [10, 20, 30]
    predictions([run / "parts"], path, Choice())
    assert color_at(panels(path, 2)[0], 5, 5).tolist() == [128, 128, 128]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"no image")])
def test_an_image_that_is_gone_or_damaged_is_a_note(
    run: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(tmp_path / "photos" / "02.png")
    image, *_, parts = panels(stages(run, tmp_path / "figure.png", Choice(names=["02.png"])), 5)
    assert (image[5, 5] == (0xC9, 0xCD, 0xD3)).all()
    assert (image.max(axis=2) < 100).sum() > 100  # letters
    assert np.ptp(color_at(parts, 15, 20)) > 50  # its parts are seen all the same


def test_discovery_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves = {"$ours$": {"k": [3, 4], "value": [0.5, 0.25]}, "_theirs": {"k": [3, 4], "value": [0.9, 0.1]}}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        text = json.dumps({"unique_curves": curves, "curves": curves})
        (tmp_path / name / "scores.json").write_text(text, encoding="utf-8")
    one, both, consistent = (tmp_path / name for name in ("one.png", "both.pdf", "consistent.png"))
    scores = [str(tmp_path / "a" / "scores.json"), str(tmp_path / "b")]
    assert cli.main(["figure", "discovery", scores[0], "--out", str(one)]) == 0
    assert cli.main(["figure", "discovery", *scores, "--out", str(both)]) == 0
    assert (
        cli.main(["figure", "discovery", scores[0], "--counted", "consistent", "--out", str(consistent)]) == 0
    )
    assert opened(one).shape == (1020, 1560, 3)  # 3.4 x 5.2 inches
    assert one.read_bytes() != consistent.read_bytes()
    assert both.read_bytes().startswith(b"%PDF")


def test_curves_of_several_reviews_are_named_after_their_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after the folder `review`, which both have."""
    curve = {"k": [3], "value": [0.5]}
    for run, labels in (("mine", ("all", "inside")), ("other", ("all",))):
        (tmp_path / run / "review").mkdir(parents=True)
        text = json.dumps({"unique_curves": dict.fromkeys(labels, curve)})
        (tmp_path / run / "review" / "scores.json").write_text(text)
    drawn: list[str] = []

    def draw(curves: Sequence[Curve], **_: str) -> bytes:
        drawn.extend(curve.label for curve in curves)
        return b""

    module = importlib.import_module("partdistillation.report.figures.discovery")
    monkeypatch.setattr(module, "plot", draw)
    reviews = [tmp_path / "mine" / "review", tmp_path / "other" / "review" / "scores.json"]
    discovery(reviews, tmp_path / "figure.png")
    assert drawn == ["mine: all", "mine: inside", "other: all"]
    drawn.clear()
    discovery(reviews[:1], tmp_path / "figure.png")
    assert drawn == ["all", "inside"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected scores as JSON"),
        ("[]", "expected curves under 'unique_curves'"),
        ('{"unique_curves": {}}', "expected curves under 'unique_curves'"),
        ('{"unique_curves": {"a": {"k": [3], "value": []}}}', "as many numbers as the curve 'a'"),
        ('{"unique_curves": {"a": {"k": [3], "value": [null]}}}', "as many numbers as the curve 'a'"),
    ],
)
def test_scores_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "scores.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        discovery([tmp_path], tmp_path / "figure.png")


# ---------------------------------------------------------------------- which images


def test_images_are_drawn_by_seed_whatever_the_order_of_rows() -> None:
    rows = [object_row(f"{i}") for i in range(30)]
    drawn = choose(rows, Choice(count=5, seed=1), Path("run"))
    assert len(set(drawn)) == 5
    assert choose(rows[::-1], Choice(count=5, seed=1), Path("run")) == drawn
    assert choose(rows, Choice(count=5, seed=2), Path("run")) != drawn
    assert choose(rows, Choice(count=3, seed=1), Path("run")) == drawn[:3]


def test_images_are_named() -> None:
    rows = [ObjectRow(name, name, 1, 1, "ok", "", ()) for name in ("car/a.jpg", "dog/a.jpg", "dog/b.jpg")]
    rows.append(ObjectRow("gone.jpg", "gone.jpg", 0, 0, "rejected", "damaged", ()))
    source = Path("run")
    assert choose(rows, Choice(["dog/a.jpg", "b", "b.jpg"]), source) == [
        "dog/a.jpg",
        "dog/b.jpg",
        "dog/b.jpg",
    ]
    with pytest.raises(InputError, match=r"found several for 'a.jpg': car/a.jpg, dog/a.jpg"):
        choose(rows, Choice(["a.jpg"]), source)
    with pytest.raises(InputError, match=r"found 'dog/c.jpg'. Did you mean 'dog/"):
        choose(rows, Choice(["dog/c.jpg"]), source)
    with pytest.raises(InputError, match=r"found 'gone.jpg'"):
        choose(rows, Choice(["gone.jpg"]), source)
    with pytest.raises(InputError, match="expected images with objects"):
        choose(rows[3:], Choice(), source)


# ---------------------------------------------------------------------- files


def test_a_figure_is_a_png_or_pdf_in_a_folder_that_is_there(run: Path, tmp_path: Path) -> None:
    for kind in (stages, lambda of, *rest: grouping([of], *rest), lambda of, *rest: predictions([of], *rest)):
        with pytest.raises(InputError, match=r"ending in .png or .pdf, found 'figure.gif'"):
            kind(run, tmp_path / "figure.gif", Choice())
        with pytest.raises(InputError, match="found none"):
            kind(run, tmp_path / "nowhere" / "figure.png", Choice())


def test_too_many_images_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["figure", "stages", str(tmp_path), "--out", "figure.png", "--count", "51"]
    assert cli.main(command) == 2
    assert "--count: expected 1 to 50 images, found 51" in capsys.readouterr().err


def test_a_figure_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "figure.png").mkdir()
    with pytest.raises(StoreError, match=r"can't write to .*figure.png: .* choose another --out"):
        write(tmp_path / "figure.png", b"")

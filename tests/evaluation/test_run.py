"""Evaluation of files: rows and COCO against ground truth."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partdistillation.baselines import supervised
from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import CocoDataset, read_parts
from partdistillation.errors import InputError
from partdistillation.evaluation import Evaluation
from partdistillation.evaluation import run as evaluation
from partdistillation.runs.part_table import ClassParts, PartTable, write_part_table
from partdistillation.runs.records import ObjectRow, ObjectSegments, PartRow, Segment, SegmentRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import objects


@pytest.fixture(scope="module")
def perfect(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of somebody who knows: its parts are the truth."""
    out = tmp_path_factory.mktemp("perfect")
    inputs = Inputs(
        out=out,
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        parts=drawings / "parts_train.json",
    )
    objects.run(inputs, Recipe())
    supervised.label(inputs, out)
    return out


@pytest.fixture(scope="module")
def truth(drawings: Path) -> CocoDataset:
    return read_parts(drawings / "parts_train.json")


def test_the_truth_scores_all(perfect: Path, truth: CocoDataset) -> None:
    strict, paper = evaluation.score(evaluation.read_predictions(perfect), truth)
    assert (strict.protocol, paper.protocol) == ("strict", "paper")
    for found in (strict, paper):
        assert (found.images, found.average_recall[100], found.c_miou, found.a_miou) == (12, 1.0, 1.0, 1.0)


def test_rows_and_coco_score_the_same(perfect: Path, truth: CocoDataset, tmp_path: Path) -> None:
    rows = [drop_some(row) for row in read_rows(perfect / "parts", PartRow)]
    from_rows = evaluation.score(map(evaluation.labelled_parts, rows), truth)
    assert 0.1 < from_rows[0].c_miou < 0.9
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(as_coco(rows)))
    from_coco = evaluation.score(evaluation.read_predictions(path), truth)
    assert [without_ids(one) for one in from_coco] == [without_ids(one) for one in from_rows]


def drop_some(row: PartRow) -> PartRow:
    """The row without its first object's parts, and with half the part classes mixed up."""
    found = [
        replace(one, parts=tuple(replace(part, part=part.part // 2) for part in one.parts))
        for one in row.objects
    ]
    return replace(row, objects=(replace(found[0], parts=()), *found[1:]))


def as_coco(rows: list[PartRow]) -> dict[str, Any]:
    names: dict[tuple[str, int], int] = {}
    annotations = [
        {
            "id": 0, "image_id": row.image_id, "object_id": f"{row.image_id}/{found.object_id}",
            "score": part.score,
            "category_id": names.setdefault((found.category, part.part), len(names) + 1),
            "segmentation": {"size": [row.height, row.width], "counts": part.rle.decode()},
        }
        for row in rows for found in row.objects for part in found.parts
    ]  # fmt: skip
    images = [
        {"id": row.image_id, "file_name": row.file_name, "width": row.width, "height": row.height}
        for row in rows
    ]
    categories = [
        {"id": number, "name": f"{category} part {part}", "supercategory": category}
        for (category, part), number in names.items()
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def without_ids(found: Evaluation) -> dict[str, Any]:
    return {**found.to_dict()} | {"categories": None}


def test_an_image_that_nobody_labelled_counts_as_missed(perfect: Path, truth: CocoDataset) -> None:
    rows = list(read_rows(perfect / "parts", PartRow))[3:]
    (strict,) = evaluation.score(map(evaluation.labelled_parts, rows), truth, ["strict"])
    missed = sum(len(truth.of(image.id)) for image in truth.images[:3])
    total = sum(len(truth.of(image.id)) for image in truth.images)
    assert strict.images == 12
    assert strict.average_recall[100] == pytest.approx(1 - missed / total)


def test_images_are_found_by_file_name(perfect: Path, truth: CocoDataset) -> None:
    """As `predict` names them, where no COCO file told it the ids."""
    rows = [replace(row, image_id=row.file_name) for row in read_rows(perfect / "parts", PartRow)]
    (strict,) = evaluation.score(map(evaluation.labelled_parts, rows), truth, ["strict"])
    assert strict.c_miou == 1


def test_other_images_altogether_are_an_error(perfect: Path, truth: CocoDataset) -> None:
    rows = [replace(row, file_name=f"x/{row.file_name}") for row in read_rows(perfect / "parts", PartRow)]
    with pytest.raises(InputError, match="names are relative to the folder of images"):
        evaluation.score(map(evaluation.labelled_parts, rows), truth)


@pytest.mark.parametrize("kind", ["rows", "coco"])
def test_another_size_is_named_before_anything_is_read(
    perfect: Path, drawings: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the last image, and in one without a predicted part too."""
    document = json.loads((drawings / "parts_train.json").read_text())
    last = document["images"][-1]
    last["width"] = 32
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] != last["id"]]
    parts, found = tmp_path / "parts.json", perfect
    parts.write_text(json.dumps(document))
    if kind == "coco":
        found = tmp_path / "predictions.json"
        found.write_text(json.dumps(as_coco(list(read_rows(perfect / "parts", PartRow)))))
    assert cli.main(["evaluate", "--predictions", str(found), "--parts", str(parts)]) == 2
    message = capsys.readouterr().err
    assert f"{found}: expected {last['file_name']} with 32 x 64 pixels as in {parts}" in message
    assert "found predictions of 64 x 64" in message


def test_images_that_do_not_agree_are_logged(
    perfect: Path, drawings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.loads((drawings / "parts_train.json").read_text())
    name, document["images"][0]["file_name"] = document["images"][0]["file_name"], "gone.png"
    path = tmp_path / "parts.json"
    path.write_text(json.dumps(document))
    evaluation.check_images(perfect, read_parts(path))
    missed, other = (record.getMessage() for record in caplog.records)
    assert f"1 images of {path} have no predictions and count as missed, such as gone.png" in missed
    assert f"1 images with predictions aren't in {path} and don't count, such as {name}" in other


def test_a_folder_without_parts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder that predict wrote"):
        evaluation.read_predictions(tmp_path)


def test_a_part_table_comes_before_the_scores(
    perfect: Path, drawings: Path, truth: CocoDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the perfect parts of cars are joined."""
    ids = sorted(
        {
            part.part
            for row in read_rows(perfect / "parts", PartRow)
            for found in row.objects
            if found.category == "car"
            for part in found.parts
        }
    )
    others = dict.fromkeys(ids[1:], ids[0])
    table = PartTable({"car": ClassParts({ids[0]: "all | of it"}, others)})
    expected = [
        evaluation.labelled_parts(table.applied(row)) for row in read_rows(perfect / "parts", PartRow)
    ]
    (strict,) = evaluation.score(expected, truth, ["strict"])
    assert strict.c_miou < 1
    assert evaluation.score(evaluation.read_predictions(perfect, table), truth, ["strict"]) == [strict]
    file = tmp_path / "mine.json"
    write_part_table(file, table)
    parts = drawings / "parts_train.json"
    command = ["evaluate", "--predictions", str(perfect), "--parts", str(parts), "--protocol", "strict"]
    assert cli.main([*command, "--parts-table", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "all \\| of it |" in printed
    assert "part table" in printed
    document = json.loads((perfect / "evaluation_part_table.json").read_text())
    assert document["protocols"][0]["c_miou"] == strict.c_miou
    assert not (perfect / "evaluation.json").exists()
    (tmp_path / "coco.json").write_text(json.dumps(as_coco(list(read_rows(perfect / "parts", PartRow)))))
    with pytest.raises(InputError, match=r"expected a folder with part ids, .* found a COCO file"):
        evaluation.read_predictions(tmp_path / "coco.json", table)


def test_large_segments_come_first_and_objects_are_one_part(perfect: Path) -> None:
    row = next(iter(read_rows(perfect / objects.FOLDER, ObjectRow)))
    whole = row.objects[0].rle
    header = (row.image_id, row.file_name, row.width, row.height, row.status, row.reason)
    others = (ObjectSegments(number, ()) for number in range(1, len(row.objects)))
    cut = SegmentRow(*header, (ObjectSegments(0, (Segment(3, whole), Segment(9, whole))), *others))
    found = evaluation.segments(cut, row)
    assert [(part.score, part.part, part.category) for part in found.parts] == [
        (3.0, None, row.objects[0].category),
        (9.0, None, row.objects[0].category),
    ]
    parts = evaluation.whole_objects(row).parts
    assert [(part.part, part.object_id) for part in parts] == [(0, i) for i in range(len(row.objects))]


def test_an_empty_split_is_named(perfect: Path, drawings: Path, tmp_path: Path) -> None:
    content = json.loads((drawings / "parts_train.json").read_text()) | {"annotations": []}
    empty = tmp_path / "parts.json"
    empty.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"parts\.json: .* found none in 12 images: the split is empty"):
        evaluation.score(evaluation.read_predictions(perfect), read_parts(empty))


def test_predictions_without_any_part_score_nothing(
    perfect: Path, drawings: Path, truth: CocoDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As rows and as COCO: they name parts, though they found none, so their mIoU is 0."""
    rows = [
        replace(row, objects=tuple(replace(found, parts=()) for found in row.objects))
        for row in read_rows(perfect / "parts", PartRow)
    ]
    for found in evaluation.score(map(evaluation.labelled_parts, rows), truth):
        assert (found.predictions, found.c_miou, found.part_ap, found.nmi_foreground) == (0, 0.0, 0.0, 0.0)
    path = tmp_path / "nothing.json"
    path.write_text(json.dumps(as_coco(rows)))
    command = ["evaluate", "--predictions", str(path), "--parts", str(drawings / "parts_train.json")]
    assert cli.main(command) == 0
    assert "| C-mIoU | 0.0 [0.0, 0.0] | 0.0 [0.0, 0.0] |" in capsys.readouterr().out


def test_object_classes_that_are_called_otherwise_are_named(
    perfect: Path, truth: CocoDataset, caplog: pytest.LogCaptureFixture
) -> None:
    """As by folders called `car` where the ground truth says `Car`: no part is right, which isn't silent."""
    predictions = [
        predicted._replace(
            parts=tuple(replace(part, category=part.category.upper()) for part in predicted.parts)
        )
        for predicted in evaluation.read_predictions(perfect)
    ]
    (strict,) = evaluation.score(predictions, truth, ["strict"])
    assert strict.c_miou == 0
    assert "names must be the same to the letter" in caplog.text
    caplog.clear()
    evaluation.score(evaluation.read_predictions(perfect), truth, ["strict"])
    assert "to the letter" not in caplog.text

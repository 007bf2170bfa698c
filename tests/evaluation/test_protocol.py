"""Evaluation protocols: cases worked out by hand, and the functional metrics as judges."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from partdistillation.errors import InputError
from partdistillation.evaluation import (
    Evaluation,
    Evaluator,
    ImageParts,
    PredictedPart,
    TruePart,
    evaluate,
)
from partdistillation.evaluation.of_predictions import evaluation_tables
from partdistillation.evaluation.protocol import KS
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.tables import ScoreTables
from partdistillation.functional.metrics import ImageMasks, Protocol, average_recall

WIDTH = 20


def strip(start: int, stop: int) -> NDArray[np.bool_]:
    """A mask of one row, so that areas and overlaps can be read off."""
    mask = np.zeros((1, WIDTH), dtype=bool)
    mask[0, start:stop] = True
    return mask


def car(predictions: list[PredictedPart]) -> ImageParts:
    """A car's body (10 pixels) and wheel (5 pixels)."""
    truth = [TruePart("car", "body", strip(0, 10)), TruePart("car", "wheel", strip(10, 15))]
    return ImageParts(truth, predictions, "a")


def tables(*found: Evaluation) -> ScoreTables:
    made_from = {"model": "1" * 64}
    return evaluation_tables(found, Provenance("ba9876543210fedc", made_from, "0123456789abcdef"))


def found(
    start: int, stop: int, part: int | None, score: float = 0.5, category: str = "car"
) -> PredictedPart:
    return PredictedPart(category, strip(start, stop), score, part)


def test_perfect_parts() -> None:
    result = evaluate([car([found(0, 10, 3), found(10, 15, 7)])], protocol="strict")
    assert result.average_recall[10] == 1.0
    assert result.average_recall[1] == 0.5
    assert result.best_overlap == 1.0
    assert (result.c_miou, result.a_miou, result.c_miou_hungarian) == (1.0, 1.0, 1.0)
    assert [(p.part, p.part_ids) for p in result.categories[0].parts] == [("body", (3,)), ("wheel", (7,))]


def test_strict_counts_false_positives_and_images_without_predictions() -> None:
    images = [car([found(0, 10, 0), found(10, 20, 1)]), car([])]
    strict = evaluate(images, protocol="strict")
    body, wheel = strict.categories[0].parts
    assert body.iou == pytest.approx(10 / 20)  # missed in the second image
    assert wheel.iou == pytest.approx(5 / (5 + 5 + 5))  # and 5 pixels too many in the first
    assert strict.average_recall[10] == pytest.approx(
        (10 + 1) / 40
    )  # the wheel's IoU is .5: 1 of 10 thresholds
    assert wheel.best_overlap == pytest.approx(0.25)
    paper = evaluate(images, protocol="paper")
    assert paper.average_recall[10] == pytest.approx((10 + 1) / 20)
    assert (strict.images, paper.images, strict.true_parts) == (2, 2, 4)


def test_only_paper_drops_predictions_by_looking_at_the_truth() -> None:
    stray, poor = (
        found(15, 20, 1),
        found(9, 20, 2),
    )  # no overlap at all; IoU .05 with the body, 5/11 with the wheel
    image = car([found(0, 10, 0), stray])
    assert evaluate([image], protocol="paper").predictions == 1
    assert evaluate([image], protocol="strict").predictions == 2
    assert evaluate([car([poor])], protocol="paper").predictions == 1
    nearly_off = PredictedPart("car", strip(14, 20), 0.5, 1)  # IoU .1 exactly: 1 pixel of 10
    assert evaluate([car([nearly_off])], protocol="paper").predictions == 0
    assert evaluate([car([found(14, 20, None)])], protocol="paper").predictions == 1
    assert evaluate([car([found(15, 20, None)])], protocol="paper").predictions == 0


def test_false_positives_of_a_class_lower_its_iou_on_images_without_it() -> None:
    dog = ImageParts([TruePart("dog", "head", strip(0, 4))], [found(0, 10, 0)])
    result = evaluate([car([found(0, 10, 0), found(10, 15, 1)]), dog], protocol="strict")
    scores = {category.category: category for category in result.categories}
    assert scores["car"].parts[0].iou == pytest.approx(10 / 20)
    assert scores["dog"].miou == 0.0
    assert result.c_miou == pytest.approx((0.75 + 0) / 2)
    assert result.a_miou == pytest.approx((0.5 + 1 + 0) / 3)


def test_a_class_without_truth_is_no_row() -> None:
    result = evaluate([car([found(0, 10, 0, category="boat")])], protocol="strict")
    assert [category.category for category in result.categories] == ["car"]
    assert result.c_miou == 0.0


def test_overlapping_predictions_higher_score_or_later_one_wins() -> None:
    predictions = [found(0, 10, 0, score=0.9), found(0, 15, 1, score=0.2)]
    strict = evaluate([car(predictions)], protocol="strict")
    assert strict.c_miou == 1.0
    paper = evaluate([car(predictions)], protocol="paper")
    assert [part.iou for part in paper.categories[0].parts] == [pytest.approx(10 / 15), 0.0]


def test_paper_merges_a_part_class_within_an_object() -> None:
    halves = [found(0, 5, 0, score=0.3), found(5, 10, 0, score=0.8)]
    assert evaluate([car(halves)], protocol="paper").average_recall[1] == 0.5
    assert evaluate([car(halves)], protocol="strict").average_recall[1] == pytest.approx(0.05)
    two_objects = [halves[0], PredictedPart("car", strip(5, 10), 0.8, 0, object_id=1)]
    assert evaluate([car(two_objects)], protocol="paper").predictions == 2


def test_proposals_have_recall_but_no_miou() -> None:
    result = evaluate([car([found(0, 10, None), found(10, 15, None)])], protocol="strict", named=False)
    assert result.average_recall[10] == 1.0
    assert np.isnan([result.c_miou, result.a_miou, result.categories[0].miou]).all()
    assert result.categories[0].parts[1].best_overlap == 1.0
    data = result.to_dict()
    assert data["c_miou"] is None
    assert data["average_recall"] == dict.fromkeys(map(str, KS), 1.0) | {"1": 0.5}


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_a_model_that_names_parts_and_finds_none_has_a_miou_of_0(protocol: Protocol) -> None:
    images = [replace(car([]), image_id=name) for name in "ab"]
    result = evaluate(images, protocol=protocol)
    scores = (result.c_miou, result.a_miou, result.c_miou_hungarian, result.a_miou_hungarian)
    assert scores == (0.0, 0.0, 0.0, 0.0)
    assert (result.nmi, result.ari, result.nmi_foreground, result.ari_foreground) == (0.0, 0.0, 0.0, 0.0)
    assert (result.ap, result.part_ap, result.part_ap50, result.c_macc) == (0.0, 0.0, 0.0, 0.0)
    assert result.intervals["c_miou"] == (0.0, 0.0)
    assert [part.iou for part in result.categories[0].parts] == [0.0, 0.0]
    assert np.isnan(evaluate(images, protocol=protocol, named=False).c_miou)  # proposals have none


def test_recall_is_that_of_average_recall() -> None:
    rng = np.random.default_rng(0)
    masks = [[rng.random((2, 8, 8)) < 0.5, rng.random((5, 8, 8)) < 0.6, rng.random(5)] for _ in range(6)]
    images = [
        ImageParts(
            [TruePart("c", str(i), mask) for i, mask in enumerate(truth)],
            [PredictedPart("c", mask, float(s)) for mask, s in zip(predicted, scores, strict=True)],
        )
        for truth, predicted, scores in masks
    ]
    expected = average_recall([ImageMasks(*image) for image in masks], (1, 10)).average
    recall = evaluate(images, protocol="strict", ks=(1, 10)).average_recall
    assert recall == pytest.approx(expected, abs=1e-15)


def test_images_are_read_one_by_one() -> None:
    alive = 0

    def images() -> Iterator[ImageParts]:
        nonlocal alive
        for _ in range(5):
            alive += 1
            yield car([found(0, 10, 0)])

    evaluator = Evaluator("strict")
    for image in images():
        evaluator.add(image)
        assert evaluator.result().images == alive


def test_the_order_of_images_does_not_matter() -> None:
    images = [car([found(0, 9, 0), found(9, 15, 1)]), car([found(2, 12, 1)]), car([found(0, 15, 2)])]
    images = [replace(image, image_id=name) for image, name in zip(images, "abc", strict=True)]
    assert evaluate(images, protocol="strict") == evaluate(images[::-1], protocol="strict")


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"one size in image 'x', found \[\(1, 20\), \(2, 2\)\]"):
        ImageParts(
            [TruePart("car", "body", strip(0, 1))], [PredictedPart("car", np.ones((2, 2), bool), 1.0)], "x"
        )


def test_nothing_at_all() -> None:
    for protocol in ("strict", "paper"):
        result = evaluate([], protocol=protocol)
        assert (result.images, result.categories) == (0, ())
        assert np.isnan(result.c_miou)
        assert "| C-mIoU | - |" in tables(result).markdown()
        assert evaluate([ImageParts([], [])], protocol=protocol).images == 1


def test_a_terminal_of_80_columns_shows_everything() -> None:
    name = "a_part_whose_name_is_as_long_as_half_a_line"
    truth = [TruePart("american_black_bear", name, strip(i, i + 1)) for i in range(12)]
    parts = [found(i, i + 1, i, category="american_black_bear") for i in range(12)]
    console = Console(width=80, record=True, file=io.StringIO())
    images = [ImageParts(truth, parts, "a"), ImageParts(truth, parts, "b")]
    console.print(tables(*(evaluate(images, protocol=one) for one in ("strict", "paper"))).printed())
    shown = console.export_text()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    for wanted in ("AR@1 ", "AR@200", "best overlap", "A-mIoU (Hungarian)", "part ids", "in 2 images"):
        assert wanted in shown
    assert shown.count("_") == f"{name}american_black_bear".count("_")  # folded, not cut
    assert "9 10" in shown


def test_table_is_markdown_even_with_hostile_names() -> None:
    truth = [TruePart("a|b\nc", "x | y", strip(0, 10))]
    table = tables(
        evaluate([ImageParts(truth, [found(0, 10, 4, category="a|b\nc")])], protocol="strict")
    ).markdown()
    assert "| AR@1 | 100.0 |\n| AR@10 | 100.0 |" in table
    assert r"| a\|b c | x \| y | 1 | 100.0 | 100.0 | 4 |" in table
    assert "True parts: 1; strict: 1 predictions in 1 images. In percent" in table
    assert "SHA-256: predictions 0123456789ab, truth ba9876543210, model 111111111111" in table


def test_csv_and_json_hold_every_score() -> None:
    images = [car([found(0, 10, 3), found(10, 15, 7)]), car([found(0, 8, 3)])]
    images = [replace(image, image_id=name) for image, name in zip(images, "ab", strict=True)]
    found_tables = tables(*(evaluate(images, protocol=one) for one in ("strict", "paper")))
    rows = list(csv.DictReader(io.StringIO(found_tables.csv())))
    whole = [row for row in rows if not row["part"]]
    assert {row["protocol"] for row in whole} == {"strict", "paper"}
    content = json.loads(found_tables.json())
    assert content["provenance"]["made_from"] == {"model": "1" * 64}
    strict = content["protocols"][0]
    for row in whole:
        value = (
            strict["average_recall"][row["score"][3:]] if row["score"][:3] == "AR@" else strict[row["score"]]
        )
        if row["protocol"] == "strict":
            assert float(row["value"]) == value
    (miou,) = (row for row in whole if (row["protocol"], row["score"]) == ("strict", "c_miou"))
    assert float(miou["low"]) <= float(miou["value"]) <= float(miou["high"])
    (wheel,) = (
        row for row in rows if (row["protocol"], row["part"], row["score"]) == ("strict", "wheel", "iou")
    )
    assert float(wheel["value"]) == pytest.approx(0.5)

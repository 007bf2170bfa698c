"""Consistency of part classes: the parts of the formula by hand, people, purity, and the files."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partdistillation.commands import main as cli
from partdistillation.data.coco import read_parts
from partdistillation.errors import InputError, StoreError
from partdistillation.evaluation import consistency
from partdistillation.evaluation.consistency import PartConsistency, human_scores, measure, purities
from partdistillation.evaluation.consistency_report import ConsistencyReport, run
from partdistillation.functional.masks import encode
from partdistillation.runs.records import (
    Object,
    ObjectParts,
    ObjectProposals,
    ObjectRow,
    Part,
    PartRow,
    Proposal,
    ProposalRow,
    Status,
)
from partdistillation.runs.verdicts import Action, Verdict, write_verdicts

SIZE = 64
Header = tuple[str, str, int, int, Status, str]


def band(top: int, bottom: int, side: int = 32, at: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Some rows of 32 of an object, a square of `side` pixels at (x, y)."""
    mask = np.zeros((SIZE, SIZE), np.bool_)
    x, y = at
    mask[y + top * side // 32 : y + bottom * side // 32, x : x + side] = True
    return mask


def header(number: int) -> Header:
    return (str(number), f"{number}.png", SIZE, SIZE, "ok", "")


PLACES = ((32, (0, 0)), (64, (0, 0)), (32, (20, 10)), (32, (32, 32)))
"""Side and corner of the cat in each image."""
BANDS = ((0, 8), (0, 8), (0, 8), (0, 8))
MOVING = ((8, 16), (12, 20), (16, 24), (20, 28))
FEATURES = ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0))
SPREAD = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@pytest.fixture
def finished(tmp_path: Path, write_stage: Callable[[Path, Any], Path]) -> Path:
    """Four cats: part 0, their top, has one feature; part 1, a band that moves, has two. A rejected image."""
    objects, features, parts = [], [], []
    for number, (side, at) in enumerate(PLACES):
        cat = Object(0, "cat", 1.0, side * side, (0.0, 0.0, 1.0, 1.0), encode(band(0, 32, side, at)))
        masks = [encode(band(*rows[number], side, at)) for rows in (BANDS, MOVING)]
        vectors = [np.array(given[number], np.float16) for given in (FEATURES, SPREAD)]
        proposals = tuple(
            Proposal(0, 0.9, 0.25, 1, mask, vector) for mask, vector in zip(masks, vectors, strict=True)
        )
        labelled = tuple(Part(part, 0.9, 0.9, 1, mask) for part, mask in enumerate(masks))
        objects.append(ObjectRow(*header(number), (cat,)))
        features.append(ProposalRow(*header(number), (ObjectProposals(0, "cat", proposals),)))
        parts.append(PartRow(*header(number), (ObjectParts(0, "cat", labelled),)))
    broken: Header = ("9", "9.png", 0, 0, "rejected", "broken")
    out = tmp_path / "run"
    write_stage(out / "objects", [*objects, ObjectRow(*broken, ())])
    write_stage(out / "features", [*features, ProposalRow(*broken, ())])
    write_stage(out / "parts", [*parts, PartRow(*broken, ())])
    return out


def test_a_part_that_stays_is_consistent(finished: Path) -> None:
    still, moving = measure(finished, finished / "scratch")
    assert (still.key, still.masks) == (("cat", 0), 4)
    assert (still.cosine, still.overlap, still.score) == pytest.approx((1, 1, 1))
    assert still.silhouette == pytest.approx(1)
    assert moving.key == ("cat", 1)
    assert moving.cosine == pytest.approx(math.sqrt(0.5), abs=1e-6)
    # Neighbours share 4 of 12 rows, the next but one touch.
    assert moving.overlap == pytest.approx(3 * (4 / 12) / 6)
    assert moving.score == pytest.approx(math.sqrt(math.sqrt(0.5) / 6))
    # To their own: one alike and two at right angles, mean 2/3; to the others all at right angles.
    assert moving.silhouette == pytest.approx(1 / 3)
    assert not (finished / "scratch").exists()


def test_a_sample_of_the_masks_is_exact_and_seeded(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistency, "SAMPLE", 2)
    found = [{one.key: one for one in measure(finished, finished / "s", seed=seed)} for seed in range(12)]
    assert {one["cat", 0].overlap for one in found} == {1.0}  # of two masks; of one it would be NaN
    # All six pairs come up: neighbours (1/3) and others (0).
    assert {round(one["cat", 1].overlap, 3) for one in found} == {0.333, 0.0}
    again = {one.key: one for one in measure(finished, finished / "s", seed=3)}
    assert again == found[3]
    assert found[3]["cat", 1].masks == 4


def test_single_masks_come_last_without_a_score(
    tmp_path: Path, write_stage: Callable[[Path, Any], Path]
) -> None:
    rle = encode(band(0, 8))
    cat = Object(0, "cat", 1.0, 1024, (0.0, 0.0, 1.0, 1.0), encode(band(0, 32)))
    proposal = Proposal(0, 0.9, 0.2, 1, rle, np.ones(3, np.float16))
    write_stage(tmp_path / "objects", [ObjectRow(*header(0), (cat,))])
    write_stage(tmp_path / "features", [ProposalRow(*header(0), (ObjectProposals(0, "cat", (proposal,)),))])
    write_stage(
        tmp_path / "parts", [PartRow(*header(0), (ObjectParts(0, "cat", (Part(2, 1.0, 0.9, 1, rle),)),))]
    )
    (only,) = measure(tmp_path, tmp_path / "scratch")
    assert (only.key, only.masks) == (("cat", 2), 1)
    assert np.isnan([only.score, only.cosine, only.overlap, only.silhouette]).all()
    report = run(tmp_path)
    assert report.tables().markdown().splitlines()[2] == "| 1 | cat | 2 | 1 | - | - | - | - |"
    assert json.loads((tmp_path / "consistency/consistency.json").read_text())["parts"][0]["score"] is None


def test_parts_of_other_proposals_are_refused(
    finished: Path, tmp_path: Path, write_stage: Callable[[Path, Any], Path]
) -> None:
    other = Proposal(0, 0.9, 0.2, 1, encode(band(3, 4)), np.ones(3, np.float16))
    rows = [ProposalRow(*header(i), (ObjectProposals(0, "cat", (other,)),)) for i in range(5)]
    (finished / "features").rename(tmp_path / "away")
    write_stage(finished / "features", rows)
    with pytest.raises(StoreError, match="parts of the same proposals"):
        measure(finished, finished / "scratch")


def verdict(
    part: int, marks: tuple[bool, ...], action: Action = "judged", who: str = "a", of: str = "run"
) -> Verdict:
    return Verdict(who, of, "cat", part, marks, None, None, "", action)


def test_people_are_averaged() -> None:
    found = human_scores(
        [
            verdict(0, (True, True, False, False)),
            verdict(0, (True, True, True, True), who="b"),
            verdict(1, (True, True), "rejected"),
            verdict(2, (True, True), "skipped"),
            verdict(3, ()),
        ]
    )
    assert found == {("cat", 0): 0.75, ("cat", 1): 0.0}


def truth(path: Path, sizes: int = SIZE) -> Path:
    """A cat's head is its upper half, its body the rest; image 3 isn't there, in image 2 there is no head."""
    images = [{"id": i, "file_name": f"{i}.png", "height": sizes, "width": sizes} for i in range(3)]
    annotations: list[dict[str, object]] = []
    for number, (side, at) in enumerate(PLACES[:3]):
        for name, rows in ((1, (0, 16)), (2, (16, 32))):
            if (number, name) != (2, 1):
                segmentation = {
                    "size": [sizes, sizes],
                    "counts": encode(band(*rows, side, at)[:sizes, :sizes]).decode(),
                }
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": number,
                        "category_id": name,
                        "segmentation": segmentation,
                    }
                )
    categories = [
        {"id": 1, "name": "cat head", "supercategory": "cat"},
        {"id": 2, "name": "cat body", "supercategory": "cat"},
    ]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def test_purity_is_the_share_of_the_true_part_that_most_masks_are_of(finished: Path, tmp_path: Path) -> None:
    found = purities(finished / "parts", read_parts(truth(tmp_path / "parts.json")))
    # Part 0: head, head, nothing. Part 1: head; half and half, head named first; body.
    assert found == {("cat", 0): pytest.approx(2 / 3), ("cat", 1): pytest.approx(2 / 3)}


def test_true_parts_of_other_images_or_sizes_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0\.png to be 64 x 64 pixels"):
        purities(finished / "parts", read_parts(truth(tmp_path / "small.json", 63)))
    (tmp_path / "other.json").write_text(truth(tmp_path / "parts.json").read_text().replace(".png", ".jpg"))
    others = json.loads((tmp_path / "other.json").read_text())
    for image in others["images"]:
        image["id"] += 100
    others["annotations"] = []
    (tmp_path / "other.json").write_text(json.dumps(others))
    with pytest.raises(InputError, match="found none"):
        purities(finished / "parts", read_parts(tmp_path / "other.json"))


def test_files_and_table(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "review").mkdir()
    write_verdicts(
        finished / "review/verdicts.jsonl",
        [verdict(0, (True, True)), verdict(1, (True, False)), verdict(1, (True, True), of="other")],
    )
    assert cli.main(["consistency", str(finished), "--parts", str(truth(tmp_path / "parts.json"))]) == 0
    printed = capsys.readouterr().out
    assert "| 1 | cat | 0 | 4 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 0.67 |" in printed
    assert "- score: - [-, -], 2 part classes" in printed  # two are too few to correlate
    assert (finished / "consistency/consistency.md").read_text() in printed
    with (finished / "consistency/consistency.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["object_class"], first["part"], first["people"]) == ("cat", "0", "1.0")
    assert float(second["people"]) == 0.5
    assert float(second["purity"]) == pytest.approx(2 / 3)
    document = json.loads((finished / "consistency/consistency.json").read_text())
    assert [one["part"] for one in document["parts"]] == [0, 1]
    assert document["correlations"]["people"]["score"]["compared"] == 2


def test_verdicts_about_other_runs_are_refused(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    write_verdicts(path, [verdict(0, (True,), of="seed-1"), verdict(0, (True,), of="seed-2")])
    with pytest.raises(InputError, match="about run, found those about seed-1, seed-2"):
        run(finished, verdicts=path)
    write_verdicts(path, [verdict(0, (True,), of="elsewhere")])  # a single run, whatever its folder was
    assert run(finished, verdicts=path).judges["people"] == {("cat", 0): 1.0}


def test_a_run_that_nobody_has_judged_is_said_to_be_so(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished / "review/verdicts.jsonl"
    path.parent.mkdir()
    for said in ([], [verdict(0, (True,), "skipped")]):
        write_verdicts(path, said)
        assert run(finished).judges == {}
        assert "People have judged none of these parts" in capsys.readouterr().out
        with pytest.raises(
            InputError, match=r"verdicts.jsonl: expected verdicts that judge parts, found none"
        ):
            run(finished, verdicts=path)


def test_long_tables_are_cut_in_the_terminal() -> None:
    parts = [PartConsistency("a|b", part, 5, 0.25, 0.5, 1.0) for part in range(3)]
    lines = ConsistencyReport(parts).tables(ends=1).markdown().splitlines()
    assert lines[2:] == [
        "| 1 | a\\|b | 0 | 5 | 0.50 | 0.25 | 0.50 | 1.00 |",
        "| ... | ... | ... | ... | ... | ... | ... | ... |",
        "| 3 | a\\|b | 2 | 5 | 0.50 | 0.25 | 0.50 | 1.00 |",
    ]

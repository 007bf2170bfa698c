"""Stage 5 with a part table: which parts are learned, and what the model calls them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation import pipeline
from partdistillation.commands.main import main
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import InputError, SettingsChanged
from partdistillation.functional.masks import decode, encode
from partdistillation.inference import PartSegmenter
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.runs.part_table import ClassParts, PartTable, read_part_table, write_part_table
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow, Status
from partdistillation.runs.run_folder import save_settings
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import distillation, retraining

Header = tuple[str, str, int, int, Status, str]

CAR = ClassParts({1: "wheel"}, {3: 1}, frozenset({0}))


def part(number: int, *columns: int) -> Part:
    mask = np.zeros((2, 10), np.bool_)
    mask[:, list(columns)] = True
    return Part(number, 1.0, 0.5, 2 * len(columns), encode(mask))


def test_what_is_learned(tmp_path: Path, write_stage: Callable[[Path, Any], Path]) -> None:
    header: Header = ("1", "a.png", 10, 2, "ok", "")
    found = (
        ObjectParts(0, "car", (part(0, 0), part(1, 1), part(2, 2), part(3, 3, 4))),
        ObjectParts(1, "dog", (part(3, 9),)),
    )
    parts = write_stage(
        tmp_path / "parts", [PartRow(*header, found), PartRow("2", "b.png", 0, 0, "rejected", "broken", ())]
    )
    table = PartTable({"car": CAR})
    ids, _ = table.renumbered(4)
    first, second = read_rows(retraining.relabel(parts, tmp_path / "new", table, ids), PartRow)
    car, dog = first.objects
    assert [(one.part, one.area) for one in car.parts] == [(0, 6), (1, 2)]
    assert np.flatnonzero(decode(car.parts[0].rle, 2, 10)[0]).tolist() == [1, 3, 4]
    assert dog == found[1]
    assert second.reason == "broken"
    assert distillation.part_ids(tmp_path / "new") == {"car": {0, 1}, "dog": {3}}
    with pytest.raises(SettingsChanged, match="part_table"):
        retraining.relabel(parts, tmp_path / "new", PartTable({"car": replace(CAR, merged={})}), ids)
    named = PartTable({"car": replace(CAR, names={2: "door"})})  # names change nothing that is learned
    assert retraining.relabel(parts, tmp_path / "new", named, ids) == tmp_path / "new"


@pytest.fixture
def ranked(
    small_network: PartMask2Former,
    tiny_recipe: Recipe,
    tmp_path: Path,
    write_stage: Callable[[Path, Any], Path],
) -> tuple[Inputs, Recipe]:
    """What stages 1, 3 and 4 leave of one image with a car of 3 part classes."""
    inputs = Inputs(out=tmp_path / "out", images=tmp_path / "photos", device="cpu")
    assert inputs.images is not None
    inputs.images.mkdir()
    Image.fromarray(np.zeros((2, 10, 3), np.uint8)).save(inputs.images / "a.png")
    header: Header = ("1", "a.png", 10, 2, "ok", "")
    whole = encode(np.ones((2, 10), np.bool_))
    car = Object(0, "car", 1.0, 20, (0.0, 0.0, 10.0, 2.0), whole)
    parts = (part(0, 0, 1), part(1, 4, 5), part(2, 8, 9))
    write_stage(inputs.out / "objects", [ObjectRow(*header, (car,))])
    write_stage(inputs.out / "parts", [PartRow(*header, (ObjectParts(0, "car", parts),))])
    small_network.with_head(["part"], seed=0).save_pretrained(inputs.out / "proposal_model")
    return inputs, tiny_recipe


def test_a_model_is_trained_anew(ranked: tuple[Inputs, Recipe], tmp_path: Path) -> None:
    inputs, recipe = ranked
    table = PartTable({"car": ClassParts({1: "wheel"}, {2: 1}, frozenset({0}))})
    write_part_table(tmp_path / "mine.json", table)
    model = pipeline.retrain(inputs, recipe, tmp_path / "mine.json")
    assert model == inputs.out / "retrained/part_model"
    segmenter = PartSegmenter.from_pretrained(model, device="cpu")
    assert segmenter.network.info.num_parts == 1
    assert segmenter.part_name("car", 0) == "wheel"
    before = (model / "model.safetensors").read_bytes()
    renamed = PartTable({"car": replace(table.of("car"), names={1: "tyre"})})
    retraining.run(inputs, recipe, renamed)  # nothing is learned again
    assert (model / "model.safetensors").read_bytes() == before
    assert read_part_table(model / "part_table.json") == PartTable({"car": ClassParts({0: "tyre"})})
    with pytest.raises(SettingsChanged):
        retraining.run(inputs, recipe, PartTable({"car": ClassParts(rejected=frozenset({0}))}))
    assert not (inputs.out / "part_model").exists()


def test_from_the_command_line(
    ranked: tuple[Inputs, Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, recipe = ranked
    save_settings(inputs, recipe)
    write_part_table(tmp_path / "mine.json", PartTable({"car": ClassParts(merged={2: 9})}))
    command = ["distill", "--out", str(inputs.out), "--parts-table", str(tmp_path / "mine.json")]
    assert main(command) == 2
    assert "mentions part 9 of 'car': expected parts 0 to 2" in capsys.readouterr().err
    write_part_table(tmp_path / "mine.json", PartTable({"car": ClassParts(merged={2: 0})}))
    assert main(command) == 0
    assert distillation.part_ids(inputs.out / "retrained/parts") == {"car": {0, 1}}


@pytest.mark.parametrize(
    ("decided", "message"),
    [
        (ClassParts({0: "wheel"}), "joins or rejects part classes, found none"),
        (ClassParts(rejected=frozenset({0, 1, 2})), "leaves some parts to learn, found that it rejects all"),
    ],
)
def test_tables_that_leave_nothing_to_do(
    ranked: tuple[Inputs, Recipe], decided: ClassParts, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        retraining.run(*ranked, PartTable({"car": decided}))

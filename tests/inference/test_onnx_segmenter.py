"""Part models in ONNX: the parts that PyTorch finds, without PyTorch, and folders that are something else."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from partdistillation import OnnxPartSegmenter, PartSegmenter
from partdistillation.commands.main import main
from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.errors import CheckpointError, ConfigError, InputError
from partdistillation.inference import ObjectMask
from partdistillation.inference.onnx_export import verify
from partdistillation.inference.onnx_segmenter import CONFIG, HEAD, NETWORK, OnnxInfo
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.objects.salient_classes import FILE as MEANS
from partdistillation.part_shapes import PartShapes
from partdistillation.runs.digests import write_digests
from partdistillation.runs.part_table import ClassParts, PartTable, write_part_table

LOOSE: dict[str, Any] = {"min_ratio": 0.0, "min_score": 0.0}
IMAGE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
MASK = np.zeros((50, 70), np.bool_)
MASK[10:40, 5:61] = True


def write_by_hand(folder: Path, outputs: tuple[str, ...] = ("queries", "mask_logits", "features")) -> Path:
    """A part model that can be computed by hand: its two queries are the left and the right of the image.

    The first query is part 0 of a car and part 1 of a cat, the second part 1 of a car and part 0 of a cat.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    sides = np.where(np.arange(16) < 8, 9.0, -9.0).astype(np.float32)
    logits = np.stack([np.tile(sides, (16, 1)), np.tile(-sides, (16, 1))])
    values = {
        "queries": np.eye(2, dtype=np.float32),
        "mask_logits": logits,
        "features": logits[:, ::4, ::4].copy(),
    }
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values[known], name))
        for known, name in zip(values, outputs, strict=False)
    ]
    graph = helper.make_graph(
        nodes,
        "parts",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, (1, 3, "height", "width"))],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, values[known].shape)
            for known, name in zip(values, outputs, strict=False)
        ],
    )
    folder.mkdir(parents=True)
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9),
        folder / NETWORK,
    )
    car, cat = [[8, 0, 0], [0, 8, 0]], [[0, 8, 0], [8, 0, 0]]
    rows = np.array([car, cat], np.float32).reshape(2, 6)
    save_file({"rows": rows, "no_object": np.zeros(3, np.float32)}, folder / HEAD)
    info = OnnxInfo(("car", "cat"), 2, 64, IMAGENET_MEAN, IMAGENET_STD)
    (folder / CONFIG).write_text(info.to_json())
    write_digests(folder)
    return folder


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    return write_by_hand(tmp_path / "by_hand")


def columns(mask: NDArray[np.bool_]) -> tuple[int, int]:
    used = np.flatnonzero(mask.any(axis=0))
    return int(used[0]), int(used[-1])


def test_parts_by_hand(by_hand: Path) -> None:
    segmenter = OnnxPartSegmenter.from_pretrained(by_hand)
    result = segmenter(IMAGE, [ObjectMask(MASK, "car", 0.5), (MASK, "cat")])
    car, cat = result.objects
    assert [columns(part.mask) for part in car.parts] == [(5, 34), (35, 60)]
    assert [columns(part.mask) for part in cat.parts] == [(35, 60), (5, 34)]
    probability = np.exp(8) / (np.exp(8) + 2)  # beside another part and "no object"
    assert [part.score for part in (*car.parts, *cat.parts)] == pytest.approx([probability] * 4)
    assert [part.name for part in car.parts] == ["part 0", "part 1"]
    assert segmenter(IMAGE, []).objects == ()
    assert len(segmenter([IMAGE, IMAGE], [[], [(MASK, "car")]])[1].objects) == 1
    assert len(result.to_coco()["annotations"]) == 6
    assert result.plot().size[0] >= 480


def test_an_unknown_class_has_no_parts(by_hand: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lamp = OnnxPartSegmenter.from_pretrained(by_hand)(IMAGE, [(MASK, "lamp")]).objects[0]
    assert lamp.parts == ()
    assert "no class 'lamp'" in caplog.text


def test_a_part_table_and_names(by_hand: Path) -> None:
    table = PartTable(
        {"car": ClassParts(names={0: "side"}, merged={1: 0}), "cat": ClassParts(rejected=frozenset([0]))}
    )
    write_part_table(by_hand / "part_table.json", table)
    write_digests(by_hand)
    car, cat = OnnxPartSegmenter.from_pretrained(by_hand)(IMAGE, [(MASK, "car"), (MASK, "cat")]).objects
    assert [(part.name, part.mask.sum()) for part in car.parts] == [("side", MASK.sum())]
    assert [part.part for part in cat.parts] == [1]


def test_no_torch_is_imported(by_hand: Path) -> None:
    code = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np
from partdistillation import OnnxPartSegmenter
image = np.zeros((50, 70, 3), np.uint8)
result = OnnxPartSegmenter.from_pretrained({str(by_hand)!r})(image, [(np.ones((50, 70), bool), "car")])
result.save({str(by_hand.parent / "parts.png")!r})
assert not {{"torch", "transformers"}} & set(sys.modules)
print(len(result.objects[0].parts), len(result.to_coco()["annotations"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2", "3"], done.stderr


def test_objects_are_found_by_saliency_or_not_at_all(
    by_hand: Path, write_network: Callable[..., Path]
) -> None:
    with pytest.raises(ConfigError, match=r"expected objects .masks with classes., or a saliency network"):
        OnnxPartSegmenter.from_pretrained(by_hand)(IMAGE)
    write_network(by_hand / "objects_model/bright.onnx")
    means = {"car": np.array([1, -1], np.float32), "cat": np.array([-1, 1], np.float32)}
    save_file(
        {name: mean / np.sqrt(np.float32(2)) for name, mean in means.items()},
        by_hand / "objects_model" / MEANS,
    )
    image = np.zeros((64, 64, 3), np.uint8)
    image[8:56, 34:60] = 255  # what stands out lies where the second query is
    shape = OnnxPartSegmenter.from_pretrained(by_hand)(image).objects[0]
    assert shape.category == "cat"
    assert 30 <= columns(shape.mask)[0] <= 38
    assert [part.part for part in shape.parts] == [0]


@pytest.mark.slow
def test_the_example_runs_without_torch(
    by_hand: Path, write_network: Callable[..., Path], tmp_path: Path
) -> None:
    write_network(by_hand / "objects_model/bright.onnx")
    means = {"car": np.array([1, -1], np.float32), "cat": np.array([-1, 1], np.float32)}
    save_file(means, by_hand / "objects_model" / MEANS)
    (tmp_path / "photos/a").mkdir(parents=True)
    image = np.zeros((64, 64, 3), np.uint8)
    image[8:56, 34:60] = 255
    Image.fromarray(image).save(tmp_path / "photos/a/1.png")
    script = Path(__file__).parents[2] / "examples/onnx_without_torch.py"
    places = [by_hand, tmp_path / "photos", tmp_path / "out"]
    done = subprocess.run([sys.executable, script, *places], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("a/1.png: cat: part 0 ("), done.stderr
    document = json.loads((tmp_path / "out/a-1.json").read_text())
    assert [entry.get("object_id") for entry in document["annotations"]] == [None, 1]
    assert (tmp_path / "out/a-1.png").is_file()
    forbidden = f"import runpy; runpy.run_path({str(script)!r}, run_name='example'); import torch"
    done = subprocess.run([sys.executable, "-c", forbidden], capture_output=True, text=True, check=False)
    assert "ImportError: torch isn't to be imported here" in done.stderr


def test_folders_that_are_something_else(
    by_hand: Path, small_network: PartMask2Former, tmp_path: Path
) -> None:
    load = OnnxPartSegmenter.from_pretrained
    with pytest.raises(CheckpointError, match="expected the folder of a part model in ONNX, found none"):
        load(tmp_path / "nowhere")
    small_network.save_pretrained(tmp_path / "torch")
    with pytest.raises(CheckpointError, match="found one of type 'mask2former'; `partdistill export-onnx"):
        load(tmp_path / "torch")
    other = write_by_hand(tmp_path / "other", outputs=("boxes", "scores"))
    with pytest.raises(CheckpointError, match=r"from pixels to queries, .* found pixels to boxes, scores"):
        load(other)
    (by_hand / NETWORK).write_bytes((by_hand / NETWORK).read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="is damaged: its SHA-256"):
        load(by_hand)
    (by_hand / "sha256.json").unlink()
    with pytest.raises(CheckpointError, match="expected an ONNX file that can be run"):
        load(by_hand)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (CONFIG, b"{", "expected the settings of a part model"),
        (CONFIG, b"[]", "expected the settings of a part model"),
        (CONFIG, b'{"model_type": "partdistillation-onnx"}', "is damaged .'class_names'"),
        (HEAD, b"nothing", "expected the rows of object classes"),
        (HEAD, None, "expected .*'rows': .2, 6.*, found .*'rows': .1, 6"),
    ],
)
def test_damaged_files(by_hand: Path, file: str, content: bytes | None, message: str) -> None:
    (by_hand / "sha256.json").unlink()
    if content is None:
        rows = {"rows": np.zeros((1, 6), np.float32), "no_object": np.zeros(3, np.float32)}
        save_file(rows, by_hand / HEAD)
    else:
        (by_hand / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        OnnxPartSegmenter.from_pretrained(by_hand)


def test_wrong_settings(by_hand: Path) -> None:
    (by_hand / "sha256.json").unlink()
    good = json.loads((by_hand / CONFIG).read_text())
    for change in ({"num_parts": 0}, {"class_names": [1]}, {"pixel_mean": [1]}, {"image_size": "64"}):
        (by_hand / CONFIG).write_text(json.dumps({**good, **change}))
        with pytest.raises(CheckpointError, match="is damaged"):
            OnnxPartSegmenter.from_pretrained(by_hand)


def test_without_onnxruntime(by_hand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match=r"needs onnxruntime: pip install '\.\[onnx\]'"):
        OnnxPartSegmenter.from_pretrained(by_hand)


def part_model(network: PartMask2Former, folder: Path) -> Path:
    parts = network.with_head(PartShapes.CATEGORIES, num_parts=3, seed=1)
    with torch.no_grad():
        parts.class_predictor.rows.mul_(8)  # type: ignore[operator]
    parts.save_pretrained(folder)
    return folder


def test_nothing_is_written_over(
    small_network: PartMask2Former, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = part_model(small_network, tmp_path / "model")
    assert main(["export-onnx", str(model), "--out", str(model)]) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err
    small_network.save_pretrained(tmp_path / "objects")
    assert main(["export-onnx", str(tmp_path / "objects"), "--out", str(tmp_path / "out")]) == 2
    assert "expected a part model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.timeout(1_200)  # a Swin's takes minutes on a machine that does other things
@pytest.mark.usefixtures("unchecked")  # sizes are symbols in an exporter
@pytest.mark.parametrize(("network", "channels"), [("small_network", 48), ("small_swin", 96)])
def test_exported_models_find_the_same_parts(
    network: str,
    channels: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write_network: Callable[..., Path],
) -> None:
    model = part_model(request.getfixturevalue(network), tmp_path / "model")
    write_part_table(model / "part_table.json", PartTable({"car": ClassParts(names={0: "wheel"})}))
    write_network(model / "objects_model/bright.onnx")
    save_file({"car": np.ones(channels, np.float32)}, model / "objects_model" / MEANS)
    (model / "sha256.json").unlink()
    out = tmp_path / "onnx"
    assert main(["export-onnx", str(model), "--out", str(out), "--verify"]) == 0
    assert "parts agree" in capsys.readouterr().out
    theirs, ours = PartSegmenter.from_pretrained(model), OnnxPartSegmenter.from_pretrained(out)
    parts = 0
    for number, size in enumerate((33, 64, 97, 128, 200)):
        scene = PartShapes(seed=3, size=size)[number]
        objects = [(shape.mask, shape.category) for shape in scene.objects]
        expected, actual = (segmenter(scene.image, objects, **LOOSE) for segmenter in (theirs, ours))
        for other, shape in zip(expected.objects, actual.objects, strict=True):
            assert [part.name for part in shape.parts] == [part.name for part in other.parts]
            for part, judge in zip(shape.parts, other.parts, strict=True):
                assert part.score == pytest.approx(judge.score, abs=1e-4)
                assert (part.mask != judge.mask).sum() <= 2
                parts += 1
    assert parts >= 5
    image = np.zeros((64, 64, 3), np.uint8)
    image[8:56, 20:50] = 255
    expected, actual = (segmenter(image, **LOOSE) for segmenter in (theirs, ours))
    assert (
        [shape.category for shape in actual.objects]
        == [shape.category for shape in expected.objects]
        == ["car"]
    )
    shutil.rmtree(model / "objects_model")
    (out / HEAD).unlink()
    with pytest.raises(CheckpointError, match="missing"):
        verify(model, out)


def test_input_errors_are_those_of_any_model(by_hand: Path) -> None:
    with pytest.raises(InputError, match="found \\(50, 69\\)"):
        OnnxPartSegmenter.from_pretrained(by_hand)(IMAGE, [(MASK[:, 1:], "car")])

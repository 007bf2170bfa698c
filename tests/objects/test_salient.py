"""One object a photograph: what stands out, its largest piece, and what is no object."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partdistillation.config import Inputs, ObjectsConfig, Recipe
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.functional.masks import decode
from partdistillation.objects import ObjectSegmenter
from partdistillation.objects.saliency_weights import SHA256, rembg_folder
from partdistillation.objects.salient import SalientObjects, salient_mask
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import objects

WriteNetwork = Callable[..., Path]


def bright(height: int = 64, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A black image with a large and a small white rectangle; the large one's mask."""
    image, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.bool_)
    mask[height // 4 : -height // 4, width // 4 : width // 2 + 8] = True
    image[mask] = 255
    image[4:10, -10:-4] = 255
    return image, mask


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("shape", [(1, 3, 32, 32), ("batch", 3, 32, 32), ("batch", 3, "height", "width")])
def test_the_largest_bright_piece(
    tmp_path: Path, write_network: WriteNetwork, shape: tuple[object, ...], logits: bool
) -> None:
    find: ObjectSegmenter = SalientObjects.from_pretrained(
        str(write_network(tmp_path / "net.onnx", shape=shape, logits=logits))
    )
    image, mask = bright()
    small, small_mask = bright(50, 40)
    (large,), none, (other,) = find([image, np.zeros((8, 8, 3), np.uint8), small], ["car"])
    assert none == []
    assert (large.category, other.category) == ("car", "car")
    assert iou(decode(large.rle, 64, 96), mask) > 0.85
    assert iou(decode(other.rle, 50, 40), small_mask) > 0.7
    assert 0.5 < large.score <= 1


def test_a_network_is_asked_for_one_class(tmp_path: Path, write_network: WriteNetwork) -> None:
    find = SalientObjects.from_pretrained(str(write_network(tmp_path / "net.onnx")))
    assert find([], ["car", "cat"]) == []
    with pytest.raises(ConfigError, match="finds what stands out, not what it is"):
        find([bright()[0]], ["car", "cat"])


def test_what_is_no_object() -> None:
    def mask_of(saliency: np.ndarray) -> np.ndarray | None:
        return salient_mask(saliency.astype(np.float32))[0]

    field = np.zeros((40, 50))
    assert mask_of(field) is None
    assert mask_of(field + 0.9) is None  # everything alike: nothing stands out
    field[10:20, 10:20] = 0.5
    assert mask_of(field) is None  # never over the threshold
    field[10:20, 10:20] = 0.6
    found = mask_of(field)
    assert found is not None
    assert found.sum() == 100
    field[:] = 0
    field[3, 3:9] = 1
    assert mask_of(field) is None  # 6 of 2,000 pixels
    field[:] = 1
    field[:2, :2] = 0
    assert mask_of(field) is None  # fills the picture
    two = np.zeros((40, 50))
    two[:5, :5], two[20:30, 20:40] = 1, 0.8
    mask, score = salient_mask(two.astype(np.float32))
    assert mask is not None
    assert mask[20:30, 20:40].all()
    assert mask.sum() == 200
    assert score == pytest.approx(0.8)


@pytest.mark.parametrize(
    "arguments", [{"shape": (1, 1, 32, 32)}, {"channels": 2}, {"shape": (1, 3, 32, 32), "channels": 3}]
)
def test_another_kind_of_network_is_refused(
    tmp_path: Path, write_network: WriteNetwork, arguments: dict[str, object]
) -> None:
    if arguments.get("shape", (1, 3))[1] == 1:  # type: ignore[index]
        from onnx import TensorProto, helper, save

        graph = helper.make_graph(
            [helper.make_node("Sigmoid", ["image"], ["map"])],
            "grey",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 32, 32))],
            [helper.make_tensor_value_info("map", TensorProto.FLOAT, (1, 1, 32, 32))],
        )
        save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]),
             tmp_path / "net.onnx")  # fmt: skip
    else:
        write_network(tmp_path / "net.onnx", **arguments)
    with pytest.raises(CheckpointError, match="expected a saliency network, from images"):
        SalientObjects.from_pretrained(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize("content", [b"", b"no network", bytes(1000)])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match="expected an ONNX file that can be run"):
        SalientObjects.from_pretrained(str(tmp_path / "net.onnx"))


# ---------------------------------------------------------------------- the stage


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    for name in ("car/a.png", "car/b.png", "red_cat/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(bright()[0]).save(folder / name)
    Image.new("RGB", (40, 40)).save(folder / "car/nothing.png")
    return folder


def rows_of(images: Path, out: Path, network: Path) -> dict[str, ObjectRow]:
    config = ObjectsConfig(source="salient", model=str(network))
    folder = objects.run(Inputs(out=out, images=images, device="cpu"), Recipe(objects=config))
    return {row.file_name: row for row in read_rows(folder, ObjectRow)}


def test_the_class_is_that_of_the_folder(
    photographs: Path, tmp_path: Path, write_network: WriteNetwork
) -> None:
    Image.fromarray(bright()[0]).save(photographs / "stray.png")
    rows = rows_of(photographs, tmp_path / "out", write_network(tmp_path / "net.onnx"))
    assert {name: [found.category for found in row.objects] for name, row in rows.items()} == {
        "car/a.png": ["car"],
        "car/b.png": ["car"],
        "car/nothing.png": [],
        "red_cat/c.png": ["red_cat"],
        "stray.png": [],
    }
    assert rows["car/nothing.png"].reason.startswith("nothing stands out as one object (of .5 % to 95 %")
    assert rows["stray.png"].reason == "expected a class folder around it, as the others have"


def test_a_folder_without_class_folders_is_one_class(
    photographs: Path, tmp_path: Path, write_network: WriteNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    rows = rows_of(photographs / "red_cat", tmp_path / "out", write_network(tmp_path / "net.onnx"))
    assert [found.category for found in rows["c.png"].objects] == ["red_cat"]
    assert "no class folders in it, so all photographs are of one class, 'red_cat'" in caplog.text


def test_the_file_s_contents_decide(photographs: Path, tmp_path: Path, write_network: WriteNetwork) -> None:
    first, again = write_network(tmp_path / "net.onnx"), write_network(tmp_path / "same.onnx")
    other = write_network(tmp_path / "other.onnx", logits=True)
    rows = rows_of(photographs, tmp_path / "out", first)
    assert rows_of(photographs, tmp_path / "out", again) == rows
    with pytest.raises(Exception, match="models"):
        rows_of(photographs, tmp_path / "out", other)


@pytest.mark.skipif(
    not (rembg_folder() / "u2netp.onnx").is_file(), reason="u2netp.onnx isn't here: partdistill weights"
)
def test_u2netp_finds_a_disc() -> None:
    image = np.full((200, 300, 3), (90, 140, 200), np.uint8)
    y, x = np.mgrid[:200, :300]
    disc = (y - 110) ** 2 + (x - 150) ** 2 < 60**2
    image[disc] = (180, 40, 30)
    ((found,),) = SalientObjects.from_pretrained()([image], ["disc"])
    assert iou(decode(found.rle, 200, 300), disc) > 0.9
    assert set(SHA256) == {"u2netp"}

"""Label Studio's tasks; its own converter decodes the brushes where it is installed."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from partdistillation.errors import InputError
from partdistillation.export import formats
from partdistillation.export.label_studio import brush, brush_mask, task


def test_brushes_of_a_hand_computed_mask() -> None:
    """32 values of 8 bits; four ways of run lengths; 16 values 0, then 16 values 255."""
    mask = np.array([[False] * 4, [True] * 4])
    bits = "".join(f"{byte:08b}" for byte in brush(mask).tolist())
    head = f"{32:032b}" + f"{7:05b}" + "".join(f"{width - 1:04b}" for width in (4, 8, 12, 16))
    runs = "1" + "00" + f"{15:04b}" + f"{0:08b}" + "1" + "00" + f"{15:04b}" + f"{255:08b}"
    assert bits.startswith(head + runs)
    assert not bits[len(head + runs) :].strip("0")


@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_brushes_come_back(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(brush_mask(brush(mask), *mask.shape), mask)


def test_long_runs_come_back() -> None:
    mask = np.zeros((300, 400), bool)
    mask[200:, 7:] = True
    assert np.array_equal(brush_mask(brush(mask), 300, 400), mask)


def test_their_converter_decodes_brushes(scenes: Any) -> None:
    theirs: Any = pytest.importorskip(
        "label_studio_converter.brush", reason="label-studio-converter isn't installed"
    )
    for mask in scenes.MASKS.values():
        decoded = theirs.decode_rle(brush(mask).tolist()).reshape(*mask.shape, 4)
        assert np.array_equal(decoded[..., 3] > 0, mask)


def test_brushes_with_literal_values_are_read() -> None:
    """As other tools encode them: a run of single values."""
    literal = "0" + "00" + f"{7:04b}" + "".join(f"{value:08b}" for value in (0, 0, 0, 255) * 2)
    bits = f"{8:032b}" + f"{7:05b}" + "".join(f"{width - 1:04b}" for width in (4, 8, 12, 16)) + literal
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert brush_mask(np.frombuffer(data, np.uint8), 1, 2).all()


@pytest.mark.parametrize(("cut", "message"), [(3, "ends too early"), (12, "ends too early")])
def test_damaged_brushes_are_refused(cut: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        brush_mask(brush(np.eye(9, dtype=bool))[:cut], 9, 9)


def test_brushes_of_other_images_are_refused() -> None:
    with pytest.raises(InputError, match="another image"):
        brush_mask(brush(np.eye(9, dtype=bool)), 9, 10)


def test_regions_name_their_objects(scenes: Any) -> None:
    content: Any = task(scenes.IMAGES[0])
    assert content["data"]["image"] == "/data/local-files/?d=street/a%20b.jpg"
    (prediction,) = content["predictions"]
    regions = prediction["result"]
    assert [region["value"]["brushlabels"][0] for region in regions] == [
        "car",
        "car window",
        "car wheel <&> é",
        "bus",
    ]
    assert [region.get("parentID") for region in regions] == [None, regions[0]["id"], regions[0]["id"], None]
    assert [region["score"] for region in regions] == [0.75, 0.5, 0.9, 1.0]


def test_files(tmp_path: Path, scenes: Any) -> None:
    formats.write(scenes.LABELS, tmp_path, "label-studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert tasks == [json.loads(json.dumps(task(image))) for image in scenes.IMAGES]
    interface = ElementTree.parse(tmp_path / "labels.xml")
    assert [label.get("value") for label in interface.iter("Label")] == list(scenes.IDS.names.values())

"""Decoded masks as Parquet; `datasets` loads them where it is installed."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from partdistillation.export import formats


def test_a_row_a_mask(tmp_path: Path, scenes: Any) -> None:
    assert formats.write(scenes.LABELS, tmp_path, "datasets") == "4 masks as images"
    rows = pq.read_table(tmp_path / "masks/00000.parquet").to_pylist()
    assert [(row["object_id"], row["object_class"], row["part"], row["name"]) for row in rows] == [
        (0, "car", "", "car"),
        (0, "car", "window", "car window"),
        (0, "car", "wheel <&> é", "car wheel <&> é"),
        (1, "bus", "", "bus"),
    ]
    masks = [np.array(Image.open(io.BytesIO(row["mask"]["bytes"]))) for row in rows]
    assert np.array_equal(masks[0], scenes.LEFT)
    assert np.array_equal(masks[1], scenes.RING)


def test_the_readme_says_where_the_rows_are(tmp_path: Path, scenes: Any) -> None:
    formats.write(scenes.LABELS, tmp_path, "datasets")
    _, head, _ = (tmp_path / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["configs"] == [{"config_name": "masks", "data_files": "masks/*.parquet"}]


def test_datasets_loads_the_masks(tmp_path: Path, scenes: Any) -> None:
    datasets: Any = pytest.importorskip("datasets", reason="datasets isn't installed")
    formats.write(scenes.LABELS, tmp_path / "a", "datasets")
    rows = datasets.load_dataset(
        str(tmp_path / "a"), "masks", split="train", cache_dir=str(tmp_path / "cache")
    )
    assert np.array_equal(np.array(rows[1]["mask"]), scenes.RING)

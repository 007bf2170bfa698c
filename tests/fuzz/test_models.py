"""Model folders that were damaged, and some that were made to cost much."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from partdistillation.models.part_mask2former import PartMask2Former
    from tests.fuzz.conftest import Outcome, Probe

COSTLY = (
    "config.json is empty",
    "config.json isn't text",
    "weights are empty",
    "weights with a header of 2^60 bytes",
    "weights that aren't a number",
    "an index that names a pickle",
    "num_queries of 10^9",
    "hidden_dim of 10^9",
    "encoder_layers of 10^6",
    "image_size of 0",
    "image_size of 10^9",
    "pixel_mean of 9 values",
    "a class twice",
    "no classes",
    "a part table of 200,000 brackets",
    "a part table that is a list",
    "config.json is a list",
    "config.json of 200,000 brackets",
    "num_parts of 10^9",
    "decoder_layers of 10^9",
)


@pytest.fixture(autouse=True)
def model(tmp_path: Path, small_network: "PartMask2Former", monkeypatch: pytest.MonkeyPatch) -> None:
    """The part model that is damaged, with a part table."""
    small_network.with_head(("car", "cat"), num_parts=3, seed=0).save_pretrained(tmp_path / "model")
    table = {"version": 1, "classes": {"car": {"names": {"0": "hood"}, "merged": {"2": 1}, "rejected": []}}}
    (tmp_path / "model/part_table.json").write_text(json.dumps(table))
    monkeypatch.setenv("FUZZ_MODEL", str(tmp_path / "model"))


def failures(outcomes: "Iterable[Outcome]") -> "list[Outcome]":
    expected = ("CheckpointError", "ConfigError", "InputError")
    return [outcome for outcome in outcomes if outcome.fails(*expected, seconds=15, megabytes=1500)]


@pytest.mark.timeout(0)
def test_changed_files(probe: "Probe") -> None:
    assert failures(probe.changed(25)) == []


def test_costly_files(probe: "Probe") -> None:
    assert failures(probe.run(COSTLY)) == []

"""Two sets of predictions on the same images: values by hand, and numpy's resampling as the judge."""

import json
from pathlib import Path

import numpy as np
import pytest

from partdistillation.baselines import supervised
from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.evaluation import ImageParts, PredictedPart, TruePart, evaluate
from partdistillation.evaluation.difference import differences
from partdistillation.evaluation.tables import number
from partdistillation.stages import objects


def strip(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((1, 100), dtype=bool)
    mask[0, start:stop] = True
    return mask


def images(*, lost: int) -> list[ImageParts]:
    """Of image number n the true part has 50 pixels; the predicted one has 50 - n - `lost` of them."""
    truth = TruePart("car", "wheel", strip(0, 50))
    return [
        ImageParts([truth], [PredictedPart("car", strip(n + lost, 50), 0.9, 0)], f"image {n}")
        for n in range(40)
    ]


def test_a_difference_is_surer_than_two_intervals() -> None:
    ours, others = (evaluate(images(lost=lost), protocol="strict") for lost in (0, 2))
    of = {(record["score"], record["of"]): record for record in differences(ours, others)}
    own, other, difference = (of["best_overlap", side] for side in ("predictions", "against", "difference"))
    assert own["value"] == pytest.approx(np.mean([(50 - n) / 50 for n in range(40)]))
    assert difference["value"] == pytest.approx(0.04)
    assert number(own, "low") < number(other, "high")  # side by side they overlap
    assert difference["low"] == pytest.approx(0.04, abs=1e-5)  # every image brings the same
    assert difference["high"] == pytest.approx(0.04, abs=1e-5)


def test_the_interval_of_a_difference_is_that_of_numpys_resampling() -> None:
    rng = np.random.default_rng(0)
    lost = rng.integers(0, 30, 60)
    truth = TruePart("car", "wheel", strip(0, 50))
    ours, others = (
        evaluate(
            [
                ImageParts([truth], [PredictedPart("car", strip(int(start), 50), 0.9, 0)], f"image {n}")
                for n, start in enumerate(starts)
            ],
            protocol="strict",
        )
        for starts in (lost // 3, lost)
    )
    record = next(
        record
        for record in differences(ours, others)
        if (record["score"], record["of"]) == ("best_overlap", "difference")
    )
    each = (lost - lost // 3) / 50
    drawn = each[rng.integers(0, 60, (20_000, 60))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    width = high - low
    assert record["low"] == pytest.approx(low, abs=0.12 * width)
    assert record["high"] == pytest.approx(high, abs=0.12 * width)


def test_the_command_compares_two_runs(
    drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = Inputs(
        out=tmp_path / "true",
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        parts=drawings / "parts_train.json",
    )
    objects.run(inputs, Recipe())
    supervised.label(inputs, inputs.out)
    command = ["evaluate", "--parts", str(inputs.parts), "--predictions", str(inputs.out)]
    assert cli.main([*command, "--against", str(inputs.out)]) == 0
    assert (
        "| C-mIoU | 100.0 [100.0, 100.0] | 100.0 [100.0, 100.0] | 0.0 [0.0, 0.0] |" in capsys.readouterr().out
    )
    written = json.loads((inputs.out / "evaluation_against.json").read_text())
    assert written["provenance"]["predictions"] == written["provenance"]["against"]
    assert cli.main([*command, "--against", str(tmp_path / "nothing")]) == 2
    assert cli.main(["evaluate", "--parts", str(inputs.parts), "--against", str(inputs.out)]) == 2
    assert "--against goes with --predictions" in capsys.readouterr().err

"""What a large run will take: computed by hand from given rates, and rates read from where they are kept."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partdistillation.commands.main import main
from partdistillation.errors import ConfigError, InputError
from partdistillation.experiments.plan import Size, in_bytes, lines, plan
from partdistillation.experiments.rate_sources import rates_from
from partdistillation.experiments.rates import Labelling, Rates, Training, rates_of_run, read_rates
from partdistillation.recipes import PAPER
from partdistillation.runs.mirror import open_mirror
from partdistillation.runs.storage import open_storage

RATES = Rates(
    source="somewhere",
    objects=2.0,
    proposals=4.0,
    classes=10,
    labelling={
        "objects": Labelling(0.1, bytes=100.0),
        "segments": Labelling(0.2, 0.4, bytes=1000.0),
        "features": Labelling(0.5, bytes=3000.0),
        "parts": Labelling(0.01, bytes=800.0),
    },
    training={"proposals": Training(0.1, 0.05, 5e6), "distillation": Training(0.1, 0.05, 6e6)},
    clustering=0.001,
)


def test_labelling_is_divided_and_trainings_only_as_far_as_their_batch() -> None:
    planned = plan(RATES, PAPER, Size(1_000_000, 96, 2.0))
    costs = {cost.stage: cost for cost in planned.costs}
    assert costs["objects"].seconds == pytest.approx(1e6 * 0.1 / 96)
    assert costs["segments"].seconds == pytest.approx(1e6 * (0.2 + 2 * 0.4) / 96)
    assert costs["segments"].bytes == 1e9
    assert costs["proposals"].gpus == 64  # of a batch of 128
    assert costs["proposals"].seconds == pytest.approx(50_000 * (0.1 + 0.05 * 2))
    assert costs["proposals"].alone == pytest.approx(50_000 * (0.1 + 0.05 * 128))
    assert costs["distillation"].seconds == pytest.approx(120_000 * 0.2)
    assert costs["ranking: clustering"].seconds == pytest.approx(8e6 * 0.001 / 10)  # a class at a time
    assert planned.least == pytest.approx(50_000 * 0.2 + 800 + 120_000 * 0.2)
    assert planned.price(3600.0) == 2.0 * 96


def test_one_gpu_takes_the_sum() -> None:
    planned = plan(RATES, PAPER, Size(100, 1))
    assert planned.seconds == pytest.approx(sum(cost.alone for cost in planned.costs))
    assert planned.least == 0
    assert planned.price(1.0) is None


def test_every_shard_is_committed() -> None:
    dear = replace(RATES, commit=0.5)
    for images, shards in ((10, 10), (640, 32), (1_000_000, 3907)):
        added = [plan(rates, PAPER, Size(images, 2)).costs[0].seconds for rates in (RATES, dear)]
        assert added[1] - added[0] == pytest.approx(shards * 0.5 / 2)


def test_objects_count_where_they_are_grouped() -> None:
    few, many = (plan(RATES, PAPER, Size(1000, 1), objects=count) for count in (1.0, 3.0))
    by_stage = [{cost.stage: cost.seconds for cost in planned.costs} for planned in (few, many)]
    assert by_stage[1]["segments"] - by_stage[0]["segments"] == pytest.approx(1000 * 2 * 0.4)
    assert by_stage[1]["ranking: clustering"] == pytest.approx(3 * by_stage[0]["ranking: clustering"])
    assert by_stage[1]["objects"] == by_stage[0]["objects"]


def test_the_table_says_what_dominates_and_what_is_missing() -> None:
    text = "\n".join(lines(plan(RATES, PAPER, Size(1_000_000, 96, 2.0))))
    assert "What dominates: time, distillation; storage, ranking: features." in text
    assert "where fewer can be used: proposals (64), ranking: clustering (10), distillation (64)." in text
    assert "- rates: somewhere; 96 like it, one for every GPU" in text
    partly = Rates("gpu.py", 1.0, 4.0, 1, {"segments": Labelling(0.005)})
    text = "\n".join(lines(plan(partly, PAPER, Size(10, 1))))
    assert "Not counted, as there is no rate of it: objects, proposals, ranking: features" in text
    assert "price" not in text


def test_sizes_in_words() -> None:
    assert [in_bytes(count) for count in (0, 999, 1500, 2.5e12, 3e18)] == [
        "0 B", "999 B", "1.5 kB", "2.5 TB", "3e+03 PB",
    ]  # fmt: skip


# ---------------------------------------------------------------------- rates


def test_rates_are_read_as_they_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rates.json"
    file.write_text(json.dumps(RATES.to_dict()))
    assert read_rates(file) == RATES
    line = ["plan", "--images", "13e6", "--gpus", "64", "--rates", str(file), "--price-per-hour", "2.5"]
    assert main([*line, "--classes", "21000", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["plan"]["images"] == 13_000_000
    assert printed["plan"]["price"] == pytest.approx(printed["plan"]["hours"] * 64 * 2.5)
    file.write_text(json.dumps(printed))
    assert read_rates(file).classes == 21_000
    assert main(line) == 0
    assert "13,000,000 photographs" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": "x", "objects": "many"}', '{"rates": 3}', "\0"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "rates.json").write_text(text)
    with pytest.raises(InputError, match="expected rates"):
        read_rates(tmp_path / "rates.json")


def test_negative_rates_are_refused(tmp_path: Path) -> None:
    values = RATES.to_dict()
    values["labelling"]["objects"]["seconds"] = -1
    (tmp_path / "rates.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="numbers from 0 on"):
        read_rates(tmp_path / "rates.json")


def test_rates_come_from_one_place(tmp_path: Path) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("run", "file", "photographs", "objects"))
    with pytest.raises(ConfigError, match="found --run and --rates"):
        rates_from(PAPER, **{**nothing, "run": tmp_path, "file": tmp_path}, device="cpu")
    with pytest.raises(ConfigError, match="--objects: expected the folder"):
        rates_from(PAPER, **{**nothing, "objects": tmp_path}, device="cpu")
    with pytest.raises(InputError, match="expected a finished run"):
        rates_of_run(str(tmp_path))


def test_a_finished_run_says_what_it_took(tmp_path: Path, write_stage: Callable[..., Any]) -> None:
    write_run(tmp_path, write_stage)
    rates = rates_of_run(str(tmp_path))
    assert (rates.objects, rates.classes) == (1.0, 1)
    assert rates.proposals == 5.0
    assert rates.labelling["objects"].seconds == 0.5
    assert rates.labelling["segments"].seconds == 2.0
    assert rates.labelling["features"].seconds == pytest.approx((20 - 4 - 2) / 4)
    assert rates.labelling["parts"].seconds == pytest.approx(2 / 4)
    assert rates.clustering == pytest.approx(4 / 20)
    assert rates.training["proposals"] == Training(0.0, 50.0 / 100 / 8, 10.0)
    size = (tmp_path / "segments" / "all.parquet").stat().st_size
    assert rates.labelling["segments"].bytes == size / 4
    shutil.copytree(tmp_path / "segments", tmp_path / "coarse_segments")
    assert rates_of_run(str(tmp_path)).labelling["segments"] == Labelling(2.0, bytes=2 * size / 4)


def test_so_does_one_in_a_bucket(
    tmp_path: Path, write_stage: Callable[..., Any], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run, storage = tmp_path / "run", open_storage(f"{bucket}/run")
    write_run(run, write_stage)
    for path in run.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            storage.write(path.relative_to(run).as_posix(), path.read_bytes())
    rates = rates_of_run(str(open_mirror(f"{bucket}/run")))
    assert rates.source == f"the run {bucket}/run"
    assert (rates.objects, rates.proposals) == (1.0, 5.0)
    assert rates.labelling["segments"] == rates_of_run(str(run)).labelling["segments"]


def test_of_a_copy_the_steps_of_ranking_are_not_told_apart(
    tmp_path: Path, write_stage: Callable[..., Any]
) -> None:
    write_run(tmp_path, write_stage)
    os.utime(tmp_path / "parts" / "manifest.json", (900, 900))
    rates = rates_of_run(str(tmp_path))
    assert rates.labelling["features"].seconds == 20 / 4
    assert rates.clustering is None
    assert "in the time of ranking's features is that of its clustering and parts" in rates.assumptions


def test_a_run_in_a_bucket_says_so_too(
    tmp_path: Path, bucket: str, write_stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run", write_stage)
    for path in (tmp_path / "run").rglob("[!.]*"):
        if path.is_file():
            open_storage(bucket).write(path.relative_to(tmp_path).as_posix(), path.read_bytes())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rates = rates_of_run(str(open_mirror(f"{bucket}/run")))
    assert rates.labelling["segments"].seconds == 2.0
    assert rates.labelling["features"].seconds == 20 / 4  # files' times say nothing


def test_a_profile_divides_what_is_done_for_objects(tmp_path: Path, write_stage: Callable[..., Any]) -> None:
    write_run(tmp_path, write_stage)
    rows = [("", 16.0), ("read", 2.0), ("encode", 6.0), ("group", 3.0), ("refine", 5.0)]
    steps = [{"step": step, "wall_seconds": seconds} for step, seconds in rows]
    (tmp_path / "profile.json").write_text(json.dumps({"segments": steps}))
    rate = rates_of_run(str(tmp_path)).labelling["segments"]
    assert [rate.seconds, rate.object_seconds] == pytest.approx([2.0, 2.0])


def write_run(out: Path, write_stage: Callable[..., Any]) -> None:
    """A finished run on four photographs, an object each, whose numbers are round."""
    from partdistillation.config import Inputs, to_yaml
    from partdistillation.recipes import SMALL
    from partdistillation.runs.records import Object, ObjectRow, PartRow, ProposalRow, SegmentRow

    whole = Object(1, "car", 1.0, 16, (0.0, 0.0, 4.0, 4.0), b"0@")
    rows = [ObjectRow(str(number), f"{number}.png", 4, 4, "ok", "", (whole,)) for number in range(4)]
    write_stage(out / "objects", rows)
    for folder, kind in (("segments", SegmentRow), ("features", ProposalRow), ("parts", PartRow)):
        write_stage(out / folder, [row.to(kind, ()) for row in rows])
    (out / "part_classes").mkdir()
    (out / "part_classes" / "part_classes.json").write_text('{"classes": {"car": {"proposals": 20}}}')
    seconds = {"objects": 2.0, "segments": 8.0, "proposals": 50.0, "ranking": 20.0, "distillation": 60.0}
    (out / "seconds.json").write_text(json.dumps(seconds))
    for place, file in enumerate(("features/manifest.json", "part_classes/part_classes.json")):
        os.utime(out / file, (1000 + 4 * place, 1000 + 4 * place))
    os.utime(out / "parts" / "manifest.json", (1006, 1006))
    lines_ = [{"stage": stage, "step": 99, "loss": 1.0} for stage in ("proposals", "distillation")]
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines_))
    for model in ("proposal_model", "part_model"):
        (out / model).mkdir()
        (out / model / "model.safetensors").write_bytes(b"0123456789")
    recipe = SMALL.updated({"proposals": {"batch_size": 8}})
    (out / "config.yaml").write_text(to_yaml(recipe, Inputs(out=out)))

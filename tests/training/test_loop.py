"""The training loop: the same bytes whatever interrupts it, and errors where something doesn't belong."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from partdistillation.config import TrainingConfig
from partdistillation.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    PartDistillationError,
    SettingsChanged,
    StoreError,
)
from partdistillation.runs import atomic, versions
from partdistillation.runs.mirror import open_mirror
from partdistillation.runs.profiling import profiled
from partdistillation.runs.storage import open_storage
from partdistillation.training import checkpoints, loop
from partdistillation.training.loop import Run, is_trained, sample_index, train

PROGRAM = Path(__file__).with_name("train_tiny.py")
CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    steps=5, batch_size=3, learning_rate=0.1, clip_norm=10.0, checkpoint_every=2, log_every=1
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(PROGRAM.parent)  # for data workers too
    return __import__(PROGRAM.stem)


class Points:
    """Samples: index, and a point that only `rng` decides."""

    def __len__(self) -> int:
        return 4

    def example(self, index: int, rng: np.random.Generator) -> tuple[int, Tensor]:
        return index, torch.from_numpy(rng.random(3, np.float32))


class Line:
    """A linear fit, with dropout and noise: everything that chance can touch."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.seen: list[int] = []

    def __call__(
        self, examples: Sequence[tuple[int, Tensor]], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        self.seen += [index for index, _ in examples]
        points = torch.stack([point for _, point in examples])
        wanted = points.sum(dim=1, keepdim=True) + torch.rand(len(points), 1, generator=generator)
        loss = (self.model(points) - wanted).square().mean()
        return loss, {"first": float(points[0, 0])}


class Saves:
    """Writes a model's folder."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, folder: Path) -> None:
        folder.mkdir()
        save_file(self.model.state_dict(), folder / "model.safetensors")


def fit(
    out: Path, config: TrainingConfig = CONFIG, objective: Line | None = None, name: str = "line"
) -> Path:
    """Train a line in `out`."""
    line = objective or Line()
    out.mkdir(exist_ok=True)
    run = Run(out, name, out / f"{name}_model", {"settings": config.fingerprint(), "objects": "0123"})
    return train(line.model, Points(), line, config, run, save=Saves(line.model), device=CPU)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


class StopError(Exception):
    pass


class Stops(Line):
    """A line whose fit fails at call number `at`."""

    def __init__(self, at: int, error: BaseException) -> None:
        super().__init__()
        self.left, self.error = at, error

    def __call__(
        self, examples: Sequence[tuple[int, Tensor]], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        if not self.left:
            raise self.error
        self.left -= 1
        return super().__call__(examples, generator)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted fit leaves."""
    out = tmp_path_factory.mktemp("reference")
    fit(out)
    return contents(out)


# ---------------------------------------------------------------------- what a run leaves


def test_a_run_leaves_the_model_and_a_line_a_step(reference: dict[str, bytes]) -> None:
    files = ["model.safetensors", "sha256.json", "training.json"]
    assert sorted(reference) == [*(f"line_model/{name}" for name in files), "metrics.jsonl"]
    lines = [json.loads(line) for line in reference["metrics.jsonl"].splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [("line", step) for step in range(5)]
    assert all(np.isfinite([line["loss"], line["gradient_norm"], line["first"]]).all() for line in lines)


def test_its_steps_are_profiled(tmp_path: Path) -> None:
    with profiled() as profile:
        fit(tmp_path)
    assert {"/".join(place): cost.calls for place, cost in profile.costs.items()} == {
        "line": 1,
        "line/data": 6,  # a last look finds the end
        "line/backward": 5,
        "line/optimizer": 5,
        "line/record": 5,
    }


def test_the_log_has_every_nth_step_and_the_last(tmp_path: Path) -> None:
    fit(tmp_path, replace(CONFIG, log_every=3))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 3, 4]


def test_every_epoch_is_in_another_order_and_misses_nothing(tmp_path: Path) -> None:
    line = Line()
    fit(tmp_path, replace(CONFIG, steps=8), line)
    epochs = np.array(line.seen).reshape(6, 4)
    assert (np.sort(epochs) == np.arange(4)).all()
    assert len(np.unique(epochs, axis=0)) > 1


@given(st.integers(0, 2**32), st.integers(1, 50), st.integers(0, 3))
def test_sample_index_permutes_every_epoch(seed: int, count: int, epoch: int) -> None:
    order = [sample_index(seed, epoch * count + place, count) for place in range(count)]
    assert sorted(order) == list(range(count))


def test_training_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    fit(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("keep", [1, 2])
def test_old_checkpoints_are_removed(keep: int, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=9, keep_checkpoints=keep)
    with pytest.raises(StopError):
        fit(tmp_path, config, Stops(7, StopError()))
    names = sorted(path.name for path in (tmp_path / "checkpoints/line").glob("*.safetensors"))
    assert names == ["step-00000004.safetensors", "step-00000006.safetensors"][-keep:]


# ---------------------------------------------------------------------- stopping and going on


@pytest.mark.parametrize("error", [StopError(), KeyboardInterrupt()], ids=["error", "ctrl-c"])
@pytest.mark.parametrize("at", range(5))
def test_stopped_at_any_step(
    at: int, error: BaseException, tmp_path: Path, reference: dict[str, bytes]
) -> None:
    with pytest.raises(type(error)):
        fit(tmp_path, objective=Stops(at, error))
    again = Line()
    fit(tmp_path, objective=again)
    assert contents(tmp_path) == reference
    assert len(again.seen) == (5 - at // 2 * 2) * 3  # from the last checkpoint, not from the start


@pytest.mark.parametrize("kind", ["frozen", "parts", "resnet", "swin"])
def test_a_network_stopped_after_every_step(kind: str, tmp_path: Path, tiny: Any) -> None:
    tiny.train_tiny(tmp_path / "straight", kind)
    for _ in range(tiny.CONFIG.steps - 1):
        with pytest.raises(KeyboardInterrupt):
            tiny.train_tiny(tmp_path / "stopped", kind, stop_after=1)
        assert not (tmp_path / "stopped/model").exists()
    tiny.train_tiny(tmp_path / "stopped", kind, stop_after=1)
    assert tiny.differing(tmp_path / "stopped", tmp_path / "straight") == []


@pytest.mark.slow
def test_workers_change_nothing(tmp_path: Path, tiny: Any) -> None:
    tiny.train_tiny(tmp_path / "here", "frozen")
    tiny.train_tiny(tmp_path / "workers", "frozen", data_workers=2)
    assert tiny.differing(tmp_path / "workers", tmp_path / "here") == []


def test_a_finished_model_is_not_trained_again(tmp_path: Path, reference: dict[str, bytes]) -> None:
    fit(tmp_path)
    assert fit(tmp_path, objective=Stops(0, StopError())) == tmp_path / "line_model"
    assert contents(tmp_path) == reference


def test_other_stages_lines_stay_and_torn_ones_go(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        fit(tmp_path, objective=Stops(1, StopError()))
    other = b'{"stage": "other", "step": 7, "loss": 1.0}\n'
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(other + b'{"stage": "line", "st')
    fit(tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    assert lines[0] == other
    assert [json.loads(line)["step"] for line in lines[1:]] == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------------- what it refuses


def test_another_host_goes_on_from_a_checkpoint_in_a_bucket(
    bucket: str, tmp_path: Path, reference: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mirror_on(host: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / host))
        return open_mirror(f"{bucket}/run")

    with pytest.raises(StopError):
        fit(mirror_on("a"), objective=Stops(3, StopError()))
    line = Line()
    fit(mirror_on("b"), objective=line)
    assert len(line.seen) == 3 * CONFIG.batch_size  # from step 2, of which there was a checkpoint
    assert contents(mirror_on("c")) == reference
    assert open_storage(bucket).names("run") == ["line_model", "metrics.jsonl"]


def test_changed_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        fit(tmp_path, objective=Stops(3, StopError()))
    other = replace(CONFIG, learning_rate=0.2)
    with pytest.raises(SettingsChanged, match=r"checkpoints(.|\n)*learning_rate: was 0.1, is now 0.2"):
        fit(tmp_path, other)
    fit(tmp_path)
    with pytest.raises(SettingsChanged, match=r"line_model(.|\n)*learning_rate: was 0.1, is now 0.2"):
        fit(tmp_path, other)


def test_another_model_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "line_model").mkdir()
    run = Run(tmp_path, "line", tmp_path / "line_model", {})
    assert not is_trained(run)
    (tmp_path / "line_model/config.json").write_text("{}")
    with pytest.raises(StoreError, match=r"found something without training\.json"):
        is_trained(run)
    with pytest.raises(StoreError, match="Move it away"):
        fit(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_note_of_the_origin(text: str, tmp_path: Path) -> None:
    fit(tmp_path)
    (tmp_path / "line_model/training.json").write_text(text)
    with pytest.raises(StoreError, match=r"training\.json: expected what"):
        fit(tmp_path)


@pytest.mark.parametrize("left", [0, 100, -1])
def test_a_damaged_checkpoint(left: int, tmp_path: Path, reference: dict[str, bytes]) -> None:
    with pytest.raises(StopError):
        fit(tmp_path, objective=Stops(4, StopError()))
    path = tmp_path / "checkpoints/line/step-00000004.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CheckpointError, match=r"step-00000004\.safetensors: expected a checkpoint"):
        fit(tmp_path)
    path.unlink()
    fit(tmp_path)
    assert contents(tmp_path) == reference


@pytest.mark.parametrize("place", [100, -100])
def test_a_flipped_bit_in_a_checkpoint(place: int, tmp_path: Path, reference: dict[str, bytes]) -> None:
    with pytest.raises(StopError):
        fit(tmp_path, objective=Stops(4, StopError()))
    path = tmp_path / "checkpoints/line/step-00000004.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"step-00000004\.safetensors: .* SHA-256 .* Delete it"):
        fit(tmp_path)
    path.unlink()
    fit(tmp_path)
    assert contents(tmp_path) == reference


def test_checkpoints_that_have_lost_what_they_were_trained_from(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        fit(tmp_path, objective=Stops(4, StopError()))
    (tmp_path / "checkpoints/line/training.json").unlink()
    with pytest.raises(StoreError, match=r"expected training\.json, .* Delete .*checkpoints/line"):
        fit(tmp_path, CONFIG)


@pytest.mark.parametrize(("name", "place"), [("model.safetensors", -100), ("sha256.json", 60)])
def test_a_finished_model_that_is_damaged(name: str, place: int, tmp_path: Path) -> None:
    path = fit(tmp_path) / name
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        fit(tmp_path)


def test_other_versions_are_named_where_a_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StopError):
        fit(tmp_path, objective=Stops(4, StopError()))
    before = versions.versions()
    monkeypatch.setattr(versions, "versions", lambda: {**before, "numpy": "99.0"})
    fit(tmp_path)
    assert f"was begun with numpy {before['numpy']} (now 99.0)" in caplog.text
    kept = json.loads((tmp_path / "line_model/sha256.json").read_bytes())["versions"]
    assert kept == {**before, "numpy": f"{before['numpy']}, 99.0"}


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(StopError):
        fit(tmp_path, objective=Stops(4, StopError()))
    other = Line()
    other.model.append(nn.Linear(1, 1))
    with pytest.raises(CheckpointError, match="expected a checkpoint of this network"):
        fit(tmp_path, objective=other)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.long)])
def test_an_image_that_cannot_be_read(workers: int, tmp_path: Path, tiny: Any) -> None:
    with pytest.raises(InputError, match=r"^image 1 is gone$"):
        tiny.train_tiny(tmp_path, "frozen", samples=tiny.Unreadable("frozen"), data_workers=workers)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "checkpoints/line").mkdir(parents=True)
    with atomic.locked(tmp_path / "checkpoints/line"), pytest.raises(StoreError, match="is in use"):
        fit(tmp_path)
    fit(tmp_path)


def test_a_batch_that_the_processes_cannot_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "world", lambda: 2)
    with pytest.raises(ConfigError, match=r"training.batch_size: expected a multiple of the 2 .* found 3"):
        fit(tmp_path)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(("parts", "expected"), [(2, "1, as line can't be"), (4, "at most the 3 images")])
def test_a_batch_that_cannot_be_taken_in_parts(parts: int, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"training.accumulation: expected {expected}.* found {parts}"):
        fit(tmp_path, replace(CONFIG, accumulation=parts))
    assert not (tmp_path / "checkpoints").exists()


class Diverges(Line):
    def __call__(
        self, examples: Sequence[tuple[int, Tensor]], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        loss, numbers = super().__call__(examples, generator)
        return loss * (torch.nan if len(self.seen) > 9 else 1.0), numbers


def test_divergence_is_reported_with_its_step(tmp_path: Path) -> None:
    with pytest.raises(PartDistillationError, match=r"^line, step 3: expected finite gradients"):
        fit(tmp_path, objective=Diverges())
    assert (tmp_path / "checkpoints/line/step-00000002.safetensors").exists()


# ---------------------------------------------------------------------- faults


class ProcessEnds(BaseException):
    """Stands for a kill: nothing of the program runs after it."""


class Faults:
    """Makes call number `fail_at` to the file system go wrong.

    `error`: the disk is full, once. `after`: the process ends after the call (that is, before the next one).
    Either leaves half a file where tensors are saved.
    """

    def __init__(self, fail_at: int, way: str, patch: pytest.MonkeyPatch) -> None:
        self.calls, self.fail_at, self.way, self.ended = 0, fail_at, way, False
        self.patch = patch
        self._replace_module(atomic, "os", os, "open", "write", "fsync", "replace", "unlink")
        self._replace_module(checkpoints, "os", os, "replace")
        self._replace_module(checkpoints, "shutil", shutil, "rmtree")
        patch.setattr(checkpoints, "save_file", self._faulty(save_file))

    def _replace_module(self, place: Any, name: str, module: Any, *functions: str) -> None:
        replacement = type(sys)(name)
        replacement.__dict__.update(vars(module))
        for function in functions:
            setattr(replacement, function, self._faulty(getattr(module, function)))
        self.patch.setattr(place, name, replacement)

    def _faulty(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.ended:
                raise ProcessEnds
            self.calls += 1
            if self.calls != self.fail_at:
                # What is synced isn't this test's matter, and takes most of its time.
                return None if function is os.fsync else function(*arguments, **options)
            self.ended = self.way == "after"
            if function is save_file:
                Path(arguments[1]).write_bytes(b"half of it")
            elif self.ended:
                function(*arguments, **options)
            raise ProcessEnds if self.ended else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return call


def fails(out: Path, fail_at: int, way: str) -> bool:
    """True if a run got as far as its call number `fail_at`, and ended as it should."""
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(fail_at, way, patch)
        message = message_of(out, StoreError if way == "error" else ProcessEnds)
    assert (message is not None) == (faults.calls >= fail_at)
    assert not message or "No space left on device" in message
    return message is not None


def message_of(out: Path, expected: type[BaseException]) -> str | None:
    try:
        fit(out)
    except expected as error:
        return str(error)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("way", ["error", "after"])
def test_a_fault_at_any_call(way: str, tmp_path: Path, reference: dict[str, bytes]) -> None:
    fail_at = 1
    while fails(out := tmp_path / f"out-{fail_at}", fail_at, way):
        fails(out, fail_at // 2 + 1, way)  # and once more, while it goes on
        fit(out)
        assert contents(out) == reference
        shutil.rmtree(out)
        fail_at += 1
    assert fail_at > 40


# ---------------------------------------------------------------------- processes


def program(*arguments: str | Path) -> Any:
    done = subprocess.run(
        [sys.executable, PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    assert program("kill", "parts", "3", tmp_path) == {"differ": [], "killed": 3}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["frozen", "parts", "resnet", "swin"])
def test_killed_at_many_random_moments(kind: str, tmp_path: Path) -> None:
    assert program("kill", kind, "30", tmp_path) == {"differ": [], "killed": 30}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parts", pytest.param("frozen", marks=pytest.mark.long)])
def test_two_processes(kind: str, tmp_path: Path) -> None:
    result = program("together", kind, tmp_path)
    assert result["codes"] == [[0, 0], [2, 2], [2, 2], [0, 0]]
    assert result["differ"] == []  # stopped or not
    first, second = (load_file(tmp_path / f"straight-{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parts", pytest.param("frozen", marks=pytest.mark.long)])
def test_processes_and_parts_change_nothing_but_rounding(kind: str, tmp_path: Path, tiny: Any) -> None:
    """Losses, norms and weights; images have 0 to 2 targets each, and different object classes."""
    assert set(program("worlds", kind, tmp_path)) == {0}

    def metrics(name: str) -> list[dict[str, float]]:
        lines = (tmp_path / name / "metrics.jsonl").read_bytes().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "stage"} for line in lines]

    weights = load_file(tmp_path / "1-1-0.safetensors")
    for count, parts in tiny.WORLDS[1:]:
        name = f"{count}-{parts}"
        for line, alone in zip(metrics(name), metrics("1-1"), strict=True):
            assert line == pytest.approx(alone, rel=1e-4), name
        others = load_file(tmp_path / f"{name}-0.safetensors")
        for key, value in weights.items():
            # Elsewhere some gradients are 0 but for rounding, and AdamW makes steps of that.
            if key.startswith("class_predictor."):
                torch.testing.assert_close(others[key], value, rtol=1e-4, atol=1e-5)


TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What two processes of torchrun leave."""
    folder = tmp_path_factory.mktemp("torchrun")
    subprocess.run(
        [*TORCHRUN, "--standalone", "--nproc-per-node=2", PROGRAM, "once", "parts", folder / "out"],
        check=True,
        timeout=250,
    )
    first, second = (load_file(folder / f"out-{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    return contents(folder / "out")


@pytest.mark.long
@pytest.mark.parametrize("rank", ["0", "1"])
def test_torchrun_starts_again_from_the_last_checkpoint(
    rank: str, by_torchrun: dict[str, bytes], tmp_path: Path
) -> None:
    options = ["--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    subprocess.run([*TORCHRUN, *options, PROGRAM, "dies", rank, "killed", tmp_path], check=True, timeout=250)
    assert contents(tmp_path / "out") == by_torchrun


@pytest.mark.long
def test_a_process_that_fails_ends_all_with_its_message(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*TORCHRUN, "--standalone", "--nproc-per-node=2", PROGRAM, "dies", "1", "fails", tmp_path],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert ended.returncode
    assert "partdistill: image 1 is gone" in ended.stderr
    assert not (tmp_path / "out/model").exists()
    assert (tmp_path / "out/checkpoints/parts/step-00000002.safetensors").exists()


@pytest.mark.long
def test_two_hosts_leave_what_two_processes_leave(by_torchrun: dict[str, bytes], tmp_path: Path) -> None:
    """Two of torchrun's agents that meet at a port, as on two machines."""
    with socket.create_server(("localhost", 0)) as server:
        meeting = f"localhost:{server.getsockname()[1]}"
    options = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}"]
    hosts = [
        subprocess.Popen([*TORCHRUN, *options, PROGRAM, "once", "parts", tmp_path / "out"]) for _ in range(2)
    ]
    assert [host.wait(timeout=250) for host in hosts] == [0, 0]
    assert contents(tmp_path / "out") == by_torchrun

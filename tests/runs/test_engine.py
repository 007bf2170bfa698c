import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from partdistillation.errors import InputError, PartDistillationError, StoreError
from partdistillation.runs.engine import map_rows, run_shards
from partdistillation.runs.manifest import load
from partdistillation.runs.records import ObjectRow, PartRow
from partdistillation.runs.shards import make_shards
from partdistillation.runs.stage_reader import read_rows, stage_hash, verify


@pytest.fixture
def crash_stage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parent)  # worker processes look for it there
    return __import__("crash_stage")


@pytest.fixture
def run(crash_stage: Any) -> Callable[..., Path]:
    shards = make_shards(crash_stage.make_items(8), size=2)

    def run_with(out: Path, make_work: Any = crash_stage.make_work, workers: int = 0) -> Path:
        settings = crash_stage.SETTINGS
        return run_shards(
            out,
            row=ObjectRow,
            shards=shards,
            settings=settings,
            make_work=make_work,
            workers=workers,
            label="objects",
        )

    return run_with


def test_the_bytes_dont_depend_on_the_number_of_workers(
    run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    alone = crash_stage.contents(run(tmp_path / "alone"))
    assert crash_stage.contents(run(tmp_path / "one", workers=1)) == alone
    assert crash_stage.contents(run(tmp_path / "many", workers=2)) == alone


def test_every_input_ends_as_one_row(run: Callable[..., Path], crash_stage: Any, tmp_path: Path) -> None:
    rows = list(read_rows(run(tmp_path / "out"), ObjectRow))
    assert rows == [crash_stage.label(item) for item in crash_stage.make_items(8)]
    assert [row.image_id for row in rows if row.status == "rejected"] == ["image-6"]


def test_the_end_is_said_once(
    run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "out")
    assert capsys.readouterr().err == "objects: 8/8 photographs\n"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_function_goes_over_the_rows_that_can_be_used(
    workers: int, run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    source, loads = run(tmp_path / "objects"), tmp_path / "loads"
    loads.mkdir()
    out = map_rows(
        tmp_path / "parts",
        source=source,
        read=ObjectRow,
        row=PartRow,
        make=partial(crash_stage.make_part_row, str(loads)),
        settings={},
        workers=workers,
        label="parts",
    )
    assert len(list(loads.iterdir())) == max(1, workers)
    assert load(out).upstream == {"objects": stage_hash(source)}
    for row, mapped in zip(read_rows(source, ObjectRow), read_rows(out, PartRow), strict=True):
        assert mapped == (row.to(PartRow, ()) if row.status == "rejected" else crash_stage.part_row(row))
        assert (mapped.image_id, mapped.file_name, mapped.reason) == (row.image_id, row.file_name, row.reason)


def test_work_happens_on_one_thread(run: Callable[..., Path], crash_stage: Any, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen = []

    def work(shard: Any) -> Iterator[ObjectRow]:
        seen.append(torch.get_num_threads())
        yield from crash_stage.work(shard)

    torch.set_num_threads(2)
    try:
        run(tmp_path / "out", make_work=lambda: work)
        assert seen == [1, 1, 1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def stumble(crash_stage: Any, error: BaseException) -> Callable[[], Callable[[Any], Iterator[ObjectRow]]]:
    """Work that raises at the third of four shards."""

    def work(shard: Any) -> Iterator[ObjectRow]:
        if shard.name == "images-00002":
            raise error
        return crash_stage.work(shard)  # type: ignore[no-any-return]

    return lambda: work


def test_an_expected_error_names_the_shard(
    run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"objects, shard images-00002: no such model"):
        run(tmp_path / "out", make_work=stumble(crash_stage, InputError("no such model")))
    assert len(verify(tmp_path / "out")) == 2


def test_an_unexpected_error_keeps_its_type_and_gets_a_note(
    run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError) as error:
        run(tmp_path / "out", make_work=stumble(crash_stage, ZeroDivisionError("oh")))
    assert error.value.__notes__ == ["(objects, shard images-00002)"]


def test_wrong_rows_name_the_shard(run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"shard images-00000: expected one row for each of its 2 inputs"):
        run(tmp_path / "out", make_work=lambda: lambda _shard: [])


def test_ctrl_c_keeps_what_is_committed(run: Callable[..., Path], crash_stage: Any, tmp_path: Path) -> None:
    with pytest.raises(
        KeyboardInterrupt, match=r"objects: stopped with 2 of 4 shards committed. Run the same"
    ):
        run(tmp_path / "out", make_work=stumble(crash_stage, KeyboardInterrupt()))
    assert crash_stage.contents(run(tmp_path / "out")) == crash_stage.contents(run(tmp_path / "reference"))


def test_a_worker_that_dies_names_its_shard(
    run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    with pytest.raises(PartDistillationError, match=r"worker process died \(SIGKILL\) at shard images-00002"):
        run(tmp_path / "out", make_work=crash_stage.make_dying_work, workers=2)
    assert crash_stage.contents(run(tmp_path / "out")) == crash_stage.contents(run(tmp_path / "reference"))


def test_an_error_in_a_worker_names_its_shard_and_place(
    run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError) as error:
        run(tmp_path / "out", make_work=crash_stage.make_failing_work, workers=2)
    traceback, place = error.value.__notes__
    assert "in failing_work" in traceback
    assert place == "(objects, shard images-00002)"


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(
    ending: signal.Signals, run: Callable[..., Path], crash_stage: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = f"import crash_stage; crash_stage.run_on_processes({str(out)!r})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE) as parent:
        workers = until(lambda: [int(path.name) for path in tmp_path.glob("[0-9]*")])
        parent.send_signal(ending)
        assert parent.stderr is not None
        said = parent.stderr.read().decode()  # ends when the last process that holds it does
    assert until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert ("Run the same command again" in said) == (ending == signal.SIGINT)


def until(condition: Callable[[], Any]) -> Any:
    for _ in range(1000):
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it never came true")


@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0, 2.0])
def test_workers_that_still_start_end_with_their_parent(seconds: float, tmp_path: Path) -> None:
    """What they are to do is unpickled for longer than this test takes: as where a library is imported."""
    (tmp_path / "slow_work.py").write_text("import time\ntime.sleep(60)\n")
    script = (
        "import sys, types; from partdistillation.runs.workers import map_on_processes\n"
        "module = sys.modules['slow_work'] = types.ModuleType('slow_work')\n"
        "exec('def make(): pass', module.__dict__)\n"
        "list(map_on_processes(module.make, enumerate('ab'), 2))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE) as parent:
        time.sleep(seconds)
        parent.kill()
        start = time.monotonic()
        assert parent.stderr is not None
        parent.stderr.read()  # ends when the last process that holds it does
        assert time.monotonic() - start < 2

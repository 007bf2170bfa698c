"""A whole run that is shared, on a disk that is full or can't be written at each of its stages."""

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import hosts
import pytest

from partdistillation import pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import StoreError

pytestmark = pytest.mark.cluster

STAGES: tuple[Callable[[Inputs, Recipe], Path], ...] = (
    pipeline.objects,
    pipeline.segments,
    pipeline.proposals,
    pipeline.rank,
    pipeline.distill,
    pipeline.report,
)
ROWS_AND_MODELS = ("*/*.parquet", "*/manifest.json", "*/*.safetensors", "*/config.json", "part_classes/*")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB, in memory."""
    if lacking := hosts.missing():
        pytest.skip(f"disks of one machine need {lacking}")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "disk", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def inputs(drawings: Path) -> Inputs:
    return Inputs(
        images=drawings / "train", objects=drawings / "objects_train.json", engine="shared", device="cpu"
    )


def contents(out: Path) -> dict[str, str]:
    """SHA-256 of rows, manifests and models."""
    paths = {path for pattern in ROWS_AND_MODELS for path in out.glob(pattern) if path.is_file()}
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)
    }


@pytest.fixture(scope="module")
def whole(drawings: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run makes on a disk without fault, alone."""
    out = tmp_path_factory.mktemp("whole") / "out"
    inputs = Inputs(out=out, images=drawings / "train", objects=drawings / "objects_train.json", device="cpu")
    for stage in STAGES:
        stage(inputs, tiny_recipe)
    return contents(out)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def fill(folder: Path, left: int) -> Path:
    """A file that leaves so many bytes free."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        status = subprocess.run(
            ["df", "--output=avail", "-B1", folder], capture_output=True, text=True, check=True
        )
        file.write(bytes(max(0, int(status.stdout.split()[-1]) - left)))
    return filler


def test_a_disk_that_cannot_be_written_at_any_stage(
    mounted: Path, inputs: Inputs, tiny_recipe: Recipe, whole: dict[str, str]
) -> None:
    inputs = replace(inputs, out=mounted / "out")
    for stage in STAGES:
        before = contents(mounted / "out")
        remount(mounted, "ro")
        with pytest.raises(StoreError, match=r"(?s)Read-only file system.*run the same command again"):
            stage(inputs, tiny_recipe)
        remount(mounted, "rw")
        assert contents(mounted / "out") == before
        stage(inputs, tiny_recipe)
    assert contents(mounted / "out") == whole
    assert not list(mounted.rglob("*.tmp"))


@pytest.mark.parametrize(
    "left", [pytest.param(0, marks=pytest.mark.long), 16384, pytest.param(262144, marks=pytest.mark.long)]
)
def test_a_disk_that_is_full_at_any_stage(
    left: int, mounted: Path, inputs: Inputs, tiny_recipe: Recipe, whole: dict[str, str]
) -> None:
    """At once, or after so many bytes: within a stage."""
    inputs = replace(inputs, out=mounted / "out")
    messages = []
    for stage in STAGES:
        filler = fill(mounted, left)
        try:
            stage(inputs, tiny_recipe)
        except StoreError as error:
            messages.append(str(error))
        filler.unlink()
        stage(inputs, tiny_recipe)
    assert len(messages) >= (len(STAGES) if left == 0 else 2)
    assert all("No space left on device" in message for message in messages), messages
    assert all("run the same command again" in message for message in messages), messages
    assert contents(mounted / "out") == whole
    assert not list(mounted.rglob("*.tmp"))

"""Benchmarks that wait for a GPU run, small, without one."""

import subprocess
import sys
from pathlib import Path

import pytest

from partdistillation.experiments.rates import read_rates

ROOT = Path(__file__).parents[1]


@pytest.mark.long
def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path: Path) -> None:
    rates = tmp_path / "rates.json"
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--small", "--rates", str(rates)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")]
    assert lines[2] == "segments stage, images/s"
    assert lines[-1] == "ratio"
    measured = read_rates(rates)
    assert list(measured.labelling) == ["segments"]
    assert all(rate.image > 0 for rate in measured.training.values())

"""The demo's table over several seeds: mean and standard deviation of every row.

    python benchmarks/demo_seeds.py --out OUT [--seeds 0 1 2] [--workers 2]

Each seed draws other images, and starts k-means and training elsewhere; the instance segmentation model is
the one in the package. Everything is resumable, and runs that are there already (`partdistill demo --out
OUT/seed-0 --seed 0`) are only read.
"""

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from partdistillation.experiments import demo

COLUMNS = ("AR@1", "AR@10", "AR@20", "AR@200", "C-mIoU", "A-mIoU", "C-mIoU paper")


def main() -> None:
    """Run the seeds that aren't there yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    runs = []
    for seed in arguments.seeds:
        out = arguments.out / f"seed-{seed}"
        if not (out / "table.json").exists():
            demo.run(out, seed=seed, from_scratch=False, device="auto", workers=arguments.workers)
        runs.append({row["name"]: _values(row) for row in json.loads((out / "table.json").read_bytes())})
    print(_table(runs))


def _values(row: dict[str, dict[str, object]]) -> list[float]:
    """A row's numbers in percent, in the order of COLUMNS."""
    strict, paper = row["strict"], row["paper"]
    recall = strict["average_recall"]
    assert isinstance(recall, dict)
    values = [recall[k] for k in ("1", "10", "20", "200")]
    values += [strict["c_miou"], strict["a_miou"], paper["c_miou"]]
    return [math.nan if value is None else 100 * float(value) for value in values]


def _table(runs: Sequence[dict[str, list[float]]]) -> str:
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name in runs[0]:
        cells = [_cell(values) for values in zip(*(run[name] for run in runs), strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if any(math.isnan(value) for value in values):
        return "-"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


if __name__ == "__main__":
    main()

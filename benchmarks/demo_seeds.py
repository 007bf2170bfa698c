"""The demo's table over several seeds: mean and standard deviation of every row.

    python benchmarks/demo_seeds.py --out OUT [--seeds 0 1 2] [--workers 2]

Each seed draws other images, and starts k-means and training elsewhere; the instance segmentation model is
the one in the package. Everything is resumable, and runs that are there already (`partdistill demo --out
OUT/seed-0 --seed 0`) are only read.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partdistillation.evaluation.tables import Grid, Record, by, cell
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
    records: list[Record] = []
    for seed in arguments.seeds:
        out = arguments.out / f"seed-{seed}"
        if not (out / "table.json").exists():
            demo.run(out, seed=seed, from_scratch=False, device="auto", workers=arguments.workers)
        for row in json.loads((out / "table.json").read_bytes()):
            records += _records(row)
    rows = [
        (str(name), *(cell(scores, score=score) for score in COLUMNS))
        for (name,), scores in by(records, "name").items()
    ]
    print(Grid(("", *COLUMNS), {"": rows}).markdown())


def _records(row: dict[str, Any]) -> Iterator[Record]:
    """A row's numbers, by the names of COLUMNS."""
    strict, paper = row["strict"], row["paper"]
    values = [strict["average_recall"][k] for k in ("1", "10", "20", "200")]
    values += [strict["c_miou"], strict["a_miou"], paper["c_miou"]]
    for score, value in zip(COLUMNS, values, strict=True):
        yield {"name": row["name"], "score": score, "value": value}


if __name__ == "__main__":
    main()

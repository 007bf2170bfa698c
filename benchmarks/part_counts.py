"""Part classes an object class: fixed numbers against as many as are found stably, where the truth is known.

    python benchmarks/part_counts.py OUT --parts PARTS.json [--fixed 4 8 12] [--most 12] [--seeds 0 1 2]

OUT is a run's folder with `features/` (as `partdistill demo` leaves), PARTS the true parts of its images. The
run's proposals are clustered again with each number, labelled and scored; nothing is written into OUT. With
`--time N`, also how long one object class of N proposals takes, drawn from groups in 256 dimensions.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from timing import machine

from partdistillation.baselines.supervised import part_names
from partdistillation.config import Inputs, RankingConfig
from partdistillation.data.coco import CocoDataset, read_parts
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.scores import Evaluation
from partdistillation.functional.clustering import cluster_features
from partdistillation.functional.stability import cluster_stability
from partdistillation.runs.records import PartRow
from partdistillation.runs.store import read_rows
from partdistillation.stages import part_classes, ranking

COLUMNS = {
    "C-mIoU": "c_miou",
    "C-mIoU (Hungarian)": "c_miou_hungarian",
    "NMI (foreground)": "nmi_foreground",
    "ARI (foreground)": "ari_foreground",
}
DIM = 256
GROUPS = 10


class Result(NamedTuple):
    """One clustering of all object classes."""

    counts: Mapping[str, int]
    """Part classes by object class."""
    scores: Evaluation
    seconds: float
    """Clustering alone, of this process."""


def main() -> None:
    """Measure, and print Markdown tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--fixed", type=int, nargs="+", default=[4, 8, 12])
    parser.add_argument("--most", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--time", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    configs = {f"K = {count}": RankingConfig(num_parts=count) for count in arguments.fixed}
    configs[f"by stability, at most {arguments.most}"] = RankingConfig(
        num_parts=arguments.most, part_count="stability"
    )
    truth = read_parts(arguments.parts)
    results = {
        name: [cluster(arguments.out, config, seed, truth) for seed in arguments.seeds]
        for name, config in configs.items()
    }
    print(f"{machine()}; {len(arguments.seeds)} seeds of clustering, mean ± standard deviation, percent\n")
    print("\n".join(_scores(results)), "\n")
    print("\n".join(_counts(results, truth)))
    if arguments.time:
        print("\n" + _seconds(arguments.time, arguments.most))


def cluster(out: Path, config: RankingConfig, seed: int, truth: CocoDataset) -> Result:
    """Stage 4 on the run's proposals, without its network; scored on the same images."""
    config = RankingConfig(**{**vars(config), "seed": seed})
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Inputs(out=Path(scratch))
        shutil.copytree(out / ranking.FEATURES, inputs.out / ranking.FEATURES)
        start = time.process_time()
        folder = ranking.find_part_classes(inputs, config)
        seconds = time.process_time() - start
        rows = read_rows(ranking.label(inputs, config), PartRow)
        (scores,) = evaluation.score(map(evaluation.labelled_parts, rows), truth, ["strict"])
        counts = {name: len(parts) for name, parts in part_classes.read(folder).items()}
    return Result(counts, scores, seconds)


def _scores(results: Mapping[str, Sequence[Result]]) -> list[str]:
    lines = ["| part classes | a class | " + " | ".join(COLUMNS) + " | s a class |", "|---|" + "---:|" * 6]
    for name, runs in results.items():
        counts = [count for run in runs for count in run.counts.values()]
        cells = [_cell([100 * getattr(run.scores, score) for run in runs]) for score in COLUMNS.values()]
        seconds = statistics.mean(run.seconds / len(run.counts) for run in runs)
        lines.append(f"| {name} | {statistics.mean(counts):.1f} | {' | '.join(cells)} | {seconds:.2f} |")
    return lines


def _counts(results: Mapping[str, Sequence[Result]], truth: CocoDataset) -> list[str]:
    """How many part classes each object class gets where that isn't fixed, a seed after the other."""
    lines = ["| object class | true parts | by stability, each seed |", "|---|---:|---|"]
    stable = list(results.values())[-1]
    for category, names in part_names(truth).items():
        chosen = ", ".join(str(run.counts.get(category, 0)) for run in stable)
        lines.append(f"| {category} | {len(names)} | {chosen} |")
    return lines


def _seconds(count: int, most: int) -> str:
    random = np.random.default_rng(0)
    centers = random.normal(size=(GROUPS, DIM))
    points = centers[random.integers(0, GROUPS, count)] + 0.7 * random.normal(size=(count, DIM))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    taken = []
    for work in (
        lambda: cluster_features(points, k=8, restarts=10, seed=0),
        lambda: cluster_stability(points, most=most, seed=0),
    ):
        work()
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return (
        f"An object class of {count:,} proposals ({DIM} numbers each): k-means with K = 8 takes "
        f"{taken[0]:.2f} s, to choose K up to {most} {taken[1]:.2f} s."
    )


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


if __name__ == "__main__":
    main()

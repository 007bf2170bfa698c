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
from partdistillation.evaluation.tables import Grid, cell
from partdistillation.functional.clustering import cluster_features
from partdistillation.functional.stability import cluster_stability
from partdistillation.runs.records import PartRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import candidates, part_classes, ranking

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
    print(_scores(results).markdown(), "\n")
    print(_counts(results, truth).markdown())
    if arguments.time:
        print("\n" + _seconds(arguments.time, arguments.most))


def cluster(out: Path, config: RankingConfig, seed: int, truth: CocoDataset) -> Result:
    """Stage 4 on the run's proposals, without its network; scored on the same images."""
    config = RankingConfig(**{**vars(config), "seed": seed})
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Inputs(out=Path(scratch))
        shutil.copytree(out / candidates.FEATURES, inputs.out / candidates.FEATURES)
        start = time.process_time()
        folder = ranking.find_part_classes(inputs, config)
        seconds = time.process_time() - start
        rows = read_rows(ranking.label(inputs, config), PartRow)
        (scores,) = evaluation.score(map(evaluation.labelled_parts, rows), truth, ["strict"])
        counts = {name: len(classes) for name, classes in part_classes.read(folder).items()}
    return Result(counts, scores, seconds)


def _scores(results: Mapping[str, Sequence[Result]]) -> Grid:
    rows = []
    for name, seeds in results.items():
        counts = [count for result in seeds for count in result.counts.values()]
        scores = [record for result in seeds for record in result.scores.records()]
        seconds = statistics.mean(result.seconds / len(result.counts) for result in seeds)
        cells = (cell(scores, score=score) for score in COLUMNS.values())
        rows.append((name, f"{statistics.mean(counts):.1f}", *cells, f"{seconds:.2f}"))
    return Grid(("part classes", "a class", *COLUMNS, "s a class"), {"": rows})


def _counts(results: Mapping[str, Sequence[Result]], truth: CocoDataset) -> Grid:
    """How many part classes each object class gets where that isn't fixed, a seed after the other."""
    seeds = list(results.values())[-1]
    rows = [
        (category, str(len(names)), ", ".join(str(result.counts.get(category, 0)) for result in seeds))
        for category, names in part_names(truth).items()
    ]
    return Grid(("object class", "true parts", "by stability, each seed"), {"": rows}, text_columns=(0, 2))


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


if __name__ == "__main__":
    main()

"""Numbers of clusters by stability: groups that are there are found, and the rule by hand."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from partdistillation.errors import InputError
from partdistillation.functional import stability
from partdistillation.functional.stability import Stability, cluster_stability


def groups(count: int, each: int = 40, noise: float = 0.1) -> np.ndarray:
    """Points around the corners of a simplex."""
    random = np.random.default_rng(7)
    centers = np.repeat(np.eye(count, 12, dtype=np.float32), each, axis=0)
    return centers + noise * random.normal(size=centers.shape).astype(np.float32)


@pytest.mark.parametrize("count", [3, 6, 9])
def test_groups_that_are_there_are_counted(count: int) -> None:
    found = cluster_stability(groups(count), most=12, seed=0)
    assert found.chosen == count
    assert found.counts == tuple(range(2, 13))
    assert found.means[count - 2] == max(found.means) > 0.97
    assert max(found.means[count - 1 :]) < found.means[count - 2] - 0.03


def test_order_of_memory_and_seed_decide_alone() -> None:
    points = groups(4, noise=0.5)
    first = cluster_stability(points, most=6, seed=1)
    assert cluster_stability(np.asfortranarray(points), most=6, seed=1) == first
    assert cluster_stability(points, most=6, seed=2) != first


def test_stability_is_the_halves_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against scikit-learn's k-means and index, on clusters that both find for sure."""
    monkeypatch.setattr(stability, "REPEATS", 3)
    points = groups(2)
    found = cluster_stability(points, most=2, seed=5)
    random = np.random.default_rng(5)
    points = points[random.permutation(len(points))]
    scores = []
    for _ in range(3):
        labels = [
            KMeans(2, n_init=5, random_state=0).fit(points[half]).predict(points)
            for half in np.array_split(random.permutation(len(points)), 2)
        ]
        scores.append(adjusted_rand_score(*labels))
    assert found.means == pytest.approx([np.mean(scores)])
    assert found.errors == pytest.approx([np.std(scores, ddof=1) / 3**0.5])


def test_noise_is_unstable() -> None:
    noise = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    assert max(cluster_stability(noise, most=8, seed=0).means) < 0.5


@pytest.mark.parametrize(
    ("means", "errors", "chosen"),
    [
        ((0.99, 0.7, 0.97), (0.001, 0.1, 0.02), 4),  # within TOLERANCE
        ((0.99, 0.7, 0.95), (0.001, 0.1, 0.02), 2),
        ((0.80, 0.7, 0.60), (0.11, 0.1, 0.02), 3),  # within the best's standard error
        ((0.60, 0.9, 0.70), (0.01, 0.01, 0.02), 3),
    ],
)
def test_the_most_clusters_that_are_nearly_best(
    means: tuple[float, ...], errors: tuple[float, ...], chosen: int
) -> None:
    assert Stability((2, 3, 4), means, errors).chosen == chosen


def test_few_points_and_few_different_ones_limit_what_is_tried() -> None:
    assert cluster_stability(groups(3, each=6), most=12, seed=0) == Stability((), (), ())  # 18 points
    assert Stability((), (), ()).chosen == 1
    assert cluster_stability(groups(3, each=12), most=12, seed=0).counts == (2, 3)  # 36
    twice = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    assert cluster_stability(twice, most=12, seed=0) == Stability((2,), (1.0,), (0.0,))
    assert cluster_stability(groups(3), most=1, seed=0).chosen == 1


def test_many_points_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stability, "SAMPLE", 45)
    assert cluster_stability(groups(3), most=12, seed=0).counts == (2, 3, 4)


@pytest.mark.parametrize("points", [np.zeros((0, 4), np.float32), np.full((3, 4), np.nan, np.float32)])
def test_unusable_points_are_refused(points: np.ndarray) -> None:
    with pytest.raises(InputError, match="Expected finite points"):
        cluster_stability(points, most=3, seed=0)

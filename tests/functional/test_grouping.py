"""Pixel grouping and its k-means; scikit-learn judges the clusterings."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from torch.nn import functional

from partdistillation.errors import ConfigError, InputError
from partdistillation.functional import grouping
from partdistillation.functional.grouping import (
    Metric,
    assign_to_centroids,
    combine_levels,
    group_objects,
    group_pixels,
    kmeans,
    mask_at,
)
from partdistillation.functional.kmeans import kmeans_batch, uniform


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def scene(seed: int, objects: int = 3, size: tuple[int, int] = (72, 96)) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth features at 1/8 scale and elliptical masks at image size."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 24, 4, 5, generator=generator)
    height, width = size
    features = functional.interpolate(coarse, size=(height // 8, width // 8), mode="bicubic")[0]
    features = features + 0.3 * torch.randn(features.shape, generator=generator) + 2
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centres = torch.rand(objects, 2, generator=generator) * torch.tensor([height, width])
    radii = 15 + 20 * torch.rand(objects, 2, generator=generator)
    ellipses = [
        ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        for (cy, cx), (ry, rx) in zip(centres, radii, strict=True)
    ]
    return features, torch.stack(ellipses)


def points_of_case(case: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(case)
    shape = int(rng.integers(30, 700)), int(rng.integers(2, 64))
    if case % 2:
        return rng.random(shape).astype(np.float32)
    spread = float(rng.uniform(1, 8))
    return np.asarray(make_blobs(*shape, centers=5, cluster_std=spread, random_state=case)[0], np.float32)


def test_uniform_draws_are_fixed_numbers() -> None:
    """The same on every platform and in every version: segments are reproducible only while they are."""
    draws = [uniform(0, 0, 0), uniform(7, 3, 1), uniform(2**63 + 11, 9, 40)]
    assert draws == [0.13870941014555427, 0.06361408929232959, 0.40435474183801123]


def test_uniform_draws_are_uniform() -> None:
    draws = np.array([uniform(s, r, d) for s in range(20) for r in range(10) for d in range(20)])
    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    assert len(np.unique(draws)) == len(draws)
    assert np.abs(counts - 400).max() < 100  # five standard deviations


def test_kmeans_inertia_is_scikit_learns_over_50_sets() -> None:
    ratios = []
    for case in range(50):
        points, k = points_of_case(case), 3 + case % 4
        ours = kmeans(torch.from_numpy(points), k, restarts=10, seed=case)
        theirs = KMeans(k, n_init=10, random_state=case).fit(points)
        ratios.append(ours.inertia / theirs.inertia_)
    assert np.mean(ratios) <= 1.001


def points_of_many_channels(case: int) -> NDArray[np.float32]:
    """Blobs in a few directions among hundreds of channels, with noise in all of them."""
    rng = np.random.default_rng(case)
    count, channels, directions = rng.integers(80, 700), rng.integers(100, 400), rng.integers(3, 50)
    blobs = make_blobs(count, directions, centers=6, cluster_std=rng.uniform(2, 8), random_state=case)[0]
    noise = rng.normal(0, rng.uniform(0, 1), (count, channels))
    return np.asarray(blobs @ rng.normal(0, channels**-0.5, (directions, channels)) + noise, np.float32)


def test_kmeans_inertia_is_scikit_learns_where_the_restarts_run_in_principal_directions() -> None:
    ratios = []
    for case in range(30):
        points = points_of_many_channels(case)
        ours = kmeans(torch.from_numpy(points), 4, restarts=10, seed=case)
        ratios.append(ours.inertia / KMeans(4, n_init=10, random_state=case).fit(points).inertia_)
    assert np.mean(ratios) <= 1.001


@pytest.mark.parametrize("channels", [3, 300])
def test_kmeans_of_a_batch_is_that_of_each(channels: int) -> None:
    rng = np.random.default_rng(channels)
    sizes = [40, 700, 3, 150, 1]  # of 3 and 1 points each is its own cluster
    batch = [torch.from_numpy(rng.random((size, channels), np.float32)) for size in sizes]
    together = kmeans_batch(batch, 4, restarts=10, seeds=range(5))
    for seed, (points, found) in enumerate(zip(batch, together, strict=True)):
        alone = kmeans(points, 4, restarts=10, seed=seed)
        assert torch.equal(found.assignment, alone.assignment)
        assert found.inertia == pytest.approx(alone.inertia, rel=1e-6)
        torch.testing.assert_close(found.centroids, alone.centroids)


def test_kmeans_of_a_batch_names_the_object() -> None:
    good, bad = torch.rand(5, 2), torch.full((5, 2), torch.nan)
    with pytest.raises(InputError, match=r"Object 1: .*finite"):
        kmeans_batch([good, bad], 2, restarts=1, seeds=[0, 0])
    assert kmeans_batch([], 2, restarts=1, seeds=[]) == []


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_kmeans_of_any_scale(scale: float) -> None:
    points = torch.from_numpy(points_of_many_channels(2))
    expected = kmeans(points, 4, restarts=3, seed=0)
    found = kmeans(points * scale, 4, restarts=3, seed=0)
    assert (found.assignment == expected.assignment).float().mean() > 0.99
    assert found.inertia == pytest.approx(expected.inertia * scale**2, rel=1e-4)


@pytest.mark.parametrize(("case", "channels"), [(1, 0), (1, 200)])
def test_kmeans_result_is_consistent(case: int, channels: int) -> None:
    points = torch.from_numpy(points_of_many_channels(case) if channels else points_of_case(case))
    result = kmeans(points, 4, restarts=3, seed=0)
    distances = torch.cdist(points.double(), result.centroids.double()).square()
    assert torch.equal(distances.argmin(dim=1), result.assignment)
    assert result.inertia == pytest.approx(float(distances.amin(dim=1).sum()), rel=1e-5)
    for cluster in range(4):
        torch.testing.assert_close(points[result.assignment == cluster].mean(0), result.centroids[cluster])


def test_kmeans_leaves_a_fixed_point_of_lloyd_that_is_not_optimal() -> None:
    """Of 0, 2, 5 the split {0, 2}, {5} has inertia 2; Lloyd also stays at {0}, {2, 5}, inertia 4.5."""
    for seed in range(20):
        assert kmeans(torch.tensor([[0.0], [2.0], [5.0]]), 2, restarts=1, seed=seed).inertia == pytest.approx(
            2
        )


def test_kmeans_far_from_the_origin() -> None:
    points = torch.from_numpy(points_of_case(3))
    near, far = (kmeans(points + shift, 4, restarts=5, seed=0) for shift in (0, 4096))
    assert far.inertia == pytest.approx(near.inertia, rel=1e-2)


@given(
    values=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
    k=st.integers(1, 6),
    seed=st.integers(0, 2**64 - 1),
    repeated=st.sampled_from([1, 50]),
)
@settings(deadline=None)
def test_kmeans_has_as_many_clusters_as_it_can(
    values: list[tuple[int, int]], k: int, seed: int, repeated: int
) -> None:
    points = torch.tensor(values, dtype=torch.float32).repeat(1, repeated)  # to more channels than directions
    result = kmeans(points, k, restarts=2, seed=seed)
    assert len(result.centroids) == min(k, len(set(values)))
    assert torch.unique(result.assignment).tolist() == list(range(len(result.centroids)))
    if len(set(values)) <= k:
        assert result.inertia == 0
        assert torch.equal(result.centroids[result.assignment], points)


@pytest.mark.parametrize(("k", "restarts"), [(0, 1), (1, 0)])
def test_kmeans_refuses_settings(k: int, restarts: int) -> None:
    with pytest.raises(ConfigError, match="k >= 1"):
        kmeans(torch.zeros(3, 2), k, restarts=restarts, seed=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_kmeans_refuses_points_that_are_not_finite(value: float) -> None:
    with pytest.raises(InputError, match="finite"):
        kmeans(torch.tensor([[0.0], [value]]), 2, restarts=1, seed=0)


def test_kmeans_refuses_no_points() -> None:
    with pytest.raises(InputError, match="at least one point"):
        kmeans(torch.zeros(0, 2), 2, restarts=1, seed=0)


@pytest.mark.parametrize("metric", ["dot", "l2", "cosine"])
def test_the_result_depends_on_the_object_alone(metric: Metric, threads: None) -> None:
    features, masks = scene(0)
    together = group_objects(features, masks, k=4, metric=metric, restarts=10, seeds=[5, 6, 7])
    reverse = group_objects(features, masks.flip(0), k=4, metric=metric, restarts=10, seeds=[7, 6, 5])
    assert torch.equal(together, reverse.flip(0))
    for count in (1, 2):
        torch.set_num_threads(count)
        alone = group_pixels(features, masks[1], k=4, metric=metric, restarts=10, seed=6)
        assert torch.equal(alone, together[1])
        assert torch.get_num_threads() == count


def test_objects_grouped_in_one_go_are_those_grouped_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, with the CPU's arithmetic."""
    features, masks = scene(7, objects=6)
    alone = group_objects(features, masks, k=4, metric="dot", restarts=10, seeds=range(6))
    monkeypatch.setattr(grouping, "_one_by_one", lambda _: False)
    together = group_objects(features, masks, k=4, metric="dot", restarts=10, seeds=range(6))
    assert torch.equal(together, alone)
    masks[2] = False
    with pytest.raises(InputError, match=r"Object 2: .*empty"):
        group_objects(features, masks, k=4, metric="dot", restarts=10, seeds=range(6))


@pytest.mark.gpu
def test_objects_on_a_gpu_are_those_on_a_cpu() -> None:
    features, masks = scene(8, objects=6)
    here = group_objects(features, masks, k=4, metric="dot", restarts=10, seeds=range(6))
    there = group_objects(features.cuda(), masks.cuda(), k=4, metric="dot", restarts=10, seeds=range(6))
    assert (there.cpu() == here).float().mean() > 0.999


def test_kmeans_is_equal_bit_by_bit_over_threads(threads: None) -> None:
    points = torch.randn(3000, 300, generator=torch.Generator().manual_seed(0)) + 3
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(kmeans(points, 4, restarts=10, seed=0))
    assert torch.equal(results[0].centroids, results[1].centroids)
    assert torch.equal(results[0].assignment, results[1].assignment)
    assert results[0].inertia == results[1].inertia


@pytest.mark.parametrize("metric", ["dot", "l2", "cosine"])
def test_labels_are_inside_the_mask_and_of_the_kind_given(metric: Metric) -> None:
    features, masks = scene(1, objects=1)
    labels = group_pixels(features, masks[0], k=4, metric=metric, restarts=3, seed=0)
    array = group_pixels(features.numpy(), masks[0].numpy(), k=4, metric=metric, restarts=3, seed=0)
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.int64
    assert np.array_equal(array, labels.numpy())
    assert torch.equal(labels > 0, masks[0])
    assert labels.max() <= 4


@pytest.mark.parametrize("metric", ["dot", "l2", "cosine"])
def test_score_then_upsample_is_upsample_then_score(metric: Metric) -> None:
    features, masks = scene(2, objects=1)
    centroids = features.flatten(1)[:, [3, 30, 60, 90]].T + 0.1
    labels = assign_to_centroids(features, masks[0], centroids, metric=metric)
    if metric == "cosine":
        features, centroids = functional.normalize(features, dim=0), functional.normalize(centroids, dim=1)
    full = functional.interpolate(features[None], size=masks.shape[1:], mode="bilinear")[0][:, masks[0]].T
    scores = -torch.cdist(full, centroids) if metric == "l2" else full @ centroids.T
    assert (scores.argmax(dim=1) + 1 == labels[masks[0]]).float().mean() > 0.999


def test_two_materials_are_found() -> None:
    features = torch.zeros(3, 8, 8)
    features[0, :, :4], features[1, :, 4:] = 1, 1
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[8:56, 8:56] = True
    labels = group_pixels(features, mask, k=2, metric="dot", restarts=2, seed=0)
    left, right = torch.unique(labels[8:56, 8:32]), torch.unique(labels[8:56, 32:56])
    assert sorted([left.item(), right.item()]) == [1, 2]


def test_fewer_distinct_pixels_than_k() -> None:
    features = torch.zeros(3, 8, 8)
    features[0, :, :4], features[1, :, 4:] = 1, 1
    labels = group_pixels(
        features, torch.ones(64, 64, dtype=torch.bool), k=5, metric="l2", restarts=2, seed=0
    )
    assert torch.unique(labels).tolist() == [1, 2]


@given(st.integers(0, 63), st.integers(0, 63), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_an_object_of_any_size_has_segments(top: int, left: int, height: int, width: int) -> None:
    features, _ = scene(3, size=(64, 64))
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    labels = group_pixels(features, mask, k=4, metric="dot", restarts=1, seed=0)
    assert torch.equal(labels > 0, mask)


def test_a_mask_that_no_sample_hits_covers_its_feature_pixels() -> None:
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[3, 14:18] = True
    assert mask_at(mask, 8, 8).nonzero().tolist() == [[0, 1], [0, 2]]


def test_arrays_that_torch_cannot_share() -> None:
    features, masks = scene(4, objects=1)
    array, mask = features.numpy()[:, ::-1], masks[0].numpy()[::-1]
    mask.setflags(write=False)
    labels = group_pixels(array, mask, k=3, metric="l2", restarts=1, seed=0)
    assert np.array_equal(labels > 0, mask)


def test_half_precision_features() -> None:
    features, masks = scene(5, objects=1)
    for dtype in (torch.float16, torch.bfloat16):
        labels = group_pixels(features.to(dtype), masks[0], k=3, metric="dot", restarts=2, seed=0)
        assert torch.equal(labels > 0, masks[0])


def test_refusals(unchecked: None) -> None:
    features, masks = scene(6)
    some = masks & torch.tensor([True, False, True])[:, None, None]
    with pytest.raises(InputError, match=r"Object 1: .*empty"):
        group_objects(features, some, k=2, metric="dot", restarts=1, seeds=[0, 0, 0])
    with pytest.raises(InputError, match="one seed"):
        group_objects(features, masks, k=2, metric="dot", restarts=1, seeds=[0])
    with pytest.raises(InputError, match="channel, h, w"):
        group_pixels(features[0], masks[0], k=2, metric="dot", restarts=1, seed=0)
    with pytest.raises(ConfigError, match="manhattan"):
        group_pixels(features, masks[0], k=2, metric="manhattan", restarts=1, seed=0)  # type: ignore[call-overload]


def test_combine_levels_upsamples_to_the_finest() -> None:
    fine, coarse = torch.rand(2, 8, 6), torch.tensor([[[0.0, 4.0]]])
    combined = combine_levels([coarse, fine])
    assert combined.shape == (3, 8, 6)
    assert torch.equal(combined[1:], fine)
    expected = [0, 0, 4 / 3, 8 / 3, 4, 4]  # samples at -1/3, 0, 1/3, 2/3, 1 and 4/3, clamped to 0..1
    assert combined[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_combine_levels_refuses_none() -> None:
    with pytest.raises(InputError, match="at least one feature map"):
        combine_levels([])


def test_masks_of_other_kinds_have_the_same_groups() -> None:
    features = np.random.default_rng(0).normal(size=(3, 5, 5)).astype(np.float32)
    mask = np.zeros((10, 10), bool)
    mask[2:9, 1:8] = True
    options: dict[str, Any] = {"k": 2, "metric": "l2", "restarts": 2, "seed": 0}
    expected = group_pixels(features, mask, **options)
    for form in (mask.astype(np.uint8) * 255, mask.tolist(), torch.from_numpy(mask).float()):
        np.testing.assert_array_equal(group_pixels(features, form, **options), expected)
        tensors = group_pixels(torch.from_numpy(features).double(), form, **options)
        np.testing.assert_array_equal(tensors.numpy(), expected)
    for wrong in (mask * 0.5, mask[None, None]):
        with pytest.raises(InputError):
            group_pixels(features, wrong, **options)

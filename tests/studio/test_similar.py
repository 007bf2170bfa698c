"""Similar and typical parts, against scikit-learn on the run's own rows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from partdistillation.errors import InputError
from partdistillation.runs.records import PartRow, ProposalRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.studio import similar as module
from partdistillation.studio.similar import PartKey, SimilarParts

from .featured_runs import HEIGHT, WIDTH, Features, WriteStage, mask_of, random_run, rows_of, write_run


class Stored(NamedTuple):
    key: PartKey
    category: str
    part: int
    feature: Features


def stored(out: Path) -> Iterator[Stored]:
    """The parts of a run in the order of its rows."""
    stages = read_rows(out / "parts", PartRow), read_rows(out / "features", ProposalRow)
    for row, proposed in zip(*stages, strict=True):
        for labelled, proposals in zip(row.objects, proposed.objects, strict=True):
            for place, part in enumerate(labelled.parts):
                key = PartKey(row.image_id, labelled.object_id, place)
                yield Stored(key, labelled.category, part.part, proposals.proposals[place].feature)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(3, 25),
    dim=st.integers(2, 40),
    count=st.integers(1, 30),
    block=st.integers(1, 100),
)
def test_neighbours_are_scikit_learns(
    seed: int,
    images: int,
    dim: int,
    count: int,
    block: int,
    write_stage: WriteStage,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = random_run(write_stage, tmp_path_factory.mktemp("run"), seed=seed, images=images, dim=dim)
    parts = list(stored(run))
    if not parts:
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "BLOCK", block)
        similar = SimilarParts.open(run)
        for same_class in (True, False):
            queried = parts[seed % len(parts)]
            others = [
                part
                for part in parts
                if part.key != queried.key and (not same_class or part.category == queried.category)
            ]
            neighbours = similar.of(queried.key, same_class=same_class, count=count)
            assert len(neighbours) == min(count, len(others))
            if others:
                judge = NearestNeighbors(n_neighbors=len(neighbours), metric="cosine", algorithm="brute")
                judge.fit(np.stack([part.feature for part in others]).astype(np.float64))
                distances, _ = judge.kneighbors(queried.feature[None].astype(np.float64))
                similarities = [neighbour.similarity for neighbour in neighbours]
                np.testing.assert_allclose(similarities, 1 - distances[0], atol=1e-6)
                parts_by_key = {part.key: part for part in others}
                for neighbour in neighbours:
                    part = parts_by_key.pop(neighbour.key)  # once
                    assert (neighbour.category, neighbour.part) == (part.category, part.part)
                    expected = cosine_similarity(
                        *(vector[None].astype(np.float64) for vector in (part.feature, queried.feature))
                    )
                    assert neighbour.similarity == pytest.approx(expected[0, 0], abs=1e-6)


@pytest.mark.parametrize("block", [7, 2**18])
def test_typical_examples_are_near_the_mean_direction(
    block: int, write_stage: WriteStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    run = random_run(write_stage, tmp_path, images=40)
    similar = SimilarParts.open(run)
    parts = [part for part in stored(run) if (part.category, part.part) == ("車", 1)]
    directions = np.stack([part.feature for part in parts]).astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mean = directions.mean(axis=0)
    similarities = directions @ mean / np.linalg.norm(mean)
    order = np.argsort(-similarities)
    pages = [similar.most_typical("車", 1, offset=offset, count=5) for offset in range(0, len(parts) + 5, 5)]
    assert [len(page) for page in pages[:-2]] == [5] * (len(pages) - 2)
    examples = [example for page in pages for example in page]
    assert [example.key for example in examples] == [parts[i].key for i in order]
    np.testing.assert_allclose([example.similarity for example in examples], similarities[order], atol=1e-6)
    assert similar.counts("車")[1] == len(parts)


def test_of_equals_the_first_are_first(write_stage: WriteStage, tmp_path: Path) -> None:
    """However many there are, and never the part itself."""
    same = np.tile(np.array([0.6, 0.8], np.float16), (4, 1))
    photographs = [rows_of(f"{i}", [("car", [0, 0, 1, 1], same)]) for i in range(5)]
    similar = SimilarParts.open(write_run(write_stage, tmp_path, photographs))
    keys = [PartKey(f"{i}", 0, place) for i in range(5) for place in range(4)]
    for key in (keys[0], keys[10], keys[-1]):
        others = [other for other in keys if other != key]
        for count in (1, 3, 19, 50):
            neighbours = similar.of(key, count=count)
            assert [neighbour.key for neighbour in neighbours] == others[:count]
            assert {neighbour.similarity for neighbour in neighbours} == {1.0}
    assert [example.key for example in similar.most_typical("car", 0)] == [
        key for key in keys if key.place < 2
    ]


def test_a_neighbour_has_what_it_takes_to_draw_it(write_stage: WriteStage, tmp_path: Path) -> None:
    features = np.eye(3, dtype=np.float16)
    run = write_run(write_stage, tmp_path, [rows_of("a", [("car", [5, 6, 5], features)])])
    neighbour = SimilarParts.open(run).of(PartKey("a", 0, 0), count=2)[1]
    assert neighbour.key == PartKey("a", 0, 2)
    assert (neighbour.category, neighbour.part, neighbour.score) == ("car", 5, 0.5)
    assert (neighbour.file_name, neighbour.width, neighbour.height) == ("a.png", WIDTH, HEIGHT)
    assert neighbour.box == (2.0, 2.0, 5.0, 3.0)
    assert neighbour.rle == mask_of(2)
    assert neighbour.similarity == 0


def test_a_part_without_a_direction_is_like_no_other(write_stage: WriteStage, tmp_path: Path) -> None:
    features = np.array([[0, 0], [1, 0], [-1, 0]], np.float16)
    similar = SimilarParts.open(
        write_run(write_stage, tmp_path, [rows_of("a", [("car", [0] * 3, features)])])
    )
    assert [near.similarity for near in similar.of(PartKey("a", 0, 0))] == [0, 0]
    assert [near.similarity for near in similar.of(PartKey("a", 0, 1))] == [0, -1]
    assert [near.similarity for near in similar.most_typical("car", 0)] == [0, 0, 0]


@pytest.mark.parametrize(
    "key",
    [("b", 0, 0), ("a", 1, 0), ("a", 0, 3), ("a", 0, -1), ("a", 2**70, 0), ("", 0, 0), ("\ud800", 0, 0)],
)
def test_parts_that_are_not_there(key: tuple[str, int, int], write_stage: WriteStage, tmp_path: Path) -> None:
    features = np.ones((3, 4), np.float16)
    similar = SimilarParts.open(
        write_run(write_stage, tmp_path, [rows_of("a", [("car", [0] * 3, features)])])
    )
    with pytest.raises(InputError, match="expected a part of this run"):
        similar.of(PartKey(*key))
    with pytest.raises(InputError, match="found 4: it has 0"):
        similar.most_typical("car", 4)
    for ask in (similar.counts, lambda category: similar.most_typical(category, 0)):
        with pytest.raises(InputError, match="found 'dog'"):
            ask("dog")


def test_threads_don_t_disturb_each_other(write_stage: WriteStage, tmp_path: Path) -> None:
    run = random_run(write_stage, tmp_path, images=30)
    similar, keys = SimilarParts.open(run), [part.key for part in stored(run)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(similar.of, keys)) == [similar.of(key) for key in keys]

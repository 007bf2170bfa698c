"""Features are sorted by object class through files, and each class is clustered for itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from partdistillation.config import Engine, Inputs
from partdistillation.errors import StoreError
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import ObjectProposals, Proposal, ProposalRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.stages import class_clustering
from partdistillation.stages.class_clustering import Clusters, Pieces, cluster_classes, remove_scratch

ORIGIN = {"settings": 1}
CLASSES = ("ant", "bee", "cat")
BEES = 14


def feature(number: int) -> np.ndarray:
    return np.array([number, -number], np.float16)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """Seven shards of two images; image `n` has a feature `n` of class `n` modulo 3, and one of a bee."""

    def rows(shard: Shard[ImageRef]) -> Iterator[ProposalRow]:
        for image in shard.inputs:
            number = int(image.image_id)
            objects = tuple(
                ObjectProposals(0, category, (Proposal(0, 1.0, 1.0, 1, b"", feature(number)),))
                for category in dict.fromkeys((CLASSES[number % 3], "bee"))
            )
            yield ProposalRow(image.image_id, f"{number}.png", 1, 1, "ok", "", objects)

    shards = [
        Shard(f"s{first:02}", (ImageRef(str(first)), ImageRef(str(first + 1)))) for first in range(0, 14, 2)
    ]
    return run_shards(
        tmp_path / "features",
        row=ProposalRow,
        shards=shards,
        settings={},
        make_work=lambda: rows,
        label="features",
    )


def features(row: ProposalRow) -> Iterator[tuple[str, np.ndarray]]:
    for proposed in row.objects:
        yield proposed.category, np.stack([proposal.feature for proposal in proposed.proposals])


def all_of_them(count: int, pieces: Pieces) -> Clusters:
    joined = np.concatenate([*pieces()]).astype(np.float32)
    assert len(joined) == count
    return Clusters(joined, {"count": count}, f"a remark on {count}")


def run(stage: Path, inputs: Inputs, cluster: class_clustering.Cluster = all_of_them) -> dict[str, Clusters]:
    return cluster_classes(
        inputs.out / "classes",
        inputs,
        source=stage,
        read=ProposalRow,
        features=features,
        cluster=cluster,
        origin=ORIGIN,
        label="test",
    )


@pytest.mark.parametrize("together", [1, 3, 100])
@pytest.mark.parametrize("engine", ["processes", "shared"])
def test_a_class_has_its_features_in_the_order_of_the_images(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int, engine: Engine
) -> None:
    monkeypatch.setattr(class_clustering, "SORTED_TOGETHER", together)
    monkeypatch.setattr(class_clustering, "CLUSTERED_TOGETHER", together)
    inputs = Inputs(out=tmp_path, engine=engine)
    found = run(stage, inputs)
    assert {name: of_class.centroids[:, 0].tolist() for name, of_class in found.items()} == {
        "ant": [0, 3, 6, 9, 12],
        "bee": [*range(14)],
        "cat": [2, 5, 8, 11],
    }
    assert (found["bee"].centroids[:, 1] == -np.arange(14)).all()
    assert found["ant"].about == {"count": 5}
    assert found["ant"].remark == "a remark on 5"
    remove_scratch(tmp_path / "classes")
    assert [*(tmp_path / "classes").iterdir()] == []


def test_classes_that_are_committed_are_not_clustered_again(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_clustering, "CLUSTERED_TOGETHER", 1)
    clustered: list[int] = []

    def until_the_bees(count: int, pieces: Pieces) -> Clusters:
        if count == BEES:
            raise KeyboardInterrupt
        clustered.append(count)
        return all_of_them(count, pieces)

    def on(count: int, pieces: Pieces) -> Clusters:
        clustered.append(count)
        return all_of_them(count, pieces)

    with pytest.raises(KeyboardInterrupt, match="clustering: stopped with 1 of 3 shards"):
        run(stage, Inputs(out=tmp_path), until_the_bees)
    assert clustered == [5]
    assert len(run(stage, Inputs(out=tmp_path), on)) == 3
    assert clustered == [5, BEES, 4]


def test_a_damaged_file_is_noticed(stage: Path, tmp_path: Path) -> None:
    inputs = Inputs(out=tmp_path)

    def damage(count: int, pieces: Pieces) -> Clusters:
        if count == BEES:
            (file,) = (tmp_path / "classes").rglob("*.f16")
            data = bytearray(file.read_bytes())
            data[5 * 4] ^= 1  # the first of the bees, after five ants of two numbers
            file.write_bytes(data)
        return all_of_them(count, pieces)

    with pytest.raises(StoreError, match=r"batch-00000\.f16 is damaged: delete"):
        run(stage, inputs, damage)


def test_no_features_at_all(stage: Path, tmp_path: Path) -> None:
    found = cluster_classes(
        tmp_path / "classes",
        Inputs(out=tmp_path),
        source=stage,
        read=ProposalRow,
        features=lambda _: (),
        cluster=all_of_them,
        origin=ORIGIN,
        label="test",
    )
    assert found == {}

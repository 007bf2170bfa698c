"""Stage 4: clusters of features become part classes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from partdistillation.config import Inputs, RankingConfig, Recipe
from partdistillation.data.images import load_image
from partdistillation.errors import ConfigError, SettingsChanged, StoreError
from partdistillation.functional import clustering
from partdistillation.functional.masks import decode, encode
from partdistillation.models.encoder import Encoder
from partdistillation.runs.records import (
    ObjectProposals,
    ObjectRow,
    PartRow,
    Proposal,
    ProposalRow,
    SegmentRow,
)
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import candidates, class_clustering, objects, part_classes, ranking, segments

RLE = encode(np.ones((2, 3), np.bool_))
CONFIG = RankingConfig(num_parts=2)


def proposal(*feature: float, score: float = 0.9, ratio: float = 0.5) -> Proposal:
    return Proposal(0, score, ratio, 6, RLE, np.array(feature, np.float16))


def row(image_id: str, *found: ObjectProposals) -> ProposalRow:
    return ProposalRow(image_id, f"{image_id}.png", 3, 2, "ok", "", found)


def labels(inputs: Inputs) -> list[list[int]]:
    parts = read_rows(inputs.out / ranking.PARTS, PartRow)
    return [[part.part for part in found.parts] for one in parts for found in one.objects]


@pytest.fixture
def clusters(tmp_path: Path, write_stage: Callable[[Path, Any], Path]) -> Inputs:
    """Heads near (1, 0) and tails near (0, 1), over three cats; a dog with a single proposal."""
    write_stage(
        tmp_path / candidates.FEATURES,
        [
            row("a", ObjectProposals(0, "cat", (proposal(1, 0), proposal(0.05, 1)))),
            row("b", ObjectProposals(0, "cat", (proposal(0, 1), proposal(1, 0.05)))),
            row(
                "c",
                ObjectProposals(0, "cat", (proposal(0.95, 0),)),
                ObjectProposals(1, "dog", (proposal(0, 1),)),
            ),
            ProposalRow("d", "d.png", 0, 0, "rejected", "broken", ()),
        ],
    )
    return Inputs(out=tmp_path)


def test_two_clusters_are_two_part_classes(clusters: Inputs, capsys: pytest.CaptureFixture[str]) -> None:
    ranking.find_part_classes(clusters, CONFIG)
    ranking.label(clusters, CONFIG)
    (head, tail), (tail_b, head_b), (head_c,), (dog,) = labels(clusters)
    assert head == head_b == head_c
    assert tail == tail_b
    assert {head, tail} == {0, 1}
    assert dog == 0
    centroids = part_classes.read(clusters.out / ranking.PART_CLASSES)
    np.testing.assert_allclose(centroids["cat"][head], [(1 + 1 + 0.95) / 3, 0.05 / 3], atol=1e-3)
    assert "dog: 1 part classes instead of 2" in capsys.readouterr().err
    counts = json.loads((clusters.out / ranking.PART_CLASSES / "part_classes.json").read_text())
    assert counts["classes"]["cat"] == {"proposals": 5, "part_classes": 2}


def test_part_classes_do_not_depend_on_how_many_features_are_in_memory(
    clusters: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ranking.find_part_classes(clusters, CONFIG)
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    (folder / "by_class-0123").mkdir(parents=True)
    (folder / "by_class-0123" / "batch-00000.f16").write_bytes(b"left by a killed run with other settings")
    monkeypatch.setattr(class_clustering, "CLUSTERED_TOGETHER", 1)
    ranking.find_part_classes(clusters, CONFIG)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
    folder = ranking.find_part_classes(replace(clusters, out=_copied(clusters), engine="shared"), CONFIG)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == expected
    assert not [*folder.rglob("*.f16")]


def _copied(inputs: Inputs) -> Path:
    out = inputs.out / "shared"
    shutil.copytree(inputs.out / candidates.FEATURES, out / candidates.FEATURES)
    return out


def test_a_very_large_class_is_clustered_as_a_stream(
    three_and_nine: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blobs are found whichever way."""
    config = replace(CONFIG, num_parts=9)
    at_once = part_classes.read(ranking.find_part_classes(three_and_nine, config))["dog"]
    shutil.rmtree(three_and_nine.out / ranking.PART_CLASSES)
    monkeypatch.setattr(ranking, "AT_ONCE", 20)
    monkeypatch.setattr(clustering, "SAMPLE", 100)
    streamed = part_classes.read(ranking.find_part_classes(three_and_nine, config))["dog"]
    nearest = np.linalg.norm(at_once[:, None] - streamed[None], axis=2).min(axis=1)
    assert nearest.max() < 0.02


def _blobs(count: int, images: int = 20) -> list[Proposal]:
    random = np.random.default_rng(count)
    return [
        proposal(*(np.eye(count, 9)[part] + 0.05 * random.normal(size=9)))
        for _ in range(images)
        for part in range(count)
    ]


@pytest.fixture
def three_and_nine(tmp_path: Path, write_stage: Callable[[Path, Any], Path]) -> Inputs:
    """A cat has 3 kinds of parts, a dog 9, of a bird there are 2 proposals; 20 images."""
    cats, dogs = _blobs(3), _blobs(9)
    rows = [
        row(
            f"{i:02}",
            ObjectProposals(0, "cat", tuple(cats[3 * i : 3 * i + 3])),
            ObjectProposals(1, "dog", tuple(dogs[9 * i : 9 * i + 9])),
        )
        for i in range(20)
    ]
    rows.append(row("20", ObjectProposals(0, "bird", (proposal(*range(9)), proposal(*range(1, 10))))))
    write_stage(tmp_path / candidates.FEATURES, rows)
    return Inputs(out=tmp_path)


def test_each_class_has_as_many_part_classes_as_are_stable(
    three_and_nine: Inputs, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(CONFIG, num_parts=12, part_count="stability")
    folder = ranking.find_part_classes(three_and_nine, config)
    ranking.label(three_and_nine, config)
    counts = {name: len(found) for name, found in part_classes.read(folder).items()}
    assert counts == {"bird": 1, "cat": 3, "dog": 9}
    assert "instead of" not in capsys.readouterr().err
    for cat, dog in list(zip(*[iter(labels(three_and_nine))] * 2, strict=False))[:20]:
        assert sorted(cat) == [0, 1, 2]
        assert sorted(dog) == list(range(9))
    said = json.loads((folder / "part_classes.json").read_text())
    assert said["settings"]["part_count"] == "stability"
    assert said["classes"]["cat"]["stability"]["3"] == 1.0
    assert said["classes"]["bird"] == {"proposals": 2, "part_classes": 1, "stability": {}}
    with pytest.raises(SettingsChanged, match="part_count"):
        ranking.find_part_classes(three_and_nine, replace(config, part_count="fixed"))


def test_probabilities_are_equation_4s(clusters: Inputs) -> None:
    ranking.find_part_classes(clusters, CONFIG)
    ranking.label(clusters, CONFIG)
    first = next(iter(read_rows(clusters.out / ranking.PARTS, PartRow))).objects[0].parts[0]
    centroids = part_classes.read(clusters.out / ranking.PART_CLASSES)["cat"]
    near, far = np.sort(np.linalg.norm(centroids - [1, 0], axis=1))
    assert first.probability == pytest.approx(np.exp(-near) / (np.exp(-near) + np.exp(-far)), abs=1e-6)
    assert (first.score, first.area, first.rle) == (0.9, 6, RLE)


def test_filters_choose_what_is_clustered(write_stage: Callable[[Path, Any], Path], tmp_path: Path) -> None:
    weak, tiny = proposal(5, 5, score=0.2), proposal(9, 9, ratio=0.01)
    good = proposal(1, 0)
    assert ranking.salient([weak, tiny, good], CONFIG) == [good]
    assert ranking.salient([weak, tiny], CONFIG) == []
    assert ranking.salient([weak, tiny], replace(CONFIG, keep_all_if_none=True)) == [weak]
    write_stage(tmp_path / candidates.FEATURES, [row("a", ObjectProposals(0, "cat", (weak, tiny, good)))])
    ranking.find_part_classes(Inputs(out=tmp_path), CONFIG)
    ranking.label(Inputs(out=tmp_path), CONFIG)
    assert part_classes.read(tmp_path / ranking.PART_CLASSES)["cat"].tolist() == [[1, 0]]
    assert labels(Inputs(out=tmp_path)) == [[0, 0, 0]]  # all of them become parts all the same


def test_a_class_without_salient_proposals_has_no_parts(
    write_stage: Callable[[Path, Any], Path], tmp_path: Path
) -> None:
    found = (
        ObjectProposals(0, "cat", (proposal(1, 0),)),
        ObjectProposals(1, "dog", (proposal(1, 0, score=0.1),)),
    )
    write_stage(tmp_path / candidates.FEATURES, [row("a", *found)])
    ranking.find_part_classes(Inputs(out=tmp_path), CONFIG)
    ranking.label(Inputs(out=tmp_path), CONFIG)
    assert labels(Inputs(out=tmp_path)) == [[0], []]


def test_nothing_to_cluster_is_said(write_stage: Callable[[Path, Any], Path], tmp_path: Path) -> None:
    write_stage(tmp_path / candidates.FEATURES, [row("a", ObjectProposals(0, "cat", ()))])
    with pytest.raises(StoreError, match="found none: train the proposal model for longer"):
        ranking.find_part_classes(Inputs(out=tmp_path), CONFIG)


def test_a_class_may_be_named_as_the_key_of_safetensors(tmp_path: Path) -> None:
    centroids = {name: np.full((1, 2), i, np.float32) for i, name in enumerate(("__metadata__", "cat"))}
    part_classes.write(tmp_path / "classes", centroids, {}, {})
    found = part_classes.read(tmp_path / "classes")
    assert {name: float(rows[0, 0]) for name, rows in found.items()} == {"__metadata__": 0, "cat": 1}


@pytest.mark.parametrize("features", ["query", "encoder", "both"])
def test_proposals_are_clustered_by_what_the_settings_say(
    features: Literal["query", "encoder", "both"], tiny_recipe: Recipe, drawings: Path, tmp_path: Path
) -> None:
    """The encoder's level inside each proposal, by hand: a map of the whole image, and its own mask."""
    config = replace(tiny_recipe.ranking, features=features, levels=(3,), label_min_ratio=0.0)
    recipe = replace(tiny_recipe, ranking=config)
    inputs = Inputs(out=tmp_path, images=drawings / "train", objects=drawings / "objects_train.json")
    objects.run(inputs, recipe)
    candidates.collect(inputs, recipe, model_dir=Path(recipe.encoder), objects_dir=tmp_path / "objects")
    row = next(row for row in read_rows(tmp_path / "features", ProposalRow) if row.objects[0].proposals)
    proposal = row.objects[0].proposals[0]
    image = load_image(drawings / "train" / row.file_name)  # 64 pixels, the working size: no padding
    (level,) = Encoder.from_pretrained(recipe.encoder, levels=(3,)).levels([image])
    unit = torch.nn.functional.normalize(level[0], dim=0)
    mask = torch.from_numpy(decode(proposal.rle, 64, 64)).float()
    shares = mask.view(8, 8, 8, 8).mean(dim=(1, 3))
    inside = (unit * shares).sum(dim=(1, 2)) / shares.sum()
    expected = (inside / inside.norm()).numpy()
    width = {"query": 32, "encoder": len(expected), "both": 32 + len(expected)}[features]
    assert len(proposal.feature) == width
    if features != "query":
        np.testing.assert_allclose(proposal.feature[-len(expected) :], expected, atol=2e-3)


def test_segments_can_become_parts(tiny_recipe: Recipe, drawings: Path, tmp_path: Path) -> None:
    config = replace(tiny_recipe.ranking, features="encoder", candidates="segments", label_min_ratio=0.1)
    recipe = replace(tiny_recipe, ranking=config)
    inputs = Inputs(out=tmp_path, images=drawings / "train", objects=drawings / "objects_train.json")
    objects.run(inputs, recipe)
    segments.run(inputs, recipe)
    ranking.run(inputs, recipe)
    rows = zip(
        read_rows(tmp_path / "objects", ObjectRow),
        read_rows(tmp_path / "segments", SegmentRow),
        read_rows(tmp_path / "parts", PartRow),
        strict=True,
    )
    small = 0
    for whole, segmented, labelled in rows:
        for instance, pieces, parts in zip(whole.objects, segmented.objects, labelled.objects, strict=True):
            large = [piece.rle for piece in pieces.segments if piece.area > 0.1 * instance.area]
            assert [part.rle for part in parts.parts] == large
            small += len(pieces.segments) - len(large)
    assert small  # some were left out
    with pytest.raises(ConfigError, match=r"expected encoder where ranking\.candidates is segments"):
        replace(config, features="both")

"""The encoder warm-up: which objects it learns, by which names, and what its objective adds up."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from partdistillation.config import Inputs, Recipe, WarmupConfig
from partdistillation.data.object_views import POINTS, ObjectCrop, Views
from partdistillation.errors import ConfigError, InputError
from partdistillation.functional.masks import decode, encode
from partdistillation.functional.swapped_prediction import clustering_loss, pooled
from partdistillation.models.encoder import normalize_images
from partdistillation.stages import objects, warmup
from partdistillation.stages.warmup import Crops, WarmupNet, WarmupObjective, object_crops
from partdistillation.training.loop import Run

CPU = torch.device("cpu")
CONFIG = WarmupConfig(steps=1, batch_size=2, image_size=32, prototypes=4, checkpoint_every=1)
SQUARE = (40, 60)
"""Height and width of the images here."""


def rectangle(left: int, top: int, width: int, height: int) -> list[list[int]]:
    right, bottom = left + width, top + height
    return [[left, top, right, top, right, bottom, left, bottom]]


def write_objects(path: Path, files: list[str], found: list[tuple[int, str, list[list[int]]]]) -> Path:
    """COCO instances of `files`; `found` are (index of the file, class, polygons)."""
    names = sorted({name for _, name, _ in found})
    height, width = SQUARE
    document = {
        "images": [
            {"id": i + 1, "file_name": name, "height": height, "width": width} for i, name in enumerate(files)
        ],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": image + 1,
                "category_id": names.index(name) + 1,
                "segmentation": polygons,
            }
            for i, (image, name, polygons) in enumerate(found)
        ],
    }
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Two good images and a torn one; three cats and dogs of 30, 13 and 20 pixels."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "b.png", "torn.png"):
        pixels = np.random.default_rng(0).integers(0, 256, (*SQUARE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(images / name)
    torn = images / "torn.png"
    torn.write_bytes(torn.read_bytes()[:2000])
    found = [
        (0, "dog", rectangle(2, 2, 30, 10)),
        (1, "cat", rectangle(5, 5, 13, 6)),
        (1, "dog", rectangle(30, 10, 8, 20)),
        (2, "whale", rectangle(2, 2, 30, 30)),
    ]
    file = write_objects(tmp_path / "objects.json", ["a.png", "b.png", "torn.png"], found)
    return Inputs(out=tmp_path / "out", images=images, objects=file)


def crops_of(inputs: Inputs, **settings: Any) -> Crops:
    return object_crops(
        objects.run(inputs, Recipe()), inputs.need("images"), replace(WarmupConfig(), **settings)
    )


# ---------------------------------------------------------------------- which objects


def test_small_objects_and_rejected_images_are_left_out(inputs: Inputs) -> None:
    crops = crops_of(inputs, min_side=14)
    assert [(one.file_name, one.label) for one in crops.objects] == [("a.png", 1), ("b.png", 1)]
    assert crops.num_classes == 2  # the torn image's whale isn't known; the small cat is
    areas = [np.count_nonzero(decode(one.rle, one.height, one.width)) for one in crops.objects]
    assert areas == [300, 160]


def test_the_longer_side_counts_to_the_pixel(inputs: Inputs) -> None:
    assert len(crops_of(inputs, min_side=13).objects) == 3
    assert [one.label for one in crops_of(inputs, min_side=13).objects].count(0) == 1
    assert len(crops_of(inputs, min_side=20).objects) == 2
    assert len(crops_of(inputs, min_side=21).objects) == 1


def test_another_file_may_name_the_objects(inputs: Inputs, tmp_path: Path) -> None:
    finer = [
        (0, "dog 1", rectangle(2, 2, 30, 10)),
        (1, "dog 2", rectangle(30, 10, 8, 20)),
        (2, "cat 3", rectangle(5, 5, 20, 6)),
        (3, "whale 1", rectangle(2, 2, 30, 30)),
    ]
    file = write_objects(tmp_path / "finer.json", ["b.png", "a.png", "unused.png", "torn.png"], finer)
    crops = crops_of(inputs, objects=str(file))
    assert crops.num_classes == 2
    assert [(one.file_name, one.label) for one in crops.objects] == [("a.png", 1), ("b.png", 0)]


def test_images_that_the_other_file_lacks_are_named(inputs: Inputs, tmp_path: Path) -> None:
    file = write_objects(tmp_path / "finer.json", ["b.png"], [(0, "cat 1", rectangle(5, 5, 20, 6))])
    with pytest.raises(InputError, match=r"finer\.json: expected an entry for each of the 2 .* for a\.png;"):
        crops_of(inputs, objects=str(file))


# ---------------------------------------------------------------------- the objective


class Maps(nn.Module):
    """An encoder of four maps, at 1/4 to 1/32, that are linear in the pixels."""

    channels = (2, 3, 4, 5)

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.ModuleList([nn.Conv2d(3, width, 1) for width in self.channels])

    def forward(self, pixels: Tensor) -> SimpleNamespace:
        maps = [mix(functional.avg_pool2d(pixels, 4 * 2**level)) for level, mix in enumerate(self.mix)]
        return SimpleNamespace(feature_maps=maps)

    def last(self) -> Tensor:
        """The weights of the coarsest map."""
        weights: Tensor = self.state_dict()["mix.3.weight"]
        return weights.clone()


def examples(count: int, size: int = 64) -> list[Views]:
    rng = np.random.default_rng(0)
    return [
        Views(
            rng.integers(0, 256, (2, size, size, 3)).astype(np.uint8),
            rng.random((2, size, size)) < 0.5,
            rng.uniform(-1, 1, (2, POINTS, 2)).astype(np.float32),
            rng.random(POINTS) < 0.7,
            label=index % 3,
        )
        for index in range(count)
    ]


def objective_of(encoder: nn.Module, **settings: Any) -> WarmupObjective:
    torch.manual_seed(0)
    net = WarmupNet(encoder, Maps.channels, 3, prototypes=4)
    return WarmupObjective(net, replace(CONFIG, **settings), CPU)


def test_the_objective_sums_over_levels_and_weighs_both_terms() -> None:
    batch, encoder = examples(4), Maps()
    objective = objective_of(encoder, classification_weight=0.5, clustering_weight=2.0)
    total, numbers = objective(batch, torch.Generator())

    images, masks = (torch.from_numpy(np.concatenate(field)) for field in list(zip(*batch, strict=True))[:2])
    points, visible = (torch.from_numpy(np.stack(field)) for field in list(zip(*batch, strict=True))[2:4])
    maps = encoder(normalize_images(images)).feature_maps
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0])
    classification = clustering = torch.zeros(())
    for index, (level, side, window) in enumerate([(1, 8, 5), (2, 16, 3), (3, 32, 1)]):
        inside = functional.avg_pool2d(masks[:, None].float(), side)
        logits = objective.net.classifiers[index](pooled(maps[level], inside))
        classification = classification + functional.cross_entropy(logits, labels)
        clustering = clustering + clustering_loss(
            maps[level], inside, objective.net.prototypes[index], points, visible, window=window
        )
    torch.testing.assert_close(torch.as_tensor(numbers["classification"]), classification)
    torch.testing.assert_close(torch.as_tensor(numbers["clustering"]), clustering)
    torch.testing.assert_close(total, 0.5 * classification + 2 * clustering)
    assert float(numbers["accuracy"]) == float((logits.argmax(dim=1) == labels).float().mean())


@pytest.mark.parametrize(
    ("name", "other"), [("classification", "clustering"), ("clustering", "classification")]
)
def test_a_term_without_weight_is_not_computed(name: str, other: str) -> None:
    weights = {f"{name}_weight": 1.0, f"{other}_weight": 0.0}
    objective = objective_of(Maps(), **weights)
    total, numbers = objective(examples(3), torch.Generator())
    torch.autograd.backward(total)
    assert numbers[other] == 0
    torch.testing.assert_close(total, torch.as_tensor(numbers[name]))
    learns = {
        "classification": objective.net.classifiers[0].weight,
        "clustering": objective.net.prototypes[0],
    }
    assert learns[name].grad is not None
    assert learns[other].grad is None


# ---------------------------------------------------------------------- running


def test_the_encoder_learns_at_the_full_rate_and_is_kept(inputs: Inputs, tmp_path: Path) -> None:
    crop = ObjectCrop("a.png", *SQUARE, encode(np.ones(SQUARE, np.bool_)), 0)
    crops = Crops((crop, replace(crop, file_name="b.png", label=1)), 2)
    config = replace(CONFIG, learning_rate=0.01)
    training = Run(tmp_path / "out", "warm-up", tmp_path / "out/warm", {"seed": 0})

    def warmed_up() -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        encoder = Maps()
        before = encoder.last()
        chance = torch.random.get_rng_state()
        warmup.run(encoder, Maps.channels, inputs.need("images"), crops, config, training, device=CPU)
        assert torch.equal(torch.random.get_rng_state(), chance)
        return before, encoder.last()

    before, after = warmed_up()
    # AdamW's first step is the learning rate long, along each weight.
    torch.testing.assert_close((after - before).abs().max(), torch.tensor(0.01), rtol=0.2, atol=0)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert torch.equal(warmed_up()[1], after)  # from the file
    assert files == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()
    }


@pytest.mark.slow
def test_processes_that_read_crops_change_nothing(inputs: Inputs, tmp_path: Path) -> None:
    crop = ObjectCrop("a.png", *SQUARE, encode(np.ones(SQUARE, np.bool_)), 0)
    crops = Crops((crop, replace(crop, file_name="b.png", label=1)), 2)
    learned = []
    for workers in (0, 1):
        torch.manual_seed(0)
        encoder, out = Maps(), tmp_path / f"out{workers}"
        warmup.run(
            encoder, Maps.channels, inputs.need("images"), crops, replace(CONFIG, steps=2),
            Run(out, "warm-up", out / "warm", {}), device=CPU, data_workers=workers,
        )  # fmt: skip
        learned.append((out / "warm" / "model.safetensors").read_bytes())
    assert learned[0] == learned[1]


# ---------------------------------------------------------------------- settings


def test_nothing_to_learn_is_refused() -> None:
    nothing = {"classification_weight": 0.0, "clustering_weight": 0.0}
    with pytest.raises(
        ConfigError, match=r"^pretrain\.warmup: expected classification_weight or clustering_"
    ):
        WarmupConfig(steps=1, **nothing)  # type: ignore[arg-type]
    assert WarmupConfig(steps=0, **nothing).steps == 0  # type: ignore[arg-type]
    assert WarmupConfig(steps=1, classification_weight=0.0, clustering_weight=0.1).steps == 1

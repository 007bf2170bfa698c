"""The contrastive baseline: what it learns from, what it minimises, and that it goes on and labels."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from partdistillation.baselines import contrastive
from partdistillation.baselines.contrastive import objective
from partdistillation.baselines.contrastive.labelling import object_parts, pixel_probabilities
from partdistillation.baselines.contrastive.network import MODEL, ContrastiveNet, class_folder
from partdistillation.baselines.contrastive.objective import Consistency, equivariance
from partdistillation.baselines.contrastive.samples import (
    CONTEXT,
    CONTROL_SIDE,
    ObjectPair,
    ObjectPairs,
    draw_targets,
)
from partdistillation.baselines.run import run_baseline
from partdistillation.config import ContrastiveConfig, Inputs, Recipe
from partdistillation.data.object_views import ObjectCrop
from partdistillation.errors import CheckpointError, ConfigError, InputError
from partdistillation.functional.masks import decode, encode
from partdistillation.functional.thin_plate_splines import (
    pixel_centres,
    regular_points,
    resample,
    spline_weights,
)
from partdistillation.models.encoder import Encoder
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.runs.records import Object, ObjectRow, PartRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import objects

CPU = torch.device("cpu")
SIZE = 64
TINY = {
    "image_size": SIZE,
    "num_parts": 2,
    "steps": 4,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "checkpoint_every": 2,
    "log_every": 1,
}
WEIGHTS = ("visual_weight", "equivariance_weight", "semantic_weight", "contrastive_weight")
RED, BLUE = (210, 40, 40), (40, 40, 210)


def flag(folder: Path, name: str, left: int, split: int, right: int) -> ObjectCrop:
    """An image of 48 x 96 with a flag, red from `left` and blue from `split` to `right`."""
    image = np.random.default_rng(0).integers(90, 160, (48, 96, 3)).astype(np.uint8)
    mask = np.zeros((48, 96), np.bool_)
    mask[8:40, left:right] = True
    image[8:40, left:split], image[8:40, split:right] = RED, BLUE
    Image.fromarray(image).save(folder / name)
    return ObjectCrop(name, 48, 96, encode(mask), 0)


@pytest.fixture
def flags(tmp_path: Path) -> list[ObjectCrop]:
    edges = [(10, 30, 50), (40, 52, 80), (5, 35, 60), (30, 62, 86)]
    return [flag(tmp_path, f"{place}.png", *found) for place, found in enumerate(edges)]


@pytest.fixture
def encoder(small_network: PartMask2Former, tmp_path: Path) -> Path:
    small_network.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def network_on(encoder: Path, num_parts: int = 2) -> ContrastiveNet:
    return ContrastiveNet.on_encoder(encoder, num_parts=num_parts, image_size=SIZE, seed=0)


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 100}, "a multiple of 32.*found 100"),
        ({"num_parts": 1}, "num_parts.*at least 2"),
        ({"batch_size": 1}, "batch_size.*at least 2"),
        (dict.fromkeys(WEIGHTS, 0.0), "nothing would be learned"),
    ],
)
def test_settings_that_are_refused(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ContrastiveConfig(**values)


# ---------------------------------------------------------------------- where it is kept


@pytest.mark.parametrize("name", ["parts", "../../etc", "a/b", "Car", ".", "", "x" * 300, "nul\0l", "crème"])
def test_a_class_may_have_any_name(name: str, tmp_path: Path) -> None:
    """In a folder of its own, below that of all classes; `car` and `Car` differ where case doesn't count."""
    folder = class_folder(tmp_path, name)
    assert folder.parent == tmp_path / "classes"
    folder.mkdir(parents=True)
    assert folder.resolve().parent == (tmp_path / "classes").resolve()
    assert str(folder).lower() != str(class_folder(tmp_path, "car")).lower()


# ---------------------------------------------------------------------- samples


def test_an_object_fills_its_square(flags: list[ObjectCrop], tmp_path: Path) -> None:
    """40 of 48 pixels wide, in the middle, its two colours where they are; the rest isn't of the object."""
    samples = ObjectPairs(tmp_path, flags, 48)
    found = samples.example(0, np.random.default_rng(0))
    assert CONTEXT == 1.2
    columns = np.flatnonzero(found.mask.any(axis=0))
    assert (columns[0], columns[-1]) == (4, 43)
    assert np.flatnonzero(found.mask.any(axis=1))[[0, -1]].tolist() == [8, 39]
    assert np.abs(found.image[10:38, 6:22].astype(int) - RED).max() == 0
    assert np.abs(found.image[10:38, 26:42].astype(int) - BLUE).max() == 0
    assert (found.recoloured != found.image).any()
    assert len(samples) == 4


def test_chance_decides_the_deformation_alone(flags: list[ObjectCrop], tmp_path: Path) -> None:
    samples = ObjectPairs(tmp_path, flags, SIZE)
    first, again, other = (samples.example(1, np.random.default_rng(seed)) for seed in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one, two)
    assert np.array_equal(first.image, other.image)
    assert np.array_equal(first.mask, other.mask)
    assert not np.array_equal(first.targets, other.targets)


def test_deformations_stay_near() -> None:
    """Turned by at most .3, zoomed to at most 1.25, shifted by .1 and .1 more for each point."""
    for seed in range(200):
        targets = draw_targets(np.random.default_rng(seed))
        assert targets.shape == (25, 2)
        assert np.abs(targets).max() < 1.25 * np.sqrt(2) + 0.2
        assert np.abs(targets - regular_points(5).numpy()).max() > 0.02


def test_an_image_that_has_changed_is_an_error(flags: list[ObjectCrop], tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match=r"0\.png: expected 96 x 48 pixels"):
        ObjectPairs(tmp_path, flags, SIZE).example(0, np.random.default_rng(0))


# ---------------------------------------------------------------------- the network


@pytest.mark.parametrize("backbone", ["small_network", "small_swin"])
def test_the_network_is_what_was_saved(backbone: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    request.getfixturevalue(backbone).save_pretrained(tmp_path / "encoder")
    network = network_on(tmp_path / "encoder", num_parts=3).eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    logits = network(images)
    assert logits.shape == (2, 3, 8, 12)
    network.save(tmp_path / "model", category="car")
    loaded = ContrastiveNet.load(tmp_path / "model")
    assert torch.equal(loaded(images), logits)
    assert (loaded.num_parts, loaded.image_size) == (3, SIZE)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["object_class"] == "car"


def test_the_head_follows_the_seed_and_leaves_the_generator_alone(encoder: Path) -> None:
    state = torch.get_rng_state()
    one, same = network_on(encoder), network_on(encoder)
    other = ContrastiveNet.on_encoder(encoder, num_parts=2, image_size=SIZE, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    weights = [network.state_dict()["head.0.weight"] for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_changes_no_statistics(encoder: Path) -> None:
    network = network_on(encoder).train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)))
    assert before
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())
    assert all(parameter.requires_grad for parameter in network.parameters())


class Maps(nn.Module):
    """An encoder that returns maps of given means and scales, whatever the image."""

    channels = (2, 3, 4, 5)

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.maps = [
            scale * torch.randn(1, width, 32 >> level, 32 >> level, generator=generator) + shift
            for level, width in enumerate(self.channels)
        ]

    def forward(self, _: Tensor) -> SimpleNamespace:
        return SimpleNamespace(feature_maps=self.maps)


def test_neither_mean_nor_scale_of_the_features_matters() -> None:
    """A step along a common mean would give all pixels to one part."""
    plain, other = (
        ContrastiveNet(Maps(*values), num_parts=3, image_size=SIZE, mean=(0, 0, 0), std=(1, 1, 1))
        for values in ((1.0, 0.0), (4.0, 100.0))
    )
    other.load_state_dict(plain.state_dict())
    image = torch.zeros(1, 3, 128, 128)
    torch.testing.assert_close(other(image), plain(image), atol=1e-3, rtol=0)


def test_a_damaged_network_is_an_error(encoder: Path, tmp_path: Path) -> None:
    network_on(encoder).save(tmp_path / "model", category="car")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="Delete the folder to train it again"):
        ContrastiveNet.load(tmp_path / "model")
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        ContrastiveNet.load(tmp_path / "model")


# ---------------------------------------------------------------------- equivariance


def logits_of(seed: int = 0) -> Tensor:
    return 3 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_undeformed_parts_don_t_diverge() -> None:
    grid, mask = pixel_centres(SIZE, SIZE).expand(2, -1, -1, -1), torch.ones(2, 1, SIZE, SIZE)
    assert equivariance(logits_of(), logits_of(), mask, grid).item() == pytest.approx(0, abs=1e-5)
    assert equivariance(logits_of(), logits_of(1), mask, grid).item() > 1


def test_parts_that_move_with_a_translation_don_t_diverge() -> None:
    """Two of the logits' pixels to the right, of 8: 16 of the image's 64."""
    logits = logits_of()
    moved = torch.cat([logits_of(1)[..., :2], logits[..., :-2]], dim=-1)
    grid = (pixel_centres(SIZE, SIZE) - torch.tensor([2 * 16 / SIZE, 0.0])).expand(2, -1, -1, -1)
    mask = torch.zeros(2, 1, SIZE, SIZE)
    mask[..., 5:40] = 1  # reads neither the edge nor what has come in
    assert equivariance(logits, moved, mask, grid).item() == pytest.approx(0, abs=1e-5)
    assert equivariance(logits, logits, mask, grid).item() > 1


def test_parts_that_move_with_a_spline_don_t_diverge() -> None:
    """A network that says the same of a colour wherever it is, asked about the deformed picture."""
    x, y = pixel_centres(SIZE, SIZE).unbind(dim=-1)
    colours = torch.stack([torch.sin(3 * x + y), torch.cos(2 * y - x)])[None]
    splines = spline_weights(regular_points(CONTROL_SIDE), pixel_centres(SIZE, SIZE))
    grid, other = (
        (splines @ torch.from_numpy(draw_targets(np.random.default_rng(seed))))[None] for seed in (1, 2)
    )

    def network(pictures: Tensor) -> Tensor:
        return functional.avg_pool2d(5 * pictures, 2)

    mask = (x.square() + y.square() < 0.5).float()[None, None]
    deformed = network(resample(colours, grid))
    assert equivariance(network(colours), deformed, mask, grid).item() < 1e-3
    assert equivariance(network(colours), deformed, mask, other).item() > 0.05
    # The grid says where pixels come from, not where they go.
    assert equivariance(deformed, network(colours), mask, grid).item() > 0.05


def test_pixels_from_beside_the_image_or_the_object_don_t_count() -> None:
    mask = torch.zeros(2, 1, SIZE, SIZE)
    mask[..., :8] = 1
    beside = (pixel_centres(SIZE, SIZE) - torch.tensor([3.0, 0.0])).expand(2, -1, -1, -1)
    assert equivariance(logits_of(), logits_of(1), torch.ones_like(mask), beside).item() == 0
    elsewhere = (pixel_centres(SIZE, SIZE) / 4 + 0.5).expand(2, -1, -1, -1)
    assert equivariance(logits_of(), logits_of(1), mask, elsewhere).item() == 0


# ---------------------------------------------------------------------- the objective


def examples(flags: Sequence[ObjectCrop], root: Path) -> list[ObjectPair]:
    samples = ObjectPairs(root, flags, SIZE)
    return [samples.example(index, np.random.default_rng(index)) for index in range(len(flags))]


def test_the_loss_is_the_weighted_sum_of_four(flags: list[ObjectCrop], encoder: Path, tmp_path: Path) -> None:
    frozen = Encoder.from_pretrained(encoder, levels=objective.FROZEN_LEVELS)
    network = network_on(encoder)
    config = ContrastiveConfig().updated(TINY)
    config = config.updated(dict(zip(WEIGHTS, (2.0, 3.0, 5.0, 7.0), strict=True)))
    batch, generator = examples(flags, tmp_path), torch.Generator()
    total, terms = Consistency(network, frozen, config, CPU)(batch, generator)
    assert list(terms) == ["visual", "equivariance", "semantic", "contrast"]
    weighed = zip((2.0, 3.0, 5.0, 7.0), terms.values(), strict=True)
    assert total.item() == pytest.approx(sum(weight * term.item() for weight, term in weighed), rel=1e-5)
    for name, term in zip(WEIGHTS, terms.values(), strict=True):
        alone = config.updated({other: float(other == name) for other in WEIGHTS})
        network.zero_grad()
        loss, _ = Consistency(network, frozen, alone, CPU)(batch, generator)
        assert loss.item() == pytest.approx(term.item(), rel=1e-5)
        loss.backward()  # type: ignore[no-untyped-call]
        norms = [torch.as_tensor(p.grad).norm().item() for p in network.parameters() if p.grad is not None]
        assert np.isfinite(norms).all()
        assert max(norms) > 0, name


class ByColour(ContrastiveNet):
    """A network whose parts are right: more red, or more blue."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.image_size, self.unused = SIZE, nn.Parameter(torch.zeros(1))

    def normalized(self, images: Tensor) -> Tensor:
        return images.movedim(-1, 1).float() / 255

    def forward(self, images: Tensor) -> Tensor:
        small = functional.avg_pool2d(images, 8)
        return 100 * torch.stack([small[:, 0] - small[:, 2], small[:, 2] - small[:, 0]], dim=1)


def test_true_parts_have_less_loss_than_none(
    flags: list[ObjectCrop], encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = Encoder.from_pretrained(encoder, levels=objective.FROZEN_LEVELS)
    config, batch = ContrastiveConfig().updated(TINY), examples(flags, tmp_path)
    network = ByColour()
    _, true = Consistency(network, frozen, config, CPU)(batch, torch.Generator())
    monkeypatch.setattr(ByColour, "forward", lambda _, images: torch.zeros(len(images), 2, 8, 8))
    _, none = Consistency(network, frozen, config, CPU)(batch, torch.Generator())
    assert true["visual"] < 0.25 * none["visual"]
    assert true["semantic"] < none["semantic"]
    assert true["contrast"] < none["contrast"]
    assert none["equivariance"] == 0


# ---------------------------------------------------------------------- labelling


def test_parts_are_where_the_network_says(flags: list[ObjectCrop], tmp_path: Path) -> None:
    network = ByColour()
    for place, (left, split, right) in enumerate([(10, 30, 50), (40, 52, 80)]):
        image = np.asarray(Image.open(tmp_path / f"{place}.png"))
        mask = decode(flags[place].rle, 48, 96)
        red, blue = object_parts(image, mask, network)
        assert (red.part, blue.part) == (0, 1)
        regions = [decode(part.rle, 48, 96) for part in (red, blue)]
        assert np.array_equal(regions[0] | regions[1], mask)
        assert not (regions[0] & regions[1]).any()
        assert red.area + blue.area == np.count_nonzero(mask) == 32 * (right - left)
        edge = np.flatnonzero(regions[0].any(axis=0)).max() + 1
        assert abs(edge - split) <= 3  # the logits' pixels are 6 of the image's
        assert all(0.5 < part.score <= 1 and part.probability == part.score for part in (red, blue))
        probabilities = pixel_probabilities(image, mask, network)
        assert probabilities.shape == (np.count_nonzero(mask), 2)


def test_an_object_of_one_pixel_has_one_part(encoder: Path) -> None:
    image, mask = np.full((20, 30, 3), 80, np.uint8), np.zeros((20, 30), np.bool_)
    mask[19, 29] = True
    (part,) = object_parts(image, mask, network_on(encoder).eval())
    assert part.area == 1
    assert np.array_equal(decode(part.rle, 20, 30), mask)


# ---------------------------------------------------------------------- all of it


@pytest.fixture
def settings(tiny_recipe: Recipe) -> Recipe:
    return tiny_recipe.updated({"contrastive": TINY})


def inputs_of(drawings: Path, split: str, out: Path, only: Sequence[str] = ()) -> Inputs:
    """A split of the drawings, or its objects of some classes."""
    path = drawings / f"objects_{split}.json"
    if only:
        document = json.loads(path.read_text())
        kept = {one["id"] for one in document["categories"] if one["name"] in only}
        document["annotations"] = [one for one in document["annotations"] if one["category_id"] in kept]
        path = out.parent / "some_objects.json"
        path.write_text(json.dumps(document))
    return Inputs(out=out, images=drawings / split, objects=path, device="cpu")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "journal.jsonl"
    }


@pytest.mark.slow
def test_drawings_from_masks_to_parts_of_held_out_images(
    drawings: Path, settings: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = inputs_of(drawings, "train", tmp_path / "run", only=("car", "tree"))
    folder = run_baseline("contrastive", inputs, settings)
    assert folder == tmp_path / "run" / "baselines" / "contrastive"
    found = contrastive.objects_by_class(tmp_path / "run" / "objects")
    assert list(found) == ["car", "tree"]
    for category in found:
        lines = (class_folder(folder, category) / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]
    check_parts(tmp_path / "run" / "objects", folder / "parts", set(found))

    held_out = inputs_of(drawings, "val", tmp_path / "val")
    objects.run(held_out, settings)
    out = contrastive.label(held_out, folder, tmp_path / "val" / "parts")
    check_parts(tmp_path / "val" / "objects", out, set(found))
    unknown = {one.category for row in read_rows(out, PartRow) for one in row.objects} - set(found)
    assert unknown
    assert f"objects of {len(unknown)} classes" in caplog.text
    before = contents(tmp_path / "run")
    assert run_baseline("contrastive", inputs, settings) == folder
    assert contents(tmp_path / "run") == before


def check_parts(objects_dir: Path, parts_dir: Path, known: set[str]) -> None:
    """Each object of a known class is divided into its parts; others have none."""
    for row, labelled in zip(read_rows(objects_dir, ObjectRow), read_rows(parts_dir, PartRow), strict=True):
        assert (row.image_id, row.status) == (labelled.image_id, labelled.status)
        for one, its in zip(row.objects, labelled.objects, strict=True):
            assert (one.object_id, one.category) == (its.object_id, its.category)
            assert sum(part.area for part in its.parts) == (one.area if one.category in known else 0)
            assert {part.part for part in its.parts} <= {0, 1}


def test_networks_of_other_classes_are_no_use(drawings: Path, settings: Recipe, tmp_path: Path) -> None:
    inputs = inputs_of(drawings, "val", tmp_path)
    objects.run(inputs, settings)
    with pytest.raises(InputError, match="expected networks of these objects' classes"):
        contrastive.label(inputs, tmp_path / "nothing", tmp_path / "parts")


def learn_flags(out: Path, root: Path, flags: list[ObjectCrop], recipe: Recipe) -> Path:
    if not (out / "objects").exists():
        rows = [
            ObjectRow(
                crop.file_name,
                crop.file_name,
                crop.width,
                crop.height,
                "ok",
                "",
                (Object(0, "flag", 1.0, 1, (0.0, 0.0, 1.0, 1.0), crop.rle),),
            )
            for crop in flags
        ]
        write_rows(out / "objects", rows)
    inputs = Inputs(out=out, images=root, device="cpu")
    return contrastive.learn("flag", flags, out, inputs, recipe)


def write_rows(folder: Path, rows: Sequence[ObjectRow]) -> None:
    from partdistillation.runs.engine import run_shards
    from partdistillation.runs.shards import ImageRef, Shard

    run_shards(
        folder,
        row=ObjectRow,
        shards=[Shard("all", tuple(ImageRef(row.image_id) for row in rows))],
        settings={},
        make_work=lambda: lambda _: rows,
        label="objects",
    )


def test_a_stopped_training_goes_on_exactly(
    flags: list[ObjectCrop], settings: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn_flags(tmp_path / "straight", tmp_path, flags, settings)
    original, calls = Consistency.__call__, []

    def stopped(self: Consistency, batch: Any, generator: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, batch, generator)

    monkeypatch.setattr(Consistency, "__call__", stopped)
    with pytest.raises(KeyboardInterrupt):
        learn_flags(tmp_path / "stopped", tmp_path, flags, settings)
    learn_flags(tmp_path / "stopped", tmp_path, flags, settings)
    assert len(calls) == 4 + 2  # from the checkpoint after two of four steps
    place = Path("classes") / "flag"
    assert contents(tmp_path / "stopped" / place) == contents(tmp_path / "straight" / place)


def test_flags_fall_into_their_colours(flags: list[ObjectCrop], settings: Recipe, tmp_path: Path) -> None:
    """From random weights: the loss falls, and red and blue become the two parts, also in another flag."""
    recipe = settings.updated({"contrastive": {"steps": 40, "batch_size": 4, "learning_rate": 3e-3}})
    model = learn_flags(tmp_path / "run", tmp_path, flags, recipe)
    assert model == class_folder(tmp_path / "run", "flag") / MODEL
    lines = (class_folder(tmp_path / "run", "flag") / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    other = flag(tmp_path, "other.png", 20, 44, 70)
    image, mask = np.asarray(Image.open(tmp_path / "other.png")), decode(other.rle, 48, 96)
    labels = np.zeros(mask.shape)
    labels[mask] = pixel_probabilities(image, mask, ContrastiveNet.load(model)).argmax(dim=1).numpy()
    red, blue = labels[8:40, 20:44].mean(), labels[8:40, 44:70].mean()
    assert abs(red - blue) > 0.7

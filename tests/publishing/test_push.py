"""A part model to the hub and back: the upload is a fake's, the cache is laid out as the hub's own."""

import inspect
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor, pipeline

from partdistillation.commands import main as cli
from partdistillation.config import Inputs
from partdistillation.errors import CheckpointError, ConfigError, InputError
from partdistillation.functional.masks import box, encode
from partdistillation.inference import PartSegmenter, predict
from partdistillation.models.heads import ClassHead, PartHead
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import on_canvas
from partdistillation.publishing.push import Publication, push, write_publication
from partdistillation.recipes import SMALL
from partdistillation.runs.part_table import ClassParts, PartTable, write_part_table
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow
from partdistillation.runs.run_folder import save_settings

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
LOOSE: dict[str, Any] = {"min_ratio": 0.0, "min_score": 0.0, "min_object_score": 0.0}
TABLE = PartTable(
    {
        "car": ClassParts({0: "wheel | rim", 1: "door"}, {2: 1}),
        "cat": ClassParts({0: "ear", 1: "paw", 2: "tail"}),
    }
)
Publish = Callable[[Path, str], str]
WriteStage = Callable[[Path, Sequence[Any]], Path]


@pytest.fixture
def model(small_network: PartMask2Former, tmp_path: Path) -> Path:
    """A part model of cars and cats with all that a folder can hold, in no run."""
    network = small_network.with_head(["car", "cat"], num_parts=3, seed=1)
    assert isinstance(network.class_predictor, PartHead)
    assert isinstance(small_network.class_predictor, ClassHead)
    with torch.no_grad():
        network.class_predictor.rows.mul_(8)
        small_network.class_predictor.weight.mul_(20)
    folder = tmp_path / "out/part_model"
    network.save_pretrained(folder)
    small_network.save_pretrained(folder / "objects_model")
    write_part_table(folder / "part_table.json", TABLE)
    (folder / "training.json").write_text(json.dumps({"initial": str(tmp_path)}))
    (folder / "notes.json").write_text('{"password": "secret"}')
    return folder


@pytest.fixture
def run(model: Path, write_stage: WriteStage) -> Path:
    """The same model in a run of four photographs."""
    out, whole, wheel = model.parent, np.ones((40, 40), bool), np.zeros((40, 40), bool)
    wheel[:8] = True
    (out / "my photos").mkdir()
    rows = []
    for number in range(4):
        name = f"{number}.png"
        Image.new("RGB", (40, 40), (90, 120, 150)).save(out / "my photos" / name)
        instance = Object(0, "car", 0.9, 1600, box(whole), encode(whole))
        parts = tuple(Part(part, 0.9, 0.8, 320, encode(wheel)) for part in (0, 2))
        row = ObjectRow(name, name, 40, 40, "ok", "", (instance,))
        rows.append((row, row.to(PartRow, [ObjectParts(0, "car", parts)])))
    write_stage(out / "objects", [row for row, _ in rows])
    write_stage(out / "parts", [row for _, row in rows])
    encoder = "facebook/mask2former-swin-large-coco-instance"
    save_settings(
        Inputs(out=out, images=out / "my photos"),
        SMALL.updated({"encoder": encoder, "objects": {"source": "salient"}}),
    )
    return out


class Hub:
    """Takes what HfApi's methods take, checked by their signatures, and publishes it in a cache."""

    def __init__(self, publish: Publish, public: tuple[str, ...] = ()) -> None:
        self.publish, self.public = publish, public
        self.files: list[str] = []
        self.commit = ""
        self.private = False

    def create_repo(self, *args: Any, **options: Any) -> None:
        asked = inspect.signature(HfApi.create_repo).bind(self, *args, **options).arguments
        self.private = asked["private"] and asked["repo_id"] not in self.public

    def model_info(self, *args: Any, **options: Any) -> SimpleNamespace:
        inspect.signature(HfApi.model_info).bind(self, *args, **options)
        return SimpleNamespace(private=self.private)

    def upload_folder(self, **options: Any) -> SimpleNamespace:
        asked = inspect.signature(HfApi.upload_folder).bind(self, **options).arguments
        folder = Path(asked["folder_path"])
        self.files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        self.commit = self.publish(folder, asked["repo_id"])
        return SimpleNamespace(commit_url=f"https://hub/{asked['repo_id']}/commit/{self.commit}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, published: Publish) -> Hub:
    fake = Hub(published)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    return fake


def test_there_and_back(model: Path, hub: Hub, tmp_path: Path) -> None:
    url = push(Publication(model, "me/parts", "mit"))
    assert url == f"https://hub/me/parts/commit/{hub.commit}"
    assert hub.files == [
        "README.md",
        "config.json",
        "model.safetensors",
        "objects_model/config.json",
        "objects_model/model.safetensors",
        "objects_model/preprocessor_config.json",
        "objects_model/sha256.json",
        "part_table.json",
        "preprocessor_config.json",
        "sha256.json",
    ]
    here = PartSegmenter.from_pretrained(model)
    expected = here(IMAGE, **LOOSE)
    assert expected.objects
    names = {part.name for instance in expected.objects for part in instance.parts}
    assert names
    assert names <= {"wheel | rim", "door", "ear", "paw", "tail"}
    for revision in (None, "main", hub.commit):
        there = PartSegmenter.from_pretrained("me/parts", revision=revision)
        assert there.part_table == TABLE
        assert there(IMAGE, **LOOSE).to_json() == expected.to_json()
    assert "secret" not in "".join(path.read_text() for path in (tmp_path / "hub").rglob("*.json"))


def test_a_later_push_is_another_revision(model: Path, hub: Hub) -> None:
    push(Publication(model, "me/parts", "mit"))
    first = hub.commit
    (model / "part_table.json").unlink()
    push(Publication(model, "me/parts", "mit"))
    assert PartSegmenter.from_pretrained("me/parts").part_table == PartTable()
    assert PartSegmenter.from_pretrained("me/parts", revision=first).part_table == TABLE
    assert PartSegmenter.from_pretrained(f"me/parts@{first}").part_table == TABLE


def test_photographs_by_a_published_model(model: Path, hub: Hub, tmp_path: Path) -> None:
    push(Publication(model, "me/parts", "mit"))
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    for name, out in ((str(model), "local"), ("me/parts", "hub")):
        predict(name, tmp_path / "a.png", out=tmp_path / out, min_score=0.0, min_object_score=0.0)
    local, pulled = (
        json.loads((tmp_path / out / "predictions.json").read_text()) for out in ("local", "hub")
    )
    assert local["annotations"] == pulled["annotations"] != []
    upstream = json.loads((tmp_path / "hub/predictions/manifest.json").read_text())["upstream"]
    assert hub.commit in upstream


def test_what_the_cache_lacks_is_noticed(model: Path, hub: Hub, tmp_path: Path) -> None:
    push(Publication(model, "me/parts", "mit"))
    snapshot = tmp_path / "hub/models--me--parts/snapshots" / hub.commit
    (snapshot / "objects_model/model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"objects_model/model\.safetensors is missing"):
        PartSegmenter.from_pretrained("me/parts")


def test_the_card_is_written_from_the_run(run: Path, hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "dry"
    names = write_publication(Publication(run / "part_model", "me/parts", "cc-by-nc-4.0", examples=True), out)
    assert hub.files == []
    assert "examples/car.webp" in names
    with Image.open(out / "examples/car.webp") as picture:
        assert picture.width > 400
    text = (out / "README.md").read_text()
    assert str(tmp_path) not in text
    data: Any = ModelCard(text).data
    assert data.license == "cc-by-nc-4.0"
    assert data.base_model == ["facebook/mask2former-swin-large-coco-instance"]
    assert data.pipeline_tag == "image-segmentation"
    assert "CC BY-NC 4.0" in text
    assert "| what finds the objects | u2netp | Apache-2.0 |" in text
    assert "4 photographs (my photos)" in text
    assert "| car | wheel \\| rim, door |" in text
    assert 'PartSegmenter.from_pretrained("me/parts")' in text
    assert "![Parts of car](examples/car.webp)" in text


def test_no_path_of_this_machine_is_published(run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "part_model/config.json").read_text())
    config["backbone_config"]["_name_or_path"] = str(tmp_path / "backbone")
    (run / "part_model/config.json").write_text(json.dumps(config))
    (run / "part_model/sha256.json").unlink()
    write_publication(Publication(run / "part_model", "me/parts", "mit"), tmp_path / "dry")
    for path in (tmp_path / "dry").rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()
    PartSegmenter.from_pretrained(tmp_path / "dry")


def test_private_stays_private(model: Path, hub: Hub) -> None:
    push(Publication(model, "me/parts", "mit"), private=True)
    assert hub.private
    hub.public, hub.files = ("me/open",), []
    with pytest.raises(ConfigError, match="there already and public: nothing was uploaded"):
        push(Publication(model, "me/open", "mit"), private=True)
    assert hub.files == []


def test_an_upload_that_fails(model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError("401 Unauthorized.\nmore")

    monkeypatch.setattr(hub, "upload_folder", refuse)
    with pytest.raises(CheckpointError, match=r"it said: 401 Unauthorized\. Nothing of it was published"):
        push(Publication(model, "me/parts", "mit"))


@pytest.mark.parametrize("repo", ["parts", "a/b/c", "me/my parts", "me/-x", "me/a--b", "me/"])
def test_names_that_the_hub_does_not_allow(repo: str, model: Path) -> None:
    with pytest.raises(ConfigError, match="expected owner/name as the hub allows it"):
        Publication(model, repo, "mit")


def test_what_is_no_finished_part_model(run: Path, small_network: PartMask2Former, tmp_path: Path) -> None:
    def refused(model: Path, match: str) -> None:
        with pytest.raises((CheckpointError, InputError), match=match):
            write_publication(Publication(model, "me/parts", "mit"), tmp_path / "dry")
        assert not (tmp_path / "dry").exists()
        assert not list(tmp_path.glob(".dry*"))

    small_network.save_pretrained(tmp_path / "stage0")
    refused(tmp_path / "stage0", "found a model of 3 classes without parts")
    refused(tmp_path / "gone/part_model", "found none; check the path")
    refused(run / "other", "its run isn't finished: run the same command again")
    refused(run, r"There are models in it: part_model")
    weights = {"class_predictor.bias": torch.full((7,), torch.nan)}
    save_file(weights, run / "part_model/model.safetensors")
    refused(run / "part_model", r"the weights aren't those of its config\.json")
    with pytest.raises(ConfigError, match="--license: expected an identifier"):
        Publication(run, "me/parts", "My Licence")


def test_nothing_is_written_over(model: Path, tmp_path: Path) -> None:
    (tmp_path / "dry").mkdir()
    publication = Publication(model, "me/parts", "mit")
    write_publication(publication, tmp_path / "dry")  # an empty folder is as good as none
    with pytest.raises(InputError, match="expected a folder to write to that isn't there yet"):
        write_publication(publication, tmp_path / "dry")
    with pytest.raises(InputError, match="found no run there: leave --examples out"):
        write_publication(Publication(model, "me/parts", "mit", examples=True), tmp_path / "other")


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["push", str(run / "part_model"), "me/parts"]
    assert cli.main(args) == 2
    assert "expected --license" in capsys.readouterr().err
    assert cli.main([*args, "--license", "mit", "--dry-run", "--out", str(tmp_path / "dry")]) == 0
    said = capsys.readouterr().out
    assert "  objects_model/model.safetensors" in said
    assert f"10 files in {tmp_path / 'dry'}; nothing was uploaded" in " ".join(said.split())
    assert cli.main([*args, "--license", "mit"]) == 2  # the tests have no hub
    assert "me/parts: expected that the hub takes the model; it said:" in capsys.readouterr().err


# ---------------------------------------------------------------------- transformers


def test_images_are_prepared_by_transformers_as_here(model: Path) -> None:
    network = PartMask2Former.from_pretrained(model)
    processor = AutoImageProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
    side = network.info.image_size
    square = np.array(Image.fromarray(IMAGE).resize((2 * side, 2 * side)))
    expected, _ = on_canvas(network, square, side)
    assert torch.equal(processor(Image.fromarray(square), return_tensors="pt")["pixel_values"], expected)
    # What isn't a multiple of 32 is padded here, and stretched there.
    expected, _ = on_canvas(network, IMAGE, side)
    assert processor(Image.fromarray(IMAGE), return_tensors="pt")["pixel_values"].shape == expected.shape


def test_the_pipeline_of_transformers_takes_the_folder(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    segment = pipeline("image-segmentation", model=str(model))
    pieces = segment(Image.fromarray(IMAGE), subtask="instance", threshold=0.0)
    assert pieces
    assert {piece["label"] for piece in pieces} <= {
        f"{name}/{part}" for name in ("car", "cat") for part in range(3)
    }
    assert all(piece["mask"].size == (48, 64) for piece in pieces)

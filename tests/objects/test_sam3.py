"""SAM 3 on a tiny random network, against transformers' own forward pass and post-processing."""

import ast
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer, Sam3Config, Sam3Model, Sam3VideoConfig, Sam3VideoModel
from transformers.models.sam3.modeling_sam3 import Sam3ImageSegmentationOutput, Sam3VisionEncoderOutput
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from partdistillation.errors import CheckpointError
from partdistillation.functional.masks import decode
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.objects import ObjectSegmenter
from partdistillation.objects.sam3 import Sam3Objects, find_masks
from partdistillation.runs.records import Object

SIZE, GRID, TOKENS = 56, 16, 14
NAMES = ["cat", "wooden crane", "a"]


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


PHOTOS = [photo(40, 61), photo(77, 33)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    """Letters, and "cat" merged: as much as tells names apart."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "ca", "cat</w>"]
    vocabulary = {word: row for row, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    path = tmp_path_factory.mktemp("tokenizer")
    write(path / "vocab.json", vocabulary)
    (path / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n", encoding="utf-8")
    loaded: CLIPTokenizer = CLIPTokenizer.from_pretrained(path)
    return loaded


@pytest.fixture(scope="module")
def config(tokenizer: CLIPTokenizer) -> Sam3Config:
    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "num_hidden_layers": 2,
            "image_size": SIZE,
            "patch_size": 14,
            "window_size": 2,
            "global_attn_indexes": [1],
            "pretrain_image_size": 28,
            **small,
        },
        "fpn_hidden_size": 16,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    text = {
        "model_type": "clip_text_model",
        "vocab_size": len(tokenizer),
        "projection_dim": 16,
        "num_hidden_layers": 1,
        "max_position_embeddings": TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **small,
    }
    return Sam3Config(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config={"num_layers": 1, **small},
        detr_encoder_config={"num_layers": 1, **small},
        detr_decoder_config={"num_layers": 2, "num_queries": 8, **small},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )


@pytest.fixture(scope="module")
def directory(config: Sam3Config, tokenizer: CLIPTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory as published: weights, configuration, tokenizer, image settings."""
    path = tmp_path_factory.mktemp("sam3")
    torch.manual_seed(1)
    network = Sam3Model(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:  # so that scores and masks differ
                parameter.normal_(std=0.35)
    network.save_pretrained(path)
    tokenizer.save_pretrained(path)
    write_image_settings(path, SIZE)
    return path


@pytest.fixture(scope="module")
def find(directory: Path) -> Sam3Objects:
    return Sam3Objects.from_pretrained(directory, min_score=0.0, device="cpu")


def write_image_settings(path: Path, size: int) -> None:
    settings = {"size": {"height": size, "width": size}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (path / "processor_config.json").write_text(json.dumps({"image_processor": settings}), encoding="utf-8")


def transformers_post_processing() -> Callable[..., list[dict[str, torch.Tensor]]]:
    """`post_process_instance_segmentation`, without the import of torchvision at the head of its module."""
    spec = importlib.util.find_spec("transformers.models.sam3.image_processing_sam3")
    assert spec is not None
    path = str(spec.origin)
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    wanted: list[ast.stmt] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name in ("post_process_instance_segmentation", "_scale_boxes")
    ]
    scope: dict[str, Any] = {"torch": torch}
    exec(compile(ast.Module(wanted, []), path, "exec"), scope)
    function = scope["post_process_instance_segmentation"]
    return lambda *args, **kwargs: function(None, *args, **kwargs)


def judged(directory: Path, image: np.ndarray, name: str, threshold: float) -> dict[float, np.ndarray]:
    """Masks by score, all by transformers: preprocessing, tokens, one forward pass, post-processing."""
    network = Sam3Model.from_pretrained(directory)
    text = CLIPTokenizer.from_pretrained(directory)(
        [name], return_tensors="pt", padding="max_length", max_length=TOKENS
    )
    half = (0.5, 0.5, 0.5)
    prepare = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}, image_mean=half, image_std=half)
    pixels = prepare(images=image, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    with torch.no_grad():
        output = network(pixel_values=pixels.float(), **text)
    [result] = transformers_post_processing()(output, threshold=threshold, target_sizes=[image.shape[:2]])
    return {
        round(float(score), 5): mask.numpy().astype(bool)
        for score, mask in zip(result["scores"], result["masks"], strict=True)
        if mask.any()
    }


def masks_of(objects: list[Object], image: np.ndarray) -> dict[float, np.ndarray]:
    return {round(one.score, 5): decode(one.rle, *image.shape[:2]) for one in objects}


def test_objects_are_those_of_transformers(directory: Path, find: Sam3Objects) -> None:
    segmenter: ObjectSegmenter = find
    assert segmenter.vocabulary is None
    everything = segmenter(PHOTOS, NAMES)
    assert len(everything) == len(PHOTOS)
    for image, objects in zip(PHOTOS, everything, strict=True):
        assert [name for name in NAMES if any(one.category == name for one in objects)] == NAMES
        for name in NAMES:
            found = masks_of([one for one in objects if one.category == name], image)
            expected = judged(directory, image, name, threshold=0.0)
            assert found.keys() == expected.keys()
            assert len(found) > 1
            for score, mask in expected.items():
                assert (found[score] != mask).mean() < 0.002, "rounding at a border, at most"
    assert {one.object_id for objects in everything for one in objects} == {0}


def test_names_are_told_apart(find: Sam3Objects) -> None:
    [objects] = find(PHOTOS[:1], ["cat", "crane"])
    scores = {name: {one.score for one in objects if one.category == name} for name in ("cat", "crane")}
    assert not scores["cat"] & scores["crane"]


def test_low_scores_are_left_out(directory: Path, find: Sam3Objects) -> None:
    [objects] = find(PHOTOS[:1], NAMES)
    scores = sorted((one.score for one in objects), reverse=True)
    limit = (scores[1] + scores[2]) / 2
    strict = Sam3Objects.from_pretrained(str(directory), min_score=limit, device="cpu")
    [kept] = strict(PHOTOS[:1], NAMES)
    assert sorted((one.score for one in kept), reverse=True) == scores[:2]


def test_an_image_has_the_same_objects_in_any_batch(find: Sam3Objects) -> None:
    one, other = PHOTOS
    assert find([one, other, one], NAMES) == [*find([one], NAMES), *find([other], NAMES), *find([one], NAMES)]
    assert find([], NAMES) == []
    assert find(PHOTOS, []) == [[], []]


def test_an_image_and_a_name_are_encoded_once(find: Sam3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"vision_encoder": 0, "text_encoder": 0}
    hooks = []
    for part in calls:

        def count(*_: object, part: str = part) -> None:
            calls[part] += 1

        hooks.append(getattr(find.network, part).register_forward_hook(count))
    find(PHOTOS, NAMES)
    for hook in hooks:
        hook.remove()
    assert calls == {"vision_encoder": len(PHOTOS), "text_encoder": len(NAMES)}


def test_a_long_name_is_cut_and_said_to_be(find: Sam3Objects, caplog: pytest.LogCaptureFixture) -> None:
    """After twelve letters, here, as the first and the last token are marks."""
    names = ["elephants and dogs", "elephants and cranes", "elephants an cranes"]
    for _ in range(2):
        [objects] = find(PHOTOS[:1], names)
    assert [record.getMessage() for record in caplog.records] == [
        f"1 names are cut to the {TOKENS} tokens that the model reads, such as {name!r}" for name in names
    ]
    dogs, cranes, other = ([one.score for one in objects if one.category == name] for name in names)
    assert dogs == cranes != other


class SeesRed(Sam3Model):  # type: ignore[no-untyped-call]
    """Instead of a network: the mask's grid is where the prepared image is red."""

    def get_vision_features(self, pixel_values: torch.Tensor, **_: Any) -> Sam3VisionEncoderOutput:
        return Sam3VisionEncoderOutput(fpn_hidden_states=(pixel_values,))

    def forward(self, vision_embeds: Any, **_: Any) -> Any:
        red, green, _blue = vision_embeds.fpn_hidden_states[0].unbind(1)
        grid = torch.nn.functional.adaptive_avg_pool2d(red - green, GRID)
        return Sam3ImageSegmentationOutput(
            pred_logits=torch.tensor([[2.0]]),
            presence_logits=torch.tensor([[1.0]]),
            pred_masks=(grid - 1)[None] * 20,
        )


@pytest.fixture(scope="module")
def red(config: Sam3Config, find: Sam3Objects) -> Sam3Objects:
    return Sam3Objects(SeesRed(config), find.tokenizer, find.prepare, min_score=0.5)


@settings(max_examples=20, deadline=None)
@given(st.integers(32, 130), st.integers(32, 130))
def test_geometry(red: Sam3Objects, height: int, width: int) -> None:
    """A red box on white, at any size: found where it was drawn, to a cell of the grid."""
    top, left, bottom, right = height // 4, width // 3, height * 3 // 4, width * 7 // 8
    drawn = np.zeros((height, width), bool)
    drawn[top:bottom, left:right] = True
    image = np.full((height, width, 3), 255, np.uint8)
    image[drawn] = (255, 0, 0)
    [[found]] = red([image], ["box"])
    mask = decode(found.rle, height, width)
    assert (mask & drawn).sum() / (mask | drawn).sum() > 0.85
    x, y = width / GRID / 2 + 1, height / GRID / 2 + 1
    assert np.abs(np.subtract(found.box, (left, top, right, bottom))).tolist() <= [x, y, x, y]
    assert found.score == pytest.approx(1 / (1 + np.exp(-2)) / (1 + np.exp(-1)))


def test_masks_by_hand() -> None:
    """Half a grid is half an image; row y looks at 4/7 (y + 1/2) - 1/2 of the grid: over 1/2 from y = 2."""
    logits = torch.full((3, 4, 4), -200.0)
    logits[0, :, :2] = 200
    logits[1, 1:, :] = 200
    scores = torch.tensor([0.5, 0.3, 0.9])
    left, low = find_masks(scores, logits, 7, 10, min_score=0.3)
    assert (left.score, low.score) == pytest.approx((0.5, 0.3)), "an empty mask is no object"
    assert left.mask.any(axis=0).tolist() == left.mask.all(axis=0).tolist() == [True] * 5 + [False] * 5
    assert low.mask.any(axis=1).tolist() == low.mask.all(axis=1).tolist() == [False] * 2 + [True] * 5
    assert [one.score for one in find_masks(scores, logits, 7, 10, min_score=0.4)] == [0.5]
    assert not list(find_masks(scores, logits, 7, 10, min_score=0.91))


def test_published_layout(directory: Path, config: Sam3Config, find: Sam3Objects, tmp_path: Path) -> None:
    """'facebook/sam3' holds the detector beside the tracker of videos, under names of its own."""
    tracker = {
        "vision_config": config.to_dict()["vision_config"],
        "image_size": SIZE,
        "prompt_encoder_config": {"hidden_size": 16, "image_size": SIZE},
        "mask_decoder_config": {
            "hidden_size": 16,
            "mlp_dim": 16,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
        "memory_attention_hidden_size": 16,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 16,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": 16,
        "memory_encoder_output_channels": 16,
        "mask_downsampler_embed_dim": 16,
        "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": 16,
        "memory_fuser_intermediate_dim": 16,
    }
    whole = Sam3VideoModel(Sam3VideoConfig(detector_config=config.to_dict(), tracker_config=tracker))
    whole.detector_model.load_state_dict(find.network.state_dict())
    whole.save_pretrained(tmp_path)
    find.tokenizer.save_pretrained(tmp_path)
    published = Sam3Objects.from_pretrained(tmp_path, min_score=0.0, device="cpu")
    assert published(PHOTOS, NAMES) == find(PHOTOS, NAMES), "also without image settings: the defaults"


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a model directory or a published model's name"):
        load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"expected config\.json, found nothing"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="nobody/sam3: expected a model directory or the name"):
        load("nobody/sam3")


def test_another_model(small_network: PartMask2Former, tmp_path: Path) -> None:
    small_network.save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"expected a SAM 3 model .* config\.json says 'mask2former'"):
        load(tmp_path / "other")


def test_weights_of_another_size(directory: Path, tmp_path: Path) -> None:
    values = copy_with(directory, tmp_path, "config.json")
    values["detr_decoder_config"]["num_queries"] = 9
    write(tmp_path / "config.json", values)
    with pytest.raises(CheckpointError, match=r"query_embed.weight has shape \(8, 16\), expected \(9, 16\)"):
        load(tmp_path)
    values["mask_decoder_config"]["num_upsampling_stages"] = 4
    write(tmp_path / "config.json", values)
    with pytest.raises(CheckpointError, match=r"missing mask_decoder.pixel_decoder.conv_layers.3"):
        load(tmp_path)
    write(tmp_path / "config.json", {**values, "detr_decoder_config": {"num_layers": "two"}})
    with pytest.raises(CheckpointError, match=r"config.json can't be used"):
        load(tmp_path)
    write(tmp_path / "config.json", {**values, "text_config": {"model_type": "bert"}})
    with pytest.raises(CheckpointError, match=r"expected a CLIP text encoder, config\.json says 'bert'"):
        load(tmp_path)


def test_damaged_weights(directory: Path, tmp_path: Path) -> None:
    copy_with(directory, tmp_path, "config.json")
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="the weights can't be read"):
        load(tmp_path)


def test_without_a_tokenizer(directory: Path, tmp_path: Path) -> None:
    copy_with(directory, tmp_path, "config.json")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="expected a tokenizer of 56 tokens beside the model"):
        load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="the tokenizer can't be loaded"):
        load(tmp_path)


def test_image_settings_that_contradict_the_network(directory: Path, tmp_path: Path) -> None:
    copy_with(directory, tmp_path, "config.json")
    write_image_settings(tmp_path, SIZE + 14)
    with pytest.raises(
        CheckpointError, match=r"expected images of 56 x 56 as config\.json says, found Exact"
    ):
        load(tmp_path)


def load(source: str | Path) -> Sam3Objects:
    return Sam3Objects.from_pretrained(source, min_score=0.0, device="cpu")


def copy_with(directory: Path, target: Path, name: str) -> dict[str, Any]:
    """Copy the model directory, and read one of its JSON files."""
    shutil.copytree(directory, target, dirs_exist_ok=True)
    values: dict[str, Any] = json.loads((target / name).read_text(encoding="utf-8"))
    return values


def write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")

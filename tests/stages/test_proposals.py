"""Stage 3: which segments are learned, and from which network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partdistillation.config import Inputs, ProposalsConfig, Recipe
from partdistillation.data.examples import LabelledMask
from partdistillation.errors import SettingsChanged
from partdistillation.functional.masks import encode
from partdistillation.models.backbones import load_backbone
from partdistillation.models.efficientnet_lite import EfficientNetLiteBackbone, EfficientNetLiteConfig
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.runs.records import Object, ObjectRow, ObjectSegments, Segment, SegmentRow, Status
from partdistillation.stages import objects, proposals, segments


def box_of(height: int, width: int) -> bytes:
    mask = np.zeros((20, 50), np.bool_)
    mask[:height, :width] = True
    return encode(mask)


def an_object(object_id: int, area: int) -> Object:
    return Object(object_id, "cat", 1.0, area, (0.0, 0.0, 1.0, 1.0), b"")


def test_small_segments_and_those_of_small_objects_are_left_out(
    tmp_path: Path, write_stage: Callable[[Path, Any], Path]
) -> None:
    header: tuple[str, str, int, int, Status, str] = ("1", "a.png", 50, 20, "ok", "")
    objects_dir = write_stage(
        tmp_path / "objects",
        [
            ObjectRow(*header, (an_object(0, 200), an_object(1, 49))),  # 1000 pixels: the second is under .05
            ObjectRow("2", "b.png", 0, 0, "rejected", "broken", ()),
            ObjectRow("3", "c.png", 50, 20, "ok", "", (an_object(0, 40),)),
        ],
    )
    large, edge, small = (Segment(area, box_of(1, area)) for area in (30, 10, 9))
    segments_dir = write_stage(
        tmp_path / "segments",
        [
            SegmentRow(*header, (ObjectSegments(0, (large, edge, small)), ObjectSegments(1, (large,)))),
            SegmentRow("2", "b.png", 0, 0, "rejected", "broken", ()),
            SegmentRow("3", "c.png", 50, 20, "ok", "", (ObjectSegments(0, (large,)),)),
        ],
    )
    (image,) = proposals.segment_images(objects_dir, [segments_dir], ProposalsConfig())
    assert (image.file_name, image.height, image.width) == ("a.png", 20, 50)
    assert image.masks == (LabelledMask(large.rle, 0), LabelledMask(edge.rle, 0))
    everything = replace(ProposalsConfig(), min_object_area=0.0, min_mask_area=0.0)
    images = proposals.segment_images(objects_dir, [segments_dir], everything)
    assert [len(image.masks) for image in images] == [4, 1]
    twice = proposals.segment_images(objects_dir, [segments_dir, segments_dir], everything)
    assert [mask.rle for mask in twice[0].masks] == [
        *(segment.rle for segment in (large, edge, small, large, edge, small)),
        *(large.rle, large.rle),
    ]


def test_the_model_starts_from_stage_0_with_one_class(tiny_recipe: Recipe, small_network: Any) -> None:
    model = proposals.proposal_model(tiny_recipe, tiny_recipe.proposals)
    assert model.info.class_names == ("part",)
    assert model.class_predictor.state_dict() != {}
    for name, weight in small_network.model.state_dict().items():
        assert torch.equal(model.model.state_dict()[name], weight), name
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert any("pixel_level_module.encoder" in name for name in frozen)
    assert not any("transformer_module" in name or "class_predictor" in name for name in frozen)


def test_classes_that_predict_will_not_find_are_said_before_training(
    tiny_recipe: Recipe,
    tmp_path: Path,
    write_stage: Callable[[Path, Any], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The encoder of tests knows car, cat and tree."""
    header: tuple[str, str, int, int, Status, str] = ("1", "a.png", 50, 20, "ok", "")
    known, unknown = an_object(0, 200), replace(an_object(1, 200), category="Person")
    proposals.say_unknown_classes(
        write_stage(tmp_path / "known", [ObjectRow(*header, (known,))]), tiny_recipe.encoder
    )
    assert not caplog.messages
    proposals.say_unknown_classes(
        write_stage(tmp_path / "both", [ObjectRow(*header, (known, unknown))]), tiny_recipe.encoder
    )
    (message,) = caplog.messages
    assert (
        "1 of 2 object classes, such as 'Person' (it knows car, cat, tree): `partdistill predict`" in message
    )
    assert "--objects-model" in message


def test_a_network_is_built_around_a_plain_backbone(
    tiny_recipe: Recipe, drawings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    EfficientNetLiteBackbone(EfficientNetLiteConfig()).save_pretrained(tmp_path / "lite")
    small = {"hidden_dim": 32, "decoder_layers": 1, "pixel_decoder_layers": 1, "num_queries": 4}
    recipe = tiny_recipe.updated({"encoder": str(tmp_path / "lite"), "pretrain": small})
    inputs = Inputs(
        out=tmp_path, images=drawings / "train", objects=drawings / "objects_train.json", device="cpu"
    )
    objects.run(inputs, recipe)
    segments.run(inputs, recipe)
    model = PartMask2Former.from_pretrained(proposals.run(inputs, recipe))
    assert model.model.config.num_queries == 4
    assert model.info.frozen_norms
    assert "lite finds no objects: `partdistill predict` and PartSegmenter will need them" in caplog.text
    backbone = load_backbone(str(tmp_path / "lite")).state_dict()  # `official` freezes it
    trained = model.model.pixel_level_module.encoder.state_dict()
    assert all(torch.equal(trained[name], value) for name, value in backbone.items())
    wider = recipe.updated({"pretrain": {"hidden_dim": 64}})
    with pytest.raises(SettingsChanged, match="hidden_dim"):
        proposals.run(inputs, wider)

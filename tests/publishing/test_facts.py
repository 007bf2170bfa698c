"""What a card says: licences that are known, scores of this very model."""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from partdistillation.errors import InputError
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo
from partdistillation.publishing.card import Card
from partdistillation.publishing.facts import ZOO, Facts, Measured, base, read_facts
from partdistillation.runs.stage_reader import contents_hash


@pytest.mark.parametrize(
    ("name", "called", "license_start", "published"),
    [
        ("facebook/mask2former-swin-large-coco-instance", None, "CC BY-NC 4.0", True),
        ("facebook/mask2former-swin-tiny-coco-instance@v1", None, "CC BY-NC 4.0", True),
        ("package:efficientnet-lite0", None, "Apache-2.0", False),
        ("builtin:part-shapes", None, "MIT", False),
        ("somebody/backbone", None, "not known here: look it up", True),
        ("/home/me/secret/stage0", "a local folder, stage0", "not known here", False),
        ("../stage0", "a local folder, stage0", "not known here", False),
    ],
)
def test_base_models(name: str, called: str | None, license_start: str, published: bool) -> None:
    model = base(name, "encoder")
    assert model.name == (called or name.partition("@")[0])
    assert model.license.startswith(license_start)
    assert model.published is published


def evaluation(model: str) -> dict[str, Any]:
    scores = {
        "protocol": "strict",
        "images": 25,
        "c_miou": 0.25,
        "a_miou": 0.5,
        "part_ap": None,
        "part_ap50": 0,
    }
    return {
        "provenance": {"truth": "ab" * 32, "made_from": {"model": model}},
        "rows": [
            {"name": "parts: clustered", "protocols": [scores | {"c_miou": 0.9}]},
            {"name": "parts: mapped", "protocols": [scores]},
        ],
    }


def test_scores_are_those_of_the_model(small_network: PartMask2Former, tmp_path: Path) -> None:
    model = tmp_path / "part_model"
    small_network.with_head(["car"], num_parts=2, seed=0).save_pretrained(model)
    file = tmp_path / "evaluation/evaluation.json"
    file.parent.mkdir()
    file.write_text(json.dumps(evaluation(contents_hash(model))))
    (measured,) = read_facts(model, None, [file.parent]).measured
    assert (measured.protocol, measured.images) == ("strict", 25)
    assert measured.scores == {"C-mIoU": 0.25, "A-mIoU": 0.5, "named parts' AP50": 0.0}
    for content in (json.dumps(evaluation("another")), "[", "[" * 100_000, "{}", '{"provenance": []}'):
        file.write_text(content)
        with pytest.raises(InputError, match=r"expected the evaluation\.json that `partdistill evaluate"):
            read_facts(model, None, [file])
    with pytest.raises(InputError, match="found none; check the path"):
        read_facts(model, None, [tmp_path / "gone.json"])


def test_a_card_that_the_hub_can_read() -> None:
    facts = Facts(
        (base("facebook/mask2former-swin-large-coco-instance", "encoder"),),
        measured=(Measured("strict", "true parts", 25, {"C-mIoU": 0.25}),),
    )
    hostile = "<b>|\n---\nx: [y](z)"
    text = Card("me/parts", "mit", ModelInfo((hostile,), 2), {hostile: ["a", None]}, facts, False, {}).text()
    card = ModelCard(text)
    data: Any = card.data
    assert data.license == "mit"
    (result,) = data.eval_results
    assert (result.metric_name, result.metric_value) == ("C-mIoU (strict)", 0.25)
    assert data.model_name == "parts"
    assert f"| encoder | facebook/mask2former-swin-large-coco-instance | {ZOO} |" in text
    assert "can't allow more than that" in text
    assert "<b>" not in text.partition("```")[0]
    assert "It finds no objects: their masks and classes must be given." in text
    body = text.split("---\n", 2)[2]
    assert "\n---\nx:" not in body

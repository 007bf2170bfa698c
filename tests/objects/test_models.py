"""Which models the settings mean, and what they are loaded with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from partdistillation.config import ObjectsConfig
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.objects.detic.segmenter import DeticObjects
from partdistillation.objects.grounded_sam import GroundedSamObjects
from partdistillation.objects.mask2former import Mask2FormerObjects
from partdistillation.objects.models import fingerprints, load_segmenter, model_names
from partdistillation.objects.sam3 import Sam3Objects

CLIP = "openai/clip-vit-base-patch32"
DINO, SAM2 = "IDEA-Research/grounding-dino-base", "facebook/sam2.1-hiera-large"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"source": "mask2former"}, ("my/encoder",)),
        ({"source": "mask2former", "model": "my/other"}, ("my/other",)),
        ({"source": "detic", "model": "detic"}, ("detic", CLIP)),
        ({"source": "detic", "model": "detic", "text_model": "clip"}, ("detic", "clip")),
        ({"source": "sam3"}, ("facebook/sam3",)),
        ({"source": "grounded_sam"}, (DINO, SAM2)),
        ({"source": "grounded_sam", "model": "a", "segmenter": "b"}, ("a", "b")),
    ],
)
def test_names(settings: dict[str, Any], names: tuple[str, ...]) -> None:
    assert model_names(ObjectsConfig(**settings), "my/encoder") == names


def test_detic_has_no_default() -> None:
    with pytest.raises(
        ConfigError, match=r"objects\.model: expected the folder .*`partdistill convert detic`"
    ):
        model_names(ObjectsConfig(source="detic"), "my/encoder")


@pytest.mark.parametrize(
    ("source", "loaded", "arguments", "keywords"),
    [
        ("mask2former", Mask2FormerObjects, ("m",), {}),
        ("detic", DeticObjects, ("m",), {"text_model": CLIP}),
        ("sam3", Sam3Objects, ("m",), {}),
        ("grounded_sam", GroundedSamObjects, ("m", SAM2), {}),
    ],
)
def test_every_source_loads_its_model(
    source: Any, loaded: Any, arguments: tuple[str, ...], keywords: dict[str, Any]
) -> None:
    for people, min_score in ((False, 0.6), (True, 0.3)):
        config = ObjectsConfig(source=source, model="m", min_score=0.6, people=people)
        with mock.patch.object(loaded, "from_pretrained", autospec=True) as load:
            load_segmenter(config, "encoder", "cpu")
        assert load.mock_calls == [mock.call(*arguments, **keywords, min_score=min_score, device="cpu")]


def test_a_directory_counts_by_its_contents(
    small_network: PartMask2Former,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    published: Callable[[Path, str], str],
) -> None:
    for name in ("one", "two"):
        small_network.save_pretrained(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    commit = published(tmp_path / "one", "owner/name")
    same, again, hub = (
        fingerprints(ObjectsConfig(source="mask2former", model=name), "")[0]
        for name in ("one", "two", "owner/name")
    )
    assert same == again
    assert hub == f"owner/name@{commit}"
    (tmp_path / "two/config.json").write_text("{}")
    (tmp_path / "two/sha256.json").unlink()
    assert fingerprints(ObjectsConfig(source="mask2former"), "two") != [same]
    with pytest.raises(CheckpointError, match="expected a model directory"):
        fingerprints(ObjectsConfig(source="mask2former"), "./gone")


def test_a_pickle_is_refused(small_network: PartMask2Former, tmp_path: Path) -> None:
    small_network.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is a pickle, which is never loaded"):
        fingerprints(ObjectsConfig(source="mask2former"), str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"expected config\.json, .* is a pickle, which is never loaded"
    ):
        fingerprints(ObjectsConfig(source="mask2former"), str(tmp_path))

"""Model directories of all five kinds: tiny configurations, random weights, tokenizers of a few words."""

import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SIDE = 64
"""Pixels of the images that SAM and SAM 2 read here; OWLv2 reads 48."""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a directory for each `model_type`."""
    # Imported here: the package must not be loaded before its shape checks are installed.
    from partdistillation.models.pretrained import quiet_transformers

    root = tmp_path_factory.mktemp("models")
    with quiet_transformers(), torch.random.fork_rng():
        _save_grounding_dinos(root)
        _save_owlv2(root / "owlv2")
        save_sam(root / "sam")
        _save_sam2(root)
    return root


@pytest.fixture
def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (37, 51, 3), np.uint8)


def _save(model_class: Any, config: Any, directory: Path) -> None:
    """A network with weights that are far from what they start as: heads that start at zero say nothing."""
    torch.manual_seed(2)  # with masks neither empty nor full
    network = model_class(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    network.save_pretrained(directory)


def _save_grounding_dinos(root: Path) -> None:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        MMGroundingDinoConfig,
        MMGroundingDinoForObjectDetection,
        SwinConfig,
    )
    from transformers.models.bert.tokenization_bert import BertTokenizer
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    text: Any = BertConfig(
        vocab_size=1040,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    backbone = SwinConfig(  # type: ignore[call-arg]
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    sizes: dict[str, Any] = {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "num_queries": 30,
        "max_text_len": 16,
    }
    first: Any = GroundingDinoConfig(backbone_config=backbone, text_config=text, **sizes)
    second: Any = MMGroundingDinoConfig(backbone_config=backbone, text_config=text, **sizes)
    _save(GroundingDinoForObjectDetection, first, root / "grounding-dino")
    _save(MMGroundingDinoForObjectDetection, second, root / "mm-grounding-dino")
    for directory in (root / "grounding-dino", root / "mm-grounding-dino"):
        (directory / "vocab.txt").write_text("\n".join(_words()), encoding="utf-8")
        BertTokenizer.from_pretrained(directory).save_pretrained(directory)
        size = {"shortest_edge": 64, "longest_edge": 96}
        GroundingDinoImageProcessorPil(size=size).save_pretrained(directory)


def _words() -> list[str]:
    """BERT's vocabulary up to the question mark, with its delimiters at their ids and few words."""
    words = [f"[unused{row}]" for row in range(1040)]
    words[0], words[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words[1012], words[1029] = ".", "?"
    known = ["bird", "house", "cat", "st", "bernard", "##s", "##house", *"abcdefghij"]
    words[200 : 200 + len(known)] = known
    return words


def _save_owlv2(directory: Path) -> None:
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config: Any = Owlv2Config(
        text_config={
            "vocab_size": 120,
            "max_position_embeddings": 24,
            "bos_token_id": 117,
            "eos_token_id": 118,
            **sizes,
        },
        vision_config={"image_size": 48, "patch_size": 8, **sizes},
        projection_dim=16,
    )
    _save(Owlv2ForObjectDetection, config, directory)
    letters = string.ascii_lowercase
    pieces = ["!", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {piece: row for row, piece in enumerate(pieces)}
    vocabulary |= {"<|startoftext|>": 117, "<|endoftext|>": 118}
    CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!").save_pretrained(directory)
    Owlv2ImageProcessorPil(size={"height": 48, "width": 48}).save_pretrained(directory)


def save_sam(directory: Path) -> None:
    from transformers import SamConfig, SamModel
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    config: Any = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 8,
            "mlp_dim": 16,
            "window_size": 4,
            "global_attn_indexes": [0],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": SIDE,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
            "iou_head_depth": 2,
        },
    )
    _save(SamModel, config, directory)
    pad_size = {"height": SIDE, "width": SIDE}
    SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size=pad_size).save_pretrained(directory)


def _save_sam2(root: Path) -> None:
    """The model for images, and one for videos, as which the published ones are stored."""
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2Model,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VisionConfig,
    )

    backbone: Any = Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision: Any = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    parts: dict[str, Any] = {
        "vision_config": vision,
        "prompt_encoder_config": {
            "hidden_size": 32,
            "image_size": SIDE,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
            "iou_head_depth": 2,
        },
    }
    image: Any = Sam2Config(**parts)
    video: Any = Sam2VideoConfig(
        **parts,
        image_size=SIDE,
        memory_attention_hidden_size=32,
        memory_attention_num_layers=1,
        memory_attention_num_attention_heads=1,
        memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=32,
        memory_encoder_output_channels=16,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=32,
        memory_fuser_intermediate_dim=16,
        mask_downsampler_embed_dim=32,
    )
    _save(Sam2Model, image, root / "sam2")
    _save(Sam2VideoModel, video, root / "sam2_video")

"""A CLIP text model of a few thousand weights."""

from pathlib import Path
from typing import Any

import pytest

CHARACTERS = "abcdefghijklmnopqrstuvwxyz_-'0123456789"


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its directory; embeddings have 24 values, texts at most 16 tokens, of letters and the word "car"."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    from partdistillation.models.pretrained import quiet_transformers

    folder = tmp_path_factory.mktemp("clip")
    tokens = [*CHARACTERS, *(f"{one}</w>" for one in CHARACTERS), "ca", "car</w>"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    merges: Any = [("c", "a"), ("ca", "r</w>")]
    tokenizer = CLIPTokenizer({token: number for number, token in enumerate(tokens)}, merges)
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=24,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = CLIPTextModelWithProjection(config)
    for value in model.parameters():  # the usual start is so small that all texts look alike
        torch.nn.init.normal_(value, std=0.3)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder

"""Published models of several kinds, as transformers loads them, checked before they are used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer

from partdistillation.errors import CheckpointError
from partdistillation.models.folders import check_finite
from partdistillation.models.pretrained import check_report, quiet_transformers, read_config, read_weights
from partdistillation.runs import terminal
from partdistillation.runs.digests import require_whole

_log = terminal.logger(__name__)


def model_type(source: str | Path, expected: Sequence[str], kind: str) -> str:
    """The `model_type` of a model's config.json.

    Args:
        source: a model directory, or a published model's name.
        expected: the model types that can be used.
        kind: what they are, for the message.

    Raises:
        CheckpointError: there is no such model, or it is of another type.
    """
    actual = read_config(source).get("model_type")
    if actual not in expected:
        raise CheckpointError(
            f"{source}: expected {kind} (model_type {', '.join(expected)}), config.json says {actual!r}; "
            "give a model of one of these kinds"
        )
    return str(actual)


def load_network(model_class: Any, source: str | Path, device: torch.device, *, config: Any = None) -> Any:
    """A network of a transformers class in float32, for inference only; `config` is by default the model's.

    Weights that the class has no use for are ignored: those of a video model's memory by SAM 2 for images, of
    CLIP's image half by its text half, tables of positions that older versions of transformers stored.

    Raises:
        CheckpointError: the files can't be read, or weights are missing or of another shape.
    """
    network, report = read_weights(model_class, source, config=config)
    check_report(source, {**report, "unexpected_keys": ()})
    require_whole(Path(source))
    check_finite(source, network)
    return network.eval().requires_grad_(False).to(device)


def load_tokenizer(source: str | Path, size: int) -> Any:
    """The tokenizer in a model's directory; `size` is the number of tokens that the network knows.

    Raises:
        CheckpointError: there is none that can be loaded, or not one of this size at most.
    """
    with quiet_transformers():
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(source)
        except Exception as error:  # transformers, tokenizers and the hub client each have their own
            raise CheckpointError(f"{source}: the tokenizer can't be loaded: {error}") from error
    # without files, transformers makes a tokenizer of nothing but its special tokens
    if not len(tokenizer.all_special_tokens) < len(tokenizer) <= size:
        raise CheckpointError(
            f"{source}: expected a tokenizer of {size} tokens beside the model, found {len(tokenizer)}; "
            "are its files there (tokenizer.json)?"
        )
    return tokenizer


def tokenize(
    tokenizer: Any,
    texts: Sequence[str],
    *,
    length: int,
    padding: Literal["longest", "max_length"] = "max_length",
) -> Any:
    """The tokens of texts, for transformers' models. What is longer than `length` is cut, and logged."""
    cut = [
        text
        for text, tokens in zip(texts, tokenizer(list(texts))["input_ids"], strict=True)
        if len(tokens) > length
    ]
    if cut:
        _log.warning(
            "%d names are cut to the %d tokens that the model reads, such as %r", len(cut), length, cut[0]
        )
    return tokenizer(list(texts), padding=padding, truncation=True, max_length=length, return_tensors="pt")

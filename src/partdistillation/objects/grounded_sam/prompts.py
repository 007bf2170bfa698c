"""Class names as texts for Grounding DINO: "cat. bird house." and where each name is in them."""

from collections.abc import Sequence
from typing import NamedTuple

from partdistillation.errors import InputError


class Delimiters(NamedTuple):
    """Token ids around names: `[CLS] cat . bird house . [SEP]`."""

    start: int
    period: int
    end: int


class Prompt(NamedTuple):
    """A text of several names."""

    tokens: list[int]
    labels: list[int]
    """The names in it, as positions in the list of all names."""
    spans: list[slice]
    """The tokens of each name."""


def write_prompts(
    class_names: Sequence[str], tokens: Sequence[Sequence[int]], delimiters: Delimiters, *, length: int
) -> list[Prompt]:
    """As few texts of at most `length` tokens as hold all names in their order; a name stays whole.

    Args:
        class_names: the names, for messages.
        tokens: the token ids of each.
        delimiters: what stands between them.
        length: of a text, with its delimiters.

    Raises:
        InputError: a name has no tokens, or doesn't fit on its own.
    """
    prompts: list[Prompt] = []
    longest = length - len(delimiters)
    for label, (name, words) in enumerate(zip(class_names, tokens, strict=True)):
        if not 0 < len(words) <= longest:
            raise InputError(
                f"class name {name!r}: expected 1 to {longest} tokens for the detector to read, found "
                f"{len(words)}; rename the class"
            )
        if not prompts or len(prompts[-1].tokens) + len(words) + 1 > length:
            prompts.append(Prompt([delimiters.start, delimiters.end], [], []))
        prompt = prompts[-1]
        first = len(prompt.tokens) - 1
        prompt.tokens[-1:] = [*words, delimiters.period, delimiters.end]
        prompt.labels.append(label)
        prompt.spans.append(slice(first, first + len(words)))
    return prompts

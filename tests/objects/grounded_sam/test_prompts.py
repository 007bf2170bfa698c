"""Texts for Grounding DINO: every name whole, in order, at the tokens that are said, within the length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partdistillation.errors import InputError
from partdistillation.objects.grounded_sam.text_detectors import Delimiters, write_prompts

MARKS = Delimiters(start=101, period=1012, end=102)


def test_by_hand() -> None:
    """A bird is not a bird house: tokens 1 and 3..4."""
    (prompt,) = write_prompts(["bird", "bird house"], [[7], [7, 8]], MARKS, length=7)
    assert prompt.tokens == [101, 7, 1012, 7, 8, 1012, 102]
    assert prompt.labels == [0, 1]
    assert prompt.spans == [slice(1, 2), slice(3, 5)]


def test_a_name_that_does_not_fit_begins_the_next_text() -> None:
    first, second = write_prompts(["bird", "bird house"], [[7], [7, 8]], MARKS, length=6)
    assert (first.tokens, first.labels) == ([101, 7, 1012, 102], [0])
    assert (second.tokens, second.labels) == ([101, 7, 8, 1012, 102], [1])
    assert second.spans == [slice(1, 3)]


@given(
    names=st.lists(st.lists(st.integers(200, 300), min_size=1, max_size=5), min_size=1, max_size=30),
    length=st.integers(8, 20),
)
def test_every_name_is_found_again(names: list[list[int]], length: int) -> None:
    prompts = write_prompts([str(name) for name in names], names, MARKS, length=length)
    assert [label for prompt in prompts for label in prompt.labels] == list(range(len(names)))
    for prompt in prompts:
        assert len(prompt.tokens) <= length
        assert prompt.tokens[0] == MARKS.start
        assert prompt.tokens[-2:] == [MARKS.period, MARKS.end]
        for label, span in zip(prompt.labels, prompt.spans, strict=True):
            assert prompt.tokens[span] == names[label]
            assert prompt.tokens[span.stop] == MARKS.period


@pytest.mark.parametrize("tokens", [[], [7, 8, 9, 7]])
def test_a_name_that_cannot_be_read_is_named(tokens: list[int]) -> None:
    with pytest.raises(InputError, match=f"class name 'gnu': expected 1 to 3 tokens.*found {len(tokens)}"):
        write_prompts(["gnu"], [tokens], MARKS, length=6)

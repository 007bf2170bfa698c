"""Annotations are checked while tests run, with shapes and without, but where a test wants them unchecked."""

from typing import Any

import jaxtyping
import numpy as np
import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float64

from partdistillation.functional.masks import encode, pairwise_iou
from partdistillation.runs.shards import ImageRef, file_name, shard_size

TEXT: Any = "3"
NUMBER: Any = 3


def test_types_are_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        shard_size(TEXT)
    with pytest.raises(BeartypeCallHintViolation):
        ImageRef(NUMBER)
    with pytest.raises(BeartypeCallHintViolation):
        file_name(NUMBER)


def test_shapes_are_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        encode(np.zeros((4, 4, 4), np.bool_))
    with pytest.raises(BeartypeCallHintViolation):
        pairwise_iou(np.zeros((1, 4, 4), np.bool_), np.zeros((1, 4, 5), np.bool_))


def test_a_result_has_the_arguments_dimensions() -> None:
    @jaxtyping.jaxtyped(typechecker=beartype)
    def first(values: Float64[np.ndarray, " n"], count: int) -> Float64[np.ndarray, " n"]:
        return values[:count]

    assert first(np.zeros(2), 2).shape == (2,)
    with pytest.raises(BeartypeCallHintViolation):
        first(np.zeros(3), 2)


@pytest.mark.usefixtures("unchecked")
def test_a_test_may_go_without() -> None:
    assert ImageRef(NUMBER).image_id == NUMBER

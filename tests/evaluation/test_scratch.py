"""What an evaluation keeps in a temporary file comes out of it as it went in."""

import sqlite3

import numpy as np
import pytest

from partdistillation.errors import StoreError
from partdistillation.evaluation.bootstrap import image_weights
from partdistillation.evaluation.scratch import Candidates, Scratch


def candidates(truth: int, predictions: int) -> Candidates:
    rng = np.random.default_rng(truth)
    names = tuple(f"part {number}" for number in range(truth))
    return Candidates(
        np.arange(predictions), rng.random(predictions), names, rng.random((truth, predictions))
    )


def test_candidates_of_a_class_in_the_order_of_the_images() -> None:
    scratch = Scratch()
    kept = [candidates(2, 3), candidates(0, 3), candidates(2, 0)]
    for name, some in zip("cab", kept, strict=True):
        place = scratch.add_image(name, image_weights(name))
        scratch.add_candidates("bird", place, candidates(1, 1))
        scratch.add_candidates("car", place, some)
    assert [*scratch.candidates("dog")] == []
    rows = [*scratch.candidates("car")]
    assert [place for place, *_ in rows] == [0, 1, 2]
    for name, (_, weights, read), some in zip("cab", rows, kept, strict=True):
        assert (weights == image_weights(name)).all()
        assert read.names == some.names
        for own, expected in (
            (read.ids, some.ids),
            (read.scores, some.scores),
            (read.overlaps, some.overlaps),
        ):
            assert own.shape == expected.shape
            assert (own == expected).all()


def test_weights_and_order_of_images() -> None:
    scratch = Scratch()
    names = ["é", "b", "a", "b", "Z"]
    for name in names:
        scratch.add_image(name, image_weights(name))
    assert scratch.order().tolist() == [4, 2, 1, 3, 0]  # places of Z, a, b, b, é
    drawn = scratch.weights(np.array([3, 0, 0]))
    assert (drawn == np.stack([image_weights(name) for name in ("b", "é", "é")])).all()


def test_no_room_for_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def execute(self, *_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        def close(self) -> None:
            pass

    monkeypatch.setattr(sqlite3, "connect", lambda *_, **__: Full())
    with pytest.raises(StoreError, match=r"can't keep some kilobytes .* disk is full\): make room .*TMPDIR"):
        Scratch()

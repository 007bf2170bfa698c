"""COCO files that other programs have damaged, and some that were made to cost much."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.errors import InputError
from partdistillation.functional.masks import from_coco

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.fuzz.conftest import Outcome, Probe

COSTLY = (
    "a circle of 100,000 points",
    "100,000 polygons",
    "a million points of nothing",
    "coordinates of 1e300",
    "run lengths of 10^18",
    "a million runs",
    "10 MB of runs as text",
    "a size of 10^9",
    "200,000 brackets",
    "200,000 brackets in an entry",
    "a number of 5,000 digits",
    "a name with a zero byte",
    "a name that climbs",
    "half of a surrogate pair",
    "a zigzag of 100,000 points",
    "a zigzag over 64 megapixels",
    "a name of 300 bytes",
    "a path of 5,000 bytes",
)


def failures(outcomes: "Iterable[Outcome]") -> "list[Outcome]":
    # The size of a large photograph is read apart, by a process that begins as a copy of this one.
    limits = {"seconds": 15, "megabytes": 1000, "child_megabytes": 1300}
    return [outcome for outcome in outcomes if outcome.fails("InputError", **limits)]


@pytest.mark.timeout(0)
def test_changed_files(probe: "Probe") -> None:
    assert failures(probe.changed(1500)) == []


def test_costly_files(probe: "Probe") -> None:
    assert failures(probe.run(COSTLY)) == []


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(st.sampled_from(["size", "counts", "a"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON | st.fixed_dictionaries({"size": st.just([4, 5]), "counts": JSON | st.text("0123456789PQ`o")}))
def test_any_segmentation_is_a_mask_or_refused(segmentation: Any) -> None:
    try:
        mask = from_coco(segmentation, 4, 5)
    except InputError:
        return
    assert mask.shape == (4, 5)
    assert mask.dtype == np.bool_

"""How quickly counts were seen to change."""

import pytest

from partdistillation.status.pace import Pace


def test_a_pace_is_what_was_seen() -> None:
    pace, run = Pace(), "run"
    assert pace.a_second(run, "objects", 5, 100.0) is None
    assert pace.a_second(run, "objects", 10, 110.0) is None
    assert pace.a_second(run, "objects", 20, 120.0) == 1.0
    assert pace.a_second(run, "objects", 30, 130.0) == 1.0
    assert pace.a_second(run, "objects", 30, 139.0) == 1.0  # as usual between two
    assert pace.a_second(run, "objects", 30, 160.0) == pytest.approx(0.5)  # nothing comes any more
    assert pace.a_second(run, "objects", 3, 170.0) is None  # begun anew
    pace.forget(run)
    assert pace.a_second(run, "objects", 40, 180.0) is None

"""The part table and its history: whole after a kill, undone step by step, never overwritten unseen."""

from pathlib import Path

import pytest

from partdistillation.errors import InputError, StoreError
from partdistillation.runs.part_table import ClassParts, PartTable, read_part_table, write_part_table
from partdistillation.studio import edits
from partdistillation.studio.decisions import HISTORY, TABLE, Decisions, StaleError


def name(
    decisions: Decisions, text: str, *, part: int = 0, category: str = "car", base: int | None = None
) -> None:
    """Call a part so."""
    version = decisions.now()[1] if base is None else base

    def edit(table: PartTable) -> PartTable:
        return PartTable({**table.classes, category: edits.named(table.of(category), part, text)})

    decisions.change(version, {"kind": "name", "name": text}, edit)


def test_a_change_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    name(Decisions(tmp_path), "wheel")
    assert read_part_table(tmp_path / TABLE) == PartTable({"car": ClassParts({0: "wheel"})})
    assert Decisions(tmp_path).now()[1:] == (1, {"kind": "name", "name": "wheel"})


def test_steps_are_taken_back_in_turn_also_after_a_restart(tmp_path: Path) -> None:
    for text in ("wheel", "tyre", "hub"):
        name(Decisions(tmp_path), text)
    names = []
    for _ in range(3):
        decisions = Decisions(tmp_path)
        decisions.undo(decisions.now()[1])
        names.append(read_part_table(tmp_path / TABLE).name("car", 0))
    assert names == ["tyre", "wheel", "part 0"]
    with pytest.raises(InputError, match="found none"):
        Decisions(tmp_path).undo(6)


def test_a_change_of_what_somebody_else_changed_is_refused(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path)
    name(decisions, "wheel", base=0)
    name(decisions, "wing", category="bird", base=0)  # another object class: nobody's way is crossed
    with pytest.raises(StaleError):
        name(decisions, "tyre", part=1, base=0)
    with pytest.raises(StaleError):
        decisions.undo(1)
    assert decisions.now()[0].classes == {"bird": ClassParts({0: "wing"}), "car": ClassParts({0: "wheel"})}


def test_the_same_again_is_no_step(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path)
    name(decisions, "wheel", base=0)
    name(decisions, "wheel", base=0)
    assert decisions.now()[1] == 1


def test_a_file_that_somebody_edits_is_taken_over_and_can_be_taken_back(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path)
    name(decisions, "wheel")
    write_part_table(tmp_path / TABLE, PartTable({"car": ClassParts({0: "rim"}, rejected=frozenset({3}))}))
    table, version, last = decisions.now()
    assert (table.name("car", 0), version, last) == ("rim", 2, {"kind": "elsewhere"})
    decisions.undo(2)
    assert read_part_table(tmp_path / TABLE).name("car", 0) == "wheel"


def test_a_file_that_is_no_part_table_is_left_alone(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path)
    name(decisions, "wheel")
    (tmp_path / TABLE).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="expected a part table"):
        name(decisions, "tyre", base=1)
    assert (tmp_path / TABLE).read_text(encoding="utf-8") == "{"


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
def test_a_failing_disk_leaves_the_table_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    decisions = Decisions(tmp_path)
    name(decisions, "wheel")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(f"partdistillation.runs.atomic.os.{call}", fail)
        with pytest.raises(StoreError):
            name(decisions, "tyre", base=1)
    for known in (decisions, Decisions(tmp_path)):
        assert known.now()[0] == read_part_table(tmp_path / TABLE)
    assert Decisions(tmp_path).now()[0].name("car", 0) == "wheel"


class Killed(BaseException):
    """What ends a process between two of its steps."""


def test_killed_between_table_and_history_the_change_is_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = Decisions(tmp_path)
    name(decisions, "wheel")

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as killing:
        killing.setattr("partdistillation.studio.decisions.append_line", killed)
        with pytest.raises(Killed):
            name(decisions, "tyre")
    afresh = Decisions(tmp_path)
    assert (afresh.now()[0].name("car", 0), afresh.now()[1]) == ("tyre", 2)
    afresh.undo(2)
    assert read_part_table(tmp_path / TABLE).name("car", 0) == "wheel"


def test_what_a_kill_left_of_a_last_line_is_dropped(tmp_path: Path) -> None:
    name(Decisions(tmp_path), "wheel")
    with (tmp_path / HISTORY).open("ab") as history:
        history.write(b'{"action": {"ki')
    decisions = Decisions(tmp_path)
    name(decisions, "tyre", base=1)
    assert Decisions(tmp_path).now()[1] == 2


def test_a_damaged_history_says_what_to_do(tmp_path: Path) -> None:
    name(Decisions(tmp_path), "wheel")
    (tmp_path / HISTORY).write_text("[]\n", encoding="utf-8")
    with pytest.raises(StoreError, match="Move it away"):
        Decisions(tmp_path)

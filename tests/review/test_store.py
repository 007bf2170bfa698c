"""Votes: what is acknowledged is stored, once, and can be undone."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partdistillation.errors import StoreError
from partdistillation.review import export_verdicts
from partdistillation.review.store import ChangedElsewhereError, Item, ReviewStore, tidy
from partdistillation.review.votes import NOTHING, State, Vote
from partdistillation.runs.verdicts import Verdict

from .conftest import HOSTILE, Clock, fill, sample

YES = Vote("judged", (True, True, False))
NO = Vote("rejected", (False, False, False))


def first_item(store: ReviewStore) -> Item:
    ((key,),) = store.query("SELECT key FROM items ORDER BY id LIMIT 1")
    item = store.item(key)
    assert item is not None
    return item


@pytest.fixture
def item(store: ReviewStore) -> int:
    fill(store, "car")
    return first_item(store).id


@pytest.fixture
def anna(store: ReviewStore) -> int:
    return store.reviewer("Anna")


def count(store: ReviewStore, table: str) -> int:
    ((number,),) = store.query(f"SELECT count(*) FROM {table}")
    return int(number)


# ---------------------------------------------------------------------- what is judged


def test_other_parts_of_the_same_run_are_refused(store: ReviewStore) -> None:
    store.add_run("run", "old parts")
    assert store.add_run("run", "old parts") == store.add_run("run", "old parts")
    with pytest.raises(StoreError, match="expected old parts, found new parts"):
        store.add_run("run", "new parts")


def test_a_run_that_was_renamed_is_known(store: ReviewStore) -> None:
    run = store.add_run("old name", "parts")
    assert store.add_run("new name", "parts") == run
    assert store.query("SELECT name FROM runs") == [("new name",)]


def test_ids_tell_nothing_and_differ_between_reviews(tmp_path: Path) -> None:
    keys = []
    for name in "ab":
        store = ReviewStore(tmp_path / f"{name}.sqlite")
        fill(store, "car")
        keys.append({key for (key,) in store.query("SELECT key FROM items UNION SELECT key FROM tiles")})
        store.close()
    assert len(keys[0] | keys[1]) == 2 * (2 + 2 * 3)
    assert all(len(key) == 24 and int(key, 16) >= 0 for key in keys[0])


def test_items_keep_what_their_tiles_show(store: ReviewStore) -> None:
    run = store.add_run("run", "")
    assert not store.is_complete(run)
    store.add_items(run, [sample(HOSTILE, 5)])
    assert store.is_complete(run)
    item = first_item(store)
    assert (item.category, item.part, item.available, len(item.tiles)) == (HOSTILE, 5, 3, 3)
    assert store.page(item.page) == [item]
    tiles = store.tiles_beside(item.tiles[1])
    assert tuple(tiles) == item.tiles
    assert tuple(tiles.values()) == sample(HOSTILE, 5).tiles
    assert store.run_of_tile(item.tiles[0]) == run
    assert store.tiles_beside("0" * 24) == {}
    assert store.item("0" * 24) is None


# ---------------------------------------------------------------------- reviewers


def test_a_reviewer_is_known_again(store: ReviewStore) -> None:
    same = {
        store.reviewer(name)
        for name in ("Zoë  Ann", " zoë ann ", "ZOE\N{COMBINING DIAERESIS} Ann", "Zoë\tAnn")
    }
    assert len(same) == 1
    assert store.reviewer("Zoe Ann") not in same
    assert store.query("SELECT name FROM reviewers ORDER BY id")[0] == ("Zoë Ann",)


@given(st.text())
def test_tidy_names_stay_as_they_are(text: str) -> None:
    once = tidy(text)
    assert tidy(once) == once
    assert once == once.strip()
    assert "\n" not in once
    assert "\0" not in once


# ---------------------------------------------------------------------- votes


def test_the_last_vote_counts_and_all_are_kept(store: ReviewStore, anna: int, item: int) -> None:
    assert store.state(anna, item) == NOTHING
    first = store.vote(anna, item, YES, request="request-1", base=0)
    second = store.vote(anna, item, NO, request="request-2", base=1)
    assert (first.replaced, second.replaced) == (None, None)
    assert store.state(anna, item) == second.state == State(2, 1, 2, NO)
    assert (count(store, "verdicts"), count(store, "history")) == (1, 2)


def test_a_replay_changes_nothing(store: ReviewStore, anna: int, item: int) -> None:
    first = store.vote(anna, item, YES, request="request-1", base=0)
    assert store.vote(anna, item, YES, request="request-1", base=0) == first
    store.vote(anna, item, NO, request="request-2", base=1)
    late = store.vote(anna, item, YES, request="request-1", base=0)
    assert late.state.vote == NO
    assert late.replaced is None
    assert (count(store, "verdicts"), count(store, "history")) == (1, 2)


def test_the_older_of_two_windows_is_told(store: ReviewStore, anna: int, item: int) -> None:
    newer = store.vote(anna, item, YES, request="window-2", base=0)
    older = store.vote(anna, item, NO, request="window-1", base=0)
    assert older.state.vote == NO
    assert older.replaced == newer.state
    assert store.vote(anna, item, NO, request="window-1", base=0) == older
    assert store.undo(anna, item, request="undo-1", base=2).vote == YES


def test_undo_goes_back_step_by_step(store: ReviewStore, anna: int, item: int) -> None:
    votes = [YES, NO, Vote("skipped", (False,) * 3)]
    for version, vote in enumerate(votes):
        store.vote(anna, item, vote, request=f"request-{version}", base=version)
    assert store.undo(anna, item, request="undo-1", base=3).vote == NO
    assert store.undo(anna, item, request="undo-1", base=3).vote == NO  # a replay
    state = store.undo(anna, item, request="undo-2", base=4)
    assert (state.vote, state.changed) == (YES, 1)
    assert store.undo(anna, item, request="undo-3", base=5) == State(6, 0, 0, None)
    with pytest.raises(ChangedElsewhereError):
        store.undo(anna, item, request="undo-4", base=6)
    assert (count(store, "verdicts"), count(store, "history")) == (1, 6)
    again = store.vote(anna, item, NO, request="request-9", base=6)
    assert store.undo(anna, item, request="undo-5", base=7).vote is None
    assert again.state.version == 7


def test_undo_of_what_another_window_changed_is_refused(store: ReviewStore, anna: int, item: int) -> None:
    store.vote(anna, item, YES, request="request-1", base=0)
    store.vote(anna, item, NO, request="request-2", base=1)
    with pytest.raises(ChangedElsewhereError) as caught:
        store.undo(anna, item, request="undo-1", base=1)
    assert caught.value.state.vote == NO
    assert store.state(anna, item).version == 2


def test_reviewers_do_not_disturb_each_other(store: ReviewStore, item: int) -> None:
    ids = [store.reviewer(f"reviewer {i}") for i in range(8)]
    gate = threading.Barrier(8)

    def judge(reviewer: int) -> None:
        gate.wait()
        for version in range(10):
            store.vote(reviewer, item, YES, request=f"request-{version}", base=version)

    threads = [threading.Thread(target=judge, args=(reviewer,)) for reviewer in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.state(reviewer, item).version for reviewer in ids] == [10] * 8
    assert (count(store, "verdicts"), count(store, "history")) == (8, 80)


def test_names_are_offered_again_latest_first(store: ReviewStore, anna: int) -> None:
    fill(store, "car", parts=3)
    items = [number for (number,) in store.query("SELECT id FROM items ORDER BY id")]
    for place, (item, name) in enumerate(zip(items, ("wheel", "door", "wheel"), strict=True)):
        store.vote(anna, item, YES._replace(name=name), request=f"request-{place}", base=0)
    assert store.names_by(anna) == ["wheel", "door"]
    assert store.names_by(store.reviewer("Ben")) == []


# ---------------------------------------------------------------------- export


def test_export_has_what_everybody_said_last(store: ReviewStore, anna: int) -> None:
    fill(store, "car", HOSTILE, run="b")
    fill(store, "car", run="a")
    items = {(run, name, part): i for i, run, name, part in store.query(
        "SELECT items.id, runs.name, category, part FROM items JOIN runs ON runs.id = run"
    )}  # fmt: skip
    full = Vote("judged", (True, False, True), duplicate_of=0, merged_into=0, name=HOSTILE)
    store.vote(anna, items["b", HOSTILE, 1], YES, request="request-1", base=0)
    store.vote(anna, items["b", HOSTILE, 1], full, request="request-2", base=1)
    store.vote(anna, items["a", "car", 0], NO, request="request-3", base=0)
    store.vote(store.reviewer("Ben"), items["a", "car", 0], YES, request="request-1", base=0)
    store.vote(anna, items["a", "car", 1], YES, request="request-4", base=0)
    store.undo(anna, items["a", "car", 1], request="request-5", base=1)
    assert export_verdicts(store.path) == [
        Verdict("Anna", "a", "car", 0, (False,) * 3, None, None, "", "rejected"),
        Verdict("Ben", "a", "car", 0, (True, True, False), None, None, "", "judged"),
        Verdict("Anna", "b", HOSTILE, 1, (True, False, True), 0, 0, HOSTILE, "judged"),
    ]


def test_export_without_a_review(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="found none: run `partdistill review`"):
        export_verdicts(tmp_path / "review.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_the_clock_is_kept(store: ReviewStore, clock: Clock, anna: int, item: int) -> None:
    clock.now = 7.5
    store.vote(anna, item, YES, request="request-1", base=0)
    assert store.query("SELECT at FROM history") == [(7.5,)]

"""Who gets what: every part its N verdicts, nobody the same class in vain."""

import random
from itertools import chain

import pytest

from partdistillation.review.assignment import PAUSE_SECONDS, RESERVED_SECONDS, Assignment, Progress
from partdistillation.review.store import ReviewStore
from partdistillation.review.votes import Vote
from partdistillation.runs.verdicts import Action

from .conftest import Clock, fill

NAMES = [f"class {i}" for i in range(12)]


def judge(store: ReviewStore, reviewer: int, page: str, action: Action = "judged", parts: int = 9) -> None:
    for item in store.page(page)[:parts]:
        state = store.state(reviewer, item.id)
        vote = Vote(action, (True,) * 3)
        store.vote(reviewer, item.id, vote, request=f"request-{state.version}", base=state.version)


def category(store: ReviewStore, page: str | None) -> str:
    assert page is not None
    return store.page(page)[0].category


def test_two_share_the_work_without_meeting(store: ReviewStore) -> None:
    assignment = Assignment(store, [fill(store, *NAMES)], verdicts=1, seed=0)
    given: dict[int, list[str]] = {store.reviewer("a"): [], store.reviewer("b"): []}
    for _ in range(6):
        for reviewer, pages in given.items():
            page = assignment.new(reviewer)
            pages.append(category(store, page))
    assert sorted(chain(*given.values())) == sorted(NAMES)
    assert all(assignment.new(reviewer) is None for reviewer in given)


def test_who_asks_twice_at_once_gets_one_class(store: ReviewStore) -> None:
    assignment = Assignment(store, [fill(store, *NAMES)], verdicts=1, seed=0)
    reviewer = store.reviewer("a")
    first = assignment.new(reviewer)
    second = assignment.new(reviewer, after=first)
    assert assignment.new(reviewer, after=first) == second
    assert assignment.seen(reviewer) == [first, second]
    assert assignment.new(reviewer, after=second) not in (first, second)


def test_orders_are_random_and_each_reviewers_own(store: ReviewStore) -> None:
    run = fill(store, *NAMES)
    orders = []
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        assignment = Assignment(store, [run], verdicts=9, seed=seed)
        reviewer = store.reviewer(name)
        orders.append([category(store, assignment.new(reviewer)) for _ in NAMES])
        assert [category(store, page) for page in assignment.seen(reviewer)] == orders[-1]
    assert len({tuple(order) for order in [*orders, NAMES]}) == 4
    assert all(sorted(order) == sorted(NAMES) for order in orders)


def test_a_class_of_both_runs_goes_to_the_same_person_in_random_order(store: ReviewStore) -> None:
    runs = [fill(store, *NAMES, run=name) for name in ("ours", "theirs")]
    assignment = Assignment(store, runs, verdicts=1, seed=0)
    reviewer = store.reviewer("a")
    for _ in NAMES:
        assignment.new(reviewer)
    pages = [store.page(page)[0] for page in assignment.seen(reviewer)]
    pairs = list(zip(pages[::2], pages[1::2], strict=True))
    assert all(one.category == other.category and one.run != other.run for one, other in pairs)
    assert {one.run for one, _ in pairs} == set(runs)
    assert [assignment.pages(reviewer, one.category) for one, _ in pairs] == [
        [one.page, other.page] for one, other in pairs
    ]


def test_a_run_that_is_not_served_is_not_given_out(store: ReviewStore) -> None:
    run = fill(store, "car")
    fill(store, "car", "bird", run="other")
    assignment = Assignment(store, [run], verdicts=1, seed=0)
    reviewer = store.reviewer("a")
    page = assignment.new(reviewer)
    assert [item.run for item in store.page(str(page))] == [run, run]
    assert assignment.new(reviewer) is None
    assert assignment.progress(reviewer) == Progress(2, 0, 0, 0)
    assert assignment.has_page(str(page), "car")
    assert not assignment.has_page("other", "car")


def test_reservations_lapse_and_are_renewed(store: ReviewStore, clock: Clock) -> None:
    assignment = Assignment(store, [fill(store, "car")], verdicts=1, seed=0)
    anna, ben = store.reviewer("a"), store.reviewer("b")
    page = assignment.new(anna)
    clock.now += RESERVED_SECONDS - 1
    assert assignment.new(ben) is None
    assignment.renew(anna, "car")
    clock.now += RESERVED_SECONDS - 1
    assert assignment.new(ben) is None
    clock.now += 1
    assert assignment.new(ben) == page
    assert assignment.resume(anna) is None  # Ben has it now
    clock.now += RESERVED_SECONDS
    assert assignment.resume(anna) == page


def test_half_a_class_goes_to_somebody_else_when_the_first_is_gone(store: ReviewStore, clock: Clock) -> None:
    assignment = Assignment(store, [fill(store, "car")], verdicts=1, seed=0)
    anna, ben = store.reviewer("a"), store.reviewer("b")
    page = assignment.new(anna)
    assert page
    judge(store, anna, page, parts=1)
    assert assignment.new(ben) is None
    clock.now += RESERVED_SECONDS
    assert assignment.new(ben) == page


def test_a_skip_is_no_verdict(store: ReviewStore) -> None:
    assignment = Assignment(store, [fill(store, "car")], verdicts=1, seed=0)
    anna, ben = store.reviewer("a"), store.reviewer("b")
    page = assignment.new(anna)
    assert page
    judge(store, anna, page, "skipped")
    assert assignment.progress(anna) == Progress(2, 0, 2, 1)
    assert assignment.resume(anna) is None
    assert assignment.new(ben) == page
    judge(store, ben, page, "rejected")
    assert assignment.progress(ben) == Progress(2, 2, 2, 2)


def test_resuming_goes_to_the_first_page_with_something_open(store: ReviewStore) -> None:
    assignment = Assignment(store, [fill(store, *NAMES)], verdicts=1, seed=0)
    reviewer = store.reviewer("a")
    first, second, third = (str(assignment.new(reviewer)) for _ in range(3))
    judge(store, reviewer, first)
    judge(store, reviewer, second, parts=1)
    assert assignment.resume(reviewer) == second
    judge(store, reviewer, second)
    judge(store, reviewer, third)
    fresh = assignment.resume(reviewer)
    assert fresh not in (first, second, third)
    assert assignment.seen(reviewer) == [first, second, third, fresh]


@pytest.mark.parametrize("verdicts", [1, 2, 3])
def test_every_part_gets_its_verdicts_whatever_people_do(
    store: ReviewStore, clock: Clock, verdicts: int
) -> None:
    assignment = Assignment(store, [fill(store, *NAMES[:6])], verdicts=verdicts, seed=0)
    people = [store.reviewer(f"{i}") for i in range(5)]
    chance = random.Random(0)
    for _ in range(200):
        clock.now += chance.choice([1.0, 60.0, RESERVED_SECONDS])
        reviewer = chance.choice(people)
        page = assignment.resume(reviewer)
        if page:
            judge(
                store, reviewer, page, chance.choice(["judged", "rejected", "skipped"]), chance.choice([1, 9])
            )
    assert assignment.progress(people[0]).finished >= 12 - 2
    rows = store.query(
        "SELECT count(*) FROM verdicts WHERE action <> 'skipped' GROUP BY item ORDER BY count(*)"
    )
    assert max(count for (count,) in rows) <= len(people)


def test_nobody_works_in_vain_while_all_stay(store: ReviewStore) -> None:
    assignment = Assignment(store, [fill(store, *NAMES)], verdicts=2, seed=0)
    people = [store.reviewer(f"{i}") for i in range(5)]
    while pages := [(reviewer, page) for reviewer in people if (page := assignment.resume(reviewer))]:
        for reviewer, page in pages:
            judge(store, reviewer, page)
    counts = store.query("SELECT count(*) FROM verdicts GROUP BY item")
    assert counts == [(2,)] * 24
    assert assignment.progress(people[0]).finished == 24


def test_how_long_a_part_takes(store: ReviewStore, clock: Clock) -> None:
    """The median of times between first answers; neither pauses nor second thoughts count."""
    assignment = Assignment(store, [fill(store, *NAMES)], verdicts=1, seed=0)
    a, b = store.reviewer("a"), store.reviewer("b")
    items = [item.id for page in map(assignment.new, [a] * 8) if page for item in store.page(page)]
    assert assignment.pace() is None

    def answer(reviewer: int, item: int, after: float) -> None:
        clock.now += after
        version = store.state(reviewer, item).version
        vote = Vote("judged", (True,) * 3)
        store.vote(reviewer, item, vote, request=f"request-{version}", base=version)

    for item, seconds in zip(items, [0, 4, 4, 4, 4, 4, PAUSE_SECONDS + 1, 7, 8, 8, 8], strict=False):
        answer(a, item, seconds)
    answer(a, items[0], 1)
    assert assignment.pace() is None  # nine gaps
    answer(b, items[0], 1)
    answer(b, items[1], 30)
    assert assignment.pace() == pytest.approx((4 + 7) / 2)  # of five 4, 7, three 8 and 30

"""Reviewing in a real browser: keys, reloads, tabs, and a server that goes away."""

from itertools import count

from .browser import Visits, marked, on_part, press, saved, states
from .conftest import MakeRun
from .test_durability import Server


def test_keys_from_the_name_to_a_finished_class(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car", "tree"), parts=6, images=9))
    page = here.begin()
    category = page.locator("#category")
    first = category.text_content()

    press(page, "1 3 9 1")
    assert marked(page) == [3, 9]
    press(page, "a 9")
    assert marked(page) == [1, 2, 3, 4, 5, 6, 7, 8]
    press(page, "n")
    assert marked(page) == []
    press(page, "2 7 e 'hood' Escape 8 Enter")
    on_part(page, 2)
    press(page, "a d 1 Enter")
    on_part(page, 3)
    press(page, "1 d 1 d 0")
    assert page.get_by_label("A new part").is_checked()
    press(page, "m 2")
    assert page.get_by_label("Part 2", exact=False).and_(page.get_by_role("radio")).is_checked()
    assert page.get_by_label("Merge the two").is_checked()
    press(page, "Enter r")
    on_part(page, 5)
    press(page, "4 s")
    on_part(page, 6)
    saved(page)
    assert states(page) == ["judged", "judged", "judged", "rejected", "skipped", "open"]
    press(page, "u")
    on_part(page, 5)
    saved(page)
    assert (states(page)[4], marked(page)) == ("changed", [4])  # what was marked is still there
    press(page, "ArrowLeft ArrowLeft")
    on_part(page, 3)
    press(page, "ArrowRight ArrowRight")
    on_part(page, 5)
    press(page, "s 5 6 Enter")

    category.filter(has_not_text=first).wait_for()
    second = category.text_content()
    press(page, "PageUp")
    category.filter(has_text=first).wait_for()
    assert states(page) == ["judged", "judged", "judged", "rejected", "skipped", "judged"]
    press(page, "PageDown")
    category.filter(has_text=second).wait_for()
    for number in range(1, 7):
        on_part(page, number)
        press(page, "r")
    page.get_by_role("heading", name="All done").wait_for()

    found = here.verdicts()
    assert [one.action for one in found if one.category == second] == ["rejected"] * 6
    its = [one for one in found if one.category == first]
    marks = [[number for number, mark in zip(count(1), one.marks) if mark] for one in its]
    assert marks == [[2, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8, 9], [1], [], [4], [5, 6]]
    assert [one.part for one in its] == [0, 1, 2, 3, 4, 5]
    assert [one.duplicate_of for one in its] == [None, 0, 1, None, None, None]
    assert [one.merged_into for one in its] == [None, None, 1, None, None, None]
    assert [one.name for one in its] == ["hood", "hood", "hood", "", "", ""]
    assert [one.action for one in its] == ["judged", "judged", "judged", "rejected", "skipped", "judged"]
    assert {one.reviewer for one in found} == {"Anna"}


def test_a_held_key_answers_once(make_run: MakeRun, visit: Visits) -> None:
    page = visit(make_run(categories=("car",), parts=4)).begin()
    for _ in range(3):
        page.keyboard.down("r")
    page.keyboard.up("r")
    saved(page)
    assert states(page) == ["rejected", "open", "open", "open"]


def test_keys_that_belong_to_a_field_or_a_dialog(make_run: MakeRun, visit: Visits) -> None:
    page = visit(make_run(categories=("car",), parts=2, images=9)).begin()
    press(page, "e 'arsn123u'")
    assert page.get_by_label("What is it?").input_value() == "arsn123u"
    press(page, "Escape ?")
    page.get_by_role("dialog", name="Keys").wait_for()
    press(page, "1 2 3 r Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert (marked(page), states(page)) == ([], ["changed", "open"])
    press(page, "Control+a Alt+1 Meta+n")
    assert marked(page) == []


def test_a_reload_in_the_middle_of_a_class(make_run: MakeRun, visit: Visits) -> None:
    page = visit(make_run(categories=("car", "tree"), parts=5)).begin()
    category = page.locator("#category").text_content()
    press(page, "1 2 Enter r 2 ArrowRight 1 4 d 3 e 'doo'")
    saved(page)
    page.reload()
    on_part(page, 4)
    assert page.locator("#category").text_content() == category
    assert states(page) == ["judged", "rejected", "changed", "changed", "open"]
    assert marked(page) == [1, 4]
    assert page.get_by_label("What is it?").input_value() == "doo"
    press(page, "ArrowLeft")
    assert marked(page) == [2]
    press(page, "ArrowLeft ArrowLeft")
    assert marked(page) == [1, 2]
    press(page, "u")  # what was answered before the reload
    on_part(page, 2)
    saved(page)
    assert states(page) == ["judged", "changed", "changed", "changed", "open"]


def test_answers_that_wait_survive_a_reload(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",), parts=3))
    page = here.begin()
    page.route("**/api/vote", lambda route: route.abort())
    press(page, "1 Enter r")
    page.get_by_text("2 answers wait here").wait_for()
    here.watch.leaves = True
    page.reload()
    here.watch.expect(page, "beforeunload dialog")
    page.get_by_text("2 answers wait here").wait_for()
    assert here.verdicts() == []
    page.unroute("**/api/vote")
    on_part(page, 3)
    saved(page)
    here.watch.forgive("net::ERR_FAILED")
    assert [verdict.action for verdict in here.verdicts()] == ["judged", "rejected"]
    page.reload()  # sends nothing again
    on_part(page, 3)
    assert page.evaluate("sessionStorage.getItem('outbox')") == "[]"


def test_two_tabs_of_a_reviewer(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",), parts=3))
    one = here.begin()
    other = one.context.new_page()
    other.goto(here.address)  # knows the name
    on_part(other, 1)
    press(one, "1 Enter")
    saved(one)
    press(other, "2 3 Enter")
    other.get_by_text("had got another answer in another window").wait_for()
    assert [verdict.marks for verdict in here.verdicts()] == [(False, True, True, False)]
    one.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when it is looked at again
    one.get_by_text("was changed in another window").wait_for()
    press(one, "ArrowLeft")
    assert marked(one) == [2, 3]

    press(other, "u")
    other.get_by_text("Undone").wait_for()
    assert marked(other) == [1]
    assert [verdict.marks for verdict in here.verdicts()] == [(True, False, False, False)]
    press(one, "u")  # of a version that isn't there any more
    one.get_by_text("nothing was undone").wait_for()
    assert marked(one) == [1]
    here.watch.forgive("409")


def test_a_server_that_goes_away(make_run: MakeRun, visit: Visits) -> None:
    out = make_run(categories=("car",), parts=4)
    server = Server(out)
    try:
        here = visit(out, at=f"http://127.0.0.1:{server.port}")
        page = here.begin()
        press(page, "1 Enter")
        saved(page)
        server.kill()
        press(page, "2 Enter")
        status = page.get_by_role("status")
        status.get_by_text("No connection: 1 answer waits here").wait_for()
        press(page, "r")
        status.get_by_text("No connection: 2 answers wait here").wait_for()
        page.close(run_before_unload=True)
        here.watch.expect(page, "beforeunload dialog")  # it asks first
        assert len(here.verdicts()) == 1
        server.start()
        saved(page)
        here.watch.forgive("net::ERR_")
        page.close()
    finally:
        server.stop()
    stored = [(verdict.action, verdict.marks[:2]) for verdict in here.verdicts()]
    assert stored == [("judged", (True, False)), ("judged", (False, True)), ("rejected", (False, False))]

"""Reviewing in a real browser: keys, reloads, tabs, and a server that goes away."""

import re
from itertools import count

import pytest

from .browser import Visits, marked, mounted, on_part, press, saved, states
from .conftest import MakeRun
from .test_durability import Server

pytestmark = pytest.mark.slow


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


def test_nothing_marked_is_asked_about_once(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",), parts=4))
    page = here.begin()
    question = page.get_by_role("group", name="No image is marked")
    page.keyboard.down("Enter")
    page.keyboard.down("Enter")  # held
    page.keyboard.up("Enter")
    question.wait_for()
    on_part(page, 1)
    press(page, "Escape")
    question.wait_for(state="hidden")
    assert page.locator(":focus").get_attribute("id") == "part-title"
    press(page, "Enter 2")  # an answer to it
    assert (question.is_hidden(), marked(page)) == (True, [2])
    press(page, "2 Enter")
    question.wait_for()
    press(page, "Enter")
    on_part(page, 2)
    press(page, "Enter r")  # another one
    on_part(page, 3)
    page.get_by_role("button", name="Save", exact=True).dblclick()
    page.get_by_role("button", name="Back to marking").click()
    press(page, "a Enter")
    on_part(page, 4)
    press(page, "e 'wheel' Enter Tab")
    assert page.locator(":focus").get_attribute("id") == "back"
    press(page, "Shift+Tab Enter")
    page.get_by_role("heading", name="All done").wait_for()
    saved(page)
    assert [(one.action, sum(one.marks)) for one in here.verdicts()] == [
        ("judged", 0), ("rejected", 0), ("judged", 4), ("judged", 0),
    ]  # fmt: skip
    page.get_by_role("button", name="Look at my answers").click()
    on_part(page, 1)
    press(page, "Enter")  # it was asked before
    on_part(page, 2)


def test_images_enlarged(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",), parts=2, images=3))
    page = here.begin()
    page.locator("#tile-2").focus()
    press(page, "z")
    dialog, picture = page.get_by_role("dialog", name="Image 2 of 3"), page.locator("#large-picture")
    dialog.wait_for()
    page.locator("#large-picture[src$='/large']").wait_for()
    assert picture.evaluate("picture => picture.naturalWidth") > 0
    press(page, "Enter ArrowRight ArrowRight ArrowRight")
    page.get_by_role("dialog", name="Image 3 of 3").wait_for()
    assert page.get_by_role("button", name="Next image").is_disabled()
    press(page, "1 r s Enter Enter")  # marks the first, and twice not; answers nothing
    page.get_by_role("dialog", name="Image 1 of 3").wait_for()
    press(page, "Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert (marked(page), states(page)) == ([1, 2], ["changed", "open"])
    assert page.locator(":focus").get_attribute("id") == "tile-2"
    page.get_by_role("button", name="Enlarge image 3").click()
    page.get_by_role("dialog", name="Image 3 of 3").wait_for()
    press(page, "z")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert marked(page) == [1, 2]


def test_the_first_page_and_the_last(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car", "tree"), parts=6))
    page = here.page
    page.goto(here.address)
    page.get_by_text("There are 12 parts to judge. At ten seconds a part, which is a guess").wait_for()
    page.get_by_text("all of them take about 2 minutes").wait_for()
    for image in page.locator("#examples img").all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 736
    here.begin()
    category = page.locator("#category").text_content()
    assert category is not None
    other = {"car": "tree", "tree": "car"}[category]
    page.get_by_role("button", name="0 of 12 done by you").wait_for()
    press(page, "a e 'wheel' Enter a m 1 Enter r s a Enter 1 Enter")
    page.get_by_role("button", name="6 of 12 done by you").wait_for()
    page.locator("#category", has_text=other).wait_for()
    for number in range(1, 7):
        on_part(page, number)
        press(page, "r")
    page.get_by_text("Of 12 parts, 11 judged up to now, 3 are consistent").wait_for()
    rows = page.locator("#outcome tr").evaluate_all("rows => rows.map(row => row.innerText.split('\\t'))")
    assert rows[0] == ["Class", "Parts", "Consistent", "Named", "Merged", "No part"]
    assert sorted(rows[1:]) == sorted(
        [
            [category, "6", "3", "1", "1", "1"],
            [other, "6", "0", "0", "0", "6"],
            ["Together", "12", "3", "1", "1", "7"],
        ]
    )
    page.evaluate("localStorage.clear()")  # and somebody else comes
    page.reload()
    page.get_by_text(re.compile(r"Up to now an answer took \d+ seconds? \(the median\)")).wait_for()


def test_a_review_below_another_page(make_run: MakeRun, visit: Visits) -> None:
    """Everything is asked for below the path that it is mounted at; the watch sees to that."""
    out = make_run(categories=("car",), parts=2)
    with mounted(out, "/runs/mine/judge") as address:
        page = visit(out, at=address).begin()
        press(page, "1 z ArrowRight 2 Escape Enter")
        on_part(page, 2)
        saved(page)
        page.reload()
        on_part(page, 2)
        press(page, "r")
        page.get_by_text("Of 2 parts, 2 judged").wait_for()
        kept = page.evaluate("Object.keys(sessionStorage)")
    assert kept
    assert all(key.startswith("/runs/mine/judge/") for key in kept)


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
    assert page.evaluate("sessionStorage.getItem('/outbox')") == "[]"


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

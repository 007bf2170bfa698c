"""What the page looks like to eyes, fingers and screen readers, as a real browser shows it."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .browser import (
    PHONE,
    SMALL_PHONE,
    Visit,
    Visits,
    controls,
    focus_stops,
    nameless,
    on_part,
    press,
    saved,
    serious,
    states,
    too_pale,
    too_small,
)
from .conftest import MakeRun

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def all_views(here: Visit) -> Iterator[str]:
    """Goes through what there is to see of a class of six parts; says where it is."""
    page = here.page
    page.goto(here.address)
    page.get_by_role("heading", name="Which of these").wait_for()
    yield "welcome"
    page.get_by_label("Your name").fill("Anna")
    page.get_by_role("button", name="Start").click()
    on_part(page, 1)
    yield "first part"
    press(page, "1 2 e 'wheel' Escape Enter r s 1 ArrowRight a m 2 n")
    saved(page)
    assert states(page) == ["judged", "rejected", "skipped", "changed", "changed", "open"]
    yield "fifth part"
    press(page, "d")
    page.get_by_text("Same as which part?").wait_for()
    yield "a question"
    press(page, "ArrowLeft ArrowLeft ArrowLeft")
    yield "a rejected part"
    press(page, "z")
    page.get_by_role("dialog", name="Image 1").wait_for()
    yield "an image enlarged"
    press(page, "Escape")
    page.get_by_role("button", name="3 of 6 done by you").click()
    standing = page.get_by_role("dialog", name="How far it is")
    standing.get_by_text("not known yet").wait_for()
    assert standing.locator("dt").all_text_contents() == ["3", "2 of 6", "1", "not known yet"]
    yield "standing"
    press(page, "Escape")
    if page.get_by_role("button", name="Keys").is_visible():
        page.get_by_role("button", name="Keys").click()
        yield "keys"
        press(page, "Escape")
    page.context.set_offline(True)
    press(page, "r")
    page.get_by_text("1 answer waits").wait_for()
    yield "offline"
    page.context.set_offline(False)
    here.watch.forgive("ERR_INTERNET_DISCONNECTED")
    for number in (4, 5, 6):
        page.locator(f"#part-{number}").click()
        on_part(page, number)
        press(page, "a Enter" if number < 6 else "Enter")
    page.get_by_role("group", name="No image is marked").wait_for()
    yield "nothing marked"
    page.get_by_role("button", name="None alike").press("Enter")
    page.get_by_role("heading", name="What came of it").wait_for()
    yield "finished"


@pytest.mark.parametrize(
    "options", [{"color_scheme": "dark"}, {**PHONE, "color_scheme": "light"}], ids=["desktop", "phone"]
)
def test_axe_finds_nothing_serious(make_run: MakeRun, visit: Visits, options: dict[str, Any]) -> None:
    here = visit(make_run(categories=("car",), parts=6), **options)
    found = {view: problems for view in all_views(here) if (problems := serious(here.page))}
    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(make_run: MakeRun, visit: Visits, scheme: str) -> None:
    here = visit(make_run(categories=("car",), parts=6), color_scheme=scheme)
    found = {view: pale for view in all_views(here) if (pale := too_pale(here.page))}
    assert found == {}
    ground = here.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert (brightness > 128) == (scheme == "light")


def test_what_contrast_is(browser: "Browser") -> None:
    """By WCAG's formula: on white #777 has 4.48, #767676 4.54, half of black (L .214) 1.05 / .264 = 3.98."""
    page = browser.new_page()
    page.set_content(
        "<p id=a style='color:#777'>a</p><p id=b style='color:#767676'>b</p>"
        "<p id=c style='opacity:.5;color:#000'>c</p><p id=d style='color:#fff;background:#0008'>d</p>"
        "<input type=text id=e style='border:1px solid #999' value=e>"
    )
    found = too_pale(page)
    page.close()
    assert [problem.partition(":")[0] for problem in found] == ["p#a", "p#c", "p#d", "body#"]
    assert ("4.48" in found[0], "3.98" in found[1], "its edge" in found[3]) == (True, True, True)


@pytest.mark.parametrize("screen", [PHONE, SMALL_PHONE], ids=["390x844", "320x568"])
def test_a_phone(make_run: MakeRun, visit: Visits, screen: dict[str, Any]) -> None:
    name = "giant squid of the deep northern seas, Architeuthisoftheverylongname"
    here = visit(make_run(categories=(name,), parts=6, images=9), **screen)
    found = {view: small for view in all_views(here) if (small := too_small(here.page, 44))}
    assert found == {}


def test_a_narrow_window(make_run: MakeRun, visit: Visits) -> None:
    """At a zoom of 400 % a desktop's window is 320 pixels wide (WCAG 2.2, 1.4.10)."""
    here = visit(make_run(categories=("car",), parts=6), viewport={"width": 320, "height": 256})
    found = {view: small for view in all_views(here) if (small := too_small(here.page, 24))}
    assert found == {}


def test_fingers(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",), parts=3, images=9), **PHONE)
    page = here.begin()
    page.get_by_role("button", name="All", exact=True).tap()
    page.get_by_role("button", name="Image 9", exact=True).tap()
    page.get_by_role("button", name="Save", exact=True).tap()
    on_part(page, 2)
    page.get_by_role("button", name="Enlarge image 2").tap()
    page.get_by_role("button", name="Next image").tap()
    page.get_by_role("button", name="Mark", exact=True).tap()
    page.get_by_role("button", name="Close").tap()
    page.get_by_role("radio", name="Part 1").tap()
    page.get_by_text("Merge the two").tap()
    page.get_by_label("What is it?").fill("wheel")
    page.get_by_role("button", name="Save", exact=True).tap()
    on_part(page, 3)
    page.get_by_role("button", name="No part").tap()
    page.get_by_role("heading", name="All done").wait_for()
    first, second, third = here.verdicts()
    assert (first.marks, first.name) == ((True,) * 8 + (False,), "")
    assert (second.marks.index(True), sum(second.marks)) == (2, 1)
    assert (second.duplicate_of, second.merged_into, second.name) == (0, 0, "wheel")
    assert third.action == "rejected"


def test_nothing_lies_under_the_buttons_of_a_phone(make_run: MakeRun, visit: Visits) -> None:
    page = visit(make_run(categories=("car",), parts=3, images=9), **SMALL_PHONE).begin()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    bar = page.locator("#actions").bounding_box()
    field = page.get_by_label("What is it?").bounding_box()
    assert bar is not None
    assert field is not None
    assert field["y"] + field["height"] <= bar["y"]


def test_pictures_that_come_late(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",), parts=2, images=9))
    page = here.begin()
    page.context.set_offline(True)
    press(page, "ArrowRight")
    on_part(page, 2)
    ninth = page.locator("#tile-9 img")
    page.locator("#tile-9:has([data-state=broken])").wait_for()
    assert ninth.is_hidden()
    page.context.set_offline(False)
    here.watch.forgive("ERR_INTERNET_DISCONNECTED")
    ninth.wait_for(state="visible")
    assert ninth.evaluate("picture => picture.naturalWidth") > 0


def test_the_focus_is_seen(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",), parts=6))
    for view in all_views(here):
        if view in ("welcome", "fifth part", "an image enlarged", "standing", "nothing marked", "finished"):
            wanted, stops = controls(here.page), focus_stops(here.page)
            assert set(stops) == set(wanted), view
            assert not any(stops.values()), (view, stops)


def test_every_control_has_a_name(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",), parts=6))
    found = {view: roles for view in all_views(here) if (roles := nameless(here.page))}
    assert found == {}


def test_what_a_screen_reader_is_told(make_run: MakeRun, visit: Visits) -> None:
    page = visit(make_run(categories=("car",), parts=3, images=3)).begin()
    press(page, "1 Enter d 1 2")
    saved(page)
    told = page.locator("body").aria_snapshot()
    for line in (
        'button "Reviewer: Anna"',
        'heading "car" [level=1]',
        'button "Part 1: saved, 1 of 3 marked"',
        'button "Part 2: not saved yet"',
        'button "Part 3: no answer yet"',
        'heading "Part 2 of 3 · only 3 images" [level=2]',
        'group "In which images is the same part outlined?"',
        'button "Image 1"',
        'button "Enlarge image 1"',
        'button "Image 2" [pressed]',
        'group "Did you see this part before, in this class?"',
        'radio "A new part"',
        'radio "Part 1" [checked]',
        'checkbox "Merge the two in the model"',
        'combobox "What is it? (optional)"',
        'button "Save"',
        'button "No part"',
        'button "Undo"',
    ):
        assert re.search(rf"- '?{re.escape(line)}'?(:|$)", told, re.MULTILINE), f"{line}\n{told}"
    assert page.locator("main:visible").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator(":focus").get_attribute("id") == "part-title"
    current = page.locator("#part-list [aria-current=step]")
    assert current.get_attribute("aria-label") == "Part 2: not saved yet"


def test_without_scripts(make_run: MakeRun, visit: Visits) -> None:
    here = visit(make_run(categories=("car",)), java_script_enabled=False)
    here.page.goto(here.address)
    assert here.page.locator("body").inner_text().split("\n")[-1] == "This page needs JavaScript."
    assert here.page.locator("main:visible").count() == 0

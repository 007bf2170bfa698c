"""The page Look in a real browser: from the classes to a named part, a reload, a phone."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partdistillation.runs.part_table import read_part_table
from partdistillation.studio.decisions import TABLE

from ..review.browser import PHONE, Watch, nameless, too_pale, too_small
from .conftest import HOSTILE, MakeRun, Open

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import APIResponse, Route


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    """A run with many examples of a class with a friendly and one with a hostile name."""
    return make_run(images=9)


def test_by_keyboard_alone_from_the_classes_to_a_named_part(run: Path, open_page: Open) -> None:
    page = open_page("/runs/cars/look")
    page.get_by_role("link", name="car 3 parts").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Name of part 1").wait_for()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "name-1":
            break
    page.keyboard.type("wheel")
    page.keyboard.press("Enter")
    page.locator("#notice", has_text="Part 1 is called").wait_for()
    assert read_part_table(run / TABLE).name("car", 1) == "wheel"
    page.locator("#name-1:focus").wait_for()
    page.locator(".chips", has_text="wheel").wait_for()
    page.get_by_role("button", name="wheel, 1 of 9").press("Enter")
    page.get_by_role("heading", name="wheel · car").wait_for()


def test_a_part_that_is_named_before_its_examples_come_is_called_so(run: Path, open_page: Open) -> None:
    page = open_page("/runs/cars/watch")
    answers: list[tuple[Route, APIResponse]] = []
    page.route("**/look/examples?*", lambda route: answers.append((route, route.fetch())))
    page.goto(page.url.replace("/watch", "/look#class=car"))
    page.get_by_label("Name of part 1").wait_for()
    while len(answers) < 3:
        page.wait_for_timeout(50)
    page.get_by_label("Name of part 1").fill("wheel")
    page.keyboard.press("Enter")
    page.locator(".chips", has_text="wheel").wait_for()
    for route, answer in answers:
        route.fulfill(response=answer)
    page.get_by_role("button", name="wheel, 1 of 9").click()
    page.get_by_role("heading", name="wheel · car").wait_for()


def test_the_viewer_goes_on_and_a_reload_keeps_the_place(run: Path, open_page: Open) -> None:
    page = open_page("/runs/cars/look#class=car&part=2")
    page.get_by_role("button", name="part 2, 1 of 9").press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_text("2 of 9").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_text("3 of 9").wait_for()
    page.reload()
    page.get_by_text("3 of 9").wait_for()
    page.get_by_role("button", name="Enlarge").click()
    assert page.get_by_role("button", name="Enlarge").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    page.locator(".tile:focus[aria-label='part 2, 3 of 9']").wait_for()
    page.get_by_role("button", name="part 2, 3 of 9").click()
    page.get_by_role("link", name="More like this").last.click()
    page.get_by_label("In all object classes").check()
    page.get_by_text(re.compile("of these .* parts are")).wait_for()


def test_merged_rejected_and_undone_are_seen_at_once(run: Path, open_page: Open) -> None:
    page = open_page("/runs/cars/look#class=car")
    page.get_by_label("Merge part 2 with another part").click()
    page.get_by_role("dialog").get_by_role("button", name="part 0").click()
    page.get_by_role("link", name="18 examples").wait_for()
    page.get_by_label("Reject part 1").click()
    page.get_by_text("1 rejected part").wait_for()
    assert read_part_table(run / TABLE).of("car").rejected == {1}
    page.locator(".undo").click()
    page.get_by_label("Name of part 1").wait_for()
    page.locator(".undo").click()
    page.get_by_label("Name of part 2").wait_for()


def test_two_at_once_lose_nothing(run: Path, open_page: Open, watches: list[Watch]) -> None:
    first, second = open_page("/runs/cars/look#class=car"), open_page("/runs/cars/look#class=car")
    second.get_by_label("Name of part 0").wait_for()
    first.get_by_label("Name of part 0").fill("wheel")
    first.keyboard.press("Enter")
    first.locator("#notice", has_text="wheel").wait_for()
    second.get_by_label("Reject part 0").click()
    second.locator("#notice", has_text="somebody else").wait_for()
    watches[1].expect(second, "409")
    assert second.get_by_label("Name of part 0").input_value() == "wheel"
    assert read_part_table(run / TABLE).of("car").rejected == set()


@pytest.mark.parametrize(
    ("place", "scheme"),
    [
        ("", "light"),
        ("#class=car", "dark"),
        ("#class=car&part=0", "light"),
        ("#like=3", "dark"),
        ("#photograph=1", "light"),
    ],
)
def test_a_phone_shows_all_of_it(run: Path, open_page: Open, place: str, scheme: str) -> None:
    page = open_page(f"/runs/cars/look{place}", color_scheme=scheme, **PHONE)
    page.locator("main img").first.wait_for()
    assert too_pale(page) == []
    assert too_small(page, 24) == []
    assert nameless(page) == []


def test_a_hostile_name_is_a_name(run: Path, open_page: Open) -> None:
    page = open_page("/runs/cars/look")
    page.locator(".class-card").first.click()
    page.get_by_role("heading", name=HOSTILE, exact=True).wait_for()
    page.get_by_label("Name of part 0").fill('"><script>')
    page.keyboard.press("Enter")
    page.locator("#notice", has_text="<script>").wait_for()
    assert read_part_table(run / TABLE).name(HOSTILE, 0) == '"><script>'

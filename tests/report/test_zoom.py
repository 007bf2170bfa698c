"""The page in a browser, from disk: pictures that enlarge, by mouse, keyboard and without the script."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from partdistillation.report.build import build_report

from ..review.browser import chromium
from .test_report import full

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_report(full("vélo 車"), tmp_path_factory.mktemp("report")).as_uri()


@pytest.fixture
def page(browser: "Browser", address: str) -> "Iterator[Page]":
    """The report; the test fails where the browser had anything to say."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        opened = context.new_page()
        said: list[str] = []
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto(address)
        yield opened
        assert said == []


def large(page: "Page") -> str:
    """The file name of the enlarged picture."""
    return str(page.locator("dialog img").evaluate("image => image.src.split('/').pop()"))


def test_a_click_enlarges_and_keys_go_on(page: "Page") -> None:
    tiles = page.locator(".tiles a.zoom")
    files = [link.split("/")[-1] for link in tiles.evaluate_all("links => links.map(link => link.href)")]
    dialog, caption = page.locator("dialog"), page.locator("dialog p")
    assert not dialog.is_visible()
    tiles.nth(0).click()
    assert dialog.is_visible()
    assert large(page) == files[0]
    assert caption.inner_text() == "vélo 車, vélo 車 (2 of 4)"  # the first is the class's object
    page.keyboard.press("ArrowRight")
    assert large(page) == files[1]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert caption.inner_text().endswith("(1 of 4)")  # round
    page.keyboard.press("ArrowLeft")
    assert large(page) == files[2]
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert tiles.nth(2).evaluate("link => link === document.activeElement")


def test_it_works_without_a_mouse_and_by_its_buttons(page: "Page") -> None:
    page.locator(".hero a.zoom").nth(0).focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    first = large(page)
    page.get_by_role("button", name="Next picture").click()
    assert large(page) != first
    page.get_by_role("button", name="Previous picture").click()
    assert large(page) == first
    page.get_by_role("button", name="Close").click()
    assert not page.locator("dialog").is_visible()
    box = page.locator(".panels a.zoom").nth(1)
    box.click()
    page.mouse.click(3, 400)  # beside the picture
    assert not page.locator("dialog").is_visible()


def test_without_the_script_pictures_are_links(browser: "Browser", address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(address)
        page.locator(".tiles a.zoom").nth(1).click()
        page.wait_for_url("**/images/*.webp")


def test_a_small_phone_shows_all_tabs_and_nothing_is_wider(browser: "Browser", address: str) -> None:
    with browser.new_context(viewport={"width": 320, "height": 568}, is_mobile=True) as context:
        page = context.new_page()
        page.goto(address)
        for tab in page.locator("nav a").all():
            place = tab.bounding_box()
            assert place
            assert 0 <= place["x"] < place["x"] + place["width"] <= 320
        assert page.evaluate("document.documentElement.scrollWidth") <= 320

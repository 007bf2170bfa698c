"""The page of new photographs in a browser, with a model of random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partdistillation.config import Recipe

from ..review.browser import PHONE, too_small
from .conftest import Open
from .tiny_models import encoded, photograph, write_models

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

SLOW = 60_000
"""Milliseconds: the worker loads PyTorch first."""


def test_photographs_are_tried_in_the_browser(
    open_page: Open, tmp_path: Path, tiny_recipe: Recipe, write_network: Callable[..., Path]
) -> None:
    write_models(tmp_path / "runs/cars", tiny_recipe, write_network)
    page = open_page("/runs/cars/try")
    files = [
        {"name": f"{name}.png", "mimeType": "image/png", "buffer": encoded(photograph(width))}
        for name, width in [("a", 96), ("b", 80)]
    ]
    page.locator(".drop input[multiple]").set_input_files(files)  # type: ignore[arg-type]
    page.locator("#notice", has_text="2 photographs looked at").wait_for(timeout=SLOW)
    assert page.locator(".strip button").count() == 2
    page.keyboard.press("ArrowLeft")
    page.locator(".caption", has_text="a.png").wait_for()

    _sliders_hide_without_asking(page)
    _outlines_answer_keys(page)
    _clicks_correct_and_undo(page)
    with page.expect_download() as begun:
        page.get_by_role("button", name="COCO").click()
    assert begun.value.suggested_filename == "a-coco.json"

    page.reload()
    page.locator(".caption", has_text="a.png").wait_for()
    assert page.locator(".strip button").count() == 2

    phone = open_page(page.url.partition("/runs")[1] + page.url.partition("/runs")[2], **PHONE)
    phone.locator(".line:visible").first.wait_for()
    phone.locator("#notice").wait_for(state="hidden")
    assert [
        problem for problem in too_small(phone, 44) if problem.startswith(("page", "button", "input"))
    ] == []
    page.get_by_role("button", name="Forget all").click()
    page.get_by_role("heading", name="Try new photographs").wait_for()
    phone.reload()
    phone.get_by_role("heading", name="Try new photographs").wait_for()


def _sliders_hide_without_asking(page: "Page") -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    page.get_by_label("Size at least").focus()
    page.keyboard.press("Home")
    most = page.locator(".line:visible").count()
    assert most == 1 + page.locator(".of-part:not([hidden])").count() > 1
    page.keyboard.press("End")
    assert 1 <= page.locator(".line:visible").count() == 1 + page.locator(".of-part:not([hidden])").count()
    page.get_by_label("Score at least").focus()
    page.keyboard.press("End")
    assert page.locator(".of-part:not([hidden])").count() == 0
    page.keyboard.press("Home")
    page.get_by_label("Size at least").focus()
    page.keyboard.press("Home")
    assert page.locator(".line:visible").count() == most
    assert asked == []


def _outlines_answer_keys(page: "Page") -> None:
    page.locator(".outlines [tabindex='0']").focus()
    assert page.locator(".tip").is_visible()
    page.keyboard.press("ArrowRight")
    part = page.locator(".line.active").inner_text()
    assert "part" in part
    assert page.locator(".outlines path:focus[aria-label^='part ']").count() == 1
    page.keyboard.press("Enter")
    assert page.locator(".line[aria-pressed=true]").count() == 1


def _clicks_correct_and_undo(page: "Page") -> None:
    """From the keyboard alone: the cross begins in the middle, on the object."""
    from playwright.sync_api import expect

    line = page.locator(".line.whole")
    whole = line.inner_text()
    page.get_by_role("button", name="Correct").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("-")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.locator(".points .outside").wait_for()
    expect(line).not_to_have_text(whole, use_inner_text=True)
    page.get_by_role("button", name="Undo").click()
    expect(line).to_have_text(whole, use_inner_text=True)
    page.keyboard.press("Escape")
    page.locator(".bar").wait_for(state="hidden")

"""A server to look at, a browser to look with, and what is wrong with what it shows.

Chromium comes from the system (Debian: package `chromium`), Playwright only drives it.
"""

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from partdistillation.review import export_verdicts, serve
from partdistillation.review.assignment import Assignment
from partdistillation.review.items import Tiles, add_runs, find_runs
from partdistillation.review.store import ReviewStore
from partdistillation.runs.verdicts import Verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SMALL_PHONE = {"viewport": {"width": 320, "height": 568}, "is_mobile": True, "has_touch": True}
TIMEOUT = 15_000
"""Milliseconds, where something is waited for."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--no-sandbox",  # so that it runs as root, and in containers; it opens nothing but the review
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator["Browser"]:
    """A browser without a window and with a profile of its own; skips the test where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install -e '.[dev]'")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"needs a browser, one of {', '.join(_NAMES)} (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def served(*runs: Path, verdicts: int = 1) -> Iterator[str]:
    """The address of a review of runs, which a thread serves; the photographs are the first one's."""
    with _opened(*runs) as (reviewed, ids):
        application = serve.make_application(
            reviewed, ids, host="127.0.0.1", token=None, verdicts=verdicts, seed=0
        )
        with _answering(application) as address:
            yield address


@contextmanager
def mounted(run: Path, prefix: str) -> Iterator[str]:
    """The address of a run's review as a part of another application, without its guard."""
    from fastapi import FastAPI

    from partdistillation.review.app import make_app

    with _opened(run) as (reviewed, ids):
        whole = FastAPI()
        assignment = Assignment(reviewed, tuple(ids), 1, 0)
        review = make_app(reviewed, assignment, Tiles(reviewed, ids), page_token="", access=None)
        whole.mount(prefix, review)
        with _answering(whole) as address:
            yield address + prefix


@contextmanager
def _opened(*runs: Path) -> Iterator[tuple[ReviewStore, dict[int, Path]]]:
    folder = runs[0] / serve.FOLDER
    folder.mkdir(exist_ok=True)
    with closing(ReviewStore(folder / serve.DATABASE)) as reviewed:
        yield reviewed, add_runs(reviewed, find_runs(runs, runs[0] / "photos"), seed=0)


@contextmanager
def _answering(application: Any) -> Iterator[str]:
    import uvicorn

    with serve.listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)


@dataclass
class Visit:
    """A review that is served, and a page in a browser's profile of its own."""

    out: Path
    address: str
    page: "Page"
    watch: "Watch"

    def begin(self, reviewer: str = "Anna") -> "Page":
        """Open the review, give a name, and wait for the first part."""
        self.page.goto(self.address)
        self.page.get_by_label("Your name").fill(reviewer)
        self.page.keyboard.press("Enter")
        on_part(self.page, 1)
        return self.page

    def verdicts(self) -> list[Verdict]:
        """What is stored."""
        return export_verdicts(self.out / serve.FOLDER / serve.DATABASE)


Visits = Callable[..., Visit]


class Watch:
    """Notes what should not happen on a page: errors, violations of its policy, dialogs, other hosts.

    Args:
        context: whose pages are watched.
        address: of the server; nothing else is to be asked.
    """

    def __init__(self, context: "BrowserContext", address: str) -> None:
        self.problems: list[str] = []
        self.leaves = False
        """Whether to leave a page that asks whether one really wants to."""
        self._address = address
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(f"uncaught: {error.error}"))
        context.on("dialog", self._dialog)
        context.on("request", lambda request: self._asked(request.url))

    def forgive(self, pattern: str) -> None:
        """Forget problems of a kind; there must have been one."""
        kept = [problem for problem in self.problems if not re.search(pattern, problem)]
        assert len(kept) < len(self.problems), f"expected a problem like {pattern}, found {self.problems}"
        self.problems = kept

    def expect(self, page: "Page", pattern: str) -> None:
        """Wait for a problem of a kind, and forget it."""
        end = time.monotonic() + TIMEOUT / 1000
        while not any(re.search(pattern, problem) for problem in self.problems):
            assert time.monotonic() < end, f"expected a problem like {pattern}, found {self.problems}"
            page.wait_for_timeout(20)
        self.forgive(pattern)

    def _console(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning", "assert"):
            self.problems.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog: "Dialog") -> None:
        self.problems.append(f"{dialog.type} dialog: {dialog.message}")
        if self.leaves:
            dialog.accept()
        else:
            dialog.dismiss()

    def _asked(self, url: str) -> None:
        if url != self._address and not url.startswith(f"{self._address}/"):
            self.problems.append(f"asked for {url}")


def on_part(page: "Page", number: int) -> None:
    """Wait until a part is the one that is looked at."""
    page.locator("#part-title", has_text=re.compile(f"^Part {number} of ")).wait_for()


def press(page: "Page", keys: str) -> None:
    """Press keys, separated by spaces; `'word'` is typed letter by letter."""
    for key in keys.split():
        if key.startswith("'"):
            page.keyboard.type(key.strip("'"))
        else:
            page.keyboard.press(key)


def saved(page: "Page") -> None:
    """Wait until the server has acknowledged all answers."""
    page.locator("#saved[data-state=good]").wait_for()


def marked(page: "Page") -> list[int]:
    """Numbers of the images that are marked."""
    pressed = page.locator(".tile").evaluate_all("tiles => tiles.map(tile => tile.ariaPressed)")
    return [number for number, state in enumerate(pressed, start=1) if state == "true"]


def states(page: "Page") -> list[str]:
    """What the list of parts shows of each."""
    found: list[str] = page.locator("#part-list button").evaluate_all(
        "buttons => buttons.map(button => button.dataset.state)"
    )
    return found


def too_pale(page: "Page") -> list[str]:
    """Texts with less contrast than 4.5, edges of controls with less than 3 (WCAG 2.2, level AA)."""
    return _list(page.evaluate(_TOO_PALE))


def too_small(page: "Page", least: int) -> list[str]:
    """Controls that a finger misses, and what reaches over the window's side."""
    return _list(page.evaluate(_TOO_SMALL, least))


def nameless(page: "Page") -> list[str]:
    """Controls, and what shows a value, that a screen reader can't name."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in _NAMED
    ]
    assert found, "expected controls on the page, found none"
    return [role for role, name in found if not name]


def focus_stops(page: "Page") -> dict[str, str]:
    """What Tab comes to, once around the page: for each control's id what is wrong with how it shows that."""
    stops: dict[str, str] = {}
    for _ in range(100):
        page.keyboard.press("Tab")
        name, wrong = page.evaluate(_FOCUSED)  # no name: the window itself
        if name in stops:
            return stops
        if name:
            stops[name] = wrong
    raise AssertionError(f"expected Tab to come around, found {list(stops)}")


def controls(page: "Page") -> list[str]:
    """Ids of the visible controls that Tab should come to: of radio buttons the chosen one."""
    return _list(page.evaluate(_CONTROLS))


def serious(page: "Page") -> list[str]:
    """What axe-core finds that is serious or worse; skips the test where it isn't installed."""
    api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    violations = api.Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['html']}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def _list(found: Any) -> list[str]:
    assert isinstance(found, list)
    return found


_NAMED = (
    "button", "textbox", "combobox", "checkbox", "radio", "progressbar", "dialog", "navigation", "group",
    "radiogroup", "heading", "link", "option", "image", "RootWebArea",
)  # fmt: skip

# Colours as they are painted: layers over each other with their opacities. What lies on a picture is held
# to black and to white. Whoever lies in a dialog lies on nothing else.
_PAINT = """
const visible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const parse = (color) => {
  const found = color.match(/^rgba?\\(([\\d.]+), ([\\d.]+), ([\\d.]+)(?:, ([\\d.]+))?\\)$/);
  if (!found) throw new Error(`expected rgb(), found ${color}`);
  return [...found.slice(1, 4).map(Number), Number(found[4] ?? 1)];
};
const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => a * value + (1 - a) * below[i]);
const mix = (above, below, share) => above.map((value, i) => share * value + (1 - share) * below[i]);
const pathTo = (element) => {
  const path = [];
  for (let one = element; one; one = one.matches("dialog") ? null : one.parentElement) path.unshift(one);
  return path;
};
const onPicture = (element) => Boolean(element.parentElement?.matches(".tile, #part-list button"));
function painted(path, below, color) {
  const [element, ...rest] = path;
  const style = getComputedStyle(element);
  const ground = over(parse(style.backgroundColor), below);
  const inner = rest.length ? painted(rest, ground, color) : color ? over(color, ground) : ground;
  return mix(inner, below, Number(style.opacity));
}
function grounds(element) {
  const path = pathTo(element);
  const picture = path.findIndex(onPicture);
  if (picture < 0) return [[path, [255, 255, 255]]];
  return [[path.slice(picture), [0, 0, 0]], [path.slice(picture), [255, 255, 255]]];
}
const light = (color) => {
  const [r, g, b] = color.map((v) => (v / 255 <= 0.04045 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
  return (bright + 0.05) / (dark + 0.05);
};
// The least contrast of a colour on an element with what lies under it.
const contrastOn = (element, color) =>
  Math.min(...grounds(element).map(([path, below]) =>
    contrast(painted(path, below, parse(color)), painted(path, below, null))));
const told = (element, text) =>
  `${element.tagName.toLowerCase()}#${element.id || element.className}: ${text}`;
"""

_TOO_PALE = f"""() => {{
{_PAINT}
const problems = [];
const check = (element, color, what, least) => {{
  const found = contrastOn(element, color);
  if (!(found >= least)) problems.push(told(element, `${{what}} has ${{found.toFixed(2)}}`));
}};
const texts = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
let checked = 0;
for (const element of document.body.querySelectorAll("*")) {{
  if (!visible(element) || element.closest(":disabled, datalist")) continue;
  const style = getComputedStyle(element);
  if (texts(element)) checked += 1, check(element, style.color, `"${{element.textContent.trim()}}"`, 4.5);
  if (element.matches("input:placeholder-shown[placeholder]")) {{
    check(element, getComputedStyle(element, "::placeholder").color, "the placeholder", 4.5);
  }}
  if (element.matches("input[type=text]") && element.value) check(element, style.color, "its value", 4.5);
  for (const pseudo of ["::before", "::after"]) {{
    const its = getComputedStyle(element, pseudo);
    if (!/^"\\S/.test(its.content)) continue;
    const ground = parse(its.backgroundColor);
    if (ground[3] === 1) {{
      const found = contrast(parse(its.color).slice(0, 3), ground.slice(0, 3));
      if (!(found >= 4.5)) problems.push(told(element, `${{its.content}} has ${{found.toFixed(2)}}`));
    }} else check(element, its.color, its.content, 4.5);
  }}
  // The edge of what is to be pressed or filled in, unless its text or picture alone shows that.
  const plain = "button:not(.quiet, .tile, .enlarge, #part-list *)";
  if (element.matches(`input[type=text], input[type=password], ${{plain}}`)) {{
    check(element.parentElement, style.borderTopColor, "its edge", 3);
  }}
  const current = '#part-list [aria-current="step"]';
  if (element.matches(`.tile[aria-pressed="true"], .choice input:checked + label, ${{current}}`)) {{
    const shadow = style.boxShadow.match(/rgba?\\([^)]*\\)/g)?.at(-1);
    const color = element.matches(current) ? style.borderTopColor : shadow;
    check(element.parentElement, color, "the mark", 3);
  }}
}}
if (checked < 3) throw new Error("expected texts on the page, found none");
return problems;
}}"""

_TOO_SMALL = f"""(least) => {{
{_PAINT}
const problems = [];
const {{ scrollWidth, clientWidth }} = document.documentElement;
if (scrollWidth > clientWidth) problems.push(`page: ${{scrollWidth}} wide, the window ${{clientWidth}}`);
const within = document.querySelector("dialog[open]") ?? document.body;
for (const element of within.querySelectorAll("button, input, a, select, summary")) {{
  const target = element.matches("[type=radio], [type=checkbox]") ? element.labels[0] : element;
  if (!visible(target)) continue;
  const {{ width, height }} = target.getBoundingClientRect();
  if (Math.min(width, height) < least - 0.01) {{
    problems.push(told(element, `${{width.toFixed(1)}} x ${{height.toFixed(1)}}`));
  }}
}}
return problems;
}}"""

_FOCUSED = f"""() => {{
{_PAINT}
const element = document.activeElement;
if (!element || element === document.body) return ["", ""];
const shown = element.matches(".choice input") ? element.labels[0] : element;
const {{ outlineStyle, outlineWidth, outlineColor }} = getComputedStyle(shown);
const wrong = [];
if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) wrong.push("no outline");
const found = contrastOn(shown.parentElement, outlineColor);
if (found < 3) wrong.push(`contrast ${{found.toFixed(2)}}`);
const {{ top, bottom, left, right }} = shown.getBoundingClientRect();
if (bottom <= 0 || top >= innerHeight || right <= 0 || left >= innerWidth) wrong.push("out of sight");
return [element.id, wrong.join(", ")];
}}"""

_CONTROLS = """() => {
const within = document.querySelector("dialog[open]") ?? document.body;
return [...within.querySelectorAll("button, input")]
  .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0)
  .filter((one) => one.type !== "radio" || one.checked)
  .map((one) => one.id || "?");
}"""

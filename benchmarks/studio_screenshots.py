"""Screenshots of the studio, for the pages: docs/images/studio-*.webp, of a demo that was run before.

Needs Chromium (Debian's) and Playwright.

    partdistill demo --out out/demo
    python benchmarks/studio_screenshots.py out/demo
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from review_screenshots import DESKTOP, FLAGS, PHONE, shoot

RUN = "drawings"
CATEGORY, PART = "bicycle", 4
TRIED = ("000001.png", "000002.png")
LATEST = 60_000
"""Milliseconds, for what comes."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a studio that `partdistill studio` serves."""
    command = [sys.executable, "-m", "partdistillation", "studio", str(folder), "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[2].rstrip("/")
    finally:
        process.terminate()
        process.wait()


def opened(browser: Browser, address: str, *, dark: bool = False, phone: bool = False) -> Page:
    """A page of the studio."""
    context = browser.new_context(
        viewport=PHONE if phone else ViewportSize(width=DESKTOP["width"], height=DESKTOP["height"]),
        is_mobile=phone,
        has_touch=phone,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(LATEST)
    page = context.new_page()
    page.goto(address)
    page.locator("main :is(h1, h2):visible").first.wait_for()
    page.wait_for_load_state("networkidle")
    return page


def tried(browser: Browser, address: str, photographs: list[Path]) -> Page:
    """The page Try with what is seen on photographs, the last of them in sight."""
    page = opened(browser, address)
    page.set_input_files("input[type=file]", [*photographs])
    page.locator(".strip button, .strip a").nth(len(photographs) - 1).wait_for()
    page.locator("svg path").first.wait_for()
    page.wait_for_load_state("networkidle")
    return page


def main() -> None:
    """Make the screenshots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path, help="folder of a finished demo")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    demo = arguments.demo.resolve()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        shutil.copytree(demo, Path(scratch) / RUN)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        with served(Path(scratch)) as studio:
            run = f"{studio}/runs/{RUN}"
            of_class = f"{run}/look#class={CATEGORY}"
            shots = {
                "look": opened(browser, of_class),
                "part": opened(browser, f"{of_class}&part={PART}", dark=True),
                "watch": opened(browser, f"{run}/watch"),
                "phone": opened(browser, of_class, phone=True),
                "try": tried(browser, f"{run}/try", [demo / "data" / "val" / name for name in TRIED]),
            }
            for name, page in shots.items():
                page.wait_for_timeout(3000)  # until the pictures in sight were asked for
                shoot(page, arguments.out / f"studio-{name}.webp")
        browser.close()


if __name__ == "__main__":
    main()

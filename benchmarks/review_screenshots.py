"""Screenshots of the review tool, for the pages: docs/images/review-*.png.

The parts are those that PartShapes was drawn with, some mixed up on purpose, so that there is much to say:
one is another's double, one is a different part in each image. They go from the first page to the last.
Needs Chromium (Debian's) and Playwright.

    python benchmarks/review_screenshots.py --out docs/images
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from drawn import write_rows
from PIL import Image
from playwright.sync_api import BrowserContext, Page, ViewportSize, sync_playwright

from partdistillation.functional.masks import box, encode
from partdistillation.part_shapes import PartShapes
from partdistillation.part_shapes.scene import SceneObject
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow

SIZE = 320
CLASSES = ("horse", "bicycle", "bird", "person", "truck")
FIRST = "horse"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=390, height=844)
SAVED_WIDTH = 1000
"""Pixels; wider pictures are made smaller, and all get a palette: each is to stay below 150 kB."""


def write_run(out: Path, images: int) -> Path:
    """Drawings and rows as a run leaves them; the folder of drawings."""
    photos = out / "photos"
    photos.mkdir()
    drawings = PartShapes(seed=3, size=SIZE)
    objects, parts = [], []
    for index in range(images):
        scene, name = drawings[index], f"{index:06d}.png"
        Image.fromarray(scene.image).save(photos / name)
        row = name, name, SIZE, SIZE, "ok", ""
        visible = [instance for instance in scene.objects if instance.category in CLASSES]
        objects.append(ObjectRow(*row, tuple(_object(i, instance) for i, instance in enumerate(visible))))  # type: ignore[arg-type]
        parts.append(PartRow(*row, tuple(_parts(i, instance, index) for i, instance in enumerate(visible))))  # type: ignore[arg-type]
    write_rows(out / "objects", objects)
    write_rows(out / "parts", parts)
    return photos


def _object(identity: int, instance: SceneObject) -> Object:
    return Object(
        identity, instance.category, 1.0, int(instance.mask.sum()), box(instance.mask), encode(instance.mask)
    )


def _parts(identity: int, instance: SceneObject, index: int) -> ObjectParts:
    """The object's parts. In some images the third is of class 6, and one after the other of class 7."""
    names = PartShapes.PART_NAMES[instance.category]
    classes = {part.name: names.index(part.name) for part in instance.parts}
    if index % 3 == 0 and names[2] in classes:
        classes[names[2]] = 6
    if index % 4 == 1:
        classes[instance.parts[index // 4 % len(instance.parts)].name] = 7
    regions = (
        Part(classes[part.name], 1.0, 1.0, int(part.mask.sum()), encode(part.mask)) for part in instance.parts
    )
    return ObjectParts(identity, instance.category, tuple(regions))


@contextmanager
def served(out: Path, photos: Path) -> Iterator[str]:
    """The address of a review that `partdistill review` serves."""
    command = [
        sys.executable,
        "-m",
        "partdistillation",
        "review",
        str(out),
        "--images",
        str(photos),
    ]
    command += ["--port", "0", "--verdicts", "9"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[2]
    finally:
        process.terminate()
        process.wait()


def welcome(context: BrowserContext, address: str) -> Page:
    """The page as it is seen first."""
    page = context.new_page()
    page.goto(address)
    page.get_by_text("parts to judge").wait_for()
    return page


def start(page: Page, reviewer: str) -> Page:
    """The page as a reviewer sees it who has come to `FIRST` and answered some of its parts."""
    page.get_by_label("Your name").fill(reviewer)
    page.get_by_role("button", name="Start").click()
    for number in range(1, len(CLASSES) + 1):
        page.locator("#place", has_text=f"class {number}").wait_for()
        if page.locator("#category").text_content() == FIRST:
            break
        page.keyboard.press("PageDown")
    for marks, name in (("a", "torso"), ("a", "head"), ("1245789", "leg")):
        for key in (*marks, "e"):
            page.keyboard.press(key)
        page.keyboard.type(name)
        page.keyboard.press("Enter")
    page.locator("#saved[data-state=good]").wait_for()
    return page


def finish(page: Page) -> None:
    """Answer whatever is left, somehow."""
    for number in range(200):
        if page.get_by_role("heading", name="What came of it").is_visible():
            return
        if page.locator("#review[aria-busy=false]").is_visible():
            for key in (*("a", "12", "a", "124578")[number % 4], "r" if number % 7 == 6 else "Enter"):
                page.keyboard.press(key)
        page.wait_for_timeout(200)
    raise RuntimeError("expected the review to come to its end")


_SHOWN = """[...document.images].every(image => {
  const { top, left } = image.getBoundingClientRect();
  return !image.checkVisibility() || top > innerHeight || left > innerWidth || image.naturalWidth;
})"""


def shoot(page: Page, path: Path) -> None:
    """Save what the window shows; a .png in a palette of 128 colours."""
    # The page's policy forbids what Playwright's `wait_for_function` does.
    while not page.evaluate(_SHOWN):
        page.wait_for_timeout(50)
    with Image.open(BytesIO(page.screenshot())) as shot:
        picture = shot.convert("RGB")
    picture.thumbnail((SAVED_WIDTH, SAVED_WIDTH), Image.Resampling.LANCZOS)
    if path.suffix == ".png":
        picture.quantize(128, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    else:
        picture.save(path, quality=82, method=6)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Make the screenshots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        photos = write_run(Path(scratch), arguments.images)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        with served(Path(scratch), photos) as address:
            light = browser.new_context(viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
            page = welcome(light, address)
            shoot(page, arguments.out / "review-start.png")
            start(page, "Anna").keyboard.press("a")
            shoot(page, arguments.out / "review-light.png")
            dark = browser.new_context(viewport=DESKTOP, color_scheme="dark", reduced_motion="reduce")
            page = start(welcome(dark, address), "Ben")
            for key in ("ArrowRight", "ArrowRight", "a", "m", "3"):
                page.keyboard.press(key)
            shoot(page, arguments.out / "review-dark.png")
            page.keyboard.press("z")
            page.locator("#large-picture[src$='/large']").wait_for()
            shoot(page, arguments.out / "review-enlarged.png")
            page.keyboard.press("Escape")
            phone = browser.new_context(
                viewport=PHONE,
                is_mobile=True,
                has_touch=True,
                device_scale_factor=1.25,
                color_scheme="light",
                reduced_motion="reduce",
            )
            page = start(welcome(phone, address), "Cem")
            for key in "1267":
                page.keyboard.press(key)
            shoot(page, arguments.out / "review-phone.png")
            late = browser.new_context(viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
            page = start(welcome(late, address), "Dana")
            finish(page)
            shoot(page, arguments.out / "review-end.png")
        browser.close()


if __name__ == "__main__":
    main()

"""What is installed elsewhere: the image's recipe fits the package."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_the_image_installs_the_package_as_it_is_described() -> None:
    torch = next(name for name in PROJECT["dependencies"] if name.startswith("torch"))
    assert f"'{torch}'" in DOCKERFILE
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    copied = {
        name for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    }
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert copied == set(kept)
    assert all((ROOT / name).exists() for name in copied)

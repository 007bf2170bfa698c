"""What the site's build does besides (mkdocs.yml): pages lie as in the repository, so that links work."""

import logging
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
BESIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "benchmarks/results.md",
    "examples/README.md",
)
"""What is outside `docs/` and belongs to the site, or is linked to by its pages."""
LOADED = re.compile(
    r"""<(?:script|img|iframe|link(?!\s+rel="?canonical))\b[^>]*=["']?((?:https?:)?//[^"'\s>]+)"""
)
"""What a browser fetches by itself from elsewhere."""

BEGINNING = re.compile(r"^(?![-*|>#\s`])(.+)\n(?=- |\| |\* )", re.MULTILINE)
"""A line of text before a list or a table."""

_log = logging.getLogger("mkdocs.hooks.pages")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files in the folders that they have in the repository."""
    own = {file: Path(str(file.abs_src_path)) for file in files}
    inside = [path for path in own.values() if path.is_relative_to(config.docs_dir) and path.suffix != ".py"]
    paths = [*(ROOT / name for name in BESIDE), *inside]
    theme = [file for file, path in own.items() if not path.is_relative_to(config.docs_dir)]
    moved = [
        File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)) for path in paths
    ]
    return Files([*theme, *moved])


def on_page_markdown(markdown: str, **_: object) -> str:
    """With an empty line before each list and table, which GitHub does without and the site doesn't."""
    return BEGINNING.sub(r"\1\n\n", markdown)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Warn, which fails the build, of what readers' browsers would fetch from elsewhere."""
    for address in LOADED.findall(output):
        _log.warning("%s loads %s: keep it in the repository", page.file.src_uri, address)
    return output

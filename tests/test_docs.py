"""The pages are true: commands parse, links lead somewhere, names exist."""

import ast
import builtins
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import partdistillation
from partdistillation.commands import main as cli
from partdistillation.commands import parsing
from partdistillation.config import Document, Inputs
from partdistillation.recipes import PAPER

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "partdistillation"
PAGES = (
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
)
API = ROOT / "docs" / "api.md"

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
FOLDERS = ("src/", "tests/", "docs/", "benchmarks/", "examples/", ".ci/")
TORCHRUN = re.compile(r"torchrun --nproc-per-node \d+ -m partdistillation ")

NOT_THERE = frozenset({"utils.py"})
"""Named because it isn't there."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for indent, language, block in FENCE.findall(text_of(page)):
        if language in languages:
            yield re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)


def spans(page: Path) -> Iterator[str]:
    """Inline code."""
    for line in FENCE.sub("", text_of(page)).splitlines():
        assert line.count("`") % 2 == 0, f"{name_of(page)}: inline code over two lines: {line}"
        yield from CODE.findall(line)


def commands(page: Path) -> Iterator[str]:
    """Command lines of `partdistill`, in blocks and inline. Inline, `partdistill run` is just a name."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            line = TORCHRUN.sub("partdistill ", line)
            if line.startswith("partdistill "):
                yield line
    known = {f"partdistill {name}" for name in cli.COMMANDS}
    yield from (span for span in spans(page) if re.match(r"partdistill \S+ ", span) and span not in known)


# ---------------------------------------------------------------------- commands


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parsing, "open_mirror", lambda _: tmp_path / "mirror")
    ran: list[str] = []
    for name, known in cli.COMMANDS.items():
        monkeypatch.setitem(cli.COMMANDS, name, known._replace(function=partial(_note, ran, name)))
    for command in commands(page):
        _, name, *args = shlex.split(command, comments=True)
        if "--config" in args:
            config = Path(args[args.index("--config") + 1])
            config.parent.mkdir(parents=True, exist_ok=True)
            config.write_bytes((ROOT / config).read_bytes() if (ROOT / config).is_file() else b"")
        assert cli.main([name, *args]) == 0, command
        if "--help" not in args and name != "help":
            assert f"{name} {args[0] if args else ''} ".startswith(f"{ran[-1]} ")


def _note(ran: list[str], name: str, _: object) -> None:
    ran.append(name)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_commands_exist(page: Path) -> None:
    named = {match[1] for span in spans(page) if (match := re.fullmatch(r"partdistill (\w+( \w+)?)", span))}
    assert named <= {*cli.COMMANDS, *(name.split()[0] for name in cli.COMMANDS), "help"}
    made = {
        match[1]
        for text in (*spans(page), *blocks(page, "bash"))
        for match in re.finditer(r"^(?:\w+=\S+ )?make ([\w-]+)", text, re.MULTILINE)
    }
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert made <= targets


def test_yaml_holds_settings() -> None:
    found = [block for page in PAGES for block in blocks(page, "yaml")]
    assert found
    for block in found:
        Document(**vars(PAPER)).updated(yaml.safe_load(block))


# ---------------------------------------------------------------------- links and names


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", text_of(page))):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{link}: {target.name} has no such heading"


@cache
def public_names() -> frozenset[str]:
    """Every class and function of the package, what its modules import, and what Python has built in."""
    names = set(dir(builtins))
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names |= {(alias.asname or alias.name).split(".")[-1] for alias in node.names}
    return frozenset(names)


@cache
def flags() -> frozenset[str]:
    """The flags of all commands: those that aren't settings are named in the arguments' classes."""
    own = {entry.name for command in cli.COMMANDS.values() for entry in fields(command.arguments)}
    own |= {entry.name for entry in fields(Inputs)}
    return frozenset(f"--{name.replace('_', '-')}" for name in own | {"help", "version", "encoder"})


def is_setting(name: str) -> bool:
    value: Any = PAPER
    for part in name.split("."):
        if not is_dataclass(value) or part not in {entry.name for entry in fields(value)}:
            return False
        value = getattr(value, part)
    return True


def is_importable(name: str) -> bool:
    """Whether `functional.metrics.mean_iou`, with or without the package's name, is a module or in one."""
    parts = f"partdistillation.{name.removeprefix('partdistillation').lstrip('.')}".split(".")
    found: Any = partdistillation
    for place, part in enumerate(parts[1:], start=2):
        if not hasattr(found, part):
            try:
                importlib.import_module(".".join(parts[:place]))
            except ImportError:
                return False
        found = getattr(found, part)
    return True


def problem(span: str) -> str | None:
    """Why a piece of inline code isn't true; None where it is, or says nothing that can be looked up."""
    if span.startswith(FOLDERS) and not span.endswith("/"):
        return None if (ROOT / span).exists() else "no such file"
    if re.fullmatch(r"[\w/]+\.py", span):
        return None if (PACKAGE / span).exists() else f"no such file in {PACKAGE.name}"
    if match := re.match(r"(--[a-z][\w.-]*)", span):
        known = match[1] in flags() or is_setting(match[1].removeprefix("--").replace("-", "_"))
        return None if known else "no such flag"
    if re.fullmatch(r"(?:[A-Z][a-z0-9]+){2,}", span) or re.fullmatch(r"\w+\(\)", span):
        return None if span.removesuffix("()") in public_names() else "no such class or function"
    top = {path.stem for path in PACKAGE.iterdir()} | {entry.name for entry in fields(PAPER)}
    if re.fullmatch(r"[a-z_]+(\.\w+)+", span) and span.split(".")[0] in {*top, "partdistillation"}:
        is_file = re.search(r"\.(json|jsonl|yaml|html|md|safetensors|parquet|png|csv|txt)$", span)
        if not is_file and not is_setting(span) and not is_importable(span):
            return "no such module, function or setting"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_things_exist(page: Path) -> None:
    looked_up = set(spans(page)) - NOT_THERE
    assert [f"`{span}`: {found}" for span in looked_up if (found := problem(span))] == []


@pytest.mark.parametrize(
    "span",
    [
        "src/gone.py",
        "stages/gone.py",
        "--gone",
        "--segments.gone",
        "PartGone",
        "segments.gone",
        "stages.gone.gone",
    ],
)
def test_the_rule_would_notice(span: str) -> None:
    assert problem(span)


def test_every_decision_is_listed() -> None:
    index = ROOT / "docs" / "decisions" / "README.md"
    assert sorted(LINK.findall(text_of(index))) == sorted(
        page.name for page in index.parent.glob("*.md") if page != index
    )


def test_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == partdistillation.__version__
    newest = re.search(r"^## (\S+) - (\S+)$", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest.groups() == (citation["version"], str(citation["date-released"]))


# ---------------------------------------------------------------------- Python


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_compiles_and_imports(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, name_of(page), "exec")
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (node.module or "").startswith("partdistillation"):
                        assert is_importable(f"{node.module}.{alias.name}"), ast.unparse(node)


def documented() -> list[str]:
    """Dotted names of the API page's entries."""
    return re.findall(r"^::: partdistillation\.([\w.]+)$", text_of(API), re.MULTILINE)


@pytest.mark.parametrize("name", documented())
def test_what_the_api_page_lists_has_docstrings(name: str) -> None:
    path, _, last = name.rpartition(".")
    home = importlib.import_module(f"partdistillation.{path}")
    thing = getattr(home, last)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__module__ == home.__name__, "listed where it isn't defined"
        assert inspect.getdoc(thing)
        for member, value in vars(thing).items():
            if not member.startswith("_") and inspect.isroutine(value):
                assert inspect.getdoc(value), member


def test_every_stable_function_is_documented() -> None:
    names = documented()
    assert len(names) == len(set(names)) == text_of(API).count("\n::: ")
    assert set(names) >= {
        "functional.grouping.group_pixels",
        "functional.dense_crf.dense_crf",
        "functional.metrics.average_recall",
        "functional.metrics.majority_vote",
        "functional.metrics.mean_iou",
        "convert.mask2former.load_official_state_dict",
        "inference.segmenter.PartSegmenter",
        "pipeline.run",
    }

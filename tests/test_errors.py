"""What errors advise works, and is written in one place."""

import ast
import tomllib
from pathlib import Path

from partdistillation.errors import to_install

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "partdistillation"


def test_extras_are_installed_from_a_clone() -> None:
    assert to_install("review") == "pip install '.[review]'"


def test_commands_that_install_are_written_once() -> None:
    holding = [path.name for path in PACKAGE.rglob("*.py") if "pip install" in path.read_text("utf-8")]
    assert holding == ["errors.py"]


def test_extras_that_are_advised_exist() -> None:
    calls = [
        call
        for path in PACKAGE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call)
    ]
    named = [call.args[0] for call in calls if ast.unparse(call.func) == "to_install"]
    opened = [call for call in calls if ast.unparse(call.func) == "open_session"]
    named += [keyword.value for call in opened for keyword in call.keywords if keyword.arg == "extra"]
    advised = {node.value for node in named if isinstance(node, ast.Constant)}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert advised
    assert advised <= set(extras)


def test_pages_install_from_a_clone() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        assert "install 'partdistillation[" not in page.read_text("utf-8"), page

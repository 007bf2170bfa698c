"""Variables are nouns of the field: `proposal`, `overlaps`, `row`, never `one` or `found`."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
FILLERS = frozenset({"one", "found", "its", "each", "given", "shown"})
"""Words that say nothing of what they stand for."""


def bound_names(tree: ast.AST) -> Iterator[str]:
    """The names that code gives: of variables, in loops and comprehensions, of arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def test_hardly_any_variable_is_a_filler() -> None:
    names = 0
    fillers: Counter[str] = Counter()
    for path in SOURCE.rglob("*.py"):
        bound = list(bound_names(ast.parse(path.read_text(encoding="utf-8"))))
        names += len(bound)
        fillers[str(path.relative_to(SOURCE))] += sum(name in FILLERS for name in bound)
    assert fillers.total() < 0.01 * names, fillers.most_common(10)


def test_the_rule_would_notice() -> None:
    tree = ast.parse(
        "def f(given):\n    found = [one.mask for one in given]\n    for its, proposal in found: pass\n"
    )
    assert sorted(bound_names(tree)) == ["found", "given", "its", "one", "proposal"]

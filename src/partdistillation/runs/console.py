"""Tables and bars for a terminal, of text that others have written: see `terminal.py`. Nothing is markup."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from partdistillation.runs.terminal import encoding_of, printable


def words(text: str, style: str = "") -> Text:
    """A text to be laid out on standard output, as in a table's cell."""
    return Text(printable(text, encoding_of(sys.stdout)), style=style)


class PlainConsole(Console):
    """A console that takes text for text."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's; what can't be printed is written out before anything is measured."""
        return super().render_str(printable(text, self.encoding), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's; whatever way a text came, it is printable in the end."""
        for segment in super().render(renderable, options):
            yield (
                segment if segment.control else segment._replace(text=printable(segment.text, self.encoding))
            )

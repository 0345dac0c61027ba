r"""Text from events and files on a terminal: it must not steer it, nor look like something else than it is.

A control character may clear the screen, set the window's title or answer in the operator's name; one that turns
the direction of writing shows a name backwards (Unicode Technical Report 36, "Bidirectional Text Spoofing"). Here
they are written out, as in `\x1b` or `\u202e`. `shown` guards a whole stream, so that nobody has to think of it
where he prints; `console` is for what draws with colours.
"""

import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO, cast
from unicodedata import category

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's classes of control characters, invisible marks of format, lone surrogates and other ends of lines."""


def visible(text: str, *, keep: str = "") -> str:
    """Return text with what a terminal would obey or hide written out, except the characters in `keep`."""
    if text.isprintable():
        return text
    hidden = {one for one in set(text) - set(keep) if category(one) in _HIDDEN}
    return "".join(one.encode("unicode_escape").decode() if one in hidden else one for one in text)


class _Shown:
    """A text stream that writes out what a terminal would obey; bytes pass by as they are."""

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath

    def write(self, text: str) -> int:
        self.beneath.write(visible(text, keep="\n\t"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.beneath, name)


def shown(stream: TextIO) -> TextIO:
    """Return a stream for text from anywhere."""
    return cast("TextIO", _Shown(stream))


def beneath(stream: TextIO) -> TextIO:
    """Return the stream below `shown`, for who draws with a terminal's own commands and guards the text himself."""
    return stream.beneath if isinstance(stream, _Shown) else stream


def console(*, stderr: bool = False, **options: Any) -> Console:
    """Return a console whose colours work, and on which text from anywhere is written out."""
    made = Console(file=beneath(sys.stderr if stderr else sys.stdout), **options)
    made.push_render_hook(_WritesOut())
    return made


class _WritesOut(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_WrittenOut(renderable) for renderable in renderables]


class _WrittenOut:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, made: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in made.render(self._renderable, options):
            yield Segment(text if control else visible(text, keep="\n"), style, control)

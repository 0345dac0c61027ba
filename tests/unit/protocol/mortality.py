"""A process that may be killed on either side of every commit and of every call."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from workers.kernel.ledger.database import Database


class Killed(BaseException):
    """The process is gone: no handler may do anything about it, as after kill -9."""


@dataclass
class Fuse:
    """Lets the process live for so many steps more, or so many calls of a target's.

    A step is one side of a commit or of a call: before it, inside it, after it.
    """

    steps: int | None = None
    calls: int | None = None
    dead: bool = False

    def step(self) -> None:
        if self.dead or self.steps == 0:
            self.dead = True
            raise Killed
        if self.steps is not None:
            self.steps -= 1

    def call(self) -> None:
        self.step()
        if self.calls == 0:
            self.dead = True
            raise Killed
        if self.calls is not None:
            self.calls -= 1

    @contextmanager
    def lit(self, steps: int | None, calls: int | None) -> Iterator[None]:
        """Let what happens inside live no longer than that; afterwards another process has been started."""
        self.steps, self.calls = steps, calls
        try:
            yield
        finally:
            self.steps, self.calls, self.dead = None, None, False


class MortalDatabase(Database):
    """A database whose client may die before a transaction, before its commit or right after it."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self.fuse = fuse

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.fuse.step()
        with super().write() as connection:
            yield connection
            self.fuse.step()
        self.fuse.step()

"""`rules.toml` of a running service: read again when it changes, so that an operator's rule is followed at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from workers.kernel.errors import InputUnusable
from workers.records.files.decode import read_named
from workers.remedies.rules import Rules, digest_of, load_rules, read_alias_file

_UNTOLD: Final = ""
"""A process before this one may have told of a fault: the first word, also that there is none, is always told."""


class RulesFile:
    """A rules file and its alias file, told apart by what stands in them.

    `rules` are what stood in them last. While they cannot be read, the last rules that could be stay in force.
    `tell` is called with the reason when that begins, and with None when it has ended or was over before.
    """

    def __init__(self, path: Path, rules: Rules, tell: Callable[[InputUnusable | None], None]) -> None:
        self._path = path
        self._rules = rules
        self._tell = tell
        self._fault: str | None = _UNTOLD

    def current(self) -> Rules:
        """Return the rules as the file has them now, or had them last."""
        try:
            if self._has_changed():
                self._rules = load_rules(self._path)
        except InputUnusable as error:
            self._note(error)
        else:
            self._note(None)
        return self._rules

    def _has_changed(self) -> bool:
        aliases = read_alias_file(self._rules.customers, self._path.parent)
        return digest_of(read_named(self._path), aliases) != self._rules.digest

    def _note(self, fault: InputUnusable | None) -> None:
        said = str(fault) if fault else None
        if said != self._fault:
            self._tell(fault)
            self._fault = said

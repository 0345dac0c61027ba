"""The folder that a plan is written to: corrected, deferred, quarantined, unreadable records, changes.

It appears whole or not at all: everything is written into a folder beside it, which then takes its place. A folder
that is there already is replaced only if an earlier plan wrote it, or if it is empty.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.errors import InputUnusable
from workers.offline.own_files import VERDICT, verdict_headers
from workers.records.files.stripe_formats import TEMPLATES, template_columns
from workers.records.files.write import CsvWriter, TemplateWriter, WrittenFile
from workers.records.schema import (
    CHANGES,
    IDENTIFIER,
    OUTCOME,
    QUANTITY,
    RAW,
    ROW,
    SOURCE,
    UNREADABLE,
    VALID_FROM,
)

PLAN: Final = "plan.json"
_PLAIN: Final = {SOURCE: "source", ROW: "row", UNREADABLE: "reason", RAW: "raw"}
_WRITER: Final = "metermend repair"
_CHANGE: Final = ("column", "before", "after", "remedy")
_CHANGE_TYPE: Final = pl.List(pl.Struct(dict.fromkeys(_CHANGE, pl.String)))


class PlanFolder:
    """The writers of a plan. A file without records is not written."""

    def __init__(self, folder: Path, columns: Sequence[str], headers: Mapping[str, str], output: str) -> None:
        verdict = verdict_headers({headers.get(column, column) for column in columns})
        deferred = [*columns, *VERDICT]
        quarantine = [name for name in deferred if name != VALID_FROM]
        self.template = TEMPLATES[output]
        self._columns = template_columns(columns)
        self._corrected = TemplateWriter(folder / "corrected", output)
        self._others = {
            "quarantine": CsvWriter(folder / "quarantine.csv", quarantine, {**headers, **verdict}),
            "deferred": CsvWriter(folder / "deferred.csv", deferred, {**headers, **verdict}),
            "changes": CsvWriter(folder / "changes.csv", [SOURCE, ROW, IDENTIFIER, *_CHANGE], _PLAIN),
            "unreadable": CsvWriter(folder / "unreadable.csv", [SOURCE, ROW, UNREADABLE, RAW], _PLAIN),
        }
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for writer in (self._corrected, *self._others.values()):
            self._open.enter_context(writer)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def append(self, corrected: Iterable[tuple[bytes, int]], treated: pl.DataFrame) -> None:
        """Write one run's records."""
        for text, records in corrected:
            self._corrected.append_text(text, records, self._columns)
        self._others["quarantine"].append(treated.filter(pl.col(OUTCOME) == Outcome.QUARANTINED))
        self._others["deferred"].append(treated.filter(pl.col(OUTCOME) == Outcome.DEFERRED))
        self._others["changes"].append(changes_of(treated))
        self._others["unreadable"].append(treated.filter(pl.col(UNREADABLE).is_not_null()))

    def close(self) -> dict[str, list[WrittenFile]]:
        """Finish the files and return them by kind."""
        written = {"corrected": self._corrected.close()}
        return written | {kind: files for kind, writer in self._others.items() if (files := writer.close())}


@contextmanager
def replaced_folder(out: Path, inputs: Sequence[Path]) -> Iterator[Path]:
    """Yield a new folder that takes the place of `out` when the block ends well, and is dropped when it does not.

    Raises InputUnusable where `out` holds anything that no plan wrote, or one of the inputs.
    """
    _refuse_foreign(out, inputs)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent, ignore_cleanup_errors=True) as name:
            fresh = Path(name)
            yield fresh
            fresh.chmod(0o755)
            _swap(fresh, out)
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise InputUnusable(why, where=str(out), mend="make room there, or choose another --out") from error


def write_plan(folder: Path, document: Mapping[str, Any]) -> None:
    """Write plan.json."""
    text = json.dumps({"written_by": _WRITER, **document}, indent=2, ensure_ascii=False)
    (folder / PLAN).write_text(text + "\n", encoding="utf-8")


def _refuse_foreign(out: Path, inputs: Sequence[Path]) -> None:
    if any(path.resolve().is_relative_to(out.resolve()) for path in inputs):
        raise InputUnusable("it holds the file that is to be repaired", where=str(out), mend="choose another --out")
    if not out.exists() or (out.is_dir() and (not any(out.iterdir()) or _is_plan(out))):
        return
    raise InputUnusable("it is there already and no plan wrote it", where=str(out), mend="choose another --out")


def _is_plan(folder: Path) -> bool:
    try:
        document = json.loads((folder / PLAN).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("written_by") == _WRITER


def _swap(fresh: Path, out: Path) -> None:
    """Put the new folder in place of the old one. A crash in between leaves both, under names that tell."""
    if not out.exists():
        fresh.rename(out)
        return
    old = fresh.with_name(f"{fresh.name}-replaced")
    out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old)


def changes_of(treated: pl.DataFrame) -> pl.DataFrame:
    """Return one row per change, with the column, the texts before and after, and the remedy that did it."""
    changed = treated.filter(pl.col(CHANGES).is_not_null()).select(SOURCE, ROW, IDENTIFIER, QUANTITY, CHANGES)
    listed = changed.with_columns(pl.col(CHANGES).str.json_decode(_CHANGE_TYPE)).explode(CHANGES)
    return listed.unnest(CHANGES)

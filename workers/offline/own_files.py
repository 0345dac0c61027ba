"""quarantine.csv and deferred.csv, as `repair` writes them and as somebody gives them back with mended records.

They are known by their header. Then metermend's columns are no columns of the sender's, and of Stripe's words only
`refused_as` counts: the records come from files of both kinds. A record without it was never sent, or is to be sent
as it stands, and is judged as usage. A refused one is answered where a remedy changes it, as in the file that it
came from, or where somebody has: `digest` tells the record as it was.

What waited for what other records of its file say (another has its identifier; the file writes `12,5`, so `1.234`
has two readings) would look sound alone. It goes on waiting until somebody changes it, or a rule decides.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import polars as pl

from workers.kernel.codes import Code, Outcome
from workers.kernel.reasons import (
    IDENTIFIER_REPEATED,
    ROW_CONTRADICTED,
    TOLD_TWICE,
    VALUE_OF_OTHER_NOTATION,
    WOULD_OVERWRITE,
)
from workers.offline.scan import FileFacts
from workers.records.files.layout import Finding, Layout
from workers.records.files.write import for_spreadsheet, has_our_apostrophe
from workers.records.identifiers import content
from workers.records.schema import (
    CODE,
    CODES,
    FAULT,
    IDENTIFIER,
    MENDED_BY_HAND,
    OUTCOME,
    REASON,
    ROW,
    SOURCE,
    SUGGESTION,
    VALID_FROM,
)
from workers.remedies.apply import HOWS
from workers.remedies.outcome import ALL_FAULTS, quarantined

REFUSED_AS: Final = "@refused_as"
DIGEST: Final = "@digest"
VERDICT: Final = {
    FAULT: "code",
    ALL_FAULTS: "faults",
    REASON: "reason",
    SUGGESTION: "suggestion",
    VALID_FROM: "valid_from",
    SOURCE: "source",
    ROW: "row",
    REFUSED_AS: "refused_as",
    DIGEST: "digest",
}
"""What follows the sender's columns of a record that waits: why, where it stands, and how it came."""
STILL_HELD: Final = "@still_held"
"""The reason for which a record goes on waiting unless somebody or a rule has mended it."""
STILL_ADVISED: Final = "@still_advised"
STILL_FAULTY: Final = "@still_faulty"
_OF_OTHERS: Final = (IDENTIFIER_REPEATED, TOLD_TWICE, ROW_CONTRADICTED)
"""What another record of the file says against it: no rule answers that."""
_OF_THE_FILE: Final = (*_OF_OTHERS, VALUE_OF_OTHER_NOTATION, Code.INVALID_VALUE, Code.NO_CUSTOMER_DEFINED)
_RULED: Final = "notation_rule|source_rule"
"""How a rule says which reading is right, and whose column it is."""
_ALWAYS: Final = (FAULT, ALL_FAULTS, REASON, SUGGESTION, SOURCE, ROW)


@dataclass(frozen=True)
class OwnColumns:
    """Our columns in a file of ours, by what they hold. Not `heeded`: somebody says that none was ever sent."""

    headers: Mapping[str, str]
    heeded: bool = True

    @property
    def names(self) -> Collection[str]:
        """The columns of the file that are no sender's."""
        return self.headers.values()

    @property
    def told(self) -> list[str]:
        """The columns that tell what became of its records; none in a file of before they were told."""
        known = self.heeded and {REFUSED_AS, DIGEST} <= self.headers.keys()
        wanted = (REFUSED_AS, DIGEST, REASON, ALL_FAULTS, SUGGESTION, VALID_FROM)
        return [self.headers[name] for name in wanted if name in self.headers] if known else []

    def annotate(self, frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """Add Stripe's codes, which records somebody has mended, and why others go on waiting.

        `columns` are the sender's.
        """
        codes, reason = self._told(REFUSED_AS), self._told(REASON)
        changed = self._told(DIGEST).ne_missing(_digest(columns))
        said = pl.concat_str(reason, self._told(ALL_FAULTS), separator=", ", ignore_nulls=True)
        alone = said.str.contains(rf"\b({'|'.join(_OF_THE_FILE)})\b")
        sendable = (reason == WOULD_OVERWRITE) | self._told(VALID_FROM).is_not_null()
        waits = ~changed & alone & ~sendable.fill_null(value=False)
        return frame.with_columns(
            codes.str.split(",").list.first().alias(CODE),
            pl.when(codes.str.contains(",", literal=True)).then(codes).alias(CODES),
            pl.when(changed).then(pl.lit("yes")).alias(MENDED_BY_HAND),
            pl.when(waits).then(reason).alias(STILL_HELD),
            pl.when(waits).then(self._told(SUGGESTION)).alias(STILL_ADVISED),
            pl.when(waits).then(self._told(ALL_FAULTS)).alias(STILL_FAULTY),
        )

    def _told(self, name: str) -> pl.Expr:
        """Return what stands in one of our columns; null for nothing."""
        if name not in self.headers:
            return pl.lit(None, pl.String)
        text = pl.col(self.headers[name]).str.strip_chars()
        return pl.when(text != "").then(text)


def own_columns(layout: Layout, *, heeded: bool = True) -> OwnColumns | None:
    """Return our columns where the file is one of ours; null where it is not."""
    columns = {layout.renames.get(name, name) for name in layout.columns}
    headers = {
        column: header
        for column, name in VERDICT.items()
        if (header := next(filter(columns.__contains__, (f"metermend_{name}", name)), None)) is not None
    }
    return OwnColumns(headers, heeded) if all(column in headers for column in _ALWAYS) else None


def verdict_headers(taken: Collection[str]) -> dict[str, str]:
    """Name our columns so that none is taken for one of the sender's."""
    return {column: f"metermend_{name}" if name in taken else name for column, name in VERDICT.items()}


def as_it_came(columns: Sequence[str]) -> list[pl.Expr]:
    """Return `REFUSED_AS` and `DIGEST` of decided records that have their final identifiers.

    What is deferred has been mended, and has an identifier of its own: as it is, it was not refused.
    """
    kept = pl.col(OUTCOME).is_in([Outcome.QUARANTINED, Outcome.DEFERRED])
    return [
        pl.when(pl.col(OUTCOME) == Outcome.QUARANTINED).then(pl.coalesce(CODES, CODE)).alias(REFUSED_AS),
        pl.when(kept).then(_digest(columns, kept)).alias(DIGEST),
    ]


def hold_unmended(decided: pl.DataFrame) -> pl.DataFrame:
    """Let what nobody has mended, and no rule decides, go on waiting where its file spoke against it."""
    if STILL_HELD not in decided.columns:
        return decided
    reason = pl.col(STILL_HELD)
    ruled = pl.col(HOWS).str.contains(_RULED).fill_null(value=False) & ~reason.is_in(_OF_OTHERS)
    return quarantined(decided, reason.is_not_null() & ~ruled.fill_null(value=False), reason, pl.col(STILL_ADVISED))


def still_faulty(decided: pl.DataFrame) -> pl.Expr:
    """Return the faults that are told again of what nobody has mended: alone it may show fewer."""
    return pl.col(STILL_FAULTY) if STILL_FAULTY in decided.columns else pl.lit(None, pl.String)


def own_findings(facts: FileFacts, own: OwnColumns) -> list[Finding]:
    """Return what has to be said of a file of ours, by its facts with the sender's columns only."""
    columns = facts.columns
    refused_before = apostrophes = 0
    for part in facts.parts:
        frame = facts.file.read(part, [*columns, *own.told])
        if own.told:
            refused_before += int((frame[own.told[0]].str.strip_chars() != "").sum())
        apostrophes += sum(frame.select(has_our_apostrophe(pl.col(columns)).sum()).row(0))
    before = f"; refused by Stripe before: {refused_before:,}" if own.told else ""
    found = [Finding("own_file", f"metermend wrote it: {', '.join(own.names)} are its own columns{before}")]
    if apostrophes:
        text = (
            f"cells with the apostrophe that metermend puts before a formula: {apostrophes:,}; take it away there"
        )
        found.append(Finding("own_apostrophes", text))
    return found


def _digest(columns: Sequence[str], of: pl.Expr | None = None) -> pl.Expr:
    """Return what stands for a record's content, with or without the apostrophes of `for_spreadsheet`."""
    shown = pl.concat_str(for_spreadsheet(pl.col(IDENTIFIER)).fill_null(""), content(columns, for_spreadsheet))
    text = shown if of is None else pl.when(of).then(shown)
    return text.map_elements(_short, return_dtype=pl.String)


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]

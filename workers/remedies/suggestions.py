"""The nearest known names to a wrong one, for suggestions only: likeness never changes a record.

Names are compared in Python (rapidfuzz), each distinct wrong one once. Known customers can be many, so a wrong id
is only compared with those that share its head or its tail: any single slip leaves one of the two intact.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl
from rapidfuzz import fuzz, process

_SPREAD: Final = {"text": pl.String, "found": pl.String}

_LIKE_ENOUGH: Final = 80
_LONGEST: Final = 200
_HEAD: Final = 9
_TAIL: Final = 7
_TOO_COMMON: Final = 200
"""A head or tail that more ids than this share tells nothing, and would make the comparison slow."""


def nearest_names(wrong: pl.Series, known: Iterable[str]) -> pl.Series:
    """Return the nearest of a few known names for each wrong one, or null."""
    names = sorted(known)
    distinct = wrong.drop_nulls().unique().to_list()
    return _spread(wrong, {text: _nearest(text, names) for text in distinct})


class IdIndex:
    """Many known ids by their heads and their tails; built once, since that takes a look at each of them."""

    def __init__(self, known: pl.Series) -> None:
        ids = known.alias("known").to_frame()
        by_part = [ids.with_columns(part) for part in _parts("known")]
        self._by_part = [table.filter(pl.len().over("part") <= _TOO_COMMON).sort("part") for table in by_part]

    def nearest(self, wrong: pl.Series) -> pl.Series:
        """Return the nearest known id for each wrong one, or null."""
        distinct = wrong.drop_nulls().unique().alias("wrong").to_frame()
        asked = [distinct.with_columns(part) for part in _parts("wrong")]
        pairs = pl.concat(ours.join(ids, on="part") for ours, ids in zip(asked, self._by_part, strict=True))
        nearby = pairs.group_by("wrong").agg(pl.col("known").unique().sort())
        return _spread(wrong, {text: _nearest(text, names) for text, names in nearby.iter_rows()})


def _parts(column: str) -> tuple[pl.Expr, pl.Expr]:
    text = pl.col(column).str.to_lowercase()
    return text.str.head(_HEAD).alias("part"), text.str.tail(_TAIL).alias("part")


def _nearest(text: str, known: list[str]) -> str | None:
    if len(text) > _LONGEST:
        return None
    found = process.extractOne(text, known, scorer=fuzz.ratio, processor=str.lower, score_cutoff=_LIKE_ENOUGH)
    return found[0] if found else None


def _spread(texts: pl.Series, found: dict[str, str | None]) -> pl.Series:
    table = pl.DataFrame({"text": list(found), "found": list(found.values())}, schema=_SPREAD)
    return texts.alias("text").to_frame().join(table, on="text", how="left", maintain_order="left")["found"]

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


def nearest_ids(wrong: pl.Series, known: pl.Series) -> pl.Series:
    """Return the nearest of many known ids for each wrong one, or null."""
    distinct = wrong.drop_nulls().unique().alias("wrong").to_frame()
    ids = known.alias("known").to_frame()
    pairs = pl.concat(_sharing(distinct, ids, part) for part in ("head", "tail")).unique()
    nearby = pairs.group_by("wrong").agg(pl.col("known").sort())
    return _spread(wrong, {text: _nearest(text, names) for text, names in nearby.iter_rows()})


def _sharing(wrong: pl.DataFrame, known: pl.DataFrame, part: str) -> pl.DataFrame:
    """Return the pairs (wrong, known) that share the part, unless it is too common among the known."""
    of_wrong, of_known = (
        pl.col(name).str.to_lowercase().str.head(_HEAD) if part == "head" else
        pl.col(name).str.to_lowercase().str.tail(_TAIL) for name in ("wrong", "known")
    )  # fmt: skip
    telling = known.with_columns(of_known.alias("part")).filter(pl.len().over("part") <= _TOO_COMMON)
    return wrong.with_columns(of_wrong.alias("part")).join(telling, on="part").select("wrong", "known")


def _nearest(text: str, known: list[str]) -> str | None:
    if len(text) > _LONGEST:
        return None
    found = process.extractOne(text, known, scorer=fuzz.ratio, processor=str.lower, score_cutoff=_LIKE_ENOUGH)
    return found[0] if found else None


def _spread(texts: pl.Series, found: dict[str, str | None]) -> pl.Series:
    table = pl.DataFrame({"text": list(found), "found": list(found.values())}, schema=_SPREAD)
    return texts.alias("text").to_frame().join(table, on="text", how="left", maintain_order="left")["found"]

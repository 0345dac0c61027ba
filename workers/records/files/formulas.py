"""Cells of CSV files that a person opens: none may run as a formula there.

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, also behind blanks or control
characters, and in East Asian editions their full-width forms too (OWASP, "CSV Injection"). An apostrophe before it
makes it text. A number stays as it is: nothing runs in it, and sums need it.
"""

from typing import Final

import polars as pl

_FORMULA: Final = r"^(?:[\t\r\n]|\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20])"
_NUMBER: Final = r"^\s*[+-]?(?:[0-9]+(?:[.,][0-9]+)*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"


def is_formula(column: pl.Expr) -> pl.Expr:
    """Tell of each text whether a spreadsheet would take it for a formula; null for null."""
    return column.str.contains(_FORMULA) & ~column.str.contains(_NUMBER)


def has_our_apostrophe(column: pl.Expr) -> pl.Expr:
    """Tell of each text whether it begins as `for_spreadsheet` writes a formula; null for null."""
    return column.str.starts_with("'") & is_formula(column.str.slice(1))


def for_spreadsheet(column: pl.Expr) -> pl.Expr:
    """Return each text as a spreadsheet shows it and never runs it: a formula gets a leading apostrophe."""
    return pl.when(is_formula(column)).then(column.str.replace("^", "'")).otherwise(column)

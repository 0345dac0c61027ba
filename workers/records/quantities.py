"""Quantities: exact decimal text, and the one reading of a text that is no plain decimal, if it has only one.

A quantity is plain when it is digits, with a leading minus and a decimal point at most: `200`, `-5`, `0.10`, `007`.
Stripe's documentation names whole numbers, its SDK examples send decimals; both are plain. No float is used
anywhere.

A text that is not plain is *read* only where nobody could read it otherwise (promise 4: never guess money):

- blanks, quotes and invisible characters around it, or one leading apostrophe (a spreadsheet's mark for text);
- one leading `+`, or U+2212 as minus; digits of any script (full-width, Arabic, ...) and their decimal marks;
- an exponent that is exact, in either case (`1e3`, `25E+2`, `1.5e-7`), except the form `1.2E+11`: one digit before
  the mark and two of a power is how a spreadsheet writes a number that it may have rounded;
- grouping that proves itself: at least two groups (`1,234,567`, `1 234 567`, `1.234.567`) or one kind of group mark
  followed by the other kind as decimal mark (`1,234.50`, `1.234,50`, `1 234,5`). One group proves nothing whichever
  the mark: `1,234` may be 1.234, and `1 234` may be two values.

`5-`, `(5)`, `--5`, `.5`, `5.`, `1_000`, `0x10`, `NaN`, `inf`, an exponent beyond ±30 and digits of two scripts in
one number (`1\u0662`) have no reading.

A reading takes the point or the comma for the decimal mark (`Reading.mark`). Where the sender uses that mark
otherwise, as his other quantities show (`records.notation`) or a rule says, even a plain decimal may mean another.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final

import polars as pl

from workers.records.schema import MAX_SIGNIFICANT_DIGITS

PLAIN: Final = r"^-?[0-9]+(\.[0-9]+)?$"
AROUND: Final = "".join(
    chr(sign)
    for run in ("09-0d", "20", "a0", "ad", "1680", "2000-200f", "2028-202f", "205f-2064", "3000", "feff")
    for sign in range(int(run.split("-")[0], 16), int(run.split("-")[-1], 16) + 1)
)
"""Blanks and invisible characters."""
QUOTES: Final = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"

_MARKS: Final = str.maketrans({
    "\uff0e": ".", "\u066b": ".", "\uff0c": ",", "\u066c": ",", "\uff0b": "+", "\uff0d": "-", "\u2212": "-",
})  # fmt: skip
_QUOTED: Final = re.compile(f"^[{QUOTES}](?P<inside>[^{QUOTES}]*)[{QUOTES}]$")
_INNER_BLANK: Final = re.compile("[\u00a0\u2007\u2009\u202f]")
_EXPONENT: Final = re.compile(r"^\d+(\.\d+)?[eE][+-]?\d{1,2}$", re.ASCII)
_SPREADSHEET: Final = re.compile(r"^\d([.,]\d+)?E\+\d{2,}$", re.ASCII)
_GROUPED: Final = re.compile(
    r"^(?P<head>[1-9]\d{0,2})(?P<group>[,. '\u2019])(?P<tail>\d{3}(?:(?P=group)\d{3})*)"
    r"(?:(?P<mark>[.,])(?P<fraction>\d+))?$",
    re.ASCII,
)
_COMMA_DECIMAL: Final = re.compile(
    r"^(?P<whole>\d{1,3}(?:[. '\u2019]\d{3})+|\d+),(?P<fraction>\d+)(?P<power>[eE][+-]?\d{1,2})?$", re.ASCII
)
_COMMA_GROUP: Final = re.compile(r"^[1-9]\d{0,2},\d{3}$", re.ASCII)
_NUMBER: Final = re.compile(r"^\d[\d.,' ]*([eE][+-]?\d+)?$", re.ASCII)
"""What has the signs of a number only."""
_MAX_POWER: Final = 30
MAX_LENGTH: Final = 64
_SUM_DIGITS: Final = 200
_FAST_LENGTH: Final = 16
_FAST_SCALE: Final = 14


@dataclass(frozen=True)
class Reading:
    """What a text says: `text` is its one reading as a plain decimal, or null with a sentence in `doubt`.

    `mark` is what the reading takes for the decimal mark (`.` or `,`), null where it would be the same with either.
    """

    text: str | None = None
    doubt: str | None = None
    mark: str | None = None


@dataclass(frozen=True)
class Notation:
    """What a rule says of a sender's way of writing quantities.

    `decimal_comma` null: it does not say. `thousands` is the mark between groups: `.`, `,`, `'` or a blank.
    """

    decimal_comma: bool | None = None
    thousands: str | None = None
    units: tuple[str, ...] = ()

    @property
    def decimal_mark(self) -> str | None:
        """The decimal mark, `.` or `,`, that the rule names or `thousands` leaves; null where it says nothing."""
        if self.decimal_comma is None and self.thousands is None:
            return None
        return "," if self.decimal_comma or self.thousands == "." else "."


ORDINARY: Final = Notation()


def is_plain(text: pl.Expr) -> pl.Expr:
    """Tell whether the text is a plain decimal; null stays null."""
    return text.str.contains(PLAIN)


def significant_digits(text: pl.Expr) -> pl.Expr:
    """Count the significant digits of plain decimals: leading zeros do not count, trailing zeros do."""
    return text.str.strip_prefix("-").str.replace(".", "", literal=True).str.strip_chars_start("0").str.len_bytes()


def has_too_many_digits(text: pl.Expr) -> pl.Expr:
    """Tell whether a plain decimal has more digits than Stripe takes."""
    return significant_digits(text) > MAX_SIGNIFICANT_DIGITS


def strip_idle_zeros(text: pl.Expr) -> pl.Expr:
    """Drop the zeros of plain decimals that carry nothing: `007` -> `7`, `1.500` -> `1.5`, `3.0` -> `3`."""
    return _without_leading_zeros(text).str.replace(r"(\.[0-9]*?)0+$", "${1}").str.strip_suffix(".")


def strip_point_zero(text: pl.Expr) -> pl.Expr:
    """Drop a fraction that is only zeros: `1234.00` -> `1234`; anything else stays."""
    return text.str.replace(r"^(-?[0-9]+)\.0+$", "${1}")


def _without_leading_zeros(text: pl.Expr) -> pl.Expr:
    return text.str.replace(r"^(-?)0+([0-9])", "${1}${2}")


def bare(text: str) -> str:
    """Return the text without blanks, invisible characters and quotes around it, or a leading apostrophe."""
    return _QUOTED.sub(r"\g<inside>", text.strip(AROUND)).removeprefix("'").strip(AROUND)


def bare_text(text: pl.Expr) -> pl.Expr:
    """Do what `bare` does, vectorised."""
    unquoted = text.str.strip_chars(AROUND).str.replace(_QUOTED.pattern, "${inside}")
    return unquoted.str.strip_prefix("'").str.strip_chars(AROUND)


def is_blank(text: pl.Expr) -> pl.Expr:
    """Tell whether nothing can be seen of the text, or there is none."""
    return text.is_null() | (text.str.strip_chars(AROUND) == "")


def read(text: str, notation: Notation = ORDINARY) -> Reading:
    """Return the one reading of a quantity as it was written, or why there is none."""
    stripped = bare(text)
    if _scripts_of_digits(stripped) > 1:
        return Reading(doubt=f"{stripped[:MAX_LENGTH]} has digits of more than one script")
    core = _without_unit(_ascii_digits(stripped), notation.units)
    if len(core) > MAX_LENGTH:
        return Reading(doubt="it is too long for a quantity")
    body = core[1:] if core.startswith(("-", "+")) else core
    if _SPREADSHEET.match(body):
        return Reading(doubt=f"{body} is how a spreadsheet writes a number that it may have rounded")
    reading = _read_declared(body, notation) if notation.decimal_mark else _read_unsigned(body)
    if reading.text is None:
        return reading
    return Reading(text=_tidy(reading.text, negative=core.startswith("-")), mark=reading.mark)


def read_distinct(texts: pl.Series, notation: Notation = ORDINARY) -> pl.DataFrame:
    """Return `text`, `reading`, `doubt`, `mark` for each distinct non-null text.

    What is plain once it stands alone is read vectorised. The rest is a Python loop over distinct texts: a
    handful in most files.
    """
    distinct = texts.drop_nulls().unique().alias("text").to_frame()
    alone = bare_text(pl.col("text"))
    easy = is_plain(alone) & (alone.str.len_bytes() <= MAX_LENGTH) & pl.lit(notation == ORDINARY)
    tidy = pl.when(easy).then(strip_point_zero(_without_leading_zeros(alone)).replace("-0", "0"))
    read_easily = distinct.with_columns(
        tidy.alias("reading"), pl.lit(None, pl.String).alias("doubt"), _mark_of_plain(alone).alias("mark")
    )
    read_already = pl.col("reading").is_not_null()
    odd = [(text, read(text, notation)) for text in read_easily.filter(~read_already)["text"]]
    rows = [(text, reading.text, reading.doubt, reading.mark) for text, reading in odd]
    by_hand = pl.DataFrame(rows, schema=read_easily.schema, orient="row")
    return pl.concat([read_easily.filter(read_already), by_hand])


def total(quantities: pl.Series) -> Decimal:
    """Return the exact sum of plain decimal texts; nulls count as nothing."""
    short = quantities.str.len_bytes() <= _FAST_LENGTH
    exact = quantities.filter(short).cast(pl.Decimal(38, _FAST_SCALE)).sum()
    return add(Decimal(exact or 0), *map(Decimal, quantities.filter(~short).drop_nulls().to_list()))


def add(*amounts: Decimal) -> Decimal:
    """Return the exact sum of the amounts."""
    with localcontext(prec=_SUM_DIGITS):
        return sum(amounts, start=Decimal(0))


def to_text(amount: Decimal) -> str:
    """Return plain decimal text without idle zeros: `Decimal("1E+3")` -> `1000`."""
    plain = format(amount, "f")
    text = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if text in {"-0", ""} else text


def round_to(text: str, digits: int, rounding: str) -> str:
    """Return the plain decimal rounded to the significant digits; `rounding` is one of `decimal`'s modes."""
    with localcontext(prec=digits, rounding=rounding):
        return to_text(+Decimal(text))


def with_ascii_marks(text: pl.Expr) -> pl.Expr:
    """Write the marks of any script as `.`, `,`, `+`, `-`, and those that only group digits as `'` and space."""
    marks = {chr(mark): sign for mark, sign in _MARKS.items()} | {"\u2019": "'"}
    return text.str.replace_many(marks).str.replace_all(_INNER_BLANK.pattern, " ")


def has_point(text: pl.Expr) -> pl.Expr:
    """Tell whether there is a point in the text: what a plain decimal means then hangs on the notation."""
    return text.str.contains(".", literal=True)


def _mark_of_plain(text: pl.Expr) -> pl.Expr:
    return pl.when(has_point(text)).then(pl.lit("."))


def _scripts_of_digits(text: str) -> int:
    """Count the scripts that the digits of a text are of: each has its digits in a row, from its own zero on."""
    return len({ord(sign) - unicodedata.decimal(sign) for sign in text if sign.isdecimal()})


def _ascii_digits(text: str) -> str:
    """Write the digits of any script as 0-9. Superscripts, fractions and numerals are no digits and stay."""
    marked = text.translate(_MARKS)
    if marked.isascii():
        return marked
    return "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in marked)


def _without_unit(text: str, units: Sequence[str]) -> str:
    for unit in sorted(units, key=len, reverse=True):
        if text.lower().endswith(unit.lower()):
            return text[: len(text) - len(unit)].strip(AROUND)
        if text.lower().startswith(unit.lower()):
            return text[len(unit) :].strip(AROUND)
    return text


def _read_unsigned(body: str) -> Reading:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", body):
        return Reading(text=body, mark=_point_of(body))
    spaced = _INNER_BLANK.sub(" ", body)
    if grouped := _GROUPED.match(spaced):
        return _read_grouped(spaced, grouped)
    return _read_exponent(body) if _EXPONENT.match(body) else Reading(doubt=_doubt(body))


def _point_of(body: str) -> str | None:
    return "." if "." in body else None


def _read_grouped(body: str, match: re.Match[str]) -> Reading:
    group, mark = match["group"], match["mark"]
    whole = match["head"] + match["tail"].replace(group, "")
    if mark == group:
        return Reading(doubt=f"{body} mixes group and decimal marks")
    if mark:
        return Reading(text=f"{whole}.{match['fraction']}", mark=mark)
    if group in match["tail"]:
        return Reading(text=whole, mark={",": ".", ".": ","}.get(group))
    other = body.replace(",", ".") if group == "," else "two values"
    return Reading(doubt=f"{body} could be {whole} or {other}")


def _read_exponent(body: str) -> Reading:
    amount = Decimal(body)
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _MAX_POWER or abs(amount.adjusted()) > _MAX_POWER:
        return Reading(doubt=f"{body} is out of range for a quantity")
    return Reading(text=format(amount, "f"), mark=_point_of(body))


def _read_declared(body: str, notation: Notation) -> Reading:
    """Read a quantity whose sender's marks a rule names: `1.234` is no longer plain where the comma is decimal."""
    spaced = _INNER_BLANK.sub(" ", body).replace("\u2019", "'")
    if notation.thousands is not None:
        return _read_thousands(spaced, notation.thousands, notation.decimal_mark or ".")
    if notation.decimal_mark == ",":
        return _read_comma_decimal(spaced)
    reading = _read_unsigned(body)
    if _COMMA_GROUP.match(body):
        return Reading(doubt=f"{body} could be {body.replace(',', '')} (rule thousands)")
    contradicts = reading.mark == "," or (reading.text is None and "," in body)
    return _misfit(body, "decimal_comma = false") if contradicts else reading


def _misfit(body: str, rule: str) -> Reading:
    """Say that a number contradicts a rule; what is no number waits for another cause."""
    return Reading(doubt=f"{body} does not fit the rule {rule}" if _NUMBER.match(body) else _doubt(body))


def _read_thousands(body: str, thousands: str, decimal: str) -> Reading:
    """Read a quantity whose group and decimal marks a rule names; one that is not grouped fits as well."""
    whole = rf"[1-9][0-9]{{0,2}}(?:{re.escape(thousands)}[0-9]{{3}})+|[0-9]+"
    match = re.fullmatch(rf"({whole})({re.escape(decimal)}[0-9]+)?([eE][+-]?[0-9]{{1,2}})?", body)
    if match is None:
        return _misfit(body, f"thousands = {thousands!r}")
    plain = match[1].replace(thousands, "") + (match[2] or "").replace(decimal, ".")
    return _read_exponent(plain + match[3]) if match[3] else Reading(text=plain, mark=decimal)


def _read_comma_decimal(body: str) -> Reading:
    """Read a quantity whose sender writes the comma as decimal mark, by a rule that does not name his thousands."""
    if re.fullmatch(r"[1-9][0-9]{0,2}\.[0-9]{3}", body):
        return Reading(doubt=f"{body} could be {body.replace('.', '')} or {body} (rule thousands)")
    match = _COMMA_DECIMAL.match(body)
    if match is None:
        reading = _read_unsigned(body)
        return Reading(doubt=f"{body} does not fit the rule decimal_comma") if reading.mark == "." else reading
    plain = f"{re.sub('[^0-9]', '', match['whole'])}.{match['fraction']}"
    return _read_exponent(plain + match["power"]) if match["power"] else Reading(text=plain, mark=",")


def _tidy(text: str, *, negative: bool) -> str:
    whole, _, fraction = text.partition(".")
    fraction = fraction if fraction.strip("0") else ""
    plain = (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return f"-{plain}" if negative and plain != "0" else plain


def _doubt(body: str) -> str:
    if re.fullmatch(r"\(.*\)|.*-", body):
        return f"{body} may be a negative quantity in an accountant's notation"
    if re.fullmatch(r"\d+,\d+", body, re.ASCII):
        return f"{body} could be {body.replace(',', '.')} if the comma is a decimal mark (rule decimal_comma)"
    if re.fullmatch(r"\d+[\d.,_]*\s?[^\W\d]+", body):
        return f"{body} carries a unit (rule strip_units)"
    return f"{body} is not a number" if body else "there is no value"

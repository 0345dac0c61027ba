"""What a person is told of records that Stripe counts and that could not be told from others."""

from collections.abc import Mapping, Sequence
from typing import Final

from workers.pipeline.locate.judge import Verdict

_FILES: Final = 3
_NAMED: Final = "Name every place that your usage lies in under USAGE_SOURCES, then retry the case."


def advice(
    verdict: Verdict,
    predicted: int,
    counted: int,
    files: Mapping[str, int],
    looked_through: int,
    unusable: Sequence[str],
) -> str:
    """Return both numbers, where the rows lie, and the likeliest cause; `files` has file -> rows, most first."""
    where = ", ".join(f"{name} ({rows:,})" for name, rows in list(files.items())[:_FILES])
    more = f" and {len(files) - _FILES} more files" if len(files) > _FILES else ""
    unread = f" Not read: {unusable[0]}." if unusable else ""
    if verdict is Verdict.OVER:
        said = (
            f"{predicted:,} rows of your files show this fault, Stripe has counted {counted:,} more than it named: "
            f"{where}{more}. A report may be on its way, or a file not imported yet; else say which were refused."
        )
    elif verdict is Verdict.CONTRADICTED:
        said = (
            f"{predicted:,} rows show this fault, as many as are missing, but Stripe names identifiers that none "
            f"of them has: {where}{more}. {_NAMED}"
        )
    else:
        said = (
            f"Only {predicted:,} of {counted:,} records that Stripe counts and does not name are to be seen in "
            f"{looked_through:,} files of that time{': ' if where else ''}{where}{more}. {_NAMED}"
        )
    return said + unread

"""Why a record waits for a person: every reason, what it means, and what to do next.

A record may carry advice of its own (`suggestion`) that names rows and values; this is what is always so. Stripe's
own codes are reasons, too, where no rule and no remedy applies: their words are in `code_reasons`, and
`workers.remedies.codes.reasons` knows both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Reason:
    """What a reason means, in a sentence, and the next step of whoever reads it."""

    sentence: str
    step: str

    @property
    def clauses(self) -> tuple[str, str]:
        """Both as they go on in a line of somebody's: no capital at the start, and no full stop."""
        return _clause(self.sentence), _clause(self.step)


def _clause(sentence: str) -> str:
    stays = sentence.startswith("Stripe")
    return (sentence if stays else sentence[0].lower() + sentence[1:]).removesuffix(".")


ALREADY_EXISTS: Final = "event_already_exists"
ALREADY_RESUBMITTED: Final = "already_resubmitted"
AMBIGUOUS_IN_SOURCES: Final = "ambiguous_in_sources"
ARRIVAL_UNKNOWN: Final = "arrival_unknown"
COUNTER_ENTERED: Final = "counter_entered"
FILE_NOT_FOUND: Final = "file_not_found"
IDENTIFIER_REPEATED: Final = "identifier_repeated"
IDENTIFIER_TAKEN: Final = "identifier_taken"
IN_OLDER_FILE: Final = "in_older_file"
LOOKS_BILLED: Final = "looks_billed"
MISSING_IN_TOTALS: Final = "missing_in_totals"
NOT_BILLED_THERE: Final = "not_billed_by_metronome"
NO_FAULT_FOUND: Final = "no_fault_found"
NOT_IN_SOURCES: Final = "not_in_sources"
NOT_SAMPLED: Final = "not_sampled"
PERHAPS_IMPORTED: Final = "perhaps_imported"
PERHAPS_OURS: Final = "perhaps_ours"
PERHAPS_REFUSED: Final = "perhaps_refused"
PERHAPS_SENT_BEFORE: Final = "perhaps_sent_before"
PERHAPS_UNDONE: Final = "perhaps_undone"
PLANNED_LONG_AGO: Final = "planned_long_ago"
REFUSED_AGAIN: Final = "refused_again"
NOT_UPLOADED: Final = "not_uploaded"
ROW_CONTRADICTED: Final = "row_contradicted"
ROW_COUNT_DIFFERS: Final = "row_count_differs"
ROWS_NOT_LISTED: Final = "rows_not_listed"
SURPLUS_IN_TOTALS: Final = "surplus_in_totals"
TOO_OLD_THERE: Final = "too_old_for_metronome"
TOLD_TWICE: Final = "told_twice"
UNDONE: Final = "undone"
UNKNOWN_CODE: Final = "unknown_code"
VALUE_OF_OTHER_NOTATION: Final = "value_of_other_notation"
WINDOW_BY_FILE: Final = "window_by_file"
WINDOW_NOT_ASKED: Final = "window_not_asked"
WINDOW_OPEN: Final = "window_open"
WOULD_OVERWRITE: Final = "would_overwrite"

HELD_AT_SIGHT: Final = (
    PERHAPS_IMPORTED, IN_OLDER_FILE, ALREADY_EXISTS, ROW_COUNT_DIFFERS, ROW_CONTRADICTED, LOOKS_BILLED,
    TOLD_TWICE,
)  # fmt: skip
"""Reasons of records that wait from the moment they are seen: what Stripe says of them does not agree."""
SENT_BEFORE: Final = (
    ARRIVAL_UNKNOWN, IDENTIFIER_TAKEN, PERHAPS_REFUSED, COUNTER_ENTERED, PERHAPS_UNDONE, NOT_BILLED_THERE,
)  # fmt: skip
UNCERTAIN: Final = (
    *SENT_BEFORE, PERHAPS_SENT_BEFORE, ALREADY_RESUBMITTED, WOULD_OVERWRITE, WINDOW_BY_FILE, PLANNED_LONG_AGO,
    IDENTIFIER_REPEATED, *HELD_AT_SIGHT,
)  # fmt: skip
"""Reasons of records that may be billed already, or that would bill something else than was meant."""

_UNREADABLE: Final = {
    "not_utf8": "The row is not UTF-8 text.",
    "wrong_column_count": "The row has more or fewer fields than the header.",
    "stray_quote": "A quote stands inside a field that is not quoted.",
    "unclosed_quote": "A quoted field does not end.",
    "stray_carriage_return": "A carriage return stands in the middle of the row.",
    "not_json": "The record is no JSON.",
    "not_an_object": "The record is no JSON object.",
    "duplicate_key": "A key stands twice in the record.",
    "cut_line": "The file ends in the middle of the record.",
    "too_long": "The record is far longer than a usage record.",
    "too_many_keys": "The record has far more keys than a usage record.",
}

FORM: Final[Mapping[str, Reason]] = {
    **{
        slug: Reason(sentence, "The row cannot be read as a record; see the original file.")
        for slug, sentence in _UNREADABLE.items()
    },
    "event_name_missing": Reason("The record has no event_name.", "Name the meter's event_name."),
    "event_name_too_long": Reason(
        "The event_name has more than 100 characters.", "Stripe takes 100 characters in event_name."
    ),
    "identifier_too_long": Reason(
        "The identifier has more than 100 characters.", "Stripe takes 100 characters in identifier."
    ),
    IDENTIFIER_REPEATED: Reason(
        "An earlier record has this identifier: Stripe counts that one and skips this.",
        "An earlier record has this identifier, or is another revision of it, and Stripe counts one of them: give "
        "this one its own if it counts as well.",
    ),
    "payload_as_text": Reason(
        "The payload is JSON text in one column, of which Stripe reads nothing.",
        "Write each key of the payload as a column of its own.",
    ),
    "payload_not_an_object": Reason(
        "The payload is a text that is no JSON object.",
        'Its payload is a text that is no JSON object: write {"stripe_customer_id": …} there.',
    ),
    "timestamp_missing": Reason(
        "The record has no timestamp.", "Say when the usage happened: Stripe would take the time of the upload."
    ),
    "timestamp_malformed": Reason(
        "The timestamp is no whole number of epoch seconds.", "Write it as epoch seconds, or RFC 3339."
    ),
    VALUE_OF_OTHER_NOTATION: Reason(
        "The file, or a rule, uses the quantity's point otherwise.",
        "Say by a rule how the file is written (values.decimal_comma, values.thousands).",
    ),
}
"""Faults of a record's form, which the diagnosis finds: Stripe has no code for them."""

REASONS: Final[Mapping[str, Reason]] = {
    **FORM,
    ALREADY_EXISTS: Reason(
        "Stripe refused it since it holds the identifier: it is probably billed.",
        "Look in Stripe whose usage stands under the identifier.",
    ),
    ALREADY_RESUBMITTED: Reason(
        "The same usage has been resubmitted before, by another case or as another row.",
        "Compare the two; send it again only if both are meant.",
    ),
    AMBIGUOUS_IN_SOURCES: Reason(
        "Several different rows of the sources have its identifier.",
        "Say which is meant: correct the others, then retry.",
    ),
    ARRIVAL_UNKNOWN: Reason(
        "We sent it, and whether Stripe counted it is not known.",
        "Compare with the meter's totals in Stripe before it is sent again.",
    ),
    COUNTER_ENTERED: Reason(
        "It was taken back by a counter-entry, which may not have counted yet.",
        "Send it again only once the counter-entry stands in Stripe's totals.",
    ),
    FILE_NOT_FOUND: Reason(
        "The file that Stripe refused was not found, so its records are only counted.",
        "Name the place that it lies in under USAGE_SOURCES, then retry the event.",
    ),
    IDENTIFIER_TAKEN: Reason(
        "Its identifier is held already, and not by a submission of ours.",
        "Look there whose usage that is; send it again only if it is another's.",
    ),
    IN_OLDER_FILE: Reason(
        "The same usage stands in another file, older than the one that Stripe refused or one that mends it.",
        "Where the other file was billed, this is: compare before it is sent.",
    ),
    LOOKS_BILLED: Reason(
        "Stripe has counted as many refusals as these, and its totals hold these records all the same.",
        "Compare the customer's day in Stripe with your own records before it is sent.",
    ),
    MISSING_IN_TOTALS: Reason(
        "Stripe's total of a customer's day is less than the sender's records come to, and no event told why.",
        "Find the record that Stripe lacks, and bill it by hand.",
    ),
    NOT_BILLED_THERE: Reason(
        "Metronome has it and does not bill it.",
        "Mend in Metronome what its own advice names; then release it: it is sent as it was, and counts once.",
    ),
    NO_FAULT_FOUND: Reason(
        "Stripe refused it, and nothing is wrong with it as far as can be seen today.",
        "See in Stripe whether it has been counted since.",
    ),
    NOT_IN_SOURCES: Reason(
        "Stripe names it, and no row of the sources can be meant.",
        "Name the place of its file under USAGE_SOURCES, then retry the event.",
    ),
    NOT_SAMPLED: Reason(
        "Stripe counts it and does not name it.",
        "Find it among the sender's usage of the time that the report names.",
    ),
    PERHAPS_IMPORTED: Reason(
        "Its file failed after Stripe had taken some of it in.",
        "Compare with the meter's totals in Stripe before it is sent again.",
    ),
    PERHAPS_OURS: Reason(
        "Stripe counts it and does not name it, and it may be a record of ours that waits.",
        "Compare with the records of ours that wait for the same refusal.",
    ),
    PERHAPS_REFUSED: Reason(
        "Stripe refused some records of its submission, and does not say which.",
        "Compare with the meter's totals in Stripe before it is sent again.",
    ),
    PERHAPS_SENT_BEFORE: Reason(
        "A ledger that was lost may have sent it.",
        "Compare with the meter's totals in Stripe before it is sent again.",
    ),
    PERHAPS_UNDONE: Reason(
        "It was taken back by a call that Stripe did not answer.",
        "Look in Stripe whether it still counts.",
    ),
    PLANNED_LONG_AGO: Reason(
        "Its plan is a day old: somebody may have mended the usage by hand meanwhile.",
        "If nobody has, release it: it is planned anew.",
    ),
    REFUSED_AGAIN: Reason(
        "Stripe refused every revision of it that we may send.",
        "Read Stripe's last message, and correct the record or the rule.",
    ),
    ROW_CONTRADICTED: Reason(
        "Rows of the failed-records file tell one record in different ways.",
        "See in the original which is right.",
    ),
    ROW_COUNT_DIFFERS: Reason(
        "The failed-records file tells more records than Stripe counts.",
        "See in the Dashboard which of them were refused.",
    ),
    NOT_UPLOADED: Reason(
        "It stood in a part for Stripe's Dashboard, of which nothing was taken in.",
        "Retry it: it is planned again, and stands in one of the next parts.",
    ),
    ROWS_NOT_LISTED: Reason(
        "Stripe counts it and does not list it.",
        "Open the import set in the Dashboard, download its error report, and take it in.",
    ),
    SURPLUS_IN_TOTALS: Reason(
        "Stripe's total of a customer's day is more than the sender's records come to.",
        "Find what was billed twice, and take it back before the invoice is final.",
    ),
    TOLD_TWICE: Reason(
        "Equal rows may be one record told twice, or two records.",
        "See in the original how many there are.",
    ),
    TOO_OLD_THERE: Reason(
        "Its usage is more than 34 days old, and Metronome takes none that old.",
        "Bill it in Metronome by hand, as a charge of its own.",
    ),
    UNDONE: Reason(
        "It was taken back from Stripe.",
        "Correct it or the rule, then retry.",
    ),
    UNKNOWN_CODE: Reason(
        "Stripe's code for it has no remedy.",
        "Read Stripe's message, correct the record and bill it by hand.",
    ),
    WINDOW_BY_FILE: Reason(
        "Its meter keeps one value per window, and by file a newer one could be overwritten unseen.",
        "If it is still the newest value of its window, release it.",
    ),
    WINDOW_NOT_ASKED: Reason(
        "Its window is one of many that Stripe has not been asked for yet.",
        "Retry the case: the next windows are asked for.",
    ),
    WINDOW_OPEN: Reason(
        "It would go by file into a window that is not over.",
        "Nothing: it is taken up when the window has ended.",
    ),
    WOULD_OVERWRITE: Reason(
        "Its meter keeps one value per window, and another is there, newer or on its way.",
        "Decide which value is right: releasing it sends this one.",
    ),
}


def step_of(reason: str) -> str | None:
    """Return the next step for a reason; None for one that is a code of Stripe's."""
    return REASONS[reason].step if reason in REASONS else None

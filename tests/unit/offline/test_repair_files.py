"""Planning files: one result for any cut, each record in one file, a folder that is whole or absent."""

import csv
import io
import json
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.remedies.frames import CATALOG, EPOCH_NOW, GOOD, NOW
from workers.kernel.errors import FileUnusable, InputUnusable
from workers.kernel.reasons import IDENTIFIER_REPEATED
from workers.offline.repair_files import PlanSummary, context_of, output_columns, plan_file
from workers.offline.repair_part import Output, plan_run, sift_part
from workers.offline.summary import OutcomeCounts
from workers.offline.survey import PlanOptions, survey
from workers.records.catalog import Catalog, Meter
from workers.records.files.layout import ReadOptions
from workers.remedies import Rules, parse_rules

HEADER = ["identifier", "timestamp", "event_name", "payload_stripe_customer_id", "payload_value", "note"]
KINDS = {
    "valid": {},
    "repaired": {"payload_value": "1,234,567", "timestamp": str((EPOCH_NOW - 60) * 1000)},
    "deferred": {"timestamp": str(EPOCH_NOW + 3600)},
    "quarantined": {"payload_value": "1,234"},
}


def write_usage(
    path: Path, kinds: Iterable[str], *, note: str = "note", end: str = "\r\n", difficult: int = 3
) -> Path:
    """Write a usage file with one row of each kind in turn; notes hold what a CSV can make difficult."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator=end)
        writer.writerow([*HEADER[:-1], note])
        for row, kind in enumerate(kinds, 1):
            record = {
                **GOOD,
                **KINDS[kind],
                "identifier": f"id-{row}",
                "note": 'a "quoted",\nbroken note' * (row % difficult),
            }
            writer.writerow(record[name] for name in HEADER)
    return path


def plan(path: Path, out: Path | None = None, *, rules: Rules | None = None, **options: object) -> PlanSummary:
    chosen = PlanOptions(**options)  # type: ignore[arg-type]
    return plan_file(path, catalog=CATALOG, rules=rules or Rules(), now=NOW, out=out, options=chosen)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=60),
    part_bytes=st.integers(1, 3000),
    threads=st.integers(1, 4),
    shape=st.fixed_dictionaries(
        {"note": st.sampled_from(["note", "payload_note"]), "end": st.sampled_from(["\n", "\r\n"])}
    ),
)
def test_any_cut_and_any_number_of_threads_give_the_same_files(
    tmp_path_factory: pytest.TempPathFactory,
    kinds: list[str],
    part_bytes: int,
    threads: int,
    shape: dict[str, str],
) -> None:
    """Otherwise a retry on another machine would send something else."""
    folder = tmp_path_factory.mktemp("cut")
    usage = write_usage(folder / "usage.csv", kinds, **shape)  # type: ignore[arg-type]
    plan(usage, folder / "whole", threads=1)
    plan(usage, folder / "parts", part_bytes=part_bytes, threads=threads)
    assert contents(folder / "whole") == contents(folder / "parts")


@pytest.mark.parametrize("difficult", [1, 3])
@pytest.mark.parametrize("note", ["note", "payload_note"])
def test_every_record_is_in_exactly_one_file_in_its_order(tmp_path: Path, note: str, difficult: int) -> None:
    """Whether the sound records are lines that go out as they came, or are written anew."""
    kinds = random.Random(3).choices(list(KINDS), k=500)
    usage = write_usage(tmp_path / "usage.csv", kinds, note=note, end="\n", difficult=difficult)
    summary = plan(usage, tmp_path / "out", part_bytes=5000)
    found = {
        name: [row["identifier"] for row in rows_of(tmp_path / "out" / f"{name}.csv")]
        for name in ("corrected", "deferred", "quarantine")
    }
    expected = {
        name: [f"id-{row}" for row, kind in enumerate(kinds, 1) if kind in wanted]
        for name, wanted in {
            "corrected": {"valid", "repaired"}, "deferred": {"deferred"}, "quarantine": {"quarantined"},
        }.items()
    }  # fmt: skip
    assert found == expected
    assert {kind: summary.outcomes.records[kind] for kind in KINDS} == {kind: kinds.count(kind) for kind in KINDS}


def test_quantity_of_the_corrected_file_is_what_the_plan_says(tmp_path: Path) -> None:
    """The plan is what an operator approves; the file is what is billed."""
    kinds = random.Random(4).choices(list(KINDS), k=200)
    summary = plan(write_usage(tmp_path / "usage.csv", kinds), tmp_path / "out")
    quantity = summary.as_json()["quantity"]
    sent = sum(Decimal(row["payload_value"]) for row in rows_of(tmp_path / "out" / "corrected.csv"))
    assert sent == Decimal(quantity["valid"]) + Decimal(quantity["repaired"])


def test_a_sound_line_goes_out_byte_for_byte_as_it_came(tmp_path: Path) -> None:
    """Of a file in Stripe's template: nobody has to wonder what became of a record that had no fault."""
    kinds = ["valid", "repaired", "quarantined"] * 20
    usage = write_usage(tmp_path / "usage.csv", kinds, note="payload_note", end="\n", difficult=1)
    plan(usage, tmp_path / "out", part_bytes=700)
    came = usage.read_bytes().splitlines()
    sent = (tmp_path / "out" / "corrected.csv").read_bytes().splitlines()
    assert [came[0], *came[1::3]] == [sent[0], *sent[1::2]]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_bytes_of_a_corrected_file_do_not_hang_on_the_cut(tmp_path: Path, end: str) -> None:
    """A line among plain lines is not written anew, one beside a record of two lines is: both look the same."""
    usage = write_usage(tmp_path / "usage.csv", ["valid"] * 200, note="payload_note", end=end, difficult=1)
    header, *lines = usage.read_text().splitlines()
    lines[30] = lines[30].replace(",5,", ',"5","a, b"').removesuffix(",")
    lines[199] += '"two' + end + 'lines"'
    usage.write_bytes(end.join([header, *lines, ""]).encode())
    plan(usage, tmp_path / "whole")
    plan(usage, tmp_path / "parts", part_bytes=7000)
    whole = (tmp_path / "whole" / "corrected.csv").read_bytes()
    assert whole == (tmp_path / "parts" / "corrected.csv").read_bytes()
    assert b',5,"a, b"\n' in whole
    assert whole.count(b"\r") == (1 if end == "\r\n" else 0), "within the cell of two lines"


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_whatever_separates_the_senders_fields_ours_are_separated_by_commas(tmp_path: Path, delimiter: str) -> None:
    usage = write_usage(tmp_path / "usage.csv", list(KINDS) * 10, note="payload_note", end="\n", difficult=1)
    plan(usage, tmp_path / "commas")
    rows = csv.reader(io.StringIO(usage.read_text(), newline=""))
    with (tmp_path / "other.csv").open("w", newline="") as stream:
        csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)
    plan(tmp_path / "other.csv", tmp_path / "others", part_bytes=800)
    sent = [(tmp_path / name / "corrected.csv").read_bytes() for name in ("commas", "others")]
    assert sent[0] == sent[1]


def test_a_file_that_is_written_to_while_it_is_repaired_is_not_sent(tmp_path: Path) -> None:
    """What was judged and what goes out would be two things."""
    usage = write_usage(tmp_path / "usage.csv", ["valid"] * 50, note="payload_note", end="\n", difficult=1)

    def write_another_value(_done: int, _of: int) -> None:
        usage.write_bytes(usage.read_bytes().replace(b",5,", b",9,"))

    with pytest.raises(FileUnusable, match="changed"):
        plan_file(
            usage,
            catalog=CATALOG,
            rules=Rules(),
            now=NOW,
            out=tmp_path / "out",
            options=PlanOptions(part_bytes=200, threads=1),
            on_part=write_another_value,
        )
    assert not (tmp_path / "out").exists()


def test_repairing_a_corrected_file_changes_nothing(tmp_path: Path) -> None:
    plan(write_usage(tmp_path / "usage.csv", list(KINDS) * 3), tmp_path / "once")
    again = plan(tmp_path / "once" / "corrected.csv", tmp_path / "twice")
    assert (tmp_path / "once" / "corrected.csv").read_bytes() == (tmp_path / "twice" / "corrected.csv").read_bytes()
    assert again.outcomes.records == {"valid": 6}


@pytest.mark.parametrize("part_bytes", [100, 500, 1 << 20])
def test_a_json_array_is_one_whatever_stands_at_the_ends_of_its_parts(tmp_path: Path, part_bytes: int) -> None:
    """One comma too many, and Stripe refuses the whole file."""
    plan(
        write_usage(tmp_path / "usage.csv", list(KINDS) * 9), tmp_path / "out", output="json", part_bytes=part_bytes
    )
    assert len(json.loads((tmp_path / "out" / "corrected.json").read_bytes())) == 18


@pytest.mark.parametrize("output", ["csv", "json", "jsonl", "dashboard"])
def test_every_output_format_reads_back_as_the_same_records(tmp_path: Path, output: str) -> None:
    plan(write_usage(tmp_path / "usage.csv", list(KINDS) * 3), tmp_path / "out", output=output)
    (corrected,) = (tmp_path / "out").glob("corrected.*")
    plan(corrected, tmp_path / "csv")
    plan(tmp_path / "usage.csv", tmp_path / "direct")
    assert (tmp_path / "csv" / "corrected.csv").read_bytes() == (tmp_path / "direct" / "corrected.csv").read_bytes()


def test_quarantine_has_the_senders_columns_then_the_verdict(tmp_path: Path) -> None:
    plan(write_usage(tmp_path / "usage.csv", ["quarantined"]), tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / "quarantine.csv")
    assert list(row) == [*HEADER, "code", "faults", "reason", "suggestion", "source", "row", "refused_as", "digest"]
    assert row["payload_value"] == "1,234"
    assert row["suggestion"] == "1,234 could be 1234 or 1.234"


def test_deferred_says_from_when(tmp_path: Path) -> None:
    plan(write_usage(tmp_path / "usage.csv", ["deferred"]), tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / "deferred.csv")
    assert list(row) == [
        *HEADER,
        "code",
        "faults",
        "reason",
        "suggestion",
        "valid_from",
        "source",
        "row",
        "refused_as",
        "digest",
    ]
    assert row["valid_from"] == "2026-11-21T12:55:00Z"


def test_no_file_is_written_without_a_record(tmp_path: Path) -> None:
    """Stripe refuses an empty upload, and an empty quarantine would be opened for nothing."""
    plan(write_usage(tmp_path / "usage.csv", ["valid"]), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"corrected.csv", "plan.json"}


def test_from_a_failed_records_file_nothing_unrepaired_is_sent(tmp_path: Path) -> None:
    """Its rows were refused one by one; what looks sound now may have been counted since."""
    usage = write_usage(tmp_path / "usage.csv", list(KINDS))
    rows = rows_of(usage)
    failed = tmp_path / "failed.csv"
    with failed.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*HEADER, "error_message"])
        writer.writeheader()
        writer.writerows({**row, "error_message": "could not be imported"} for row in rows)
    summary = plan(failed, tmp_path / "out")
    assert [row["identifier"] for row in rows_of(tmp_path / "out" / "corrected.csv")] == ["id-2"]
    reasons = {row["identifier"]: row["reason"] for row in rows_of(tmp_path / "out" / "quarantine.csv")}
    assert reasons["id-1"] == "no_fault_found"
    assert summary.outcomes.records["quarantined"] == 3
    assert plan(failed, kind="usage").outcomes.records["valid"] == 1


def test_records_without_identifier_get_one_that_names_file_and_row(tmp_path: Path) -> None:
    """The same file gives the same identifiers, so a second run is not billed again; another file gives others."""
    text = (
        ",".join(HEADER[:5])
        + f"\n,{GOOD['timestamp']},api_calls,cus_known,1\n,{GOOD['timestamp']},api_calls,cus_known,2\n"
    )
    (tmp_path / "usage.csv").write_text(text)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "usage.csv").write_text(text + f",{GOOD['timestamp']},api_calls,cus_known,3\n")
    for out, source in (("a", "usage.csv"), ("b", "usage.csv"), ("c", "other/usage.csv")):
        plan(tmp_path / source, tmp_path / out, part_bytes=60)
    made = {out: [row["identifier"] for row in rows_of(tmp_path / out / "corrected.csv")] for out in "abc"}
    assert made["a"] == made["b"]
    assert len({*made["a"], *made["c"]}) == 5
    assert all(identifier.startswith("mm-") for identifier in made["a"])


def test_new_identifiers_are_the_next_revisions(tmp_path: Path) -> None:
    plan(write_usage(tmp_path / "usage.csv", ["valid", "repaired"]), tmp_path / "out", new_identifiers=True)
    assert [row["identifier"] for row in rows_of(tmp_path / "out" / "corrected.csv")] == ["id-1~r2", "id-2~r2"]


def test_of_a_repeated_identifier_only_the_first_record_is_sent(tmp_path: Path) -> None:
    """Stripe counts an identifier once: the plan would promise quantity that is never billed."""
    usage = write_usage(tmp_path / "usage.csv", ["valid", "repaired", "valid"])
    usage.write_text(usage.read_text().replace("id-3", "id-1"))
    plan(usage, tmp_path / "out", part_bytes=50)
    assert [row["identifier"] for row in rows_of(tmp_path / "out" / "corrected.csv")] == ["id-1", "id-2"]
    (row,) = rows_of(tmp_path / "out" / "quarantine.csv")
    assert row["reason"] == "identifier_repeated"


def test_a_row_that_cannot_be_read_is_kept_with_its_text(tmp_path: Path) -> None:
    usage = write_usage(tmp_path / "usage.csv", ["valid"])
    usage.write_text(usage.read_text() + "too,short\n")
    summary = plan(usage, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / "unreadable.csv")
    assert row == {"source": "usage.csv", "row": "2", "reason": "wrong_column_count", "raw": "too,short"}
    assert summary.outcomes.total == 2


def test_every_change_is_listed(tmp_path: Path) -> None:
    plan(write_usage(tmp_path / "usage.csv", ["valid", "repaired"]), tmp_path / "out")
    changes = rows_of(tmp_path / "out" / "changes.csv")
    assert {(c["row"], c["column"], c["before"], c["after"]) for c in changes} == {
        ("2", "payload_value", "1,234,567", "1234567"),
        ("2", "timestamp", str((EPOCH_NOW - 60) * 1000), str(EPOCH_NOW - 60)),
    }


def test_a_senders_own_code_column_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "usage.csv").write_text(
        ",".join([*HEADER[:5], "code"]) + f"\na,{GOOD['timestamp']},api_calls,cus_known,x,7\n"
    )
    plan(tmp_path / "usage.csv", tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / "quarantine.csv")
    assert (row["code"], row["metermend_code"]) == ("7", "meter_event_invalid_value")


def test_a_renamed_column_goes_back_under_the_senders_name(tmp_path: Path) -> None:
    (tmp_path / "usage.csv").write_text(
        f"id,timestamp,event_name,cust,usage\na,{GOOD['timestamp']},api_calls,cus_known,x\n"
    )
    reading = ReadOptions(
        headers={"cust": "payload_stripe_customer_id", "usage": "payload_value", "id": "identifier"}
    )
    plan(tmp_path / "usage.csv", tmp_path / "out", reading=reading)
    (row,) = rows_of(tmp_path / "out" / "quarantine.csv")
    assert list(row)[:5] == ["id", "timestamp", "event_name", "cust", "usage"]


def test_an_earlier_plan_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    """`--out ~` must not cost anybody his home."""
    usage = write_usage(tmp_path / "usage.csv", ["quarantined"])
    plan(usage, tmp_path / "out")
    plan(write_usage(tmp_path / "usage.csv", ["valid"]), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"corrected.csv", "plan.json"}
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "plan.json").write_text("{}")
    with pytest.raises(InputUnusable, match="no plan wrote it"):
        plan(usage, foreign)
    with pytest.raises(InputUnusable, match="holds the file"):
        plan(usage, tmp_path)
    assert (foreign / "plan.json").read_text() == "{}"


def test_a_plan_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    usage = write_usage(tmp_path / "usage.csv", ["valid"])
    plan(usage, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(FileUnusable):
        plan(tmp_path / "nowhere.csv", tmp_path / "out")
    with pytest.raises(RuntimeError, match="stopped"):
        plan_file(usage, catalog=CATALOG, rules=Rules(), now=NOW, out=tmp_path / "out", on_part=_stop)
    assert contents(tmp_path / "out") == before
    assert {path.name for path in tmp_path.iterdir()} == {"usage.csv", "out"}


def test_a_record_that_stands_in_two_files_is_sent_once(tmp_path: Path) -> None:
    """Two failed-records files, or two exports that overlap: sent twice, its customer would be billed twice."""
    first = write_usage(tmp_path / "first.csv", ["valid", "repaired"])
    second = write_usage(tmp_path / "second.csv", ["valid", "repaired", "valid"])
    summary = plan_file([first, second], catalog=CATALOG, rules=Rules(), now=NOW, out=tmp_path / "out")
    assert [row["identifier"] for row in rows_of(tmp_path / "out" / "corrected.csv")] == ["id-1", "id-2", "id-3"]
    assert [row["identifier"] for row in rows_of(tmp_path / "out" / "quarantine.csv")] == ["id-1", "id-2"]
    assert [counts.for_reason(IDENTIFIER_REPEATED) for counts in summary.by_file] == [0, 2]


def test_of_two_copies_of_a_file_without_identifiers_one_is_sent(tmp_path: Path) -> None:
    """Both would get the same identifiers, be written side by side, and be counted twice in what is told."""
    header = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"
    rows = [f",{EPOCH_NOW},{GOOD['event_name']},{GOOD['payload_stripe_customer_id']},{n}" for n in (5, 7)]
    paths = [tmp_path / name for name in ("monday.csv", "monday (1).csv", "tuesday.csv")]
    for path, text in zip(paths, (rows, rows, rows[::-1]), strict=True):
        path.write_text("\n".join([header, *text, ""]))
    plan_file(paths, catalog=CATALOG, rules=Rules(), now=NOW, out=tmp_path / "out")
    sent = [row["identifier"] for row in rows_of(tmp_path / "out" / "corrected.csv")]
    assert len(sent) == len(set(sent)) == 4
    kept = rows_of(tmp_path / "out" / "quarantine.csv")
    assert [row["reason"] for row in kept] == ["identifier_repeated"] * 2


def test_parts_can_be_planned_by_others_and_added_up(tmp_path: Path) -> None:
    """A large file is shared out over all workers."""
    usage = write_usage(tmp_path / "usage.csv", list(KINDS) * 20)
    [surveyed] = survey([usage], CATALOG, PlanOptions(part_bytes=500))
    context = context_of(surveyed, CATALOG, Rules(), NOW, PlanOptions())
    output = Output(output_columns([surveyed], CATALOG, Rules()))
    with ThreadPoolExecutor(3) as pool:
        sifted = pool.map(lambda part: sift_part(surveyed, part, context, output), surveyed.facts.parts)
        parts = [plan_run(surveyed, [part], context, output) for part in sifted]
    assert len(parts) > 5
    assert sum((part.outcomes for part in parts), OutcomeCounts()).as_json() == plan(usage).outcomes.as_json()


def test_plan_json_says_what_was_read_and_what_changed(tmp_path: Path) -> None:
    plan(write_usage(tmp_path / "usage.csv", list(KINDS)), tmp_path / "out")
    document = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert (
        document["records"]
        == document["valid"] + document["repaired"] + document["deferred"] + document["quarantined"]
    )
    assert document["changes"] == {"meter_event_invalid_value.reading": 1, "timestamp_in_future.unit": 1}
    assert document["inputs"][0]["name"] == "usage.csv"


def test_rows_that_share_a_window_of_a_pre_aggregated_meter_are_pointed_out(tmp_path: Path) -> None:
    """Such a meter keeps the last value only; the sender believes that all of them count."""
    usage = write_usage(tmp_path / "usage.csv", ["valid", "valid", "deferred"])
    catalog = Catalog(meters=(Meter("api_calls", event_time_window="day"),))
    summary = plan_file(usage, catalog=catalog, rules=Rules(), now=NOW)
    assert "shared_windows" in {finding.slug for finding in summary.surveys[0].findings}
    assert "shared_windows" not in {finding.slug for finding in plan(usage).surveys[0].findings}


def test_rules_reach_every_part(tmp_path: Path) -> None:
    usage = write_usage(tmp_path / "usage.csv", ["quarantined"] * 10)
    summary = plan(usage, rules=parse_rules("[[values]]\ndecimal_comma = true"), part_bytes=50)
    assert summary.as_json()["quantity"]["repaired"] == "12.34"


def _stop(done: int, of: int) -> None:
    raise RuntimeError(f"stopped at {done} of {of}")


def test_a_record_that_is_clean_in_an_unusual_way_is_sent_too(tmp_path: Path) -> None:
    """The fast pass does not vouch for it, the diagnosis does: between the two it must not be lost."""
    usage = write_usage(tmp_path / "usage.csv", ["valid", "valid"])
    usage.write_text(usage.read_text().replace("cus_known,5", "cus_known,-0.00000000000000012", 1))
    summary = plan(usage, tmp_path / "out")
    assert [row["identifier"] for row in rows_of(tmp_path / "out" / "corrected.csv")] == ["id-1", "id-2"]
    assert summary.outcomes.records["valid"] == 2

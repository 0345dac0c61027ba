"""Everything about one case in one archive file, for an auditor who has nothing of ours but this file.

The bytes depend on what the ledger and the archive hold and on nothing else: a second export of an unchanged case
is the same file.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from workers.archive import Archive
from workers.kernel.errors import InputUnusable
from workers.kernel.files import sha256_of, written_whole
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.events import RECEIPT
from workers.kernel.ledger.hash_chain import COVERED, plain_value
from workers.kernel.ledger.journal import WAITING, EntryKind, RecordSetRef
from workers.pipeline.audit.case_csv import write_csv
from workers.pipeline.context import Stores

README: Final = """\
This is everything that metermend holds about one case of refused usage.

manifest.json     sha256 and size of every other file here
case.json         what the case is about, and its balance
entries.jsonl     its journal: one entry a line, oldest first
submissions.json  what was sent to Stripe, with the progress of those sent in chunks
events/           Stripe's events as they were received; those that came too long ago are named without a body
files/            the record sets (Parquet) and the files they were read from
quarantined.csv   the records that wait for a person, with code, reason and suggestion; likewise deferred.csv for
                  those that become valid later. Made of the record sets, for reading; absent where there are none.
                  A cell that a spreadsheet would run begins with an apostrophe here, and only here

How to verify it, with nothing but sha256 and a JSON library:

1. Each file has the digest that manifest.json says.
2. Each entry's `hash` is the sha256 of this JSON text: its fields {fields},
   keys sorted, no blanks after `,` and `:`, characters as they are, UTF-8. The first entry's `previous` is the
   sha256 of "metermend case " and the case's key; each other's is the `hash` before it; the last `hash` is the
   `head` in case.json. An entry that was altered, removed or slipped in breaks this chain. Where a customer was
   erased at his request, an entry of the kind `erased` says so. Its detail has under `entries` the digests of what
   is left of earlier ones, which then have these; under `genesis`, if it is there, the first `previous`.
3. Each entry takes `records` and `quantity` from `from_bucket` to `to_bucket`. Added up from the first to the last
   they give the balance in case.json, where failed = the sum of all buckets.
4. `record_set` names the file below files/ that holds exactly the records that an entry moved, and
   `record_set_sha256` is its digest. The column `@record` numbers the records of the case; `@quantity` is what
   each one counts for.
5. An entry's `detail` says beside it what was written with it: `case`, what the case is about; `submissions`, what
   was written of each; `evidence`, the digests of files that show the refusal. The last of these is what case.json
   and submissions.json say. `event_digest` is the sha256 of the JSON text, made as in 2, of {event_fields}
   of the event that `event_id` names, where `sha256` is that of its body. What is left of an event that a
   customer was erased from has the digest that an `erased` entry says under `events`.
"""


def export(ledger: Ledger, archive: Archive, case_id: str, into: Path) -> None:
    """Write a case to `into` as tar.gz; the file is whole or absent.

    Raises InputUnusable when there is no such case, Corrupt when a file is not what was kept, Transient and
    Permanent as the archive does.
    """
    case = ledger.cases.get(case_id)
    if case is None:
        raise InputUnusable("there is no such case", where=case_id, mend="`metermend cases` lists them")
    # No name and no time go into the gzip header: the bytes must not depend on where and when.
    with (
        written_whole(into) as path,
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
    ):
        _write(packed, case, ledger, archive)


def _write(packed: gzip.GzipFile, case: Case, ledger: Ledger, archive: Archive) -> None:
    digests: dict[str, str] = {}
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        with TemporaryDirectory() as folder:
            for name, content in _members(case, ledger, archive, Path(folder)):
                _add(tar, f"{case.id}/{name}", content)
                digests[name] = _digest(content)
        _add(tar, f"{case.id}/manifest.json", _json({"case": case.id, "sha256": digests}))


def _members(case: Case, ledger: Ledger, archive: Archive, folder: Path) -> Iterator[tuple[str, bytes | Path]]:
    """Yield (name, content) of every file but the manifest; what must be made first is made in `folder`."""
    rows = [dict(row) for row in ledger.queries.chained_entries(case.id)]
    yield "README.txt", README.format(fields=", ".join(sorted(COVERED)), event_fields=", ".join(RECEIPT)).encode()
    yield "case.json", _json({**asdict(case), "balance": case.balance.to_json(), "key": case.failure.key})
    yield "entries.jsonl", b"".join(_json(row, indent=None) + b"\n" for row in rows)
    yield "submissions.json", _json(list(_submissions(ledger, case.id)))
    yield from _events(ledger, {row["event_id"] for row in rows if row["event_id"]})
    for name, path in sorted(_files(archive, case.id, rows).items()):
        yield f"files/{name}", path
    for bucket in WAITING:
        path = folder / f"{bucket}.csv"
        if write_csv(Stores(ledger, archive), case.id, bucket, path):
            yield path.name, path


def _submissions(ledger: Ledger, case_id: str) -> Iterator[dict[str, Any]]:
    for submission in ledger.submissions.of_case(case_id):
        chunks = ledger.chunks.of(submission.id)
        sent = [{"number": number, **asdict(chunk)} for number, chunk in chunks.items()]
        yield {**asdict(submission), "chunks": sent}


def _events(ledger: Ledger, event_ids: set[str]) -> Iterator[tuple[str, bytes]]:
    for number, event_id in enumerate(sorted(event_ids), start=1):
        event = ledger.events.get(event_id)
        if event is None:
            continue
        told = {name: value for name, value in asdict(event).items() if name != "raw"}
        yield f"events/{number}.json", _json(told)
        if event.raw is not None:
            yield f"events/{number}.body", event.raw


def _files(archive: Archive, case_id: str, rows: list[dict[str, Any]]) -> dict[str, Path]:
    """Return every file of the case, verified; what the journal names must be there, or retention took it."""
    found = {Path(name).name: archive.fetch_named(name) for name in archive.names(case_id)}
    if any(row["kind"] == EntryKind.REMOVED for row in rows):
        return found
    named = {RecordSetRef(row["record_set"], row["record_set_sha256"]) for row in rows if row["record_set"]}
    return found | {Path(ref.name).name: archive.fetch(ref) for ref in named}


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        tar.addfile(info, file)


def _digest(content: bytes | Path) -> str:
    return sha256(content).hexdigest() if isinstance(content, bytes) else sha256_of(content)


def _json(value: object, *, indent: int | None = 2) -> bytes:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, default=plain_value).encode()

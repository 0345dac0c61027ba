"""Opening any usage file: what it is, as plain UTF-8 text, with its columns named."""

import codecs
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from workers.kernel.errors import FileUnusable
from workers.records.files import decode, detect, json_array, json_bodies
from workers.records.files.csv_part import CsvReader
from workers.records.files.decode import why_not
from workers.records.files.headers import frame_columns, missing_columns, renames_for, require_header
from workers.records.files.json_part import JsonReader
from workers.records.files.json_record import PAYLOAD
from workers.records.files.layout import Finding, Format, Layout, ReadOptions
from workers.records.files.nested import nesting_of, sampled
from workers.records.files.usage_file import UsageFile
from workers.records.files.workbook import Workbook


@dataclass(frozen=True)
class _Text:
    """The file as plain UTF-8 text, with what was found on the way there."""

    name: str
    size: int
    compression: str | None
    encoding: str
    findings: tuple[Finding, ...]
    stream: IO[bytes]
    is_workbook: bool = False

    def found(self, file_format: Format) -> list[Finding]:
        """Return what was found, with what Stripe would refuse in the file as such; it takes no workbook at all."""
        if self.is_workbook:
            return [*self.findings]
        return [*self.findings, *detect.file_findings(self.name, self.size, file_format, self.compression)]


def open_file(path: Path, options: ReadOptions | None = None) -> UsageFile:
    """Find out what the file is and open it. Raises FileUnusable, in one clear line, where it is no usage file."""
    options = options or ReadOptions()
    try:
        with ExitStack() as streams:  # the file that is returned has a handle of its own
            packed = streams.enter_context(path.open("rb"))
            return _opened(_as_text(packed, path, options, streams), options, streams)
    except OSError as error:
        raise FileUnusable(why_not(error), where=path.name, mend="check the path and its permissions") from error


def _as_text(packed: IO[bytes], path: Path, options: ReadOptions, streams: ExitStack) -> _Text:
    compression = decode.compression_of(packed.read(4))
    stream = streams.enter_context(decode.unpack(path, compression)) if compression else packed
    stream.seek(0)
    head = stream.read(detect.HEAD_BYTES)
    if detect.is_workbook(head):
        workbook = Workbook(stream, path.name)
        sheet = streams.enter_context(workbook.as_csv())
        size, said = path.stat().st_size, tuple(workbook.findings)
        return _Text(path.name, size, compression, "utf-8", said, sheet, is_workbook=True)
    detect.require_no_other(head, path.name)
    encoding, findings = (
        (_codec_name(options.encoding, path.name), [])
        if options.encoding
        else decode.encoding_of(stream, path.name)
    )
    if encoding not in {"utf-8", "utf-8-sig"}:
        stream = streams.enter_context(decode.transcode(stream, encoding, path.name))
    stream.seek(0)
    head = stream.read(detect.HEAD_BYTES)
    if b"\r" in head and b"\n" not in head:
        findings = [*findings, Finding("line_ends", "ends its lines with carriage returns alone")]
        stream = streams.enter_context(decode.line_feeds_for_returns(stream, path.name))
    return _Text(path.name, path.stat().st_size, compression, encoding, tuple(findings), stream)


def _codec_name(encoding: str, name: str) -> str:
    """Return Python's name for a declared encoding; raises FileUnusable for one that it does not know."""
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise FileUnusable(f"{encoding!r} is no known encoding", where=name, mend="declare e.g. latin-1") from error


def _opened(text: _Text, options: ReadOptions, streams: ExitStack) -> UsageFile:
    text.stream.seek(0)
    raw = text.stream.read(detect.HEAD_BYTES)
    head = raw.removeprefix(codecs.BOM_UTF8)
    detect.require_text(head, text.name)
    file_format = detect.format_of(head, options)
    if file_format is Format.CSV:
        return _open_csv(text, head, len(raw) - len(head), options)
    lines, mark = text.stream, len(raw) - len(head)
    if file_format is Format.JSON:
        lines, mark = streams.enter_context(json_array.as_lines(text.stream, text.name)), 0
    if json_bodies.holds_bodies(lines, mark, text.name):
        lines, mark = streams.enter_context(json_bodies.one_record_a_line(lines, mark, text.name)), 0
        body = Finding("body", "holds bodies of calls; each record in their lists is read as one")
        text = replace(text, findings=(*text.findings, body))
        if b"\n" not in head.strip() and not text.name.lower().endswith(detect.SUFFIXES[Format.JSONL]):
            file_format = Format.JSON  # one document, though all of it stands on one line
    return _open_json(text, lines, file_format, mark, options)


def _open_csv(text: _Text, head: bytes, mark: int, options: ReadOptions) -> UsageFile:
    found = detect.csv_head(head, options, text.name)
    renames, findings = renames_for(found.headers, options.headers)
    columns, repeated = frame_columns(found.headers, renames)
    sample = detect.csv_sample(head[found.length :], found.delimiter, columns)
    nesting = nesting_of(sample, options.headers, text.name)
    if not nesting.findings and not any(header in found.headers for header in options.headers):
        require_header(found.headers, text.name, has_rows=bool(sample))
    inside = [column for column in sampled(nesting, sample) if column not in columns]
    findings = text.found(Format.CSV) + findings + repeated + missing_columns([*columns, *inside])
    findings += nesting.findings
    if found.separator_line:
        findings.append(
            Finding("separator_line", "begins with a line for Excel, sep=; Stripe takes that for the header")
        )
    if found.delimiter != ",":
        findings.append(Finding("delimiter", f"separates fields with {found.delimiter!r}; Stripe expects ','"))
    outside = [
        header for header, column in zip(found.headers, columns, strict=True) if column not in nesting.columns
    ]
    named = (*outside, *inside)
    layout = Layout(text.name, Format.CSV, text.encoding, found.delimiter, named, renames, tuple(findings))
    return UsageFile(layout, text.stream, mark + found.length, CsvReader(found.delimiter, columns, nesting))


def _open_json(text: _Text, lines: IO[bytes], file_format: Format, mark: int, options: ReadOptions) -> UsageFile:
    lines.seek(mark)
    head = lines.read(detect.HEAD_BYTES)
    sample = detect.json_sample(head)
    found = nesting_of(sample, options.headers, text.name)
    nesting = replace(found, payload=found.payload or PAYLOAD)
    columns = sampled(nesting, sample)
    renames, findings = renames_for(columns, options.headers)
    named = [renames.get(column, column) for column in columns]
    findings += [*(missing_columns(named) if head.strip() else []), *nesting.findings]
    findings = text.found(file_format) + findings
    renamed = {**nesting.renames, **renames}
    layout = Layout(text.name, file_format, text.encoding, None, tuple(columns), renamed, tuple(findings))
    return UsageFile(layout, lines, mark, JsonReader(renames, nesting))

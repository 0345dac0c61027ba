"""From the file as it lies there to plain UTF-8 text: decompression and encodings, in bounded memory.

A file that is plain UTF-8 already is read where it lies. Any other gets an unnamed temporary copy, which vanishes
with the last handle on it.
"""

import codecs
import gzip
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import UnsupportedOperation
from pathlib import Path
from typing import IO, Final, cast

import zstandard

from workers.kernel.errors import FileUnusable, InputUnusable
from workers.records.files.layout import Finding

BLOCK: Final = 1 << 20
MAX_PLAIN_BYTES: Final = 64 << 30
"""Cap on a file once unpacked: far above any usage file, far below what fills a volume unnoticed."""
MAX_RATIO: Final = 200
"""Usage text packs 5 to 30 times smaller; beyond this ratio, past `RATIO_FREE_BYTES`, it is a bomb."""
RATIO_FREE_BYTES: Final = 64 << 20

MAGIC: Final = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig", "starts with a byte order mark"),
    (codecs.BOM_UTF16_LE, "utf-16", "is UTF-16; Stripe expects UTF-8"),
    (codecs.BOM_UTF16_BE, "utf-16", "is UTF-16; Stripe expects UTF-8"),
)
MULTIBYTE: Final = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")
C1_CONTROL: Final = re.compile(rb"[\x80-\x9f]")


def read_named(path: Path) -> str:
    """Return the text (UTF-8) of a small file that the operator named, without its mark.

    Raises InputUnusable in one line, without an errno.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputUnusable(why_not(error), where=str(path), mend="check the path and its permissions") from error
    except ValueError as error:
        raise InputUnusable("it is no UTF-8 text", where=str(path), mend="save it as UTF-8") from error


def why_not(error: OSError) -> str:
    """Say in words why a file cannot be opened, or be gone through more than once."""
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, UnsupportedOperation):
        return "it is a pipe, no file that can be read twice"
    return f"it cannot be read ({error.strerror})"


def compression_of(head: bytes) -> str | None:
    """Return `gzip` or `zstd` by the file's first bytes, whatever its name says."""
    return next((kind for kind, magic in MAGIC.items() if head.startswith(magic)), None)


def unpack(path: Path, compression: str) -> IO[bytes]:
    """Return an unnamed temporary file with the unpacked content; raises FileUnusable for a bomb or corruption."""
    blocks = _unpacked_gzip if compression == "gzip" else _unpacked_zstd
    try:
        with path.open("rb") as packed:
            return filled(lambda copy: _copy_bounded(blocks(packed), copy, path), path.name)
    except (EOFError, zlib.error, zstandard.ZstdError) as error:
        raise FileUnusable(
            f"its {compression} data cannot be unpacked ({error})", where=path.name, mend="send the file again"
        ) from error


@contextmanager
def temporary_room(name: str = "") -> Iterator[None]:
    """Raise FileUnusable where a temporary file cannot be made or written; `name` is the file that it is for."""
    try:
        yield
    except OSError as error:
        raise FileUnusable(
            f"no temporary file can be written in {_folder()} ({_why(error)})",
            where=name,
            mend="make room there, or set TMPDIR to a folder that has it",
        ) from error


def _why(error: OSError) -> str:
    """Say why, as the system does; polars puts the number behind it and into no attribute."""
    return error.strerror or str(error).partition(" (os error")[0]


def _folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "TMPDIR"


def filled(fill: Callable[[IO[bytes]], None], name: str) -> IO[bytes]:
    """Return an unnamed temporary file that `fill` has written; nothing is left behind where it fails."""
    with ExitStack() as stack, temporary_room(name):
        copy = stack.enter_context(tempfile.TemporaryFile())
        fill(copy)
        copy.flush()
        stack.pop_all()
        return cast("IO[bytes]", copy)


def _unpacked_gzip(packed: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=packed) as stream:
        try:
            while block := stream.read(BLOCK):
                yield block
        except gzip.BadGzipFile as error:
            raise EOFError(str(error)) from error  # an OSError, though no disk is to blame


def _unpacked_zstd(packed: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of every frame. The input goes in by 2 KiB, since each 4 bytes of a bomb give 128 KiB."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    frame = unpacker.decompressobj()
    pending = packed.read(2048)
    while pending:
        yield frame.decompress(pending)
        pending = frame.unused_data if frame.eof else b""
        pending = pending or packed.read(2048)
        if frame.eof and pending:
            frame = unpacker.decompressobj()
    if not frame.eof:
        raise EOFError("it ends in the middle of a frame")


def _copy_bounded(blocks: Iterator[bytes], copy: IO[bytes], path: Path) -> None:
    packed = path.stat().st_size
    written = 0
    for block in blocks:
        written += len(block)
        require_bounded(written, packed, path.name)
        copy.write(block)


def require_bounded(unpacked: int, packed: int, name: str) -> None:
    """Raise FileUnusable where so many bytes from so many packed ones are more than usage text unpacks to."""
    limit = min(MAX_PLAIN_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * packed))
    if unpacked > limit:
        raise FileUnusable(
            f"it unpacks to more than {limit:,} bytes from {packed:,}, which no usage file does",
            where=name,
            mend="send it unpacked if it is genuine",
        )


def encoding_of(source: IO[bytes], name: str) -> tuple[str, list[Finding]]:
    """Return the file's encoding where it is certain, with what is worth telling about it.

    UTF-16 needs its mark, or the zero bytes that ASCII leaves in it. A file that is not UTF-8 counts as Latin-1 if
    no byte pair in it could be UTF-8 and none of its bytes is a C1 control; otherwise it stays UTF-8 and the rows
    that do not decode become unreadable rows. Raises FileUnusable for a binary file.
    """
    source.seek(0)
    head = source.read(BLOCK)
    for mark, encoding, said in BOMS:
        if head.startswith(mark):
            return encoding, [Finding("byte_order_mark", said)]
    if b"\0" in head[:4096]:
        return _unmarked_utf16(head, name)
    if _is_latin1(source):
        return "latin-1", [Finding("encoding", "is Latin-1; Stripe expects UTF-8")]
    return "utf-8", []


def _unmarked_utf16(head: bytes, name: str) -> tuple[str, list[Finding]]:
    odd, even = head[1:4096:2].count(0), head[0:4096:2].count(0)
    half = len(head[:4096]) // 2
    for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros > 0.9 * half and others == 0:
            return encoding, [Finding("encoding", f"is {encoding} without a byte order mark; Stripe expects UTF-8")]
    raise FileUnusable("it is a binary file, not text", where=name, mend="send CSV, JSON or JSON Lines")


def _is_latin1(source: IO[bytes]) -> bool:
    """Tell whether the file is Latin-1 for certain; only blocks with bytes beyond ASCII are looked at closely."""
    source.seek(0)
    beyond_ascii = False
    while block := source.read(BLOCK):
        if block.isascii():
            continue
        if MULTIBYTE.search(block) or C1_CONTROL.search(block):
            return False
        beyond_ascii = True
    return beyond_ascii


def transcode(source: IO[bytes], encoding: str, name: str) -> IO[bytes]:
    """Return an unnamed temporary file with the text as UTF-8; raises FileUnusable if it is not so encoded."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
        return filled(lambda copy: _rewrite(source, copy, lambda b: decoder.decode(b, final=not b).encode()), name)
    except (UnicodeError, LookupError) as error:
        raise FileUnusable(
            f"it cannot be read as {encoding} ({error})", where=name, mend="declare the encoding it is written in"
        ) from error


def line_feeds_for_returns(source: IO[bytes], name: str) -> IO[bytes]:
    """Return an unnamed temporary copy with line feeds for carriage returns, the old Macintosh line ends."""
    return filled(lambda copy: _rewrite(source, copy, lambda block: block.replace(b"\r", b"\n")), name)


def _rewrite(source: IO[bytes], copy: IO[bytes], change: Callable[[bytes], bytes]) -> None:
    """Copy the source block by block through `change`, which gets an empty last block to finish with."""
    source.seek(0)
    while block := source.read(BLOCK):
        copy.write(change(block))
    copy.write(change(b""))

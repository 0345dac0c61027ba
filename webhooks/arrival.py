"""The bytes of one request as they come in, and whether a server can answer it without waiting for more.

It judges only how much there is: what the bytes mean is gunicorn's parser's to say, which reads them afterwards.
Source: RFC 9112, "Message Body" and "Chunked Transfer Coding".
"""

import re
from typing import Final

LONGEST_HEAD: Final = 32 * 1024
LONGEST_CHUNK_SIZE: Final = 256

_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]{1,18})[ \t]*\r?$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:")
_WAITS = re.compile(rb"(?im)^expect:[ \t]*100-continue")
_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}(?=[;\r \t])")


class HeadTooLong(Exception):
    """More came than any head needs, without its end."""


class Arrival:
    """One request. A body longer than `longest_body` bytes counts as whole: it will be refused unread."""

    def __init__(self, longest_body: int) -> None:
        self.received = bytearray()
        self.waits_for_continue = False
        self._longest = longest_body
        self._body = 0
        self._length: int | None = None
        self._seen = 0
        self._decoded = 0

    def take(self, piece: bytes) -> bool:
        """Add bytes and return whether the request is whole. Raises HeadTooLong."""
        self.received += piece
        if not self._body and not self._finds_body():
            return False
        if self._length is None:
            return self._has_last_chunk()
        return self._length > self._longest or len(self.received) >= self._body + self._length

    def _finds_body(self) -> bool:
        end = self.received.find(b"\r\n\r\n", max(0, self._seen - 3))
        self._seen = len(self.received)
        if (end if end >= 0 else self._seen) > LONGEST_HEAD:
            raise HeadTooLong
        if end < 0:
            return False
        head = bytes(self.received[: end + 2])
        length = _LENGTH.search(head)
        self._length = None if _CHUNKED.search(head) else int(length[1]) if length else 0
        self._body = self._seen = end + 4
        self.waits_for_continue = bool(_WAITS.search(head))
        return True

    def _has_last_chunk(self) -> bool:
        """Walk on over whole chunks from where the last walk ended."""
        while self._decoded <= self._longest:
            line_end = self.received.find(b"\r\n", self._seen, self._seen + LONGEST_CHUNK_SIZE)
            if line_end < 0:
                return len(self.received) - self._seen >= LONGEST_CHUNK_SIZE or self._is_padded()
            size = _SIZE.match(self.received, self._seen)
            if size is None:
                return True  # no chunk: the parser refuses it without reading on
            length = int(size[0], 16)
            if not length:
                return self.received.find(b"\r\n\r\n", line_end) >= 0 or self._is_padded()
            if line_end + 2 + length + 2 > len(self.received):
                return self._decoded + len(self.received) - line_end - 2 > self._longest or self._is_padded()
            self._seen = line_end + 2 + length + 2
            self._decoded += length
        return True

    def _is_padded(self) -> bool:
        """Tell whether chunks cost many times the bytes that they carry, which no honest sender's do."""
        if len(self.received) - self._body > 2 * self._longest + LONGEST_HEAD:
            raise HeadTooLong
        return False

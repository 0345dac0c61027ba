"""If this fails, `stripe listen` loses the twin: it hears nothing, or takes the line for dead."""

import socket
import struct

import pytest

from fixtures.twin.websocket import WebSocket


@pytest.mark.parametrize("size", [5, 125, 126, 65_535, 65_536])
def test_a_message_of_any_size_arrives_whole(size: int) -> None:
    here, there = socket.socketpair()
    with here, there, here.makefile("rb") as incoming, there.makefile("rb") as heard:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * size)
        line = WebSocket(here, incoming, "dGhlIHNhbXBsZSBub25jZQ==")
        head = [heard.readline().strip() for _ in range(5)]
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, section 1.3
        line.send("x" * size)
        kind, short = struct.unpack("!BB", heard.read(2))
        long = {126: "!H", 127: "!Q"}.get(short)
        told = struct.unpack(long, heard.read(struct.calcsize(long)))[0] if long else short
        assert (kind, told, heard.read(told)) == (0x81, size, b"x" * size)


def test_a_ping_is_answered_until_the_other_side_leaves() -> None:
    here, there = socket.socketpair()
    with here, there, here.makefile("rb") as incoming, there.makefile("rb") as heard:
        line = WebSocket(here, incoming, "key")
        mask = bytes([1, 2, 3, 4])
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(b"still there?"))
        there.sendall(bytes([0x89, 0x80 | len(masked)]) + mask + masked + bytes([0x88, 0x80]) + mask)
        line.hold()
        while heard.readline().strip():
            pass
        assert heard.read(2 + len(masked) + 2) == bytes([0x8A, len(masked)]) + b"still there?" + bytes([0x88, 0])

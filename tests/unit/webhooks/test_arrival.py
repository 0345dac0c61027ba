"""Taken for whole too early, a request holds a thread; taken for whole too late, it is never answered."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.arrival import LONGEST_HEAD, Arrival, HeadTooLong

CAP = 100
LINE = b"POST /webhooks HTTP/1.1\r\nHost: x\r\n"


def with_length(body: bytes) -> bytes:
    return LINE + b"content-LENGTH:  %d\r\n\r\n%s" % (len(body), body)


def in_chunks(pieces: list[bytes], trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return LINE + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


TRAPS = st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n", b"\r\n0\r\n", b"a"])
REQUESTS = st.one_of(
    st.just(LINE + b"\r\n"),
    st.lists(TRAPS, max_size=8).map(b"".join).map(with_length),
    st.builds(in_chunks, st.lists(TRAPS, max_size=8), st.sampled_from([b"", b"X: y\r\n"])),
)


@given(REQUESTS, st.lists(st.integers(0, 200)))
def test_a_request_is_whole_with_its_last_byte_and_not_before(request: bytes, cuts: list[int]) -> None:
    arrival = Arrival(CAP)
    at = [0, *sorted({min(cut, len(request) - 1) for cut in cuts}), len(request)]
    whole = [arrival.take(request[start:end]) for start, end in pairwise(at)]
    assert whole == [False] * (len(whole) - 1) + [True]
    assert bytes(arrival.received) == request


def test_a_body_over_the_cap_is_not_waited_for() -> None:
    assert Arrival(CAP).take(LINE + b"Content-Length: 101\r\n\r\n")
    arrival = Arrival(CAP)
    assert not arrival.take(LINE + b"Transfer-Encoding: chunked\r\n\r\nffffff\r\n" + b"x" * CAP)
    assert arrival.take(b"x")


@pytest.mark.parametrize("chunk", [b"no number\r\n", b"-1\r\n", b"x" * 300])
def test_what_is_no_chunk_is_left_to_the_parser_to_refuse(chunk: bytes) -> None:
    assert Arrival(CAP).take(LINE + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)


@pytest.mark.parametrize(
    "endless", [b"x" * 50_000, LINE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 8_000]
)
def test_what_has_no_end_is_refused(endless: bytes) -> None:
    with pytest.raises(HeadTooLong):
        Arrival(CAP).take(endless)
    assert len(endless) > LONGEST_HEAD

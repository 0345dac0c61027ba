"""An identifier that changes between tries bills twice; one that two records share bills one of them not at all."""

import hashlib

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from workers.records.identifiers import next_revisions, origin_of, revision_identifier, with_identifiers
from workers.records.schema import MAX_IDENTIFIER_LENGTH

IDENTIFIERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)


def following(identifiers: list[str]) -> list[str]:
    frame = pl.DataFrame({"identifier": identifiers}, schema={"identifier": pl.String})
    return frame.select(next_revisions(pl.col("identifier"))).to_series().to_list()


@given(IDENTIFIERS, st.integers(2, 9999))
def test_a_revision_depends_on_origin_and_number_only_and_fits(identifier: str, revision: int) -> None:
    made = revision_identifier(identifier, revision)
    assert len(made) <= MAX_IDENTIFIER_LENGTH
    assert origin_of(made)[1] == revision
    assert revision_identifier(made, revision) == made
    if revision < 9999:
        assert following([made]) == [revision_identifier(identifier, revision + 1)]


@given(st.lists(IDENTIFIERS, max_size=5))
def test_the_vectorised_revision_is_the_plain_one(identifiers: list[str]) -> None:
    plain = [revision_identifier(text, origin_of(text)[1] + 1) for text in identifiers]
    assert following(identifiers) == plain


@given(st.lists(IDENTIFIERS, min_size=2, max_size=5, unique_by=lambda text: origin_of(text)[0]))
def test_different_origins_never_share_a_revision(identifiers: list[str]) -> None:
    assert len({revision_identifier(text, 2) for text in identifiers}) == len(identifiers)


def test_the_first_revision_keeps_the_senders_identifier() -> None:
    assert revision_identifier("order-1", 1) == "order-1"
    assert revision_identifier("order-1~r3", 1) == "order-1"


def test_only_absent_identifiers_are_made_and_differ_by_source_and_row() -> None:
    frame = pl.DataFrame({"identifier": ["a", None, " ", ""], "@row": [1, 2, 3, 4]})
    made = frame.select(with_identifiers("impset_1"))["identifier"].to_list()
    other = frame.select(with_identifiers("impset_2"))["identifier"].to_list()
    assert made[0] == "a"
    assert len({*made[1:], *other[1:]}) == 6
    assert made == frame.select(with_identifiers("impset_1"))["identifier"].to_list()
    assert made[1] == f"mm-{hashlib.sha256(b'impset_1').hexdigest()[:24]}-2"

"""Stripe's parameters and pages, as the SDK and the CLI write and follow them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.twin.answers import ApiError
from fixtures.twin.clock import Clock, parse_rfc3339, rfc3339
from fixtures.twin.forms import nest
from fixtures.twin.paging import in_range, v1_page
from fixtures.twin.settings import Settings

ITEMS = [{"id": f"obj_{n}"} for n in range(7)]


def test_brackets_become_objects_and_lists() -> None:
    pairs = [("a", "1"), ("b[c][d]", "2"), ("e[]", "3"), ("e[]", "4"), ("f[0]", "5"), ("f[1]", "6")]
    assert nest(pairs) == {"a": "1", "b": {"c": {"d": "2"}}, "e": ["3", "4"], "f": ["5", "6"]}


def _ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["data"]]


@given(limit=st.integers(1, 8))
def test_pages_forward_and_backward_show_every_item_once(limit: int) -> None:
    """A page that skips an item would make `reconcile` lose an event."""
    params: dict[str, Any] = {"limit": str(limit)}
    seen: list[str] = []
    while True:
        page = v1_page(ITEMS, params, "/v1/x")
        seen += _ids(page)
        if not page["has_more"]:
            break
        params["starting_after"] = seen[-1]
    assert seen == [item["id"] for item in ITEMS]

    params, back = {"limit": str(limit), "ending_before": "obj_6"}, list[str]()
    while True:
        page = v1_page(ITEMS, params, "/v1/x")
        back = _ids(page) + back
        if not page["has_more"]:
            break
        params["ending_before"] = back[0]
    assert back == [item["id"] for item in ITEMS[:6]]


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"starting_after": "obj_9"}])
def test_a_page_that_cannot_be_is_a_400(params: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        v1_page(ITEMS, params, "/v1/x")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("bounds", "inside"),
    [
        (None, True),
        ("5", True),
        ("6", False),
        ({"gt": "5"}, False),
        ({"gte": "5", "lt": "6"}, True),
        ({"lte": "4"}, False),
    ],
)
def test_created_filters_by_each_bound(bounds: object, inside: bool) -> None:
    assert in_range(5, bounds) is inside


def test_times_are_written_and_read_alike() -> None:
    assert rfc3339(1_795_176_000.25) == "2026-11-20T12:00:00.250Z"
    assert parse_rfc3339("2026-11-20T13:00:00.250+01:00") == 1_795_176_000.25
    with pytest.raises(ValueError, match="no time zone"):
        parse_rfc3339("2026-11-20T13:00:00")


def test_a_frozen_clock_moves_only_when_told_and_runs_on_from_there() -> None:
    clock = Clock()
    clock.freeze(1000.0)
    clock.advance(60)
    assert clock.now() == 1060.0
    clock.run()
    assert 1060.0 <= clock.now() < 1065.0


@pytest.mark.parametrize(
    "change", [{"sample_capp": 3}, {"sample_cap": "3"}, {"emit_clean_imports": 1}, {"report_lag": True}]
)
def test_a_setting_that_does_not_exist_or_fit_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="setting"):
        Settings().update(change)


def test_settings_take_numbers_and_lists_as_json_writes_them() -> None:
    settings = Settings()
    settings.update({"report_lag": 3, "sync_codes": ["no_meter"]})
    assert (settings.report_lag, settings.sync_codes) == (3, ("no_meter",))

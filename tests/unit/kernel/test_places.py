"""If these fail, one account's usage is looked for in another's files, or billed to another's customers."""

import pytest

from workers.kernel.errors import SettingsUnusable
from workers.kernel.settings import load


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("usage", {None: ("usage",)}),
        (" usage , s3://bucket/folder ,", {None: ("usage", "s3://bucket/folder")}),
        ("acct_1=s3://theirs", {"acct_1": ("s3://theirs",)}),
        (
            "ours,acct_1=theirs,acct_2=s3://b/x,acct_1=more",
            {None: ("ours",), "acct_1": ("theirs", "more"), "acct_2": ("s3://b/x",)},
        ),
        ("acct_1 = theirs", {"acct_1": ("theirs",)}),
        ("ours,ours", {None: ("ours",)}),
        ("/usage/day=2026-11-20", {None: ("/usage/day=2026-11-20",)}),
        ("./day=1", {None: ("./day=1",)}),
        ("s3://bucket/day=1", {None: ("s3://bucket/day=1",)}),
        ("acct_1=s3://bucket/day=1", {"acct_1": ("s3://bucket/day=1",)}),
        ("", {}),
    ],
)
def test_each_place_is_of_the_account_that_it_is_named_for(text: str, places: object) -> None:
    assert load({"usage_sources": text}).source_places == places


@pytest.mark.parametrize("entry", ["acct_1=", "=usage", "account=usage", "acct-1=usage", "day=1", "acct_=usage"])
@pytest.mark.parametrize("setting", ["usage_sources", "submit_to"])
def test_an_entry_that_names_no_account_is_told_in_one_line(setting: str, entry: str) -> None:
    with pytest.raises(SettingsUnusable) as told:
        load({setting: f"ours,{entry}"})
    assert told.value.where == setting.upper()
    assert entry in str(told.value)
    assert "\n" not in str(told.value)


def test_corrected_usage_goes_to_a_folder_and_the_api_of_each_account() -> None:
    settings = load({"submit_to": "s3://own,meter-events,acct_1=s3://theirs, acct_2=meter-events"})
    assert settings.target_places == {
        None: ("s3://own", "meter-events"),
        "acct_1": ("s3://theirs",),
        "acct_2": ("meter-events",),
    }


@pytest.mark.parametrize(
    "places",
    ["metronome,s3://own", "meter-events,metronome", "acct_1=metronome", "meter-events,acct_1=meter-event-stream"],
)
def test_places_that_would_bill_twice_or_whom_they_do_not_know_are_refused(places: str) -> None:
    """Two billers, one account's ids among another's, or two ways that know nothing of each other."""
    with pytest.raises(SettingsUnusable) as told:
        load({"submit_to": places})
    assert told.value.where == "SUBMIT_TO"


def test_two_folders_of_one_account_are_refused_since_both_would_bill() -> None:
    with pytest.raises(SettingsUnusable, match="acct_1 has several folders"):
        load({"submit_to": "s3://own,acct_1=s3://a,acct_1=s3://b"})

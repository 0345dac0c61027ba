"""Whatever a client sends, the twin answers as Stripe would: never with a server error, never by stopping."""

from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.twin import Twin
from fixtures.twin.routes import API, STREAM

NAMES = st.one_of(
    st.sampled_from(
        ["event_name", "payload", "identifier", "timestamp", "events", "limit", "created", "types", "type"]
    ),
    st.sampled_from(
        ["query", "cancel", "default_aggregation", "display_name", "customer", "start_time", "end_time", "page"]
    ),
    st.sampled_from(
        [
            "metadata",
            "starting_after",
            "ending_before",
            "event_time_window",
            "value_grouping_window",
            "delivery_success",
            "purpose",
        ]
    ),
)
TEXTS = st.sampled_from(["calls", "1", "-1", "x", "", "cancel", "sum", "2026-11-20T12:00:00Z"]) | st.text(
    max_size=5
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=6)
FORMS = st.lists(
    st.tuples(
        st.builds(
            lambda name, rest: name + rest,
            NAMES,
            st.sampled_from(["", "[]", "[0]", "[gte]", "[value]", "[formula]", "[a][b]", "[", "]"]),
        ),
        TEXTS,
    ),
    max_size=6,
)
ODD = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _url(twin: Twin, path: str) -> str:
    identity = next(iter(twin.account().meters)) if "meters" in path else "cus_a"
    return twin.url + path.replace("<identity>", identity)


@pytest.mark.parametrize(("method", "path"), [route[:2] for route in API], ids=lambda text: text)
@ODD
@given(form=FORMS, body=BODIES)
def test_odd_parameters_are_never_a_server_error(
    twin: Twin, http: requests.Session, method: str, path: str, form: list[tuple[str, str]], body: dict[str, Any]
) -> None:
    sent: dict[str, Any] = {"params": form} if method != "POST" else {"data": form}
    if path.startswith("/v2/") and method == "POST":
        sent = {"json": body}
    answer = http.request(method, _url(twin, path), timeout=5, **sent)
    assert answer.status_code < 500, answer.text


@ODD
@given(events=st.lists(BODIES, max_size=3))
def test_odd_events_in_a_stream_are_never_a_server_error(twin: Twin, events: list[dict[str, Any]]) -> None:
    session = requests.post(
        f"{twin.url}/v2/billing/meter_event_session", auth=("sk_test_made_up_key", ""), timeout=5
    ).json()
    headers = {"Authorization": f"Bearer {session['authentication_token']}"}
    answer = requests.post(twin.url + STREAM, json={"events": events}, headers=headers, timeout=5)
    assert answer.status_code < 500, answer.text

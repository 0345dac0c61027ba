"""Any JSON at all, and a good event with any JSON in the place of one of its fields."""

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st


def any_json() -> st.SearchStrategy[Any]:
    text = st.text(st.characters(exclude_categories=()), max_size=8)
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
    keys = st.sampled_from(["id", "data", "object", "result", "errors", "reason", "error_types", "status"]) | text
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


@st.composite
def with_something_odd(draw: st.DrawFn, event: dict[str, Any]) -> dict[str, Any]:
    changed = deepcopy(event)
    path = draw(st.sampled_from(paths(event)))
    holder: Any = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = draw(any_json())
    return changed


def paths(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inner in steps for path in [(*so_far, key), *paths(inner, (*so_far, key))]]

"""Every code has its remedy, and every remedy is registered under its own code."""

from importlib import import_module
from pkgutil import iter_modules
from typing import get_args

import stripe

from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.records.validation import ASPECTS
from workers.remedies import REMEDIES, Remedy, codes


def test_each_remedy_is_registered_under_its_own_code() -> None:
    """A remedy under another's code would mend the wrong column."""
    assert {key: remedy.code for key, remedy in REMEDIES.items()} == {key: key for key in REMEDIES}


def test_every_code_speaks_of_an_aspect_and_says_what_to_do() -> None:
    for remedy in REMEDIES.values():
        assert remedy.aspect in ASPECTS
        assert remedy.reason.sentence.endswith(".")
        assert remedy.reason.step.endswith(".")


def test_every_code_that_the_docs_and_the_sdk_name_is_routed() -> None:
    assert set(REMEDIES) >= {*Code, MALFORMED_RECORD}
    assert _sdk_codes() <= set(REMEDIES)


def test_every_remedy_in_the_folder_is_registered() -> None:
    """One that is written and not registered sends its records to a person for ever."""
    modules = [import_module(f"workers.remedies.codes.{module.name}") for module in iter_modules(codes.__path__)]
    written = {value.code for module in modules for value in vars(module).values() if isinstance(value, Remedy)}
    assert written == set(REMEDIES)


def test_a_remedy_lives_in_the_file_of_its_code() -> None:
    for code in REMEDIES:
        module = import_module(f"workers.remedies.codes.{code}")
        assert code in {value.code for value in vars(module).values() if isinstance(value, Remedy)}


def _sdk_codes() -> set[str]:
    """Return the codes of both events' enums in stripe-python."""
    reports = stripe.events.V1BillingMeterErrorReportTriggeredEvent, stripe.events.V1BillingMeterNoMeterFoundEvent
    codes: set[str] = set()
    for event in reports:
        error_type = getattr(event, f"{event.__name__}Data").Reason.ErrorType
        codes |= set(_literals(error_type.__annotations__["code"]))
    assert codes
    return codes


def _literals(annotation: object) -> tuple[str, ...]:
    names = get_args(annotation)
    return names if names and all(isinstance(name, str) for name in names) else _literals(names[0])

"""If these fail, a service starts that can take in or mend nothing, and nobody is told why."""

from pydantic import SecretStr

from workers.kernel.settings import Settings
from workers.kernel.settings_check import problems


def test_what_is_missing_is_told_with_its_mend_and_the_fatal_first() -> None:
    found = problems(Settings.model_construct())
    assert {"STRIPE_WEBHOOK_SECRETS", "STRIPE_API_KEY", "SUBMIT_TO"} <= {problem.setting for problem in found}
    assert all(problem.mend for problem in found)
    assert [problem.fatal for problem in found] == sorted((problem.fatal for problem in found), reverse=True)


def test_nothing_is_missing_where_all_is_set() -> None:
    complete = Settings.model_construct(
        stripe_webhook_secrets=(SecretStr("whsec_made_up_thin"), SecretStr("whsec_made_up_snapshot")),
        stripe_api_key=SecretStr("sk_test_made_up"),
        submit_to="meter-events",
        usage_sources=(SecretStr("usage"),),
    )
    assert problems(complete) == []

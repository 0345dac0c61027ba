"""The main job, from outside: usage that Stripe refused is billed in the end, once."""

import re
import time

import pytest

from tests.servers import RedisServer
from tests.system.house import House

pytestmark = pytest.mark.xdist_group("house")

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value\n"


def now() -> int:
    return int(time.time()) - 3600


def confirmed(house: House, records: int) -> None:
    house.until(lambda: house.records()["confirmed"] == records, f"{records} records confirmed")


def test_all_four_kinds_of_event_end_in_billed_usage(house: House) -> None:
    """The product's promise: each way in which Stripe refuses usage leads back to an invoice."""
    house.come_to_rest()
    before = house.records()["confirmed"]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now()))
    house.upload(
        "day.csv",
        f"{HEADER}a-1,{now()},api_requests, cus_1,1\n"  # error_report_triggered
        f"a-2,{now()},API-Requests,cus_1,10\n"  # no_meter_found
        f"a-3,{stamp},api_requests,cus_1,100\n",  # import_set.succeeded, with errors
    )
    header = "Identifier,Timestamp,Event Name,Customer ID,Value\n"
    house.upload("night.csv", f"{header}b-1,{now()},api_requests,cus_1,1000\n")  # import_set.failed
    billed(house, "cus_1", "1111")
    confirmed(house, before + 4)
    assert house.proof()["equation"]["confirmed"]["records"] == before + 4


def test_worker_and_clock_give_signs_of_life_that_the_web_can_see(house: House) -> None:
    """Who is on call would look at a service that is well, or not at one that is dead."""
    signs = {f'metermend_component_up{{component="{part}"}} 1.0' for part in ("worker", "clock", "archive")}
    house.until(lambda: signs <= set(house.metrics().splitlines()), "a sign of each part")


def test_usage_survives_a_worker_that_is_killed(house: House) -> None:
    """A worker dies with the job in its hands: nothing may be lost, nothing billed twice."""
    house.come_to_rest()
    before, received = house.records()["confirmed"], _received(house)
    house.kill("worker")
    house.upload("killed.csv", f"{HEADER}c-1,{now()},api_requests, cus_2,7\n")
    house.until(lambda: _received(house) > received, "the event stored")
    house.start("worker", "workers.cli", "worker")
    time.sleep(0.3)
    house.kill("worker")
    house.start("worker", "workers.cli", "worker")
    billed(house, "cus_2", "7")
    confirmed(house, before + 1)


def test_an_event_that_arrives_while_redis_is_down_is_worked_on_later(house: House, redis: RedisServer) -> None:
    """Stripe was told 200 and will not send it again."""
    received = _received(house)
    redis.stop()
    house.upload("away.csv", f"{HEADER}d-1,{now()},api_requests, cus_3,7\n")
    house.until(lambda: _received(house) > received, "the event stored")
    redis.start()
    house.kill("worker")
    house.start("worker", "workers.cli", "worker")
    billed(house, "cus_3", "7")


def billed(house: House, customer: str, quantity: str) -> None:
    house.until(lambda: house.billed().get(("api_requests", customer)) == quantity, "the whole quantity billed")


def _received(house: House) -> int:
    found = re.findall(r'^metermend_webhooks_total\{answer="received"\} (\S+)$', house.metrics(), re.MULTILINE)
    return sum(int(float(number)) for number in found)

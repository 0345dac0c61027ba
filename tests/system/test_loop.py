"""The main job, from outside: usage that Stripe refused is billed in the end, once."""

import time

import requests

from tests.servers import RedisServer
from tests.system.house import House

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value\n"


def now() -> int:
    return int(time.time()) - 3600


def test_all_four_kinds_of_event_end_in_billed_usage(house: House) -> None:
    """The product's promise: each way in which Stripe refuses usage leads back to an invoice."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now()))
    house.upload(
        "day.csv",
        f"{HEADER}a-1,{now()},api_requests, cus_1,1\n"  # error_report_triggered
        f"a-2,{now()},API-Requests,cus_1,10\n"  # no_meter_found
        f"a-3,{stamp},api_requests,cus_1,100\n",  # import_set.succeeded, with errors
    )
    header = "Identifier,Timestamp,Event Name,Customer ID,Value\n"
    house.upload("night.csv", f"{header}b-1,{now()},api_requests,cus_1,1000\n")  # import_set.failed
    house.until(lambda: house.billed() == {("api_requests", "cus_1"): "1111"}, "the whole quantity billed")
    house.until(lambda: house.proof()["equation"]["confirmed"]["records"] == 4, "four records confirmed")


def test_usage_survives_a_worker_that_is_killed(house: House) -> None:
    """A worker dies with the job in its hands: nothing may be lost, nothing billed twice."""
    house.kill("worker")
    house.upload("day.csv", f"{HEADER}a-1,{now()},api_requests, cus_1,7\n")
    house.until(lambda: _received(house) > 0, "the event stored")
    house.start("worker", "workers.cli", "worker")
    time.sleep(0.3)
    house.kill("worker")
    house.start("worker", "workers.cli", "worker")
    house.until(lambda: house.billed() == {("api_requests", "cus_1"): "7"}, "the quantity billed")
    house.until(lambda: house.proof()["equation"]["confirmed"]["records"] == 1, "the record confirmed")


def test_an_event_that_arrives_while_redis_is_down_is_worked_on_later(house: House, redis: RedisServer) -> None:
    """Stripe was told 200 and will not send it again."""
    redis.stop()
    house.upload("day.csv", f"{HEADER}a-1,{now()},api_requests, cus_1,7\n")
    house.until(lambda: _received(house) > 0, "the event stored")
    redis.start()
    house.kill("worker")
    house.start("worker", "workers.cli", "worker")
    house.until(lambda: house.billed() == {("api_requests", "cus_1"): "7"}, "the quantity billed")


def _received(house: House) -> int:
    metrics = requests.get(f"{house.web}/metrics", timeout=10).text
    lines = [line for line in metrics.splitlines() if line.startswith("metermend_webhooks_total{")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if 'answer="received"' in line)

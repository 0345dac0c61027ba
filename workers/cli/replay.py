"""`metermend replay`: post stored events, signed, as Stripe would, or as somebody who is not Stripe."""

import hmac
import time
from collections.abc import Iterator
from pathlib import Path

import click
import requests

from workers.kernel.errors import InputUnusable
from workers.kernel.settings import load

TIMEOUT = 10.0


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--to", "url", default="http://127.0.0.1:4242/webhooks", show_default=True, help="Where to post.")
@click.option("--secret", help="Signing secret; default: the first of STRIPE_WEBHOOK_SECRETS.")
@click.option("--age", type=int, default=0, help="Sign as of so many seconds ago (negative: ahead).")
@click.option("--times", type=click.IntRange(1, 1000), default=1, help="Post each event so often.")
@click.option("--tamper", is_flag=True, help="Change the body after it was signed.")
def replay(paths: tuple[Path, ...], url: str, secret: str | None, age: int, times: int, *, tamper: bool) -> None:
    """Post event files (or all *__delivered.json of a folder) and show each answer.

    Exits with 1 when an answer was not 2xx.
    """
    key = secret or next(iter(load().signing_secrets), None)
    if key is None:
        raise InputUnusable("no signing secret", mend="give --secret, or set STRIPE_WEBHOOK_SECRETS")
    refused = 0
    for path in _files(paths):
        body = path.read_bytes()
        for _ in range(times):
            header = signature_header(body, key, int(time.time()) - age)
            status, answer = _post(url, body + b" " if tamper else body, header)
            refused += status >= 300
            click.echo(f"{status}  {path.name}  {answer}")
    if refused:
        click.get_current_context().exit(1)


def signature_header(body: bytes, secret: str, timestamp: int) -> str:
    """Return the `Stripe-Signature` header (Stripe docs, "Verify webhook signatures manually")."""
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()
    return f"t={timestamp},v1={signed}"


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
            continue
        found = sorted(path.glob("*__delivered.json")) or sorted(path.glob("*.json"))
        if not found:
            raise InputUnusable("no event files", where=str(path), mend="name .json files or a folder of them")
        yield from found


def _post(url: str, body: bytes, header: str) -> tuple[int, str]:
    headers = {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}
    try:
        answer = requests.post(url, data=body, headers=headers, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise InputUnusable(
            f"{type(error).__name__}: nobody answers", where=url, mend="is metermend serving?"
        ) from None
    return answer.status_code, answer.text.strip()

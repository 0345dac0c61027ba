"""`metermend user`: who may use the console, and what for."""

import getpass
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from werkzeug.security import generate_password_hash

from workers.cli.open_ledger import open_stores
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.users import Role

SHORTEST_PASSWORD = 12
_ROLE = click.Choice([str(role) for role in Role])
_HELP = "viewer: reads; operator: asks for acts; approver: approves them as well."


@click.group()
def user() -> None:
    """Say who may use the console."""


@user.command()
@click.argument("name")
@click.option("--role", type=_ROLE, required=True, help=_HELP)
@click.option("--generate", is_flag=True, help="Make a password and print it, once.")
def add(name: str, role: str, *, generate: bool) -> None:
    """Let NAME use the console; the password is asked for, or made."""
    with _ledger() as ledger:
        ledger.users.add(name, Role(role), generate_password_hash(_password(name, generate=generate)))
    click.echo(f"{name}: may log in as {role}")


@user.command()
@click.argument("name")
@click.option("--role", type=_ROLE, help=_HELP)
@click.option("--password", is_flag=True, help="Ask for another password; all sessions end.")
@click.option("--generate", is_flag=True, help="Make another password and print it, once; all sessions end.")
def change(name: str, role: str | None, *, password: bool, generate: bool) -> None:
    """Give NAME another role or password."""
    values = {"role": role} if role else {}
    if password or generate:
        values["password_hash"] = generate_password_hash(_password(name, generate=generate))
    if not values:
        raise InputUnusable("nothing is to be changed", mend="give --role, --password or --generate")
    with _ledger() as ledger:
        changed = ledger.users.change(name, **values)
    click.echo(f"{name}: is {changed.role}{', with another password' if 'password_hash' in values else ''}")


@user.command()
@click.argument("name")
def disable(name: str) -> None:
    """Let NAME log in no more; his sessions end at once, what he has decided stays under his name."""
    with _ledger() as ledger:
        ledger.users.disable(name)
    click.echo(f"{name}: may log in no more")


@user.command("list")
def show() -> None:
    """List everybody who may use the console, or once might."""
    with _ledger() as ledger:
        found = ledger.users.all()
    for one in found:
        until = f", until {one.disabled_at:%Y-%m-%d}" if one.disabled_at else ""
        click.echo(f"{one.name}  {one.role}, since {one.made_at:%Y-%m-%d}{until}")
    if not found:
        click.echo("nobody yet: whoever knows the password behind CONSOLE_PASSWORD_HASH may do everything")


@contextmanager
def _ledger() -> Iterator[Ledger]:
    ledger, _ = open_stores()
    try:
        yield ledger
    finally:
        ledger.close()


def _password(name: str, *, generate: bool) -> str:
    """Return a new password. Raises InputUnusable where there is no terminal to ask at, or it is too short."""
    if generate:
        made = secrets.token_urlsafe(SHORTEST_PASSWORD)
        click.echo(f"{name}: password {made} (shown once)")
        return made
    if not sys.stdin.isatty():
        raise InputUnusable("there is no terminal to ask for a password at", mend="use --generate")
    password = getpass.getpass(f"Password of {name}: ")
    if len(password) < SHORTEST_PASSWORD:
        raise InputUnusable(f"a password has {SHORTEST_PASSWORD} characters at least", where=name)
    if password != getpass.getpass("Once more: "):
        raise InputUnusable("the two are not the same", where=name)
    return password

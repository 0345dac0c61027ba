"""nginx before the web, with the settings that docs/OPERATIONS.md recommends."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.faults.processes import Supervisor
from bench.siege.shots import MAX_BODY
from bench.siege.web import Web
from workers.cli.processes import free_ports

CONFIGURATION = Path(__file__).with_name("nginx.conf")


def installed() -> str | None:
    """Return where nginx is, if it is."""
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")


@contextmanager
def proxied(web: Web, nginx: str) -> Iterator[Web]:
    """Yield the web at the address of a proxy before it."""
    folder = web.log.parent / "nginx"
    folder.mkdir()
    [port] = free_ports(0)
    text = CONFIGURATION.read_text().format(folder=folder, max_body=MAX_BODY, port=port, web_port=web.port)
    configuration = folder / "nginx.conf"
    configuration.write_text(text)
    supervisor = Supervisor(folder)
    try:
        supervisor.start("proxy", [nginx, "-c", str(configuration), "-e", str(folder / "nginx.log")], {})
        before = replace(web, port=port)
        before.wait()
        yield before
    finally:
        supervisor.close()

"""Where Redis is: one server, `redis://` or with TLS `rediss://`, or the master that Sentinels name.

`redis+sentinel://[user:password@]host:26379,host:26379/mymaster/0` names the Sentinels, the master and its
database; `rediss+sentinel://` is the same with TLS to both. Options follow a `?` as in redis-py's own addresses,
`ssl_ca_certs` say. User and password are the master's; the Sentinels' own are the options `sentinel_username` and
`sentinel_password`.

Source: redis-py's documentation, "Sentinel support" and "Connect to your production Redis with TLS".
"""

import re
from typing import Any, Final, Never
from urllib.parse import urlsplit

from redis import Redis
from redis.connection import parse_url
from redis.sentinel import Sentinel

from workers.kernel.errors import SettingsUnusable

_SENTINEL: Final = "+sentinel"
_FORM: Final = "redis://host:6379/0, rediss:// for TLS, or redis+sentinel://host:26379,host:26379/mymaster/0"
_SENTINEL_PORT: Final = 26379
_OPTION: Final = "sentinel_"
"""Begins the options that are the Sentinels' own."""


def connect_redis(url: str, **options: Any) -> "Redis":
    """Return a client of the Redis at `url`, which is not asked yet; `options` are redis-py's.

    Behind Sentinels each new connection goes to the master of that moment. Raises SettingsUnusable.
    """
    try:
        if urlsplit(url).scheme.endswith(_SENTINEL):
            return _master(url, options)
        return Redis.from_url(url, **options)
    except ValueError as error:
        _refuse(str(error))


def shown_address(url: str) -> str:
    """Return the address without the names and passwords in it."""
    without = re.sub(r"//.*@", "//***@", url)
    return re.sub(r"((?:user|pass)\w*=)[^&]*", r"\1***", without)


def _master(url: str, options: dict[str, Any]) -> "Redis":
    address = urlsplit(url)
    credentials, at, hosts = address.netloc.rpartition("@")
    service, _, number = address.path.strip("/").partition("/")
    if not hosts or not service:
        _refuse("no Sentinels, or no name of the master")
    scheme = address.scheme.removesuffix(_SENTINEL)
    plain = f"{scheme}://{credentials}{at}master/{number}?{address.query}"
    said = dict(parse_url(plain))  # type: ignore[no-untyped-call]
    for placeholder in ("host", "connection_class"):
        said.pop(placeholder, None)
    own = {name.removeprefix(_OPTION): said.pop(name) for name in list(said) if name.startswith(_OPTION)}
    master = {**said, **options, "ssl": scheme == "rediss"}
    shared = {name: value for name, value in master.items() if name not in ("username", "password", "db")}
    places = [_host_and_port(host) for host in hosts.split(",")]
    sentinels: Any = Sentinel(places, sentinel_kwargs={**shared, **own})  # type: ignore[no-untyped-call]
    client: Redis = sentinels.master_for(service, **master)
    return client


def _host_and_port(text: str) -> tuple[str, int]:
    place = urlsplit(f"//{text}")
    return place.hostname or _refuse(f"{text!r} is no Sentinel"), place.port or _SENTINEL_PORT


def _refuse(what: str) -> Never:
    raise SettingsUnusable(what, where="REDIS_URL", mend=_FORM) from None

"""``--offline`` is a promise: while the guard is on, no socket of this process reaches beyond this machine.

Python's audit events are used because they see every connection, whichever library makes it.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from monitor.model import CanaryError

#: an audit hook cannot be taken out again, so it is put in once and asks this switch
_switch = {"installed": False, "on": False}
_WATCHED = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")


class OfflineError(CanaryError):
    """Something tried to leave the machine under --offline. It is a mistake in Canary, never the user's."""


@contextmanager
def offline_guard() -> Iterator[None]:
    """Inside, any outbound connection or name look-up beyond this machine raises OfflineError.

    >>> with offline_guard():
    ...     socket.create_connection(("192.0.2.1", 443), timeout=1)
    Traceback (most recent call last):
    ...
    monitor.offline.OfflineError: --offline: refused to reach 192.0.2.1
    """
    if not _switch["installed"]:
        sys.addaudithook(_watch)
        _switch["installed"] = True
    before, _switch["on"] = _switch["on"], True
    try:
        yield
    finally:
        _switch["on"] = before


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if not _switch["on"] or event not in _WATCHED:
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        link, address = arguments[0], arguments[1]
        if getattr(link, "family", None) == getattr(socket, "AF_UNIX", None) or not isinstance(address, tuple):
            return
        host = address[0] if address else ""
    else:
        host = arguments[0]
    if not is_local(host):
        shown = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        raise OfflineError(f"--offline: refused to reach {shown}")


def is_local(host: object) -> bool:
    """Whether a host is this machine.

    >>> [is_local(host) for host in ("127.0.0.1", "::1", "localhost", None, "example.org", "10.0.0.1", "0.0.0.0")]
    [True, True, True, True, False, False, False]
    """
    if host is None or host in ("", "localhost", b"localhost"):
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False

"""Everything else as a channel, through the package apprise: Slack, Discord, e-mail, ntfy, Matrix and a hundred others.

``url_env`` or ``url_file`` holds one apprise address, or several with commas between them, each perhaps with a name::

    desk=slack://token_a/token_b/token_c/#desk,phone=ntfys://ntfy.sh/a-secret-topic

A route's ``to`` picks one by its name; without it a message goes to all of them. Each target has its own result: what
one has taken is not sent to it again while another fails (as long as this program runs).

The package speaks HTTP with a stack of its own: what :mod:`monitor.feeds` promises about hosts and redirects does not
hold here. It says only yes or no, so why a target failed is read from what it writes to its log while it tries; that
goes nowhere else, since it holds addresses, and an address is a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal

from monitor.chat import Settings
from monitor.logsafe import hide, protect_logs
from monitor.markup import clean, plain, title_of
from monitor.model import CanaryError, DeliveryError, Message
from monitor.redact import redact

NEEDS = ("apprise",)
#: seconds for one target, connection and answer
LIMIT_S = 30.0
REMEMBERED = 256
#: loggers that write addresses
TALKATIVE = ("apprise", "urllib3", "requests")
_ONE = re.compile(r",(?=(?:[\w-]{1,40}=)?[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_NAMED = re.compile(r"(?P<name>[\w-]{1,40})=(?P<url>[a-z][a-z0-9+.-]*://.*)", re.IGNORECASE)
_STATUS = re.compile(r"error[ =:]+(\d{3})\b")
#: the request had left when this happened
_UNANSWERED = re.compile(
    r"read timed out|remotedisconnected|connection aborted|connection reset|incomplete", re.IGNORECASE
)
_CALLS = re.compile(r"@(?=\w)|<(?=[!@#&])")
REFUSED = {400, 401, 403, 404, 405, 410, 413, 422}


class AppriseChannel:
    """Sends to every target named in the settings, or to the one a route names."""

    name = "apprise"

    def __init__(self, urls: str):
        self._targets = targets_of(urls)
        self._secrets = [urls, *(url for _, url in self._targets)]
        self._accepted: OrderedDict[str, set[int]] = OrderedDict()

    async def send(self, message: Message) -> str:
        """Send one message as text; which targets took it, by name."""
        return await self.send_rich(message, "", b"")

    async def send_rich(self, message: Message, reply_to: str, picture: bytes) -> str:
        """The same with a picture attached. Replies are not known here: ``reply_to`` is left alone."""
        chosen = [i for i, (name, _) in enumerate(self._targets) if message.to in ("", name)]
        if not chosen:
            names = ", ".join(name for name, _ in self._targets if name) or "none has a name"
            raise DeliveryError(f"apprise: there is no target named {clean(message.to, 40)!r} ({names})", "dead")
        root = message.id.partition(".")[0]
        taken = self._accepted.setdefault(root, set())
        while len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)
        failures = []
        for i in chosen:
            if i not in taken:
                try:
                    await self._tell(i, _harmless(title_of(message)), _harmless(_below(message)), picture)
                    taken.add(i)
                except DeliveryError as error:
                    failures.append(error)
        if failures:
            raise _together(failures)
        self._accepted.pop(root, None)
        return ",".join(self._called(i) for i in chosen)

    async def send_picture(self, message: Message, picture: bytes, reply_to: str) -> None:
        """A picture after its message, to the same targets."""
        for i, (name, _) in enumerate(self._targets):
            if message.to in ("", name):
                await self._tell(i, _harmless(title_of(message)), "the picture", picture)

    async def close(self) -> None:
        """Nothing stays open between messages."""

    def _called(self, index: int) -> str:
        """A target as it may be shown: its name, or its kind and place."""
        name, url = self._targets[index]
        return name or f"{url.partition(':')[0]} (target {index + 1})"

    async def _tell(self, index: int, title: str, body: str, picture: bytes) -> None:
        said: list[str] = []
        try:
            async with asyncio.timeout(LIMIT_S):
                ok = await asyncio.to_thread(_notify, self._targets[index][1], title, body, picture, said)
        except TimeoutError:
            raise DeliveryError(f"apprise: {self._called(index)}: no answer in time", "unknown") from None
        except DeliveryError as error:
            raise DeliveryError(f"apprise: {self._called(index)}: {error}", error.kind) from None
        except Exception as error:  # a plugin's own fault: nobody knows how far it came
            text = clean(redact(str(error), self._secrets), 200)
            raise DeliveryError(f"apprise: {self._called(index)}: {type(error).__name__}: {text}", "unknown") from None
        if not ok:
            raise self._failure(index, said)

    def _failure(self, index: int, said: list[str]) -> DeliveryError:
        text = " ".join(said)
        status = _STATUS.search(text)
        kind: Literal["retry", "dead", "unknown"] = "retry"
        why = "it was not taken; apprise does not say why"
        if status:
            kind, why = ("dead" if int(status[1]) in REFUSED else "retry"), f"the service answered {status[1]}"
        elif _UNANSWERED.search(text):
            kind, why = "unknown", "no answer came"
        elif text:
            why = "it cannot be reached"
        return DeliveryError(f"apprise: {self._called(index)}: {why}", kind)


def targets_of(urls: str) -> list[tuple[str, str]]:
    """(name, address) of every target; CanaryError, without an address, when one is not understood.

    >>> targets_of("desk=json://localhost/a?to=x,y,ntfy://localhost/t")
    [('desk', 'json://localhost/a?to=x,y'), ('', 'ntfy://localhost/t')]
    """
    found = []
    for number, text in enumerate(_ONE.split(urls), 1):
        named = _NAMED.fullmatch(text)
        name, url = (named["name"], named["url"]) if named else ("", text)
        if "://" not in url:
            raise CanaryError(f"target {number} of apprise is not an address; it looks like name=ntfys://host/topic")
        found.append((name, url))
    return found


def _notify(url: str, title: str, body: str, picture: bytes, said: list[str]) -> bool:
    """One target, on a thread of its own; ``said``: what the package wrote about it."""
    from apprise import Apprise, AppriseAttachment, NotifyFormat

    with _listening(said), contextlib.ExitStack() as stack:
        target = Apprise()
        if not target.add(url):
            raise DeliveryError("its address is not one apprise knows", "dead")
        attachment = None
        if picture and target[0].attachment_support:
            # an attachment is a file or an address: a file for the owner only, gone when it was sent
            file = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".png"))
            os.write(file.fileno(), picture)
            attachment = AppriseAttachment(file.name)
        return bool(target.notify(body=body, title=title, attach=attachment, body_format=NotifyFormat.TEXT))


@contextlib.contextmanager
def _listening(said: list[str]) -> Iterator[None]:
    """Collect what this thread makes the package log."""
    here = threading.get_ident()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == here:
                said.append(record.getMessage())

    ear = Ear(logging.DEBUG)
    logger = logging.getLogger("apprise")
    logger.addHandler(ear)
    try:
        yield
    finally:
        logger.removeHandler(ear)


def _keep_to_itself() -> None:
    """What the package and its HTTP stack write holds addresses: it reaches no log of ours."""
    for name in TALKATIVE:
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    logging.getLogger("apprise").setLevel(logging.DEBUG)


def _below(message: Message) -> str:
    """The text below the title."""
    return plain(message).partition("\n")[2] or title_of(message)


def _harmless(text: str) -> str:
    """Names that a chat would turn into a call to somebody, or to everybody, become plain words.

    >>> [len(_harmless(text)) - len(text) for text in ("@here", "<!channel>", "<@U1>", "a < b", "x@ y")]
    [1, 1, 2, 0, 0]
    """
    return _CALLS.sub(lambda found: f"{found.group()}\u2060", text)


def _together(failures: list[DeliveryError]) -> DeliveryError:
    """Several targets that failed are one outcome: what may be tried again is, before anything is given up."""
    for kind in ("retry", "unknown", "dead"):
        if any(error.kind == kind for error in failures):
            break
    return DeliveryError("; ".join(map(str, failures)), kind)


def open_channel(settings: Settings) -> AppriseChannel:
    """The targets in the settings; CanaryError, without an address, when they do not do. Logs are protected first."""
    protect_logs()
    _keep_to_itself()
    if not settings.url:
        raise CanaryError("apprise has no address; write url_env or url_file in the config, naming where it is kept")
    opened = AppriseChannel(settings.url)
    hide(settings.url, *(part for _, url in targets_of(settings.url) for part in (url, url.partition("://")[2])))
    return opened

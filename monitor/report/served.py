"""The page as the daemon gives it to a browser of this machine: made when asked for, kept until the next evaluation.

It is made in one thread, with a connection of its own that can only read, so that neither the event loop nor the writer
waits for it. Nothing that it needs is loaded before the first reader comes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from monitor.model import CanaryError
from monitor.redact import redact
from monitor.serving import TEXT, Answer

LOG = logging.getLogger("canary")
#: a reader waits so long for a page that is being made, then is asked to come again
WAIT_S = 4.0
AGAIN_S = 5
HTML = "text/html; charset=utf-8"


class ReportPage:
    """``GET /``. ``make`` writes the page, in a thread; ``evaluation`` is the last one, a new value after each.

    A reader who comes while the next page is being made is shown the one before, once :data:`WAIT_S` have passed: it
    says itself as of when it is.
    """

    def __init__(self, make: Callable[[], str], evaluation: Callable[[], object | None], wait_s: float = WAIT_S):
        self.make, self.evaluation, self.wait_s = make, evaluation, wait_s
        self._body = b""
        self._of: object | None = None
        self._making: asyncio.Task[None] | None = None
        self._failure = ""

    async def answer(self) -> Answer:
        """The page, or why there is none yet and when to ask again."""
        wanted = self.evaluation()
        if wanted is None:
            return _later("nothing was evaluated yet; the first evaluation is under way")
        if self._of is not wanted and self._making is None:
            self._making = asyncio.create_task(self._made(wanted))
        if self._making is not None:
            await asyncio.wait({self._making}, timeout=self.wait_s)
        if self._failure:
            return _later(f"the page cannot be made: {self._failure}")
        return self._page() if self._body else _later("the page is being made; this takes some seconds")

    async def _made(self, of: object) -> None:
        """Make the page of one evaluation; afterwards another one may be made."""
        try:
            self._body = (await _in_thread(self.make)).encode()
            self._of, self._failure = of, ""
        except CanaryError as error:
            self._failure = redact(str(error))
        except Exception as error:  # a page is no reason to end the watch; the next reader tries again
            self._failure = f"a fault in Canary: {type(error).__name__}"
            LOG.error("a fault in the page", exc_info=True)
        finally:
            self._making = None

    def _page(self) -> Answer:
        from monitor.report.page import policy

        headers = (
            f"Content-Security-Policy: {policy()}; frame-ancestors 'none'",
            "Referrer-Policy: no-referrer",
        )
        return Answer(200, HTML, self._body, headers)


def _in_thread(work: Callable[[], str]) -> asyncio.Future[str]:
    """What the work returns or raises. From a thread of its own that nobody waits for: stopping takes no longer."""
    promise = Future[str]()
    promise.set_running_or_notify_cancel()

    def run() -> None:
        try:
            promise.set_result(work())
        except Exception as error:  # it belongs to whoever asked
            promise.set_exception(error)

    threading.Thread(target=run, name="page", daemon=True).start()
    return asyncio.wrap_future(promise)


def _later(why: str) -> Answer:
    return Answer(503, TEXT, f"{why}\n".encode(), (f"Retry-After: {AGAIN_S}",))

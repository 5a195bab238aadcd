"""The page as the daemon serves it: made once for each evaluation, off the loop, and never in anybody's way."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from desk import lay_desk
from test_daemon import Notes
from test_serving import ask_page, board

from monitor.config import Found, load_config
from monitor.daemon import Daemon
from monitor.model import CanaryError
from monitor.report.page import policy
from monitor.report.served import ReportPage
from monitor.serving import Server

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Maker:
    """Writes pages when it may, and counts them."""

    def __init__(self, *, may: bool = True) -> None:
        self.may, self.made, self.threads = threading.Event(), 0, set[str]()
        self.under_way = self.most = 0
        if may:
            self.may.set()

    def __call__(self) -> str:
        """One page, as soon as it may."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.threads.add(threading.current_thread().name)
        assert self.may.wait(10)
        self.under_way -= 1
        self.made += 1
        return f"<!doctype html><title>{self.made}</title>"


def test_a_page_is_made_once_for_each_evaluation_and_in_a_thread_of_its_own() -> None:
    """Readers of one evaluation share one page; the next evaluation gets its own, when somebody asks."""

    async def talk() -> None:
        evaluation, maker = [object()], Maker()
        page = ReportPage(maker, lambda: evaluation[0])
        assert maker.made == 0
        answers = await asyncio.gather(*(page.answer() for _ in range(5)))
        assert {(one.status, one.body) for one in answers} == {(200, b"<!doctype html><title>1</title>")}
        evaluation[0] = object()
        assert (await page.answer()).body == b"<!doctype html><title>2</title>"
        assert (await page.answer()).body == b"<!doctype html><title>2</title>"
        assert (maker.made, maker.most, maker.threads) == (2, 1, {"page"})

    asyncio.run(talk())


def test_nobody_waits_long_for_a_page() -> None:
    """While the first one is made: come again; while a later one is made: the one before it."""

    async def talk() -> None:
        evaluation, maker = [object()], Maker(may=False)
        page = ReportPage(maker, lambda: evaluation[0], wait_s=0.02)
        first = await page.answer()
        assert (first.status, first.headers) == (503, ("Retry-After: 5",))
        assert first.body == b"the page is being made; this takes some seconds\n"
        maker.may.set()
        page.wait_s = 10
        assert (await page.answer()).status == 200
        maker.may.clear()
        evaluation[0], page.wait_s = object(), 0.02
        assert (await page.answer()).body.endswith(b"<title>1</title>")
        maker.may.set()
        page.wait_s = 10
        assert (await page.answer()).body.endswith(b"<title>2</title>")
        assert maker.most == 1

    asyncio.run(talk())


def test_before_the_first_evaluation_there_is_no_page() -> None:
    """It says so, and makes nothing."""
    maker = Maker()
    answer = asyncio.run(ReportPage(maker, lambda: None).answer())
    assert (answer.status, maker.made) == (503, 0)
    assert b"nothing was evaluated yet" in answer.body


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (CanaryError("the database is locked"), b"the page cannot be made: the database is locked\n"),
        (ZeroDivisionError("1/0"), b"the page cannot be made: a fault in Canary: ZeroDivisionError\n"),
    ],
)
def test_a_page_that_cannot_be_made_is_said_and_tried_again(error: Exception, says: bytes) -> None:
    """The reader is told why; the next one is given the page if it can be made by then."""
    todo: list[Exception] = [error]

    def make() -> str:
        if todo:
            raise todo.pop()
        return "page"

    async def talk() -> None:
        evaluation = object()
        page = ReportPage(make, lambda: evaluation)
        failed = await page.answer()
        assert (failed.status, failed.body) == (503, says)
        assert (await page.answer()).body == b"page"

    asyncio.run(talk())


def test_the_page_comes_with_its_policy_and_only_to_this_machine() -> None:
    """Headers as strict as the page's own; HEAD has no body; another Host, POST and other paths get nothing."""

    async def talk() -> list[bytes]:
        seen = board()
        page = ReportPage(lambda: "<!doctype html>", lambda: seen.picture)
        server = Server(seen, lambda: 1000.0, lambda: datetime(2026, 11, 1, 12, tzinfo=UTC), page.answer)
        at = await server.start("127.0.0.1:0")
        heads = (GET, GET.replace(b"GET", b"HEAD"), GET.replace(b"127.0.0.1", b"bad.example"),
                 GET.replace(b"GET", b"POST"), GET.replace(b" / ", b" /report "))  # fmt: skip
        answers = [await ask_page(at, one) for one in heads]
        await server.stop()
        return answers

    got, head, other, post, path = asyncio.run(talk())
    assert got.startswith(b"HTTP/1.1 200")
    assert got.endswith(b"\r\n\r\n<!doctype html>")
    assert f"\r\nContent-Security-Policy: {policy()}; frame-ancestors 'none'\r\n".encode() in got
    for line in (b"Content-Type: text/html; charset=utf-8", b"Cache-Control: no-store", b"Referrer-Policy: no-referrer",
                 b"X-Content-Type-Options: nosniff", b"Cross-Origin-Resource-Policy: same-origin"):  # fmt: skip
        assert b"\r\n" + line + b"\r\n" in got
    assert head == got.removesuffix(b"<!doctype html>")
    assert [one.split()[1] for one in (other, post, path)] == [b"421", b"405", b"404"]


def test_the_daemon_serves_the_page_of_its_last_evaluation(tmp_path: Path) -> None:
    """From the database it wrote, without the writer: `/` is answered while the writer is busy with something else."""
    folder = lay_desk(tmp_path)
    config = folder / "config.yaml"
    config.write_text(config.read_text() + "serve: {enabled: true, listen: '127.0.0.1:0'}\n", "utf-8")
    environ = {"HOME": str(tmp_path)}
    daemon = Daemon(lambda: load_config(Found(config, "of the test"), environ), environ, Notes(), offline=True)
    free = threading.Event()

    async def talk() -> tuple[bytes, bytes]:
        async with daemon.opened():
            at = await daemon.server.start("127.0.0.1:0")
            before = await ask_page(at, GET)
            await daemon.evaluate()
            busy = daemon._on_writer(lambda: free.wait(30))
            after = b""
            until = time.monotonic() + 25
            while not after.startswith(b"HTTP/1.1 200") and time.monotonic() < until:
                after = await ask_page(at, GET)
            free.set()
            await busy
            return before, after

    before, after = asyncio.run(talk())
    assert b"503" in before.splitlines()[0]
    assert b"nothing was evaluated yet" in before
    assert b"Alpha Mining" in after
    assert b"RECORDED" in after


def test_a_stop_waits_for_no_page_and_logs_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """A reader who waits while everything stops is let go at once; the thread under way ends unseen."""
    maker = Maker(may=False)

    async def talk() -> float:
        seen = board()
        page = ReportPage(maker, lambda: seen.picture)
        server = Server(seen, lambda: 1000.0, lambda: datetime(2026, 11, 1, 12, tzinfo=UTC), page.answer)
        at = await server.start("127.0.0.1:0")
        reader = asyncio.create_task(ask_page(at, GET))
        while not maker.under_way:
            await asyncio.sleep(0.01)
        reader.cancel()
        await server.stop()
        return time.monotonic()

    began = asyncio.run(talk())
    assert time.monotonic() - began < 20  # the maker above would hold whoever waits for it for ever
    maker.may.set()
    assert caplog.records == []

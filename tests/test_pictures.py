"""The worker process and the pictures it draws: never waited for, never worth a text, one of a borrower in a while."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from desk import CONFIG, lay_desk
from fake_telegram import BLOCKED, TOKEN, Failure, FakeTelegram

from monitor.chat.telegram import CAPTION_UNITS, TelegramChannel
from monitor.config import Found, load_config
from monitor.illustrator import EVERY, Illustrator, chosen_of
from monitor.model import CanaryError, Decision, Event, Line, Message, Observation, Rule
from monitor.pictured import HEATMAP, chosen
from monitor.postman import Postman
from monitor.routes import Route
from monitor.store import Store, TickRow
from monitor.store_outbox import Company
from monitor.worker import Worker
from monitor.world import build_world

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n"
MESSAGE = Message(
    "m1", "desk", "telegram", "42", "fired", "critical", "CRITICAL Acme", (Line("now", "0.9 > 0.8"),), T0, ("e1",)
)
ACME = Company(borrower="acme")


# ---------------------------------------------------------------- the worker
def test_the_worker_does_heavy_work_elsewhere() -> None:
    """It starts with the first piece of work, does it in another process, and its errors come back as words."""

    async def scenario() -> tuple[int, int]:
        worker = Worker()
        assert worker.pid is None
        there = await worker.run("os:getpid")
        with pytest.raises(CanaryError, match=r"math:sqrt failed: ValueError: math domain error"):
            await worker.run("math:sqrt", -1.0)
        again = await worker.run("os:getpid")
        worker.close()
        with pytest.raises(CanaryError, match="stopping"):
            await worker.run("os:getpid")
        return there, again

    there, again = asyncio.run(scenario())
    assert there == again != os.getpid()


def test_the_worker_ends_when_idle_hangs_or_dies() -> None:
    """Idle: it ends and the next work starts another. Hanging: it is given up. Dying: said. Each time work goes on."""

    async def scenario() -> list[int]:
        worker = Worker(idle_s=0.05, limit_s=20.0)
        first = await worker.run("os:getpid")
        until = time.monotonic() + 10
        while worker.pid is not None and time.monotonic() < until:
            await asyncio.sleep(0.02)
        second = await worker.run("os:getpid")
        with pytest.raises(CanaryError, match="died"):
            await worker.run("os:_exit", 1)
        worker.limit_s = 0.2
        with pytest.raises(CanaryError, match=r"longer than 0\.2 s"):
            await worker.run("time:sleep", 30)
        worker.limit_s = 20.0
        third = await worker.run("os:getpid")
        worker.close()
        return [first, second, third]

    assert len(set(asyncio.run(scenario()))) == 3


def test_the_daemon_loads_no_picture_library() -> None:
    """Everything that runs beside delivery is imported without pandas and without matplotlib."""
    names = "('pandas', 'matplotlib', 'numba', 'apprise')"
    code = f"import sys, monitor.running; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.strip() == "[]", done.stderr


# ---------------------------------------------------------------- which messages, and what may go wrong
class Elsewhere:
    """In the place of the worker: gives a picture, an error, or nothing at all."""

    def __init__(self, answer: bytes | Exception | None = PNG):
        self.answer, self.asked = answer, list[tuple[object, ...]]()

    async def run(self, function: str, *arguments: object) -> bytes:
        """As the worker does."""
        self.asked.append((function, *arguments))
        if self.answer is None:
            await asyncio.sleep(3600)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or b""


def followed(illustrator: Illustrator, *pairs: tuple[Message, Company]) -> list[bytes]:
    """The pictures that follow these messages."""

    async def scenario() -> list[bytes]:
        got: list[bytes] = []

        async def send(picture: bytes) -> None:
            got.append(picture)

        for message, company in pairs:
            illustrator.follow(send, message, company)
            await illustrator.idle()
        return got

    return asyncio.run(scenario())


def test_which_messages_get_a_picture() -> None:
    """A critical alert that fires, and the first message about a borrower; no end of one, nothing of the market."""
    warning = replace(MESSAGE, severity="warning")
    for message, company, wanted in (
        (MESSAGE, ACME, True),
        (warning, ACME, False),
        (warning, Company(borrower="acme", first=True), True),
        (replace(MESSAGE, kind="resolved"), ACME, False),
        (replace(MESSAGE, kind="reminder"), ACME, False),
        (replace(MESSAGE, recorded=True), ACME, False),
        (MESSAGE, Company(), False),
    ):
        assert followed(Illustrator(Elsewhere(), lambda: T0), (message, company)) == ([PNG] if wanted else [])  # type: ignore[arg-type]


COINS = "change(coins_free, 90d) < -30% and known(debt_usd)"


@pytest.mark.parametrize(
    ("expr", "kind", "metrics"),
    [
        ("liquidity_locked_12m < 1.0", "heatmap", ()),
        ("btc_usd / margin_call_btc_usd - 1 < 15% and age(margin_call_btc_usd) < 200d", "heatmap", ()),
        ("age(bond_price) < 10d and ltv_economic > 90%", "heatmap", ()),
        ("not known(btc_usd)", "heatmap", ()),
        ("1 > 0", "heatmap", ()),
        ("tenant_share > 30% and tenant_critical", "cascade", ()),
        ("dscr < 1 or cascade_debt_usd > 1bn", "cascade", ()),
        ("80 > bond_price", "past", ("bond_price",)),
        ("put_due_18m_usd > 0 and share_price_usd < 90% * conversion_usd", "past", ("share_price_usd",)),
        ("coalesce(change(coins_free, 90d), change(coins_total, 90d)) < -30%", "past", ("coins_free", "coins_total")),
        ("max_over(dscr, 30d) < 1", "past", ("dscr",)),
    ],
)
def test_the_picture_is_about_what_the_rule_is_about(expr: str, kind: str, metrics: tuple[str, ...]) -> None:
    """Shocks, a past or a fall, by the first comparison that says more than whom the rule concerns."""
    found = chosen(expr)
    assert (found.kind, found.metrics) == (kind, metrics)


def test_a_rule_is_found_by_its_name() -> None:
    """One that is gone gets the shocks."""
    rules = [Rule("Cds", "cds_5y_bp > 500bp", "warning")]
    assert (chosen_of(rules, "Cds").kind, chosen_of(rules, "Gone")) == ("past", HEATMAP)


def test_the_line_of_a_past_is_what_the_number_would_have_to_be() -> None:
    """A constant in the number's own unit, a share of another number, what it was a while ago less the change."""
    assert (chosen("cds_5y_bp > 5%").add, chosen("bond_price < 80").add) == (500.0, 80.0)
    share = chosen("share_price_usd < 90% * conversion_usd")
    assert (share.other, share.factor, share.span_s) == ("conversion_usd", 0.9, 0.0)
    change = chosen("change(cds_5y_bp, 30d) > 40%")
    assert (change.other, change.factor, change.add, change.span_s) == ("cds_5y_bp", 1.4, 0.0, 30 * 86400.0)
    delta = chosen("delta(cds_5y_bp, 30d) > 75bp")
    assert (delta.other, delta.factor, delta.add, delta.span_s) == ("cds_5y_bp", 1.0, 75.0, 30 * 86400.0)
    assert not chosen("drop(btc_usd, 30d) > 20%").line


def test_two_kinds_are_two_pictures_and_the_market_has_only_a_past() -> None:
    """A spread alert after a liquidity alert brings a picture of its own; one of the market brings a past or none."""
    kinds = {"R": HEATMAP, "S": chosen("cds_5y_bp > 500bp")}
    elsewhere = Elsewhere()
    illustrator = Illustrator(elsewhere, lambda: T0, chosen=kinds.__getitem__)  # type: ignore[arg-type]
    first, second = Company(borrower="acme", rule="R"), Company(borrower="acme", rule="S")
    assert followed(illustrator, (MESSAGE, first), (MESSAGE, second), (MESSAGE, first)) == [PNG, PNG]
    assert [asked[-1].kind for asked in elsewhere.asked] == ["heatmap", "past"]  # type: ignore[attr-defined]
    assert followed(illustrator, (MESSAGE, Company(borrower="market", rule="R"))) == []
    assert followed(illustrator, (MESSAGE, Company(borrower="market", rule="S"))) == [PNG]


def test_one_picture_of_a_borrower_in_a_while() -> None:
    """Three alerts of one borrower bring one picture to a chat; another chat gets it with its text, drawn once."""
    now, drawn = [T0], Elsewhere()
    illustrator = Illustrator(drawn, lambda: now[0], "settings")  # type: ignore[arg-type]
    second, other = replace(MESSAGE, id="m2"), replace(MESSAGE, id="m3", to="77")
    assert followed(illustrator, (MESSAGE, ACME), (second, ACME)) == [PNG]
    assert illustrator.ready(other, ACME) == PNG
    assert illustrator.ready(other, ACME) == b""
    assert drawn.asked == [("monitor.drawing:drawn", "settings", "acme", HEATMAP)]
    now[0] = T0 + EVERY
    assert illustrator.ready(MESSAGE, ACME) == b"", "what was drawn is too old"
    assert followed(illustrator, (MESSAGE, ACME)) == [PNG]
    assert len(drawn.asked) == 2


@pytest.mark.parametrize("answer", [CanaryError("no numbers"), RuntimeError("a fault"), None], ids=repr)
def test_a_picture_that_cannot_be_drawn_costs_nothing(answer: Exception | None, tmp_path: Path) -> None:
    """The text is accepted and written down as sent at once, whatever becomes of the picture."""
    with FakeTelegram() as server, Store(tmp_path / "canary.sqlite") as store:
        run_post(store, server, Elsewhere(answer))
        assert [row.state for row in store.outbox()] == ["sent"]
        assert [request.method for request in server.accepted] == ["sendMessage"]


def run_post(store: Store, server: FakeTelegram, elsewhere: Elsewhere) -> None:
    """Deliver one critical alert of acme."""
    event = Event("e1", "R", "acme", "critical", "fired", T0, "", "ok", "firing", "k3f9")
    store.commit_tick(
        TickRow(T0), events=[event], decisions=[Decision("e1", "desk", True, "it fired", "m1")], messages=[MESSAGE]
    )

    async def here(work: Any) -> Any:
        return work()

    async def round_() -> None:
        illustrator = Illustrator(elsewhere, lambda: T0)  # type: ignore[arg-type]
        postman = Postman(here, lambda: T0, illustrator, unpaced=("telegram",))
        postman.channels["telegram"] = TelegramChannel(TOKEN, server.url)
        async with asyncio.timeout(10):
            done = await postman.deliver(SimpleNamespace(routes=(Route("desk", "telegram", "42"),)), store, T0)  # type: ignore[arg-type]
        assert done.sent == 1
        if elsewhere.answer is not None:
            await illustrator.idle()
        illustrator.close()
        await postman.close()

    asyncio.run(round_())


def test_the_picture_answers_its_text(tmp_path: Path) -> None:
    """It follows as a reply to the message it belongs to."""
    with FakeTelegram() as server, Store(tmp_path / "canary.sqlite") as store:
        run_post(store, server, Elsewhere())
        text, photo = server.accepted
    assert (text.method, photo.method, photo.fields["chat_id"]) == ("sendMessage", "sendPhoto", "42")
    assert photo.fields["reply_parameters"]["message_id"] == 1
    assert list(photo.files.values()) == [len(PNG)]


# ---------------------------------------------------------------- with the text, in telegram
def rich(server: FakeTelegram, message: Message, picture: bytes = PNG, reply_to: str = "") -> str:
    async def send() -> str:
        channel = TelegramChannel(TOKEN, server.url)
        try:
            return await channel.send_rich(message, reply_to, picture)
        finally:
            await channel.close()

    return asyncio.run(send())


def test_a_short_text_stands_below_its_picture() -> None:
    """Up to 1,024 units one message holds both; the markup counts as it is read, not as it is written."""
    row = "x" * (CAPTION_UNITS - len("CRITICAL Acme\nnow  ") - len("\ny"))
    fits = replace(MESSAGE, lines=(Line("now", row[:400]), Line("", row[400:800]), Line("", row[802:]), Line("", "y")))
    with FakeTelegram() as server:
        assert rich(server, fits, reply_to="7,8") == "1"
        (photo,) = server.accepted
    assert photo.method == "sendPhoto"
    assert photo.fields["caption"].startswith("<b>CRITICAL Acme</b>")
    assert photo.fields["reply_parameters"]["message_id"] == 7


def test_a_long_text_comes_before_its_picture() -> None:
    """Beyond 1,024 units the text is a message and the picture its reply."""
    long = replace(MESSAGE, lines=tuple(Line("", "x" * 400) for _ in range(3)))
    with FakeTelegram() as server:
        assert rich(server, long) == "1"
        assert [request.method for request in server.accepted] == ["sendMessage", "sendPhoto"]
        assert server.accepted[1].fields["reply_parameters"]["message_id"] == 1
        server.script("sendPhoto", BLOCKED)
        assert rich(server, replace(long, id="m2")) == "3", "a picture that does not follow costs nothing"


def test_a_refused_picture_leaves_the_text() -> None:
    """Telegram cannot read the picture: the message goes out without it, once."""
    with FakeTelegram() as server:
        server.script("sendPhoto", Failure(400, "Bad Request: IMAGE_PROCESS_FAILED"))
        assert rich(server, MESSAGE) == "1"
        assert [request.method for request in server.asked] == ["sendPhoto", "sendMessage"]


# ---------------------------------------------------------------- a real picture
def test_a_borrower_is_drawn_in_the_worker(tmp_path: Path) -> None:
    """From the files and the database alone, as the last evaluation left it; an unknown borrower is said."""
    folder = lay_desk(tmp_path)
    (folder / "config.yaml").write_text(CONFIG)
    found = Found(folder / "config.yaml", "test")
    world = build_world(load_config(found, {}), offline=True)
    with Store(world.config.paths.state / "canary.sqlite") as store:
        store.keep([Observation("btc_usd", 62_000.0, "usd", T0, T0, venue) for venue in ("kraken", "coinbase")])
        store.commit_tick(TickRow(T0))

    async def draw() -> bytes:
        worker = Worker()
        try:
            picture: bytes = await worker.run("monitor.drawing:drawn", found, True, "alpha", HEATMAP)
            with pytest.raises(CanaryError, match="no borrower 'nobody'"):
                await worker.run("monitor.drawing:drawn", found, True, "nobody", HEATMAP)
            # what cannot be drawn of it gives way to the shocks: no bond of it is quoted, its fall hurts nobody
            for expr in ("bond_price < 80", "tenant_share > 30%"):
                instead: bytes = await worker.run("monitor.drawing:drawn", found, True, "alpha", chosen(expr))
                assert instead == picture
            coins: bytes = await worker.run("monitor.drawing:drawn", found, True, "alpha", chosen(COINS))
            fall = chosen("drop(btc_usd, 30d) > 20%")
            price: bytes = await worker.run("monitor.drawing:drawn", found, True, "market", fall)
            assert coins != picture != price
            assert price.startswith(PNG)
            with pytest.raises(CanaryError, match="hy_spread_bp of market was unknown in all of the past 90 days"):
                await worker.run("monitor.drawing:drawn", found, True, "market", chosen("hy_spread_bp > 500bp"))
            return coins
        finally:
            worker.close()

    assert asyncio.run(draw()).startswith(PNG)


def test_the_first_message_about_a_borrower_is_known(tmp_path: Path) -> None:
    """First means: this chat was never told anything about it before, nor about one of its facilities."""
    with Store(tmp_path / "canary.sqlite") as store:
        later = replace(MESSAGE, id="m2", event_ids=("e2",), severity="warning")
        events = [
            Event("e1", "R", "acme/spv", "critical", "fired", T0, "", "ok", "firing", "a"),
            Event("e2", "S", "acme", "warning", "fired", T0 + timedelta(minutes=1), "", "ok", "firing", "b"),
        ]
        decisions = [Decision("e1", "desk", True, "", "m1"), Decision("e2", "desk", True, "", "m2")]
        store.commit_tick(TickRow(T0), events=events, decisions=decisions, messages=[MESSAGE, later])
        assert store.company(later) == Company(borrower="acme", first=True, rule="S")
        row = store.claim(store.due(T0)[0], "a")
        assert row is not None
        store.mark_sent(row, T0, "17")
        assert store.company(later) == Company(borrower="acme", first=False, rule="S")
        assert store.company(replace(later, to="77")).first

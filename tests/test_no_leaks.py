"""Everything at DEBUG, every secret planted: delivery shows none, in logs, errors, the database or /metrics."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import CONFIG, RULE, lay_desk
from fake_telegram import BLOCKED, BROKEN, LOST, TOKEN, Failure, FakeTelegram, migrated, too_many
from loopback import Answer, Loopback
from test_faults import CHEAP, evaluate, here

from monitor.chat import Channel
from monitor.config import Found, load_config
from monitor.exposition import exposition
from monitor.health import Health
from monitor.logsafe import protect_logs
from monitor.picture import Board
from monitor.postman import Postman
from monitor.store_post import post_of
from monitor.tick import Memory
from monitor.world import World, build_world, open_channel

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOOK, SIGNING, TOPIC = "h00k-path-s3cret", "s1gning-s3cret-of-the-desk", "t0pic-s3cret-of-ntfy"
CONFIGURED = """routes:
  - {name: desk, channel: telegram}
  - {name: machines, channel: webhook}
  - {name: phone, channel: apprise}
chat:
  telegram: {token_env: T_TOKEN, chat: 42, base_url: '%s'}
  webhook: {url_env: T_HOOK, token_env: T_SIGNING}
  apprise: {url_env: T_APPRISE}
"""
LOUD = ("httpx", "httpcore", "telegram", "apprise", "urllib3", "urllib3.connectionpool", "asyncio", "monitor")


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Every logger at DEBUG into one text, also those that were told to be quiet."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    factory, level = logging.getLogRecordFactory(), root.level
    levels = {name: logging.getLogger(name).level for name in LOUD}
    protect_logs()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    off = root.manager.disable
    logging.disable(logging.NOTSET)
    for name in LOUD:  # whatever an earlier test of this process asked for
        logger = logging.getLogger(name)
        logger.disabled, logger.propagate = False, True
        logger.setLevel(logging.NOTSET)
    try:
        yield stream
    finally:
        logging.disable(off)
        root.removeHandler(handler)
        root.setLevel(level)
        logging.setLogRecordFactory(factory)
        for name, was in levels.items():
            logging.getLogger(name).setLevel(was)


def test_no_secret_of_any_channel_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three channels through every kind of failure: the token, the address and the key of none of them are anywhere."""
    pytest.importorskip("apprise", reason="the extra `chat` is not installed")
    echo = Failure(403, body=f"the proxy says bot{TOKEN}".encode())
    failures = (BROKEN, LOST, too_many(1), echo, migrated(-1001), Failure(200, body=b"half an ans"), BLOCKED)
    answers = [Answer(500), Answer(drop=True), Answer(302, headers={"Location": f"https://x/{HOOK}"}), Answer(401)]
    with FakeTelegram() as server, Loopback() as other, everything_logged() as log:
        place = other.url.removeprefix("http://")
        secrets = {
            "T_TOKEN": TOKEN,
            "T_HOOK": f"{other.url}/{HOOK}",
            "T_SIGNING": SIGNING,
            "T_APPRISE": f"phone=json://{place}/{TOPIC},ntfy://{place}/{TOPIC}",
        }
        for name, secret in secrets.items():
            monkeypatch.setenv(name, secret)
        folder = lay_desk(tmp_path)
        (folder / "rules" / "mine.yaml").write_text(RULE + CHEAP)
        (folder / "config.yaml").write_text(CONFIG + CONFIGURED % server.url)
        world = build_world(load_config(Found(folder / "config.yaml", "test"), {}))
        memory = Memory(folder / "state", T0)
        evaluate(world, memory, T0, 80_000.0)
        shown = []
        for i, failure in enumerate(failures):
            server.script("sendMessage", failure)
            for path in (f"/{HOOK}", f"/{TOPIC}", "/"):
                other.on(path, answers[i % len(answers)])
            at = T0 + timedelta(hours=7 * i + 1)
            evaluate(world, memory, at, 50_000.0 if i % 2 else 80_000.0)
            shown.append(repr(delivered(world, memory, at)))
        board = Board(Health(900, 120, 0.0), post=post_of([memory.live]))
        metrics = exposition(board, 0.0, at)
        memory.close()
        text = log.getvalue()
    assert "/bot[hidden]/sendMessage" in text, (
        "the client's own lines must have been seen for this test to say anything"
    )
    assert {"retry", "unknown", "dead"} & {
        word for one in shown for word in ("retry", "unknown", "dead") if word in one
    }
    assert len(other.requests) > 6
    kept = b"".join(path.read_bytes() for path in sorted((folder / "state").iterdir()))
    assert b"CheapCoins" in kept
    for secret in (TOKEN.partition(":")[2], HOOK, SIGNING, TOPIC):
        assert secret not in text
        assert secret not in "".join(shown)
        assert secret.encode() not in kept
        assert secret.encode() not in metrics


def delivered(world: World, memory: Memory, at: datetime) -> object:
    """One round of delivery through the real channels; what it says about itself."""

    async def round_() -> object:
        def loud(world: World, name: str) -> Channel:
            channel = open_channel(world, name)  # makes its loggers quiet: as if somebody turned them on again
            for logger in LOUD:
                logging.getLogger(logger).setLevel(logging.DEBUG)
            return channel

        postman = Postman(here, lambda: at, unpaced=("telegram", "webhook", "apprise"), opened=loud)
        try:
            return await postman.deliver(world, memory.live, at)
        finally:
            await postman.close()

    return asyncio.run(round_())

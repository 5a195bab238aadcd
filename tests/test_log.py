"""The log: one line an event, as text or JSON, with the evaluation it belongs to and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest
from fake_telegram import TOKEN

from monitor.config import LogConfig
from monitor.logsafe import TICK, log_settings, start_log
from monitor.model import CanaryError


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; the log of the tests themselves is put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], level = before
    root.setLevel(level)


def fail() -> None:
    """Raise an error whose text holds a token, as an HTTP client's would."""
    raise ValueError(f"POST https://api.telegram.org/bot{TOKEN}/sendMessage failed")


@pytest.mark.parametrize("written", ["text", "json"])
def test_an_exception_is_one_line_without_its_secret(stream: io.StringIO, written: str) -> None:
    """Message, facts and traceback stand in one line; the token in none of them."""
    start_log(LogConfig.model_validate({"format": written, "level": "debug"}), stream)
    try:
        fail()
    except ValueError:
        logging.getLogger("canary").exception("odd\nend", extra={"facts": {"url": f"https://x/bot{TOKEN}/a"}})
    (line,) = stream.getvalue().splitlines()
    assert TOKEN not in line
    assert TOKEN.partition(":")[2] not in line
    assert "ValueError" in line
    if written == "json":
        said = json.loads(line)
        assert said["level"] == "error"
        assert datetime.fromisoformat(said["at"]).tzinfo is not None


def test_a_record_that_passed_no_factory_is_redacted_where_it_is_written(stream: io.StringIO) -> None:
    """A record made by hand goes round the factory; the handler hides its secret all the same."""
    start_log(LogConfig(level="info"), stream)
    record = logging.makeLogRecord({"msg": f"bot{TOKEN}", "levelno": 40, "levelname": "ERROR", "name": "x"})
    logging.getLogger().handlers[0].handle(record)
    assert "bot[hidden]" in stream.getvalue()


def test_lines_name_their_evaluation(stream: io.StringIO) -> None:
    """What is logged during an evaluation carries its number, what is logged outside does not."""
    start_log(LogConfig(level="info"), stream)
    mark = TICK.set(1793534400000)
    logging.getLogger("canary").info("evaluated", extra={"facts": {"firing": 3, "source": "HTTP 500"}})
    TICK.reset(mark)
    logging.getLogger("canary").info("stopped")
    first, second = stream.getvalue().splitlines()
    assert first.endswith('INFO canary: evaluated tick=1793534400000 firing=3 source="HTTP 500"')
    assert second.endswith("INFO canary: stopped")


def test_levels_and_who_talks_too_much(stream: io.StringIO) -> None:
    """Below the level nothing is written; the HTTP client's addresses are not written at any."""
    start_log(LogConfig(level="warning"), stream)
    logging.getLogger("canary").info("no")
    start_log(LogConfig(level="debug"), stream)
    logging.getLogger("httpx").info("GET https://x")
    logging.getLogger("canary").debug("yes")
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()] == ["yes"]


def test_the_environment_wins_over_the_config() -> None:
    """CANARY_LOG_LEVEL and CANARY_LOG_FORMAT count before the file; a word that is none is refused."""
    assert log_settings(LogConfig(), {}) == LogConfig(format="text", level="warning")
    assert log_settings(
        LogConfig(level="error"), {"CANARY_LOG_LEVEL": "INFO", "CANARY_LOG_FORMAT": "json"}
    ) == LogConfig(format="json", level="info")
    with pytest.raises(CanaryError, match="CANARY_LOG_LEVEL is 'loud'; write one of debug"):
        log_settings(LogConfig(), {"CANARY_LOG_LEVEL": "loud"})

"""Secrets never reach a log, an error or a message."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.logsafe import protect_logs
from monitor.redact import redact

SECRET = "AAF-planted_0123456789abcdefghijklm"


@pytest.mark.parametrize(
    "text",
    [
        f"POST https://api.telegram.org/bot123456:{SECRET}/sendMessage",
        f"POST https://api.telegram.org/bot123456%3A{SECRET}/sendMessage",
        f"the token 123456:{SECRET} was refused",
        f"the token `123456:{SECRET}` was rejected by the server.",
        f"Authorization: Bearer {SECRET}",
        f"{{'authorization': 'Basic {SECRET}'}}",
        f"(b'Authorization', b'Bearer {SECRET}')",
        f"https://api.example.org/v1/prices?apikey={SECRET}&x=1",
        f"https://api.example.org/v1/prices?x=1&access_token={SECRET}",
        f'{{"api_key": "{SECRET}"}}',
        f"x-api-key: {SECRET}",
        f"password={SECRET}",
        f"https://ada:{SECRET}@example.org/",
        f"https://{SECRET}@example.org/",
        f"https://hooks.slack.com/services/T0/B0/{SECRET}",
        f"https://discord.com/api/webhooks/123/{SECRET}",
    ],
)
def test_known_shapes_of_secrets_are_hidden(text: str) -> None:
    """Each shape a secret travels in loses the secret and keeps the rest readable."""
    assert SECRET not in redact(text)
    assert "[hidden]" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "btc_usd 58,524 USD at 12:00:00 on 2026-11-01T00:00:00+00:00",
        "rules/a.yaml:3:17: unknown key 'expresion'",
        "https://data.example.org/series?id=SOFR&cosd=2026-01-01",
        "the key figures: debt 35.55bn USD, DSCR 0.29x",
        "borrower acme/rig-loan, tokens of esteem",
        "sha256:0123456789abcdef",
    ],
)
def test_ordinary_texts_are_left_alone(text: str) -> None:
    """What is no secret is not hidden: a log must stay readable."""
    assert redact(text) == text


@given(st.text(max_size=200), st.text(max_size=50), st.text(max_size=50))
@settings(max_examples=150, deadline=None)
def test_a_token_in_any_text_is_hidden(before: str, after: str, other: str) -> None:
    """Whatever stands around it, the path of a bot's request loses its token, and hiding twice changes nothing."""
    text = f"{before}/bot123456:{SECRET}/{after}{other}"
    assert SECRET not in redact(text)
    assert redact(redact(text)) == redact(text)


def test_exact_secrets_are_hidden_but_not_short_ones() -> None:
    """A value known to be secret is hidden in any shape; one too short would hide ordinary words."""
    assert redact("it is open-sesame!", ["open-sesame"]) == "it is [hidden]!"
    assert redact("a bc a", ["a", ""]) == "a bc a"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A stream that a handler added after the protection writes to, with messages, tracebacks and stacks."""
    factory = logging.getLogRecordFactory()
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    protect_logs()
    protect_logs()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("test_redact")
    logger.addHandler(handler)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)
    logging.setLogRecordFactory(factory)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_log_records_are_clean_in_every_part(log: io.StringIO) -> None:
    """Message, arguments, traceback (with its causes) and stack lose the token; clean records are untouched."""
    logger = logging.getLogger("test_redact")
    address = f"https://api.telegram.org/bot1:{SECRET}/getMe"
    logger.warning("asked %s in %d ms", address, 12)
    logger.warning({"a dictionary": address})
    logger.warning("fine %s", "text")
    try:
        try:
            raise OSError(address)
        except OSError as error:
            raise ValueError("outer") from error
    except ValueError:
        logger.exception("failed")
    logger.warning("with a stack", stack_info=True)
    text = log.getvalue()
    assert SECRET not in text
    assert "WARNING asked https://api.telegram.org/bot[hidden]/getMe in 12 ms" in text
    assert "WARNING fine text" in text
    assert "OSError: https://api.telegram.org/bot[hidden]/getMe" in text
    assert "ValueError: outer" in text
    assert "Stack (most recent call last)" in text


def test_a_formatter_of_its_own_gets_no_secret_either(log: io.StringIO) -> None:
    """A record whose traceback held a secret carries only the clean text, whatever a handler does with it."""
    seen: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(json.dumps(record.__dict__, default=str))

    logger = logging.getLogger("test_redact")
    keeper = Keeper()
    logger.addHandler(keeper)
    try:
        raise OSError(f"/bot1:{SECRET}/getMe")
    except OSError:
        logger.exception("failed %s", f"bot1:{SECRET}")
    finally:
        logger.removeHandler(keeper)
    assert "bot[hidden]" in seen[0]
    assert SECRET not in seen[0]


def test_wrong_arguments_are_reported_without_the_secret(log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """A log call with the wrong number of arguments never breaks the program; what is reported has no secret."""
    logging.getLogger("test_redact").warning("two %s %s", f"bot1:{SECRET}")
    sys.stderr.flush()
    assert SECRET not in log.getvalue() + capsys.readouterr().err.split("Arguments:")[-1]
    assert "bot[hidden]" in log.getvalue()

"""The log: one line an event, as text or JSON, with the evaluation it belongs to and never a secret.

Every record passes ``redact`` when it is made, whoever makes it, and every line once more where it is written.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from monitor.config import LogConfig
from monitor.model import CanaryError
from monitor.redact import redact

#: at INFO the HTTP client writes every address it asks, and that of a bot request holds the token; the other every job
#: and the bot library writes whole updates at DEBUG: what people wrote, with the ids of whoever it was
TALKATIVE = ("httpx", "httpcore", "telegram", "apscheduler")
#: says every second attempt at WARNING; what came of it stands in the source's report
REPEATS_ITSELF = "stamina"
#: the evaluation under way: its moment in milliseconds, the number of a live one in ``ticks``; its log lines carry it
TICK: ContextVar[int | None] = ContextVar("tick", default=None)
FORMATS, LEVELS = ("text", "json"), ("debug", "info", "warning", "error")
MAX_LINE = 20_000


#: secrets of no known shape, as they were read: an address can be one
_SECRETS: set[str] = set()


def hide(*secrets: str | None) -> None:
    """Keep these exact texts out of every record from now on, besides what is known by its shape."""
    _SECRETS.update(secret for secret in secrets if secret)


def _without_secrets(text: str) -> str:
    return redact(text, _SECRETS)


class _RedactingFactory:
    """Makes log records without secrets: in the message, its arguments, the traceback and the stack.

    A record factory and not a filter: a filter sits on one handler, and a handler added later would have none.
    """

    def __init__(self) -> None:
        self._make = logging.getLogRecordFactory()

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **kwargs)
        if (record.name or "").partition(".")[0] == "telegram" and record.levelno < logging.WARNING:
            # whoever turned its level up again still gets no texts and ids of people
            record.msg, record.args = f"{record.funcName} (what it says is left out: it may name people)", None
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):  # wrong arguments: logging itself reports them, so hide those
            text = f"{record.msg} {record.args}"
        if _without_secrets(text) != text:
            record.msg, record.args = _without_secrets(text), None
        if record.exc_info and record.exc_info[0] is not None:
            trace = logging.Formatter().formatException(record.exc_info)
            if _without_secrets(trace) != trace:
                record.exc_text, record.exc_info = _without_secrets(trace), None
        if record.stack_info:
            record.stack_info = _without_secrets(record.stack_info)
        return record


def protect_logs() -> None:
    """Silence what talks too much and redact every record from now on. Calling it again changes nothing."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(REPEATS_ITSELF).setLevel(logging.ERROR)
    if not isinstance(logging.getLogRecordFactory(), _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory())


# ---------------------------------------------------------------- lines
def log_settings(written: LogConfig, environ: Mapping[str, str]) -> LogConfig:
    """What the config says, unless CANARY_LOG_LEVEL or CANARY_LOG_FORMAT say otherwise; CanaryError for other words.

    >>> log_settings(LogConfig(), {"CANARY_LOG_LEVEL": "info"}).level
    'info'
    """
    found: dict[str, str] = {"format": written.format, "level": written.level}
    for name, allowed in (("format", FORMATS), ("level", LEVELS)):
        wanted = environ.get(f"CANARY_LOG_{name.upper()}", "").lower()
        if wanted and wanted not in allowed:
            raise CanaryError(f"CANARY_LOG_{name.upper()} is {wanted[:20]!r}; write one of {', '.join(allowed)}")
        found[name] = wanted or found[name]
    return LogConfig.model_validate(found)


def start_log(settings: LogConfig, stream: TextIO | None = None) -> None:
    """Write the log to a stream (standard error) from now on, instead of wherever it went before."""
    protect_logs()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if settings.format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())


def facts_of(record: logging.LogRecord) -> dict[str, object]:
    """What a record tells besides its sentence: the evaluation it belongs to, then ``extra={"facts": {...}}``."""
    tick, facts = TICK.get(), getattr(record, "facts", None)
    return {**({} if tick is None else {"tick": tick}), **(facts if isinstance(facts, dict) else {})}


def _trace(record: logging.LogRecord) -> str:
    if record.exc_text:
        return record.exc_text
    return logging.Formatter().formatException(record.exc_info) if record.exc_info else ""


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextLines(logging.Formatter):
    """``time LEVEL logger: sentence name=value ...`` in one line; a traceback follows with its line ends escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        facts = "".join(f" {name}={_word(value)}" for name, value in facts_of(record).items())
        trace = f" exception={json.dumps(_trace(record))}" if _trace(record) else ""
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}{facts}{trace}"
        return _one_line(_without_secrets(line))


class JsonLines(logging.Formatter):
    """One JSON object a line: at, level, logger, event, then the facts and, if there is one, the exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        said: dict[str, object] = {"at": _time(record), "level": record.levelname.lower(), "logger": record.name}
        said |= {"event": _without_secrets(record.getMessage())[:MAX_LINE], **facts_of(record)}
        if trace := _trace(record):
            said["exception"] = _without_secrets(trace)[:MAX_LINE]
        hidden = {name: _without_secrets(value) if isinstance(value, str) else value for name, value in said.items()}
        return json.dumps(hidden, ensure_ascii=True, default=lambda value: _without_secrets(str(value)))


def _word(value: object) -> str:
    """A value as one word: quoted when it has blanks.

    >>> _word(3), _word("HTTP 500"), _word("kraken")
    ('3', '"HTTP 500"', 'kraken')
    """
    text = str(value)
    return text if text and not any(c.isspace() or c in '"=' for c in text) else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    r"""Whatever stands in a text, it is one printable line of the log and forges no second one.

    >>> _one_line("refused:\n2026 INFO all is well\x1b[31m")
    'refused:\\n2026 INFO all is well\\x1b[31m'
    """
    if text.isprintable() and len(text) <= MAX_LINE:
        return text
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[:MAX_LINE])
    return "".join(shown)

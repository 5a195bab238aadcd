"""Keeps secrets out of the log, whoever writes it: every record passes ``redact`` when it is made."""

from __future__ import annotations

import logging

from monitor.redact import redact

#: at INFO the HTTP client writes every address it asks, and the address of a bot request holds the token
TALKATIVE = ("httpx", "httpcore")
#: says every second attempt at WARNING; what came of it stands in the source's report
REPEATS_ITSELF = "stamina"


class _RedactingFactory:
    """Makes log records without secrets: in the message, its arguments, the traceback and the stack.

    A record factory and not a filter: a filter sits on one handler, and a handler added later would have none.
    """

    def __init__(self) -> None:
        self._make = logging.getLogRecordFactory()

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **kwargs)
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):  # wrong arguments: logging itself reports them, so hide those
            text = f"{record.msg} {record.args}"
        if redact(text) != text:
            record.msg, record.args = redact(text), None
        if record.exc_info and record.exc_info[0] is not None:
            trace = logging.Formatter().formatException(record.exc_info)
            if redact(trace) != trace:
                record.exc_text, record.exc_info = redact(trace), None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return record


def protect_logs() -> None:
    """Silence what talks too much and redact every record from now on. Calling it again changes nothing."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(REPEATS_ITSELF).setLevel(logging.ERROR)
    if not isinstance(logging.getLogRecordFactory(), _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory())

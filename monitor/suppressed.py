"""What people quietened, as lines of the daily digest: nothing that is kept from anybody may be forgotten. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.model import Line
from monitor.routes import Overlay
from monitor.standing import Said

#: silences and acknowledgements named; the rest are counted
MAX_NAMED = 20


def suppressed_lines(overlays: Sequence[Overlay], now: datetime) -> list[Line]:
    """Every silence and acknowledgement in force, the first to end first: what, until when, by whom.

    >>> from datetime import UTC
    >>> at = datetime(2026, 7, 1, tzinfo=UTC)
    >>> one = Overlay("silence", at, datetime(2026, 7, 3, 9, tzinfo=UTC), rule="LowCash", subject="acme", by="Ada")
    >>> suppressed_lines([one], at)
    [Line(label='quiet', text='LowCash/acme silenced until 2026-07-03 09:00 UTC by Ada')]
    """
    open_ = sorted(
        (one for one in overlays if one.until is None or now < one.until),
        key=lambda one: (one.until is None, one.until or now, one.at),
    )
    said = [_said(one) for one in open_[:MAX_NAMED]]
    if len(open_) > MAX_NAMED:
        said.append(f"and {len(open_) - MAX_NAMED} more: `canary silence --list` shows all")
    return [Line("" if i else "quiet", text) for i, text in enumerate(said)]


def _said(one: Overlay) -> str:
    what = "acknowledged" if one.kind == "ack" else "silenced"
    until = f"until {one.until:%Y-%m-%d %H:%M} UTC" if one.until else "until it is over"
    note = f": {one.note}" if one.note else ""
    return f"{Said(0, one).match} {what} {until}{f' by {one.by}' if one.by else ''}{note}"

"""The first table: the worst facility speaks, unknown is a question mark with a reason, the loudest comes first."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime

import numpy as np
import pytest

from monitor.model import AlertState, Borrower, Column, FeedReport, Numbers, Quote
from monitor.overview import (
    METRICS_SHOWN,
    Overview,
    Reading,
    Snapshot,
    banner,
    overview,
    overview_from_json,
    overview_json,
    overview_table,
)
from monitor.tables import as_text, fit, print_table, terminal

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)
BORROWERS = ("calm", "loud", "blind", "stub")
FACILITIES = ("calm/a", "loud/a", "loud/b", "blind/a")
FACILITY_METRICS = ("ltv_economic", "dscr", "margin_call_btc_usd", "ltv_headroom", "dscr_headroom")
UNITS = {"debt_usd": "usd", "balance_sheet_age": "s", "runway_months": "months", "margin_call_btc_usd": "usd"}


def column(metric: str, values: list[float | None], low: list[float] | None = None, **reasons: str) -> Column:
    """One metric; None is unknown."""
    array = np.array([np.nan if value is None else value for value in values])
    why = {i: reasons.get("why", f"{metric} needs a figure") for i, value in enumerate(values) if value is None}
    unit = UNITS.get(metric, "ratio" if "ltv" in metric else "x")
    level = "facility" if metric in FACILITY_METRICS else "borrower"
    return Column(metric, level, unit, array, ~np.isnan(array), why, low=None if low is None else np.array(low),
                  high=None if low is None else array * 2 - np.array(low))  # fmt: skip


def snapshot(**changed: Column) -> Snapshot:
    """Four borrowers: one calm, one loud, one of whom little is known, one stub."""
    columns = {
        "liquidity_locked_12m": column("liquidity_locked_12m", [3.0, 1.2, None, None], low=[3.0, 0.85, 0, 0]),
        "ltv_economic": column("ltv_economic", [0.4, 0.7, 1.31, None]),
        "dscr": column("dscr", [2.0, 0.29, 1.4, None]),
        "debt_usd": column("debt_usd", [1e9, 35.551e9, None, None]),
        "interest_cover": column("interest_cover", [5, 2.4, None, None]),
        "runway_months": column("runway_months", [np.inf, 8.5, None, None]),
        "balance_sheet_age": column("balance_sheet_age", [86400 * 51, 86400 * 51, None, None]),
        "margin_call_btc_usd": column("margin_call_btc_usd", [None, None, 44_500, None]),
        "ltv_headroom": column("ltv_headroom", [0.25, None, None, None]),
        "dscr_headroom": column("dscr_headroom", [0.8, -0.76, 0.35, None]),
    }
    numbers = Numbers(
        NOW,
        {"market": ("market",), "borrower": BORROWERS, "facility": FACILITIES},
        columns | changed,
        quotes={("btc_usd", "market"): Quote("btc_usd", "market", 58_553.0, "usd", NOW, NOW, "test")},
        facility_borrower=np.array([0, 1, 1, 2]),
    )
    states = [
        AlertState("Underwater", "loud/b", "firing"),
        AlertState("Underwater", "loud/a", "firing"),
        AlertState("Runway", "loud", "recovering"),
        AlertState("Quiet", "calm", "pending"),
        AlertState("Blind", "stub", "firing"),
        AlertState("Stale", "calm", "nodata", state_before="ok"),
        AlertState("SpreadsWiden", "market", "firing"),
    ]
    severities = {"Underwater": "critical", "Runway": "warning", "SpreadsWiden": "warning"}
    borrowers = {
        name: Borrower(name, name.title(), "miner", "insufficient_data" if name == "stub" else "watched")
        for name in BORROWERS
    }
    reports = [FeedReport("kraken", False, "no answer within 15 s", 0, 15.0), FeedReport("coinbase", True, "", 2, 0.4)]
    return Snapshot(numbers, states, severities, borrowers, reports)


@pytest.fixture
def shown() -> Overview:
    """The overview of the four."""
    return overview(snapshot())


def test_the_loudest_comes_first_then_the_least_liquid(shown):
    """Severity decides the order, then liquidity; a stub has no row and unknown is last."""
    assert [row.borrower for row in shown.rows] == ["loud", "calm", "blind"]
    assert shown.stubs == ("Stub",)
    assert "firing among them: Blind" in as_text(overview_table(shown))


def test_the_worst_facility_speaks(shown):
    """Of two facilities the higher loan-to-value and the lower cover are shown, with their names."""
    loud = shown.rows[0]
    assert (loud.readings["ltv_economic"].value, loud.readings["ltv_economic"].where) == (1.31, "b")
    assert (loud.readings["dscr"].value, loud.readings["dscr"].where) == (0.29, "a")


def test_a_known_bad_facility_is_not_hidden_by_an_unknown_one():
    """One facility unknown, the other bad: the bad one is shown and the reason says the other is unknown."""
    dscr = column("dscr", [2.0, None, 0.5, 1.0])
    found = overview(snapshot(dscr=dscr)).rows[0].readings["dscr"]
    assert (found.value, found.where, found.reason) == (0.5, "b", "1 of 2 facilities unknown")


def test_no_facility_is_not_unknown():
    """A borrower without a secured facility shows a dash, not a question mark."""
    view = snapshot()
    view.numbers.facility_borrower[3] = 1  # blind has none now
    blind = next(row for row in overview(view).rows if row.borrower == "blind")
    assert blind.readings["ltv_economic"].text() == "-"
    assert not blind.readings["ltv_economic"].applies


def test_unknown_is_a_question_mark_with_a_grouped_reason(shown):
    """Unknown cells read ?, and one line below says why, for whom and in which columns."""
    text = as_text(overview_table(shown))
    assert "? interest_cover needs a figure: Blind (interest cover)" in text
    assert "insufficient data: Stub" in text
    shared = column("debt_usd", [None, None, None, None], why="no filing yet")
    text = as_text(overview_table(overview(snapshot(debt_usd=shared))))
    assert "? no filing yet: Loud, Calm, Blind (debt USD)" in text


def test_cells_carry_range_trigger_and_alerts(shown):
    """A number with an assumption shows its range; the trigger says how far; alerts are counted."""
    text = as_text(overview_table(shown))
    assert "1.20x (0.85-1.55x)" in text
    assert "3.00x (" not in text
    assert "call at BTC 44,500 (-24%)" in text
    assert "LTV +25 pts, DSCR +0.80x" in text
    assert "unlimited" in text
    assert "Underwater x2, Runway" in text
    assert "market: SpreadsWiden" in text
    assert "kraken: no answer within 15 s" in text


def test_a_lost_covenant_shows_by_how_much():
    """Without pledged coins the trigger is what is left to each covenant, below zero where it is broken."""
    calls = column("margin_call_btc_usd", [None, None, None, None])
    text = as_text(overview_table(overview(snapshot(margin_call_btc_usd=calls))))
    assert "DSCR -0.76x" in text
    assert "call at BTC" not in text


def test_pending_and_missing_data_are_not_firing(shown):
    """Only what fires is listed: neither pending nor an alert that lost its data while it was quiet."""
    assert shown.firing == 5
    assert next(row for row in shown.rows if row.borrower == "calm").alerts == ()


def test_recorded_is_said_first():
    """Recorded prices are announced above the table with their date."""
    view = snapshot()
    recorded = Snapshot(view.numbers, (), {}, view.borrowers, recorded=date(2026, 8, 19))
    assert as_text(overview_table(overview(recorded))).lstrip().startswith("RECORDED 2026-08-19")


def test_json_keeps_everything(shown):
    """What is written for machines gives back the same overview, unlimited and unknown included, and is strict JSON."""
    text = json.dumps(overview_json(shown), allow_nan=False)
    assert overview_from_json(json.loads(text)) == shown
    first = json.loads(text)["borrowers"][2]["metrics"]["debt_usd"]
    assert first == {"value": None, "unit": "usd", "reason": "debt_usd needs a figure"}


def test_every_metric_shown_exists():
    """The columns name metrics that are registered, of a level a row can show."""
    from monitor.metrics import METRICS

    for metric in METRICS_SHOWN:
        assert METRICS[metric].level in ("borrower", "facility")
        assert METRICS[metric].level == "borrower" or METRICS[metric].worst in ("max", "min")


@pytest.mark.parametrize("width", [200, 120, 100, 80])
def test_narrow_screens_lose_columns_and_say_so(shown, width):
    """Whatever the width no line is longer; the columns that matter most stay and the others are named."""
    table = overview_table(shown)
    out = io.StringIO()
    console = terminal(out)
    console.width = width
    print_table(table, console)
    assert max(map(len, out.getvalue().splitlines())) <= width
    heads, _, dropped = fit(table, width)
    labels = [head.label for head in heads]
    assert {"borrower", "worst\nDSCR", "alerts firing"} <= set(labels)
    assert ("left out on this narrow screen" in out.getvalue()) == bool(dropped)


def test_a_name_cannot_paint_the_screen(shown):
    """Markup and control characters in a borrower's name are shown, not obeyed."""
    view = snapshot()
    borrowers = {**view.borrowers, "loud": Borrower("loud", "[red]L\x1b[31moud[/red]", "miner")}
    out = io.StringIO()
    print_table(overview_table(overview(Snapshot(view.numbers, (), {}, borrowers))), terminal(out))
    assert "\x1b" not in out.getvalue()
    assert "[red]L" in out.getvalue()


def test_a_range_with_a_negative_end_is_written_in_words() -> None:
    """ "-0.21-1.03x" can be read in two ways; two positive ends keep the hyphen."""
    assert Reading(0.42, "x", -0.21, 1.03).text(ends=True) == "0.42x (-0.21 to 1.03x)"
    assert Reading(1.21, "x", 0.85, 2.05).text(ends=True) == "1.21x (0.85-2.05x)"


def test_recorded_says_when_no_price_of_bitcoin_reaches_that_day() -> None:
    """A moment after the last recorded close has no prices "of that day"."""
    assert "of that day" in banner(date(2026, 9, 21))
    assert "no usable one of bitcoin" in banner(date(2026, 11, 24), priced=False)
    assert banner(None, priced=False) == ""

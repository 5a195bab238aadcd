"""Token prices, residual values and the credit cycle: laws, worked cases, and honesty about what is not known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from desk import lay_desk
from hypothesis import given
from hypothesis import strategies as st
from small_book import AT, HEAD, borrower, known

from monitor import metrics
from monitor.cli import run_line
from monitor.config import find_config, load_config
from monitor.credit_cycle import PAPER, equal_rating_loans, issues, net_debt_to_market_value
from monitor.cycle_shown import quarter_ends
from monitor.index import offer_series
from monitor.known import KnownBook
from monitor.market import Tape
from monitor.model import Mark, Numbers, Observation, Quote, end_of_day
from monitor.residuals import bought, half_life_months, in_books, observed_decay, on_curve, residuals
from monitor.series import SERIES, fault
from monitor.store import Store
from monitor.tick import Memory, judge
from monitor.tokens import OFFERS, TOKEN_INDEX, token_observations
from monitor.world import build_world

START = datetime(2026, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MAKERS = "abcdef"


# ---------------------------------------------------------------- tokens
def listed(days: int, price: dict[str, list[float]], side: str = "input") -> list[Observation]:
    """One model per name ``maker/model``, its price per day; a shorter list joins late."""
    found = []
    for name, prices in price.items():
        maker, model = name.split("/")
        subject = offer_series(maker, model, "on_demand", "list", side, 1)
        for i, value in enumerate(prices, days - len(prices)):
            at = START + i * DAY
            found.append(Observation(OFFERS, value, "usd/mtok", at, at + DAY / 2, "a list", subject=subject))
    return found


def last(rows: list[Observation], now: datetime) -> float:
    """The newest index of reading."""
    found, _ = token_observations(rows, [], now)
    return [o.value for o in found if o.series == "tokens_input_index_usd"][-1]


STEADY = {f"{maker}/one": [2.0 + i / 10] * 20 for i, maker in enumerate(MAKERS)}


def test_a_new_model_moves_no_price() -> None:
    """A far cheaper model that joins is not deflation of the models there were."""
    now = START + 19 * DAY + DAY / 2
    assert last(listed(20, {**STEADY, "a/tiny": [0.05] * 3}), now) == pytest.approx(last(listed(20, STEADY), now))


def test_a_cut_of_all_passes_in_full() -> None:
    """Every maker halves: the index halves; what one maker does alone moves it by its voice only."""
    now = START + 19 * DAY + DAY / 2
    halved = {name: [*prices[:15], *(p / 2 for p in prices[15:])] for name, prices in STEADY.items()}
    assert last(listed(20, halved), now) / last(listed(20, STEADY), now) == pytest.approx(0.5)
    alone = last(listed(20, {**STEADY, "a/one": halved["a/one"]}), now)
    assert 0.85 < alone / last(listed(20, STEADY), now) <= 1.0


def test_reading_and_writing_are_two_products() -> None:
    """A cut of writing leaves the index of reading as it is; both are declared series within their bounds."""
    now = START + 19 * DAY + DAY / 2
    rows = [*listed(20, STEADY), *listed(20, {n: [4 * p for p in v] for n, v in STEADY.items()}, "output")]
    found, withheld = token_observations(rows, [], now)
    assert withheld == {}
    assert {o.series for o in found} == set(TOKEN_INDEX.values())
    assert all(fault(o, SERIES[o.series]) == "" for o in found)
    by_series = {o.series: o.value for o in found}
    assert by_series["tokens_output_index_usd"] / by_series["tokens_input_index_usd"] == pytest.approx(4)


def test_two_makers_are_no_index() -> None:
    """Too few makers: withheld with the reason, and nothing is said."""
    few = {name: STEADY[name] for name in ("a/one", "b/one")}
    found, withheld = token_observations(listed(20, few), [], START + 20 * DAY)
    assert found == []
    assert "providers" in withheld["tokens_input_index_usd"]


def test_a_tick_with_a_list_says_the_index_and_keeps_the_raw_prices_out(tmp_path: Path) -> None:
    """The list of models becomes two numbers; thousands of single prices do not become prices of the market."""
    lay_desk(tmp_path)
    world = build_world(load_config(find_config(tmp_path / "config.yaml", {}, tmp_path), {}), offline=True)
    memory = Memory(tmp_path / "state", START)
    try:
        for i in range(3):
            now = START + i * DAY + DAY / 2
            rows = [o for o in listed(20, STEADY) if o.observed_at == START + i * DAY]
            btc = Observation("btc_usd", 60_000, "usd", now, now, "a venue")
            result = judge(world, memory, [*rows, btc], [], now)
        quotes = result.numbers.quotes
        assert quotes["tokens_input_index_usd", "market"].value == pytest.approx(2.25, rel=1e-3)
        assert not [key for key in quotes if key[0] == OFFERS]
        column_ = result.numbers.columns["tokens_input_index_usd"]
        assert column_.values[0] == pytest.approx(2.25, rel=1e-3)
    finally:
        memory.close()


# ---------------------------------------------------------------- deflation
def numbers(rows: list[Observation], book: KnownBook, at: datetime) -> Numbers:
    """The market numbers from some observations."""
    tape = Tape(rows)
    return metrics.compute(book, tape.quotes(at), (), tape.history(at).get, at, costly=False)


def monthly(series: str, unit: str, first: float, now: float) -> list[Observation]:
    """A price a year and a month ago, and one of last month."""
    days = (AT - 395 * DAY, AT - 30 * DAY)
    return [
        Observation(series, value, unit, at, at, "an index", known_basis="assumed")
        for at, value in zip(days, (first, now), strict=True)
    ]


def column(result: Numbers, name: str) -> tuple[float, str, str, str]:
    """(value, reason, detail, assumptions) of a market number."""
    c = result.columns[name]
    return float(c.values[0]), c.reasons.get(0, ""), c.detail.get(0, ""), "; ".join(c.used.get(0, ()))


def test_the_fall_of_prices_over_a_year_is_the_geometric_mean() -> None:
    """H100 halves, A100 is where it was: a fall of 1 - sqrt(1/2); what is not on record is named."""
    rows = [
        *monthly("rent_h100_index_usd", "usd/gpu-hour", 4.0, 2.0),
        *monthly("rent_a100_index_usd", "usd/gpu-hour", 2.0, 2.0),
    ]
    value, _, detail, used = column(numbers(rows, known({"a": borrower("miner")}), AT), "compute_deflation_1y_rents")
    assert value == pytest.approx(1 - math.sqrt(0.5))
    assert "rent_h100_index_usd -50%" in detail
    assert used == "without rent_h200_index_usd, rent_b200_index_usd"


def test_a_price_known_for_less_than_a_year_has_no_deflation() -> None:
    """A mark of this spring says nothing about a year; the reason names the series."""
    rows = monthly("resale_h100_usd", "usd", 24_000, 21_000)[1:]
    value, reason, _, _ = column(numbers(rows, known({"a": borrower("miner")}), AT), "compute_deflation_1y_resale")
    assert math.isnan(value)
    assert "resale_h100_usd" in reason


# ---------------------------------------------------------------- issuance
def instrument(name: str, kind: str, issued: str, amount: str, extra: str = "") -> str:
    """One instrument with its figure of June 2026."""
    return f"""  - id: {name}
    name: {name}
    kind: {kind}
{f"    issued: {issued}" if issued else "    note: no day of issue was read"}
    facts: [{{{HEAD}, values: {{{amount}}}}}{extra}]
"""


def book(at: datetime = AT) -> KnownBook:
    """Four instruments: two of the last year, one of the year before, one without a day."""
    later = ", {as_of: 2026-08-30, published: 2026-08-31, quality: press, source: later, values: {commitment_usd: 9bn}}"
    text = "name: A\nkind: neocloud\ndebts:\n"
    text += instrument("ddtl", "ddtl", "2026-03-01", "principal_usd: 1bn, commitment_usd: 3bn", later)
    text += instrument("notes", "high_yield", "2025-11-01", "principal_usd: 2bn")
    text += instrument("old", "convertible", "2025-02-01", "principal_usd: 1bn")
    text += instrument("unsaid", "term_loan", "", "principal_usd: 5bn")
    return known({"a": text}, at)


def test_issuance_counts_commitments_by_kind_and_names_what_is_undated() -> None:
    """The largest amount known by then counts once; a later amendment is not seen; the undated is left out by count."""
    result = numbers([], book(), AT)
    assert column(result, "issuance_12m_usd")[0] == 5e9
    assert "without 1 instruments" in column(result, "issuance_12m_usd")[3]
    assert [column(result, f"issuance_12m_{paper}_usd")[0] for paper in PAPER] == [3e9, 2e9, 0.0]
    assert column(result, "issuance_growth_12m")[0] == pytest.approx(4.0)


def test_issuance_is_unknown_where_nothing_is_dated() -> None:
    """No day of issue in the book: a reason, not zero."""
    empty = known({"a": borrower("miner", "debt_usd: 400m")})
    value, reason, _, _ = column(numbers([], empty, AT), "issuance_12m_usd")
    assert math.isnan(value)
    assert "has a day of issue" in reason


def test_nothing_of_tomorrow_is_issued_today() -> None:
    """An instrument whose first figure is published later does not exist yet."""
    before = book(datetime(2026, 8, 1, tzinfo=UTC))
    assert issues(before) == ([], [])


def test_sector_leverage_adds_up_first() -> None:
    """Net debt over EBITDA of the sector is no mean of ratios; who lacks a part is named."""
    two = {
        "a": borrower("neocloud", "debt_usd: 10bn, cash_unrestricted_usd: 2bn, ebitda_adjusted_quarter_usd: 500m"),
        "b": borrower("miner", "debt_usd: 1bn, cash_unrestricted_usd: 1bn, ebitda_adjusted_quarter_usd: 500m"),
        "c": borrower("miner", "debt_usd: 1bn"),
    }
    value, _, detail, used = column(numbers([], known(two), AT), "sector_net_debt_to_ebitda")
    assert value == pytest.approx(8 / 4)
    assert (detail, used) == ("2 of 3 borrowers", "without c")


def test_net_debt_over_market_value_counts_those_that_have_both() -> None:
    """Shares times price of a borrower with both; one without a price or a count is not in it; none is unknown."""
    texts = {
        "both": borrower("miner", "shares_outstanding: 100m, debt_usd: 300m"),
        "unpriced": borrower("miner", "shares_outstanding: 100m, debt_usd: 900m"),
        "uncounted": borrower("miner", "debt_usd: 900m"),
    }
    prices = {
        ("share_price_usd", who): Quote("share_price_usd", who, 4.0, "usd", AT, AT, "a venue")
        for who in ("both", "uncounted")
    }
    debt = {"both": 200e6, "unpriced": 900e6, "uncounted": 900e6}
    assert net_debt_to_market_value(known(texts, AT), prices, debt) == (0.5, ("both",))
    ratio, who = net_debt_to_market_value(known(texts, AT), {}, debt)
    assert math.isnan(ratio)
    assert who == ()


def mark(series: str, subject: str, value: float, day: date) -> Mark:
    """A mark of a day."""
    return Mark(series, subject, value, "bp", day, end_of_day(day), "press", "a desk")


def test_new_loans_are_compared_at_one_borrower() -> None:
    """Two loans of one borrower count, the newest such pair; a single loan of another is no comparison."""
    rows = [
        mark("loan_spread_bp", "a", 450, date(2026, 5, 18)),
        mark("loan_spread_bp", "b", 225, date(2026, 5, 29)),
        mark("loan_spread_bp", "a", 550, date(2026, 8, 10)),
        mark("cds_5y_bp", "b", 400, date(2026, 8, 11)),
    ]
    assert [m.value for m in equal_rating_loans(rows)] == [450, 550]
    assert equal_rating_loans(rows[1:2]) == []


# ---------------------------------------------------------------- residuals
@given(st.floats(0.01, 0.9), st.floats(0, 10), st.floats(1e3, 1e5))
def test_half_a_price_is_left_after_half_its_life(decay: float, years: float, price: float) -> None:
    """The curve falls by half in a half-life from wherever one stands, and never below zero."""
    later = years + half_life_months(decay) / 12
    assert on_curve(price, decay, later) == pytest.approx(on_curve(price, decay, years) / 2)


@given(st.floats(12, 120), st.floats(0, 20))
def test_books_fall_in_a_straight_line_and_end_at_nothing(life: float, years: float) -> None:
    """Equal steps, and nothing after the stated life."""
    carried = in_books(1.0, life, years)
    assert 0 <= carried <= 1
    assert carried == pytest.approx(max(0.0, 1 - years * 12 / life))


def machines(marks: list[Mark]) -> KnownBook:
    """A neocloud with two vintages of H100 and marks of them."""
    text = (
        "name: A\nkind: neocloud\nfacilities:\n  - id: pool\n    name: Pool\n    pool: hardware\n    debts: []\n"
        f"    units: [{{model: H100, bought: 2024-08-13, units: 100, {HEAD}}}]\n"
        f"    cost_vintages: [{{bought: 2025-08-13, cost_usd: 1bn, model_mix: {{H100: 60%}}, {HEAD}}}]\n"
    )
    return replace(known({"a": text}), marks=tuple(marks))


def test_market_books_and_gap_of_each_vintage() -> None:
    """Both vintages by oldest first; the mark rolled forward by the decay; the gap is market over books."""
    day = date(2026, 6, 30)
    found = residuals(machines([mark("resale_h100_usd", "market", 20_000, day)]), ("H100",))[0]
    assert [v.bought.year for v in found.vintages] == [2024, 2025]
    years = (AT.date() - day).days / 365.25
    low, high = min(found.decay.corners), max(found.decay.corners)
    old = found.vintages[0]
    assert old.market_usd.middle == pytest.approx(20_000 * (1 - found.decay.middle) ** years)
    assert sorted(old.market_usd.corners)[0] == pytest.approx(20_000 * (1 - high) ** years)
    assert sorted(old.market_usd.corners)[-1] == pytest.approx(20_000 * (1 - low) ** years)
    assert old.books_usd.middle == pytest.approx(found.new_usd.middle * (1 - 2 / 6), rel=1e-3)
    assert old.gap.middle == pytest.approx(old.market_usd.middle / old.books_usd.middle - 1)
    assert min(old.curve_usd.corners) < old.curve_usd.middle < max(old.curve_usd.corners)


def test_an_old_mark_is_no_market() -> None:
    """After 120 days a mark is shown as too old, and no gap is measured by it; no mark at all says so."""
    old = residuals(machines([mark("resale_h100_usd", "market", 20_000, date(2026, 3, 1))]), ("H100",))[0]
    assert old.newest is not None
    assert old.newest.stale
    assert "165 days old" in old.vintages[0].gap.reasons[0]
    assert "no mark" in residuals(machines([]), ("H100",))[0].vintages[0].gap.reasons[0]


def test_a_decay_is_only_seen_between_marks_far_enough_apart() -> None:
    """Two marks a quarter apart give a yearly loss; two of one week, or one alone, give a reason."""
    first, week, quarter = (mark("r", "market", v, d) for v, d in (
        (24_000, date(2026, 1, 1)), (23_000, date(2026, 1, 8)), (21_000, date(2026, 4, 2))))  # fmt: skip
    loss = observed_decay([first, week, quarter])
    assert loss.middle == pytest.approx(1 - (21 / 24) ** (365.25 / 91))
    assert "7 days apart" in observed_decay([first, week]).reasons[0]
    assert not observed_decay([first]).known


def test_machines_known_later_are_no_vintage() -> None:
    """A purchase counts from its publication."""
    assert bought(known({"a": "name: A\nkind: neocloud\n"}), "H100") == []


# ---------------------------------------------------------------- on screen
@given(st.dates(date(2015, 1, 1), date(2024, 1, 1)), st.integers(1, 1500))
def test_quarters_end_where_they_end(first: date, days: int) -> None:
    """Every day but the last is the last day of a quarter, in order, none left out."""
    end = first + timedelta(days=days)
    found = quarter_ends(first, end)
    assert found[-1] == end
    assert all((day + timedelta(days=1)).day == 1 and day.month in (3, 6, 9, 12) for day in found[:-1])
    gaps = np.diff([day.toordinal() for day in found])
    assert (gaps[:-1] >= 90).all() if len(gaps) > 1 else True


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small desk to stand in."""
    monkeypatch.delenv("CANARY_CONFIG", raising=False)
    monkeypatch.chdir(lay_desk(tmp_path / "desk"))
    return tmp_path / "desk"


@pytest.mark.parametrize("command", ["cycle", "residuals"])
def test_the_commands_show_data_and_draw(desk: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Recorded prices are marked, JSON is whole, the picture is a PNG."""
    assert run_line(["--offline", command]) == 0
    assert "RECORDED" in capsys.readouterr().out
    assert run_line(["--offline", "--json", command, "--picture", "out.png"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["numbers" if command == "cycle" else "models"]
    assert (desk / "out.png").read_bytes().startswith(b"\x89PNG")
    assert run_line(["--offline", command, "--picture", "out.gif"]) == 2


def test_the_cycle_sees_what_was_backfilled(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spread taken in by backfill stands in the table from the day it was known."""
    at = datetime(2026, 3, 30, tzinfo=UTC)
    with Store(desk / "state" / "canary.sqlite") as store:
        store.keep([Observation("hy_spread_bp", 310.0, "bp", at, at + DAY, "FRED", known_basis="assumed")])
    assert run_line(["--offline", "--json", "cycle", "--from", "2025-12-01", "--at", "2026-04-01"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["numbers"]["hy_spread_bp"] == [None, 310.0, 310.0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["residuals", "H10"], "did you mean 'H100'"),
        (["cycle", "--from", "soon"], "is no day"),
        (["cycle", "--from", "2999-01-01"], "write a day before"),
        (["cycle", "--from", "1999-01-01"], "at most 20 years ago"),
    ],
)
def test_mistakes_are_sentences(desk: Path, capsys: pytest.CaptureFixture[str], line: list[str], said: str) -> None:
    """What is wrong and what to write instead."""
    assert run_line(["--offline", *line]) == 2
    assert said in capsys.readouterr().err

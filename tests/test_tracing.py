"""Every number has a path: to the observations of its venues, to its document, to what it was computed from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from desk import lay_desk
from small_book import HEAD, IRIS, borrower, known

from monitor import market
from monitor.cli import run_line
from monitor.index import offer_series
from monitor.known import KnownBook, fact_steps
from monitor.metrics import METRICS, compute
from monitor.model import CanaryError, Observation
from monitor.quarantine import without_mistaken
from monitor.series import SERIES
from monitor.store import Store, TickRow
from monitor.tracing import trace
from monitor.tracing_prices import Evidence, Node

NOW = datetime(2026, 8, 14, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def seen(venue: str, value: float, at: datetime = NOW, series: str = "btc_usd", unit: str = "usd") -> Observation:
    """A live observation, known when it was made."""
    return Observation(series, value, unit, at, at, venue)


def evidence(
    rows: list[Observation], book: KnownBook | None = None, offers: list[Observation] | None = None
) -> Evidence:
    """Everything a trace looks at, from some observations and a book."""
    book = book or known({"alpha": borrower("miner", "debt_usd: 400m, cash_unrestricted_usd: 20m")}, NOW)
    tape = market.Tape(rows)
    ids = tuple(sorted(b.id for b in book.borrowers))
    past = tape.history(NOW, ids)
    numbers = compute(book, tape.quotes(NOW), (), lambda n: past.get(n) or fact_steps(book, n, ids), NOW, costly=False)
    return Evidence(NOW, book, numbers, rows, SERIES, offers or [], lambda moment: [("coinbase", "https://a/t", 90)])


def below(node: Node) -> Iterator[Node]:
    """A node and everything below it."""
    yield node
    for one in node.inputs:
        yield from below(one)


def fates(node: Node) -> dict[str, str]:
    """Observation -> what became of it."""
    return {one.name: one.state for one in node.inputs}


# ---------------------------------------------------------------- prices
def test_a_price_shows_its_venues_and_the_one_left_out() -> None:
    """A median of those that agree; an outlier stands beside them and says so."""
    rows = [seen("A", 62_000), seen("B", 62_100), seen("C", 70_000)]
    node = trace(evidence(rows), "btc_usd")
    assert node.value == 62_050
    assert fates(node) == {"A": "used", "B": "used", "C": "left out"}
    about = dict(node.about)
    assert about["age"] == "0 s, at most 60 min count"
    assert about["observed"] == "2026-08-14 12:00 UTC"
    assert "coinbase: https://a/t (90 bytes)" in dict(node.inputs[0].about)["raw answers of that tick"]


def test_a_quarantined_value_waits_beside_the_value_in_force() -> None:
    """A jump of one source alone is shown as waiting, with both numbers; the older value stands."""
    rows = [seen("A", 62_000, NOW - QUARTER), seen("A", 40_000)]
    node = trace(evidence(rows), "btc_usd")
    assert (node.value, node.state) == (62_000, "in doubt")
    assert [(one.value, one.state) for one in node.inputs] == [(40_000, "waiting"), (62_000, "used")]
    assert "62,000" in dict(node.inputs[0].about)["because"]


def test_a_refused_value_says_why() -> None:
    """A price in cents is refused by its bounds, and the trace repeats the reason."""
    node = trace(evidence([seen("A", 62_000, NOW - QUARTER), seen("A", 6_200_000)]), "btc_usd")
    assert fates(node)["A"] in ("refused", "used")
    assert [one.state for one in node.inputs] == ["refused", "used"]
    assert "above any plausible btc_usd" in dict(node.inputs[0].about)["because"]


def test_a_derived_price_shows_what_it_is_made_of() -> None:
    """Hashprice hangs on difficulty, reward and bitcoin, each with its own venues."""
    rows = [seen("A", 62_000), seen("m", 130e12, series="difficulty", unit="number")]
    rows.append(seen("m", 3.2, series="block_reward_btc", unit="btc"))
    node = trace(evidence(rows), "hashprice_usd_ph_day", depth=2)
    assert node.value == pytest.approx(market.hashprice_usd_ph_day(130e12, 3.2, 62_000))
    assert [one.name for one in node.inputs] == ["difficulty", "block_reward_btc", "btc_usd"]
    assert fates(node.inputs[2]) == {"A": "used"}


def test_an_own_index_shows_its_panel() -> None:
    """The offers of the day, the size of the panel and how sure it is."""
    offers = []
    for days in range(10):
        at = NOW - timedelta(days=9 - days)
        for venue, price in zip("abcde", (2.0, 2.2, 2.4, 2.6, 2.8), strict=True):
            name = offer_series(venue, "H100", "on_demand", "list", "", 1)
            offers.append(Observation("offer_h100_usd", price, "usd/gpu-hour", at, at, venue, subject=name))
    said = seen("matched-model index of raw offers", 2.4, series="rent_h100_on_demand_usd", unit="usd/gpu-hour")
    node = trace(evidence([said], offers=offers), "rent_h100_on_demand_usd")
    panel = node.inputs[-1]
    assert panel.name == "panel of 2026-08-14"
    assert panel.text.startswith("5 providers, 5 of them seen before")
    assert [one.value for one in panel.inputs] == [2.0, 2.2, 2.4, 2.6, 2.8]
    assert {one.state for one in panel.inputs} == {"list"}


def test_what_was_never_observed_is_unknown() -> None:
    """No number is made up for a series without observations."""
    node = trace(evidence([]), "btc_usd")
    assert (node.value, node.state) == (None, "unknown")


def test_a_panel_names_what_is_kept_out_of_it() -> None:
    """A provider in another unit is not among the offers; the panel says which, since when and how far off."""
    offers = []
    for days in (2, 1, 0):
        at = NOW - timedelta(days=days)
        for venue, price in (("azure", 1.5), ("runpod", 2.4), ("vast", 2.6), ("lambda", 2.8)):
            name = offer_series(venue, "H100", "on_demand", "list", "any", 8)
            told = price * (8 if venue == "azure" and days == 0 else 1)
            offers.append(Observation("offer_h100_usd", told, "usd/gpu-hour", at, at, venue, subject=name))
    kept, quarantined = without_mistaken(offers, NOW)
    said = seen("matched-model index of raw offers", 2.4, series="rent_h100_on_demand_usd", unit="usd/gpu-hour")
    found = replace(evidence([said], offers=kept), quarantined=quarantined)
    panel = trace(found, "rent_h100_on_demand_usd").inputs[-1]
    assert [one.name.partition("/")[0] for one in panel.inputs] == ["lambda", "runpod", "vast"]
    assert {one.text.split()[-1] for one in panel.inputs} == {"usd/gpu-hour"}
    assert dict(panel.about)["in quarantine"].startswith("azure: 1 of 1 offers look like a machine of eight")


def test_an_unknown_price_claims_no_quality_and_no_age() -> None:
    """What is not known has no grade; the reason says how old the last value is."""
    node = trace(evidence([seen("A", 62_000, NOW - timedelta(hours=3))]), "btc_usd")
    assert node.state == "unknown"
    assert "limit 60 min" in node.text
    assert "quality" not in dict(node.about)
    assert "age" not in dict(node.about)
    assert dict(node.about)["believed"] == "1,000 to 2,000,000 usd"


# ---------------------------------------------------------------- the book
def test_a_figure_shows_both_dates_its_document_and_what_it_replaced() -> None:
    """The newest figure, the one before it, their sources; nothing published later."""
    later = "as_of: 2026-07-31, published: 2026-09-30, quality: filing, source: tomorrow"
    text = (
        "name: Alpha\nkind: miner\nfacts:\n"
        "  - {as_of: 2026-03-31, published: 2026-05-12, quality: press, source: a letter, values: {debt_usd: 300m}}\n"
        f"  - {{{HEAD}, values: {{debt_usd: 400m}}}}\n"
        f"  - {{{later}, values: {{debt_usd: 900m}}}}\n"
    )
    node = trace(evidence([], known({"alpha": text}, NOW)), "alpha.debt_usd")
    figure = node.inputs[0]
    assert node.value == figure.value == 4e8
    assert dict(figure.about)["known"] == "2026-08-13 00:00 UTC"
    assert dict(figure.about)["true on"] == "2026-06-30"
    assert [(one.value, one.state) for one in figure.inputs] == [(3e8, "superseded")]
    assert (figure.text, figure.unit) == ("400,000,000 USD", "usd")
    assert all("tomorrow" not in str(one) for one in below(node))


@pytest.mark.parametrize("name", [n for n, info in METRICS.items() if info.level in ("market", "borrower")])
def test_every_metric_can_be_traced(name: str) -> None:
    """Each has a meaning and a value or a reason; its inputs are as deep as asked, no deeper."""
    found = evidence([seen("A", 62_000)])
    what = name if METRICS[name].level == "market" else f"alpha.{name}"
    node = trace(found, what, depth=2)
    assert node.state == "used" or node.text.removeprefix("unknown: ")
    if name not in SERIES or METRICS[name].level == "borrower":
        assert dict(node.about)["meaning"]
    assert trace(found, what, depth=0).json()["name"] == node.name
    json.dumps(node.json(), allow_nan=False)


def test_a_facility_shows_its_instruments_and_what_was_never_reported() -> None:
    """Every number of a facility hangs on the book: debts with their figures, and the figures nobody gave."""
    found = evidence([], known({"iris": IRIS % "100m"}, NOW))
    for name in (n for n, info in METRICS.items() if info.level == "facility"):
        node = trace(found, f"iris/rigs.{name}", depth=1)
        (instruments,) = [one for one in node.inputs if one.name == "instruments"]
        assert [one.name for one in instruments.inputs] == ["rigs"]
        assert instruments.inputs[0].inputs[0].value == 103e6
    dscr = trace(found, "iris/rigs.dscr", depth=1)
    figures = {one.name: one.value for one in dscr.inputs if one.name.startswith("figure")}
    assert figures == {"figure cfads_quarter_usd": 6e6, "figure service_12m_usd": None}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("btc_us", "did you mean 'btc_usd'"),
        ("debt_usd", "write BORROWER.debt_usd"),
        ("alfa.debt_usd", "did you mean 'alpha'"),
        ("alpha.debt_us", "did you mean 'debt_usd'"),
        ("alpha/rigs.dscr", "has no facility 'rigs'"),
        ("", "no market number"),
    ],
)
def test_a_name_that_does_not_exist_gets_the_nearest(what: str, said: str) -> None:
    """The mistake and what was probably meant."""
    with pytest.raises(CanaryError, match=said):
        trace(evidence([]), what)


# ---------------------------------------------------------------- the command
@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small desk with a live database of one tick."""
    monkeypatch.delenv("CANARY_CONFIG", raising=False)
    monkeypatch.chdir(lay_desk(tmp_path / "desk"))
    return tmp_path / "desk"


def test_the_command_shows_a_tree_and_json(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Live: the observation of the last tick with the address of its raw answer; the book beside it."""
    with Store(desk / "state" / "canary.sqlite") as store:
        store.keep([seen("Coinbase Exchange BTC-USD last trade", 62_000)])
        address = "https://api.exchange.coinbase.com/products/BTC-USD/ticker"
        store.keep_raw(NOW, [("coinbase", address, b'{"price": "62000"}')])
        store.commit_tick(TickRow(NOW))
    assert run_line(["trace", "btc_usd"]) == 0
    shown = capsys.readouterr().out
    assert "RECORDED" not in shown
    assert "62,000 USD" in shown
    assert "/products/BTC-USD/ticker (18 bytes)" in shown.replace("\n", "").replace("│", "")
    assert run_line(["trace", "alpha.debt_usd", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["value"] == 4e8
    assert told["inputs"][0]["true_on"] == date(2026, 6, 30).isoformat()
    assert run_line(["trace", "alpha.debt"]) == 2


def test_without_a_live_tick_it_says_recorded(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recorded prices are marked on screen and in JSON."""
    assert run_line(["--offline", "trace", "btc_usd"]) == 0
    assert "RECORDED" in capsys.readouterr().out
    assert run_line(["--offline", "trace", "btc_usd", "--at", "2026-01-15", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recorded"] == "2026-01-15"

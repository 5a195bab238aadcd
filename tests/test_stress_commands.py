"""Stress, reverse and cascade on the starter book of a recorded day: honest, the same in every form, no traceback."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from desk import lay_desk

from monitor.charts import Fan, Heat
from monitor.cli import cli, run_line
from monitor.config import find_config, load_config
from monitor.model import CanaryError
from monitor.store import Store, TickRow
from monitor.stress.answers import ask, chances
from monitor.stress.scenario import Move, Scenario
from monitor.stress_borrower import one_borrower
from monitor.stress_cascade import fall_panels, one_fall, one_sale, orders_of, ranking
from monitor.stress_chances import chances_under
from monitor.stress_reverse import everybody, one_reverse
from monitor.stress_shocks import alone, grids
from monitor.stress_shown import Shown
from monitor.stress_views import matrix, one_scenario
from monitor.stressing import (
    TODAY,
    Case,
    borrower_named,
    case_of,
    falls,
    first_breach,
    quarterly,
    readings,
    scenario_named,
    stressed,
    written,
)
from monitor.tick import newest_close
from monitor.world import World, build_world

ROOT = Path(__file__).parents[1]
AT = datetime(2026, 9, 22, tzinfo=UTC)  # the end of 2026-09-21
PATHS = 32


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """The starter set, offline, with an empty state folder."""
    home = str(tmp_path_factory.mktemp("home"))
    config = load_config(find_config(ROOT / "config.yaml", os.environ, ROOT), {"HOME": home})
    return build_world(config, offline=True)


@pytest.fixture(scope="module")
def case(world) -> Case:
    """What was known at the end of the day."""
    return case_of(world, AT, AT)


@pytest.fixture(scope="module")
def answers(case) -> dict[str, Shown]:
    """Every kind of answer once."""
    glut = scenario_named(case, "rental_glut")
    return {
        "matrix": matrix(case),
        "scenario": one_scenario(case, glut, PATHS),
        "borrower": one_borrower(case, "coreweave", glut, PATHS),
        "unknown": one_borrower(case, "terawulf", None, PATHS),
        "reverse": everybody(case),
        "one reverse": one_reverse(case, "mara"),
        "ranking": ranking(case),
        "fall": one_fall(case, "coreweave"),
        "sale": one_sale(case, {"H100": 10_000.0}),
    }


@pytest.fixture(scope="module")
def question(case):
    """The rows behind chances and first breaches."""
    return ask(case.state)


@pytest.fixture(scope="module")
def today(question):
    """Chances without a scenario."""
    return chances_under(question, TODAY, PATHS)


KINDS = ("matrix", "scenario", "borrower", "unknown", "reverse", "one reverse", "ranking", "fall", "sale")


# ---------------------------------------------------------------- every answer
@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_valid_json(answers, kind):
    """JSON holds no NaN or infinity, and says the moment and that prices are recorded."""
    data = json.loads(json.dumps(answers[kind].reply.data, allow_nan=False))
    assert data["recorded"] == "2026-09-21"
    assert data["at"] == "2026-09-22T00:00:00+00:00"
    assert data["btc_usd"] > 1000


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_says_recorded(answers, kind):
    """The first table of an answer carries the mark of recorded prices, the picture the same day."""
    assert "RECORDED 2026-09-21" in answers[kind].reply.tables[0].banner
    assert str(answers[kind].stamp.recorded) == "2026-09-21"


def test_unknown_is_said_and_never_zero(answers, case):
    """A borrower whose cash nobody reported has no number anywhere, and the reason stands on table and picture."""
    shown = answers["unknown"]
    texts = " ".join(cell.text for table in shown.reply.tables for cell in table.notes)
    assert "cash_unrestricted_usd was never reported" in texts
    assert any("cash_unrestricted_usd was never reported" in note for note in shown.stamp.notes)
    heat, *_, fan = shown.panels
    assert isinstance(heat, Heat)
    assert isinstance(fan, Fan)
    assert np.isnan(heat.values).all()
    assert heat.reason
    assert fan.reason
    assert json.loads(json.dumps(shown.reply.data))["grids"][0]["values"] == [[None]]


# ---------------------------------------------------------------- under a scenario
def test_a_fall_of_bitcoin_helps_no_miner(case):
    """Liquidity of a borrower that mines or holds coins falls with bitcoin, along the whole grid."""
    grid = grids(case.state, "hut8")[0]
    assert grid.x is not None
    assert grid.x.label.startswith("bitcoin")
    assert (np.diff(grid.values, axis=1) < 0).all()


@pytest.mark.parametrize(("borrower", "name"), [("coreweave", None), ("mara", "joint_collapse")])
def test_a_grid_starts_at_the_reading(case, borrower, name):
    """The cell without a shock is the number of the table, today and on top of a scenario."""
    state = stressed(case.state, scenario_named(case, name) if name else TODAY)
    found = grids(state, borrower)
    assert len(found) == 2
    for grid in found:
        x, y = ((axis.levels.index(0.0) if axis else 0) for axis in (grid.x, grid.y))
        assert grid.values[y, x] == pytest.approx(readings(state)[borrower][grid.metric].value, rel=1e-12)


def test_no_scenario_is_the_chance_of_the_metric(case, question, today):
    """Paths under no scenario are the very paths behind pd_12m, with the same ends and the same reasons."""
    expected, found = chances(question, n_paths=PATHS).pd, today
    for b, name in enumerate(case.state.borrowers):
        year = found[name].year()
        assert (year.value is not None) == bool(expected.known[b])
        if year.value is not None:
            assert (year.value, year.low, year.high) == (
                expected.values[0, b],
                expected.values[:, b].min(),
                expected.values[:, b].max(),
            )
        else:
            assert year.reason


def test_closing_every_door_makes_nothing_safer(question, today):
    """The same paths with refinancing shut, rents and coins lower break at least as often, in every month."""
    worse = Scenario("worse", (Move("refinancing", "to", 0.0), Move("btc", "by", -0.5), Move("spread", "add", 0.05)))
    before, after = today, chances_under(question, worse, PATHS)
    known = [name for name in before if not before[name].reason]
    assert known
    assert all((after[name].middle >= before[name].middle).all() for name in known)
    assert any(after[name].middle[-1] > before[name].middle[-1] for name in known)
    first = {name: first_breach(question, one) for name, one in (("before", TODAY), ("after", worse))}
    for name in known:
        assert first["after"][name].value <= first["before"][name].value


# ---------------------------------------------------------------- in reverse
def test_a_single_move_is_where_it_breaks(case):
    """What is said to break a coin loan alone is near the price at which the metrics call for more coins."""
    found = {(one.row, one.what): one.move for one in alone(quarterly(case.state), "riot")}
    move = found["riot/coinbase", "bitcoin"]
    assert -0.6 < move.value < -0.3
    assert move.low >= move.value >= move.high
    assert found["riot/coinbase", "market rents"].value == np.inf


# ---------------------------------------------------------------- a fall and a sale
def test_a_tenant_takes_rent_along(answers):
    """Hosts lose when their tenant falls, and lose more at the adverse end."""
    under = answers["fall"].reply.data["under"]
    assert {"applied-digital", "core-scientific"} <= set(under["middle"]["rent_lost_usd"])
    assert sum(under["adverse"]["rent_lost_usd"].values()) > sum(under["middle"]["rent_lost_usd"].values())


def test_who_is_dragged_along_is_drawn(case):
    """Somebody dragged at one end only has a row from nothing to what it owes."""
    found = falls(case.state, "coreweave")
    found["adverse"] = replace(found["adverse"], dragged=("mara",), rounds=2)
    rows = {row.label: row for row in fall_panels(case, found)[0].rows}
    row = rows["dragged: MARA Holdings"]
    assert (row.middle, row.low) == (0.0, 0.0)
    assert row.high is not None
    assert row.high > 1e9


def test_a_larger_sale_brings_less_per_unit(case):
    """Twice the machines never sell for more each, and every pool is worth less afterwards."""
    prices = []
    for units in (1_000.0, 10_000.0, 20_000.0):
        sale = json.loads(json.dumps(one_sale(case, {"H100": units}).reply.data, allow_nan=False))["sales"][0]
        prices.append(sale["average_usd"]["value"])
        assert sale["remarked"]
        assert all(pool["value_after_usd"] < pool["value_usd"] for pool in sale["remarked"].values())
    assert prices == sorted(prices, reverse=True)
    assert prices[0] > prices[-1]


def test_both_factors_make_the_rank(answers):
    """The ranking shows both factors for everybody ranked, a reason for everybody else."""
    early, hurt = answers["ranking"].panels
    assert [row.label for row in early.rows] == [row.label for row in hurt.rows]
    for row in answers["ranking"].reply.data["borrowers"]:
        assert (row["rank"]["value"] is not None) != ("reason" in row["rank"])
        assert (row["rank"]["value"] is None) == (row["earliness"]["value"] is None)


# ---------------------------------------------------------------- what people type
@pytest.mark.parametrize(
    ("shocks", "amounts"),
    [
        (("-30%", "-25%", "+300bp"), [-0.3, -0.25, 0.03]),
        (("+20%", None, "-1%"), [0.2, -0.01]),
        ((None, None, "0bp"), [0.0]),
    ],
)
def test_shocks_are_read_with_their_units(shocks, amounts):
    """Percent and basis points become fractions."""
    assert [move.amount for move in written(*shocks).moves] == pytest.approx(amounts)


@pytest.mark.parametrize("text", ["-30", "5x", "-100%", "-250%", "99999%", "3d", "nan%", "", "-30%; rm", "9" * 500])
def test_shocks_without_sense_are_refused(text):
    """What is no move of a price is refused by name, with an example."""
    with pytest.raises(CanaryError, match="--btc"):
        written(text, None, None)


def test_all_bad_shocks_are_named_at_once():
    """Nobody corrects one mistake to be told of the next."""
    with pytest.raises(CanaryError) as error:
        written("-30", "x", "50%%")
    assert [line.split()[0] for line in str(error.value).splitlines()] == ["--btc", "--rent", "--spread"]


@pytest.mark.parametrize("text", ["H100", "H100=", "=5", "H100=-5", "H100=0", "H100=50%", "H100=many"])
def test_orders_without_sense_are_refused(text):
    """A sale needs a model and a number above zero."""
    with pytest.raises(CanaryError, match="--sell"):
        orders_of((text,))


def test_names_that_do_not_exist(case):
    """A typing mistake gets the nearest name."""
    with pytest.raises(CanaryError, match="did you mean 'joint_collapse'"):
        scenario_named(case, "joint_colapse")
    with pytest.raises(CanaryError, match="did you mean 'coreweave'"):
        borrower_named(case, "corewave")
    with pytest.raises(CanaryError, match="no machines of model Z80"):
        one_sale(case, {"Z80": 5.0})


# ---------------------------------------------------------------- which moment
def test_the_moment_without_at(world, tmp_path):
    """Without --at it is the last live evaluation; where there was none, the newest recorded close, said so."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    paths = replace(world.config.paths, state=tmp_path)
    desk = replace(world, config=replace(world.config, paths=paths))
    quiet = case_of(desk, None, now)
    assert quiet.state.at == newest_close(desk, now)
    assert quiet.recorded is not None
    live_at = AT + timedelta(hours=5)
    with Store(tmp_path / "canary.sqlite") as store:
        store.commit_tick(TickRow(live_at, "a", "b", "c", "d", 1, 0.0, False))
    live = case_of(desk, None, now)
    assert (live.state.at, live.recorded) == (live_at, None)


# ---------------------------------------------------------------- the command line
@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A small desk to stand in, with nothing of the real user around."""
    for name in ("CANARY_CONFIG", "CANARY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / ".state"))
    monkeypatch.chdir(lay_desk(tmp_path / "desk"))
    return tmp_path / "desk"


def test_stress_on_the_starter_book(tmp_path, monkeypatch):
    """The command as a user types it: a whole answer, a picture on disk, nothing but JSON on standard output."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    line = ["stress", "coreweave", "--btc", "-30%", "--spread", "+300bp", "--at", "2026-09-21", "--offline", "--json"]
    line += ["--config", str(ROOT / "config.yaml"), "--picture", str(tmp_path / "grid.png")]
    done = CliRunner().invoke(cli, line, standalone_mode=False)
    assert done.exception is None
    assert done.return_value == 0
    data = json.loads(done.stdout)
    assert [(m["factor"], round(m.get("by", m.get("add")), 9)) for m in data["scenario"]["moves"]] == [
        ("btc", -0.3),
        ("spread", 0.03),
    ]
    assert data["grids"][0]["metric"] == "liquidity_locked_12m"
    assert (tmp_path / "grid.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["stress", "--scenario", "halv"], "did you mean 'half'?"),
        (["stress", "alfa"], "did you mean 'alpha'?"),
        (["stress", "--scenario", "half", "--btc", "-30%"], "not both"),
        (["stress", "--btc", "-30"], "say the unit, for example -30%"),
        (["stress", "--scenario", "half", "--paths", "0"], "--paths takes 1 to 4,096"),
        (["cascade", "--sell", "H100"], "write MODEL=UNITS"),
        (["cascade", "--from", "alpha", "--sell", "H100=5"], "not both"),
        (["reverse", "--picture", "x.jpg"], "end 'x.jpg' in .png"),
        (["reverse", "--picture", "no/such/folder/x.png"], "No such file or directory"),
        (["reverse", "--at", "2999-01-01"], "has not ended yet"),
    ],
)
def test_mistakes_are_sentences(desk, capsys, line, says):
    """What cannot be done is said in words with what to write instead; exit code 2, no traceback."""
    code = run_line([*line, "--offline"])
    out, err = capsys.readouterr()
    assert code == 2
    assert says in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    "line", [["stress"], ["stress", "--scenario", "half"], ["stress", "alpha"], ["reverse"], ["cascade"]]
)
def test_a_desk_that_knows_little_gets_answers(desk, capsys, line):
    """With one miner of whom next to nothing is known every command still answers, with reasons and a picture."""
    code = run_line([*line, "--offline", "--picture", "out.png"])
    out, _ = capsys.readouterr()
    assert code == 0
    assert "RECORDED" in out
    assert "? " in out
    assert (desk / "out.png").read_bytes()[:4] == b"\x89PNG"


def test_borrowers_with_insufficient_data_carry_a_star(case):
    """Where the book itself says that figures are missing, a distance or a rank is not shown as if it were whole."""
    for shown in (everybody(case), ranking(case)):
        column = next(i for i, head in enumerate(shown.reply.tables[0].heads) if head.label == "borrower")
        names = [row[column].text for row in shown.reply.tables[0].rows]
        assert "Hut 8 *" in names
        assert "CoreWeave" in names
        assert any(note.text.startswith("* insufficient data") for note in shown.reply.tables[0].notes)
        marked = {one["id"] for one in shown.reply.data["borrowers"] if one["insufficient_data"]}
        assert "hut8" in marked
        assert "coreweave" not in marked

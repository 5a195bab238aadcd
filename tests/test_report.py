"""The page says what the evaluation says, asks nothing of the network, and shows every text as text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_pages import HOSTILE, hostile, starter

from monitor.cli import run_line
from monitor.report import draw
from monitor.report.heat import Heat, heats
from monitor.report.page import policy, render
from monitor.report.tags import table
from monitor.tables import Cell, Head, Table
from tests.desk import lay_desk

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Reader(HTMLParser):
    """Tags in order with their attributes, the texts, and whether every tag that opens also closes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_is_whole_and_asks_nothing_of_the_network() -> None:
    """Every tag closes, ids are unique, links stay on the page, and nothing is fetched from anywhere."""
    page = Reader(render(starter()))
    assert page.open == []
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    for tag, found in page.tags:
        assert not {"src", "srcset", "style", "onclick", "onload"} & set(found), tag
        if "href" in found:
            assert found["href"] in {f"#{id_}" for id_ in ids}, found
    assert not {"img", "iframe", "object", "embed", "link", "base", "form"} & {tag for tag, _ in page.tags}


def test_only_the_pages_own_style_and_script_may_run() -> None:
    """The policy names the hashes of exactly the one style and the one script that are in the page."""
    page = render(starter())
    for tag in ("style", "script"):
        inside = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy()
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()


def test_the_page_says_what_the_evaluation_says() -> None:
    """A known number, an unknown one with its reason, a scenario, a firing alert and an assumption are all on it."""
    report = starter()
    texts = " ".join(" ".join(Reader(render(report)).texts).split())
    assert "RECORDED 2026-09-21" in texts
    row = next(row for row in report.rows if row.id == "coreweave")
    liquidity = row.figures[[head.label for head in report.heads].index("liquidity 12 m, locked")]
    assert liquidity.text == "1.21x (0.85-2.05x)"
    assert liquidity.text in texts
    assert "under joint collapse" in texts
    assert any(alert.rule == "LockedBoxTight" and alert.subject == "greenidge" for alert in report.alerts)
    assert any("cash_unrestricted_usd was never reported" in why for _, reasons in report.unknown for why in reasons)
    assert "coin_sale_days" in texts
    assert {section.id for section in report.sections} >= {"coreweave", "mara", "lambda"}


def test_who_loses_what_is_said_with_what_is_not_known() -> None:
    """A named lender beside unknown ones loses at least its row; assets nobody valued make it at most; else a range."""
    losses = {one.id: one.losses for one in starter().sections}
    rows = {who: {row[0].text.partition(":")[0]: row for row in table.rows} for who, table in losses.items()}
    assert rows["coreweave"]["Magnetar"][3].text.startswith("at least ")
    assert re.match(r"[\d.]+bn \([\d.]+bn-[\d.]+bn\)", rows["coreweave"]["lender unknown"][3].text)
    assert rows["applied-digital"]["lender unknown"][3].text.startswith("at most ")
    assert any("counted as nothing" in note.text for note in losses["applied-digital"].notes)
    assert any("more may be owed" in note.text for note in losses["lambda"].notes)
    assert losses["crusoe"].rows == ()
    assert "never reported" in losses["crusoe"].notes[0].text
    assert "Magnetar" in render(starter())


def test_what_drawings_share_is_written_once() -> None:
    """Every reference of a drawing has its marks, each set of marks stands once, and two borrowers share some."""
    page = render(starter())
    used, defined = re.findall(r'<use href="#(g\d+)"', page), re.findall(r'<g id="(g\d+)">(.*?)</g>', page)
    assert set(used) == {id_ for id_, _ in defined}
    assert len(defined) == len({marks for _, marks in defined}) < len(used)


def test_unknown_is_never_drawn_as_a_number() -> None:
    """A borrower whose liquidity is unknown has no grid and no curve, and each says why."""
    section = next(one for one in starter().sections if one.id == "terawulf")
    assert section.grid.reason
    assert not section.grid.rows
    assert section.history.reason
    assert not section.history.curves
    assert section.breach.reason
    assert not section.breach.bars


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_as_texts(text: str) -> None:
    """Whatever a name holds, the page has the same tags as with a harmless one, and no control or bidi characters."""
    harmless, page = Reader(render(hostile("harmless"))), render(hostile(text))
    read = Reader(page)
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in harmless.tags]
    assert [sorted(found) for _, found in read.tags] == [sorted(found) for _, found in harmless.tags]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", page)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_a_table_of_any_text_is_one_table(text: str) -> None:
    """A table made of any text has exactly the tags of that table."""
    made = table(
        Table(text, (Head(text), Head(text, right=True)), ((Cell(text, "critical"), Cell(text)),), (Cell(text),))
    )
    tags = [tag for tag, _ in Reader(made).tags]
    assert tags == ["div", "table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td", "p"]


# ---------------------------------------------------------------- drawings
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1e3) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=30),
    st.floats(1.5, 4.0),
)
def test_a_curve_stays_inside_its_box_and_breaks_where_it_is_unknown(values: list[float], highest: float) -> None:
    """Every place of a stroke is inside the box, and there are as many strokes as known stretches."""
    times = [float(i) for i in range(len(values))]
    x, y = draw.scale(0.0, float(len(values)), 0.0, 600.0), draw.scale(0.0, highest, 120.0, 0.0)
    made = draw.strokes(times, values, float(len(values)), x, y)
    known = [not math.isnan(value) for value in values]
    assert len(made) == sum(now and not before for now, before in zip(known, [False, *known], strict=False))
    for number in re.findall(r"[0-9.]+", " ".join(made)):
        assert 0 <= float(number) <= 600


def test_the_breach_line_runs_between_the_fields_on_its_two_sides() -> None:
    """A field is marked at its left or top exactly where its neighbour lies on the other side of the line."""
    from monitor.stress_shocks import AXES

    values = np.full((len(AXES[1].levels), len(AXES[0].levels)), 2.0)
    values[:, 3:], values[4:, :] = 0.5, 0.5
    made = draw.grid(Heat(AXES[0], AXES[1], values, 1.0))
    assert [cell.left for cell in made.rows[0]] == [i == 3 for i in range(len(AXES[0].levels))]
    assert [row[0].top for row in made.rows] == [j == 4 for j in range(len(AXES[1].levels))]
    assert sum(cell.today for row in made.rows for cell in row) == 1


def test_one_state_answers_for_every_borrower() -> None:
    """A grid's field of no shock is today's number, for each borrower whose number is known."""
    from monitor.metrics import METRICS, View
    from monitor.stress.state import build_state
    from tests.small_book import COREWEAVE, MARA, known, quotes

    state = build_state(known({"coreweave": COREWEAVE, "mara": MARA}), quotes(btc_usd=60_000.0))
    now = METRICS["liquidity_locked_12m"].compute(View(state)).values[0]
    for b, (who, heat) in enumerate(heats(state).items()):
        assert state.borrowers[b] == who
        i = heat.x.levels.index(0.0) if heat.x else 0
        j = heat.y.levels.index(0.0) if heat.y else 0
        assert heat.values[j, i] == pytest.approx(now[b], nan_ok=True)


# ---------------------------------------------------------------- the command
def test_the_command_writes_the_page_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``canary report --out`` writes one file; another ending is refused, and so is a folder that is not there."""
    monkeypatch.chdir(lay_desk(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    line = ["--offline", "report", "--at", "2026-09-01", "--out"]
    assert run_line(["--json", *line, "page.html"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == (tmp_path / "page.html").stat().st_size
    assert "Alpha Mining" in (tmp_path / "page.html").read_text("utf-8")
    for wrong, says in (("page.txt", "end"), ("no/such/page.html", "cannot write")):
        assert run_line([*line, wrong]) == 2
        assert says in capsys.readouterr().err


def test_the_parts_of_a_scenario_add_up_to_what_it_does() -> None:
    """What the axes take of a borrower's cover is the difference of the two numbers beside it, but for rounding."""
    seen = 0
    for section in starter().sections:
        for effect in section.causes.moved:
            for move in effect.moves:
                sides = re.fullmatch(r"(-?\d+\.\d\d)x → (-?\d+\.\d\d)x", move.text)  # larger ones are shown rounder
                if sides is None:
                    continue
                parts = [float(one) for one in re.findall(r"([+-][\d.]+)x", move.parts)]
                assert sum(parts) == pytest.approx(float(sides[2]) - float(sides[1]), abs=0.005 * (len(parts) + 4))
                seen += 1
    assert seen > 5
    joint = {effect.scenario: effect for effect in starter().sections[2].causes.moved}["joint collapse"]
    assert "used prices -" in joint.moves[0].parts


def test_every_figure_of_the_book_stands_with_its_dates_and_document() -> None:
    """All figures of one borrower are there, each once, below a date and a source; nothing is cut off."""
    section = next(one for one in starter().sections if one.id == "coreweave")
    figures = [text for one in section.dated for text in one.figures]
    assert "debt usd 35.55bn" in figures
    assert all(re.match(r"\d{4}-\d\d-\d\d, published ", one.when) and one.source for one in section.dated)
    page = " ".join(" ".join(Reader(render(starter())).texts).split())
    assert all(" ".join(text.split()) in page for text in figures)
    assert section.cards[0][0].startswith("gpu-vehicles, ")

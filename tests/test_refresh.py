"""``canary book refresh`` over loopback: what is proposed, what is kept, and that a file keeps its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import stamina
from click.testing import CliRunner
from loopback import Answer, Loopback

from monitor.book import read_borrower
from monitor.cli import cli
from monitor.config import find_config, load_config
from monitor.edgar import Figure
from monitor.model import CanaryError
from monitor.refresh import NEVER_THERE, edited, propose, refresh
from monitor.yamltext import Text

TODAY = date(2026, 11, 20)
FACTS = "/api/xbrl/companyfacts/CIK0000000007.json"
BOOK = """# kept: the first line
name: Acme
cik: 7
kind: miner
status: watched

facts:
  # quarters
  - as_of: 2026-06-30
    published: 2026-08-06
    quality: filing
    source: Form 10-Q
    values: {debt_usd: 400m, cash_unrestricted_usd: 20m}   # principal
  # the end of the list

note: kept at the end
"""


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    """A fresh server per test."""
    with Loopback() as running:
        yield running


def row(end: str, value: float, filed: str, form: str = "10-Q") -> dict[str, Any]:
    return {"end": end, "val": value, "accn": "0001-26-1", "form": form, "filed": filed}


def facts(**tags: list[dict[str, Any]]) -> dict[str, Any]:
    """A company-facts file; every sheet that is named has assets too."""
    ends = {r["end"]: r["filed"] for rows in tags.values() for r in rows}
    tags = {"Assets": [row(end, 1e9, filed) for end, filed in ends.items()], **tags}
    return {"entityName": "ACME", "facts": {"us-gaap": {tag: {"units": {"USD": rows}} for tag, rows in tags.items()}}}


SEPTEMBER = facts(
    CashAndCashEquivalentsAtCarryingValue=[row("2026-09-30", 35_250_000, "2026-11-05")],
    LongTermDebtNoncurrent=[row("2026-09-30", 380_000_000, "2026-11-05")],
    LongTermDebtCurrent=[row("2026-09-30", 40_125_500, "2026-11-05")],
)


def acme(text: str = BOOK) -> Any:
    return read_borrower(Text(text, "acme.yaml"), "acme")


# ---------------------------------------------------------------- the proposal
def test_a_newer_sheet_is_proposed_whole_with_its_dates() -> None:
    """One period end, one publication, current and non-current added."""
    proposal = propose(acme(), SEPTEMBER, TODAY)
    ((key, group),) = proposal.groups.items()
    assert key == (date(2026, 9, 30), date(2026, 11, 5))
    assert {name: figure.value for name, figure in group.items()} == {
        "cash_unrestricted_usd": 35_250_000.0,
        "debt_usd": 420_125_500.0,
        "debt_current_usd": 40_125_500.0,
    }


def test_what_the_book_took_from_a_filing_is_kept_and_the_difference_said() -> None:
    """Principal and carrying amount differ; the tags never replace what somebody read in the filing itself."""
    answer = facts(LongTermDebt=[row("2026-06-30", 390_000_000, "2026-08-06")])
    proposal = propose(acme(), answer, TODAY)
    assert proposal.groups == {}
    assert any("debt_usd of 2026-06-30: the book says 400.0m (Form 10-Q)" in note for note in proposal.notes)


def test_the_same_figure_rounded_is_not_proposed() -> None:
    """400m against 399,950,000 is the same figure."""
    assert propose(acme(), facts(LongTermDebt=[row("2026-06-30", 399_950_000, "2026-08-06")]), TODAY).groups == {}


def test_a_figure_from_a_release_gives_way_to_the_filing() -> None:
    """Where the book holds a press figure the filing's own is proposed."""
    text = BOOK.replace("quality: filing", "quality: press")
    proposal = propose(acme(text), facts(LongTermDebt=[row("2026-06-30", 390_000_000, "2026-08-06")]), TODAY)
    assert [list(group) for group in proposal.groups.values()] == [["debt_usd"]]


def test_a_restatement_of_its_own_figure_is_proposed_with_the_later_date() -> None:
    """What this command wrote once and the company changed since comes back with a second date."""
    text = BOOK.replace("source: Form 10-Q", "source: SEC company facts, Form 10-Q filed 2026-08-06 (0001)")
    answer = facts(
        LongTermDebt=[row("2026-06-30", 400_000_000, "2026-08-06"), row("2026-06-30", 370_000_000, "2026-11-05")]
    )
    assert list(propose(acme(text), answer, TODAY).groups) == [(date(2026, 6, 30), date(2026, 11, 5))]


def test_a_tag_that_stopped_is_told_as_unknown() -> None:
    """A September sheet without the debt tag of June proposes no debt and says why."""
    answer = facts(
        LongTermDebt=[row("2026-06-30", 400_000_000, "2026-08-06")],
        CashAndCashEquivalentsAtCarryingValue=[row("2026-09-30", 30_000_000, "2026-11-05")],
    )
    proposal = propose(acme(), answer, TODAY)
    assert [list(group) for group in proposal.groups.values()] == [["cash_unrestricted_usd"]]
    assert any("debt_usd of 2026-09-30 is unknown" in note and "2026-06-30" in note for note in proposal.notes)


def test_a_figure_below_zero_is_left_out() -> None:
    """A refund booked as negative capex is no figure the book takes; the rest is proposed."""
    answer = facts(
        PropertyPlantAndEquipmentNet=[row("2026-09-30", -5_000_000, "2026-11-05")],
        CashAndCashEquivalentsAtCarryingValue=[row("2026-09-30", 30_000_000, "2026-11-05")],
    )
    proposal = propose(acme(), answer, TODAY)
    assert [list(group) for group in proposal.groups.values()] == [["cash_unrestricted_usd"]]
    assert any("below zero" in note for note in proposal.notes)


def test_coins_in_dollars_are_shown_and_not_written() -> None:
    """The book counts coins, EDGAR tags dollars: said, with current and non-current added."""
    answer = facts(
        CryptoAssetFairValueCurrent=[row("2026-09-30", 830_073_000, "2026-11-05")],
        CryptoAssetFairValueNoncurrent=[row("2026-09-30", 171_924_000, "2026-11-05")],
    )
    proposal = propose(acme(), answer, TODAY)
    assert any("coins at fair value on 2026-09-30: 1.00bn USD" in note for note in proposal.notes)
    assert not any("btc" in name for group in proposal.groups.values() for name in group)


def test_a_foreign_filer_is_said() -> None:
    """Without us-gaap tags nothing is proposed, with the reason."""
    answer = {"entityName": "X", "facts": {"ifrs-full": {"Assets": {"units": {"USD": []}}}}}
    assert any("foreign filer" in note for note in propose(acme(), answer, TODAY).notes)


# ---------------------------------------------------------------- the edit
FIGURE = Figure(35_250_000.0, date(2026, 9, 30), date(2026, 11, 5), "10-Q", "0001-26-1", ("Cash",))
GROUPS = {(FIGURE.end, FIGURE.published): {"cash_unrestricted_usd": FIGURE}}


def same_start(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def test_the_file_keeps_every_byte_and_gains_a_group_at_the_end_of_the_list() -> None:
    """Comments, blanks and order stay; the new group is read back with its dates."""
    new = edited(BOOK, "acme.yaml", GROUPS)
    assert same_start(BOOK, new) + same_start(BOOK[::-1], new[::-1]) >= len(BOOK)
    assert new.index("- as_of: 2026-09-30") < new.index("# the end of the list")
    fact = acme(new).facts[-1]
    assert (fact.field, fact.value, fact.as_of, fact.published) == (
        "cash_unrestricted_usd", 35_250_000.0, date(2026, 9, 30), date(2026, 11, 5),
    )  # fmt: skip
    assert fact.source.startswith("SEC company facts, Form 10-Q filed 2026-11-05")


def test_a_file_without_facts_gets_the_list() -> None:
    """A stub grows its first figures."""
    new = edited("name: Acme\ncik: 7\nkind: miner", "acme.yaml", GROUPS)
    assert new.startswith("name: Acme\ncik: 7\nkind: miner\n")
    assert len(acme(new).facts) == 1


def test_a_list_on_one_line_is_left_alone() -> None:
    """What cannot be added to without rewriting is refused with what to do."""
    with pytest.raises(CanaryError, match="written on one line"):
        edited(
            "name: Acme\nkind: miner\nfacts: [{as_of: 2026-06-30, quality: press, source: s, values: {}}]\n",
            "acme.yaml",
            GROUPS,
        )


@pytest.mark.parametrize(
    "book", sorted(Path(__file__).parents[1].joinpath("book").glob("[a-z]*.yaml")), ids=lambda p: p.stem
)
def test_every_file_of_the_book_can_be_added_to(book: Path) -> None:
    """The shipped files are all in the shape the edit understands, and lose nothing by it."""
    if book.stem == "marks":
        return
    text = book.read_text("utf-8")
    new = edited(text, book.name, GROUPS)
    lost = [line for line in text.splitlines() if line not in new.splitlines()]
    assert set(lost) <= {"facts: []"}  # an empty list gives way to the first group
    assert len(read_borrower(Text(new, book.name), book.stem).facts) == len(
        read_borrower(Text(text, book.name), book.stem).facts
    ) + 1  # fmt: skip


# ---------------------------------------------------------------- the command
def desk(folder: Path, url: str, contact: str = ", contact: desk@example.org") -> Path:
    (folder / "book").mkdir()
    (folder / "book" / "acme.yaml").write_text(BOOK)
    (folder / "book" / "private.yaml").write_text("name: Private\nkind: private\nstatus: watched\n")
    (folder / "config.yaml").write_text(
        f"feeds: {{edgar: {{base_url: '{url}'{contact}}}}}\npaths: {{state: ./state}}\n"
    )
    return folder / "config.yaml"


def run(config: Path, *words: str, answer: str = "") -> Any:
    return CliRunner().invoke(cli, ["--config", str(config), "book", "refresh", *words], input=answer)


def test_nothing_is_written_without_a_yes(tmp_path: Path, server: Loopback) -> None:
    """Dry run and a machine without a terminal show the diff and leave the file; --yes writes it."""
    server.on(FACTS, Answer.json(SEPTEMBER))
    config = desk(tmp_path, server.url)
    file = tmp_path / "book" / "acme.yaml"
    for words in (["--dry-run"], []):
        result = run(config, *words)
        assert result.exit_code == 0, result.output
        assert "+      debt_usd: 420.1255m" in result.output
        assert "nothing was written" in result.output
        assert file.read_text() == BOOK
    result = run(config, "--yes")
    assert "acme.yaml has 3 figures more" in result.output
    assert acme(file.read_text()).facts[-1].as_of == date(2026, 9, 30)
    assert "no CIK, so not at the SEC: private" in result.output
    assert NEVER_THERE in result.output
    again = run(config, "acme", "--yes")
    assert "acme: nothing new" in again.output


def test_each_borrower_is_asked_about_by_itself(tmp_path: Path, server: Loopback) -> None:
    """A yes to one and a no to another write one file."""
    config = desk(tmp_path, server.url)
    second = BOOK.replace("name: Acme", "name: Second").replace("cik: 7", "cik: 8")
    (tmp_path / "book" / "second.yaml").write_text(second)
    for cik in (7, 8):
        server.on(f"/api/xbrl/companyfacts/CIK{cik:010d}.json", Answer.json(SEPTEMBER))
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return question.startswith("acme")

    environ = {"HOME": str(tmp_path)}
    loaded = load_config(find_config(config, environ, tmp_path), environ)
    assert refresh(loaded, None, yes=False, dry_run=False, ask=ask, say=lambda text: None) == 1
    assert [question.partition(":")[0] for question in asked] == ["acme", "second"]
    assert (tmp_path / "book" / "second.yaml").read_text() == second
    assert (tmp_path / "book" / "acme.yaml").read_text() != BOOK


def test_the_request_says_who_asks(tmp_path: Path, server: Loopback) -> None:
    """The contact goes with the request; the file stays the same when the SEC does not know the company."""
    result = run(desk(tmp_path, server.url), "acme")
    assert "acme: the SEC has no tagged figures under this CIK" in result.output
    assert server.requests[0].headers["User-Agent"].endswith("desk@example.org")


@pytest.mark.parametrize(
    "bad",
    [Answer(403, b""), Answer(429, b""), Answer(500, b""), Answer(200, b"<html>"), Answer(200, b'{"facts": 1}'),
     Answer(200, b"{"), Answer(drop=True), Answer.json([])],
)  # fmt: skip
def test_a_bad_answer_is_a_sentence(bad: Answer, tmp_path: Path, server: Loopback) -> None:
    """Refusals, web pages and broken answers change nothing, and are told as the failure they are."""
    server.on(FACTS, bad)
    result = run(desk(tmp_path, server.url), "acme", "--yes")
    assert isinstance(result.exception, CanaryError)
    assert "nothing was compared" in str(result.exception)
    assert "acme: " in result.output
    assert (tmp_path / "book" / "acme.yaml").read_text() == BOOK


def test_without_a_contact_the_line_to_add_is_said(tmp_path: Path, server: Loopback) -> None:
    """The SEC wants an address; the error is the fix."""
    result = run(desk(tmp_path, server.url, contact=""), "acme")
    assert isinstance(result.exception, CanaryError | SystemExit)
    assert "contact: you@your.company" in (result.output + str(result.exception))
    assert server.requests == []


def test_an_unknown_borrower_is_named(tmp_path: Path, server: Loopback) -> None:
    """A typing mistake says which borrowers there are."""
    result = run(desk(tmp_path, server.url), "acne")
    assert "acme" in (result.output + str(result.exception))
    assert json.dumps(server.requests) == "[]"


def test_for_machines_the_sentences_are_json(tmp_path: Path, server: Loopback) -> None:
    """What was said and how many files changed; no question, no stray line of a library."""
    server.on(FACTS, Answer(503), Answer.json(SEPTEMBER))
    told = run(desk(tmp_path, server.url), "--json", "--dry-run")
    found = json.loads(told.stdout)
    assert found["changed"] == 0
    assert any("+      debt_usd: 420.1255m" in text for text in found["said"])
    assert "stamina" not in told.output

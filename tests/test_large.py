"""Large books: a tape is read or refused line by line, and no cut of the work changes a bit of the answer."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tapes import AT, MAP, random_lines, read, tape_for_a_book, work_of, written

from monitor.book import load_book
from monitor.cli import run_line
from monitor.config import Found, load_config
from monitor.known import as_known
from monitor.large import rounds
from monitor.large.as_book import book_of
from monitor.large.as_file import watch
from monitor.large.cells import cells_of
from monitor.large.command import coin_impact
from monitor.large.doubts import doubts
from monitor.large.local import run_local
from monitor.large.plan import memory_of, parts, peak_bytes, plan
from monitor.large.results import RunFolder, manifest
from monitor.large.solve import Outcome, Work, chunks, judged, merged, outcome, solve
from monitor.large.tape import load_map, read_tape
from monitor.model import CanaryError, InputError
from monitor.stress.bridge import bridge
from monitor.stress.drivers import run
from monitor.stress.outlook import simulated
from monitor.stress.state import build_state
from monitor.stressing import case_of
from monitor.world import build_world
from tests.desk import lay_desk
from tests.small_book import AT as MOMENT
from tests.small_book import assumptions, borrower, debt, known, quotes


def same(one: Outcome, other: Outcome) -> bool:
    """Whether two answers agree to the last bit."""
    return all(np.array_equal(getattr(one, n), getattr(other, n), equal_nan=n != "bins") for n in vars(one))


# ---------------------------------------------------------------- tapes
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("Balance", "abc", "is no number"),
        ("Balance", "", "is empty"),
        ("Balance", "-5", "is outside 0"),
        ("Balance", "9000000000000", "is the unit right?"),
        ("Balance", "inf", "is no number"),
        ("Coupon", "800", "is the unit right?"),
        ("Coupon", "", "say a fixed rate or a margin"),
        ("Margin", "450", "a loan pays one of the two"),
        ("Maturity", "2027-01-15", "is no day written as 31/12/2031"),
        ("Maturity", "31/02/2027", "is no day written as"),
        ("Maturity", "01/01/3027", "is no"),
        ("Pays", "sometimes", "is not one of bullet, straight_line"),
        ("Borrower", "", "is empty"),
        ("LoanID", "L2", "stands on more than one line"),
        ("Borrower", "x" * 500, "is longer than 200 characters"),
    ],
)
def test_a_bad_line_is_left_out_and_says_where_and_why(tmp_path: Path, field: str, value: str, says: str) -> None:
    """One mistake costs one line, with its number, its column and what is wrong; the others are read."""
    tape = read(tmp_path, {"LoanID": "L0", "Borrower": "Other"}, {field: value}, {"LoanID": "L2", "Borrower": "Third"})
    told = {reject.line: str(reject) for reject in tape.rejects}
    assert 3 in told
    assert ("Coupon" if field == "Margin" else field) in told[3]  # two rates: the first of them is named
    assert says in told[3]
    assert "Other" in tape.obligors


def test_an_obligor_that_lost_a_line_is_unknown_not_better(tmp_path: Path) -> None:
    """A loan that cannot be read would make its obligor look less indebted, so nothing is said about it."""
    good, bad = {"LoanID": "L1"}, {"LoanID": "L2", "Balance": "?"}
    tape = read(tmp_path, good, bad, {"LoanID": "L3", "Borrower": "Whole"})
    work = work_of(tape, 256)
    answer = outcome(work, [solve(work, chunk) for chunk in chunks(work, 9, 9)])
    by_name = dict(zip(tape.obligors, answer.pd[:, -1], strict=True))
    assert np.isnan(by_name["Acme"])
    assert not np.isnan(by_name["Whole"])


def test_lines_that_contradict_each_other_make_an_obligor_unknown(tmp_path: Path) -> None:
    """Two cash figures for one obligor are no cash figure; it says which field differs."""
    tape = read(tmp_path, {"LoanID": "L1"}, {"LoanID": "L2", "Cash": "7"}, {"LoanID": "L3", "Borrower": "B"})
    assert tape.why == {0: "cash_usd differs between its lines"}
    assert np.isnan(tape.own["cash_usd"][0])


def test_three_bad_lines_in_many_are_found(tmp_path: Path) -> None:
    """Three bad lines among ten thousand are reported with their numbers and nothing else is lost."""
    lines = random_lines(1000, 10_000)
    for at, field in ((17, "Balance"), (4_321, "Maturity"), (9_999, "Coupon")):
        lines[at] = lines[at] | {field: "nonsense"}
    tape = read(tmp_path, *lines)
    assert [reject.line for reject in tape.rejects] == [19, 4_323, 10_001]
    assert len(tape.loan_names) == 9_997
    assert sum(~tape.whole) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("unit: kusd}\n  fixed", "unit: percent}\n  fixed"), "principal_usd: the unit is one of usd, kusd"),
        (("  loan: {column: LoanID}\n", ""), "loan has no column"),
        (("  loan:", "  lone:"), "lone is no field"),
        (("published: 2026-07-15", "published: 2026-01-15"), "published is before as_of"),
    ],
)
def test_a_wrong_map_says_what_to_write_instead(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    """A map that cannot be right is refused with its reason, before the tape is opened."""
    (tmp_path / "map.yaml").write_text(MAP.replace(*change), "utf-8")
    with pytest.raises(InputError, match=says):
        load_map(tmp_path / "map.yaml")


@pytest.mark.parametrize(
    ("change", "doubted"),
    [
        (("Coupon, unit: percent", "Coupon, unit: bp"), ["fixed_rate"]),
        (("Balance, unit: kusd", "Balance, unit: usd"), ["cash_usd", "cfads_12m_usd"]),
        (("Cap, unit: percent", "Cap, unit: ratio"), ["ltv_max"]),
        (("", ""), []),
    ],
)
def test_a_column_in_a_wrong_unit_is_doubted(tmp_path: Path, change: tuple[str, str], doubted: list[str]) -> None:
    """No line of it is impossible, but half of them together are: the field is named; a tape in order is let be."""
    tape, map_ = written(tmp_path, *random_lines(50, 100))
    map_.write_text(MAP.replace(*change), "utf-8")
    found = doubts(read_tape(tape, load_map(map_)))
    assert [doubt.partition(":")[0] for doubt in found] == doubted


def test_a_tape_that_is_not_one_is_refused(tmp_path: Path) -> None:
    """No such column, no good line, an unknown ending, no file: a sentence, not a traceback."""
    _, map_ = written(tmp_path, {})
    wanted = load_map(map_)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", "utf-8")
    (tmp_path / "tape.xlsx").write_bytes(b"PK")
    only_bad, _ = written(tmp_path, {"Balance": "x"}, name="bad.csv")
    for name, says in (("other.csv", "LoanID"), ("tape.xlsx", "ends in"), ("none.csv", "no such file")):
        with pytest.raises(CanaryError, match=says):
            read_tape(tmp_path / name, wanted)
    with pytest.raises(CanaryError, match="not one line can be used"):
        read_tape(only_bad, wanted)


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    """The same lines as Parquet give the same columns."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    csv, map_ = written(tmp_path, *random_lines(5, 20))
    pd.read_csv(csv, dtype=str, keep_default_na=False).to_parquet(tmp_path / "tape.parquet")
    one, other = (read_tape(path, load_map(map_)) for path in (csv, tmp_path / "tape.parquet"))
    assert one.obligors == other.obligors
    assert all(np.array_equal(one.loans[n], other.loans[n], equal_nan=True) for n in one.loans)


def test_parquet_with_types_of_its_own_reads_too(tmp_path: Path) -> None:
    """Numbers as numbers, days as days and empty fields as nulls are what the same CSV says."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    csv, map_ = written(tmp_path, *random_lines(5, 20))
    frame = pd.read_csv(csv)
    frame["Maturity"] = pd.to_datetime(frame["Maturity"], format="%d/%m/%Y")
    frame.to_parquet(tmp_path / "tape.parquet")
    one, other = (read_tape(path, load_map(map_)) for path in (csv, tmp_path / "tape.parquet"))
    assert not other.rejects
    assert (one.words, one.maturity.tolist()) == (other.words, other.maturity.tolist())
    assert all(np.array_equal(one.loans[n], other.loans[n], equal_nan=True) for n in one.loans)


def test_a_tape_and_the_book_give_the_same_answer(tmp_path: Path) -> None:
    """One obligor written as a line of a tape and as a file of the book first breaks on the same paths in the same
    months."""
    tape = read(tmp_path, {}, {"LoanID": "L2", "Balance": "400000", "Maturity": "15/01/2030"})
    work = work_of(tape, 2_048, months=24)
    text = borrower(
        "neocloud",
        "debt_usd: 900m, cash_unrestricted_usd: 100m, revenue_quarter_usd: 60m, revenue_contracted_quarter_usd: 45m, "
        "revenue_spot_quarter_usd: 15m, ebitda_adjusted_quarter_usd: 30m, interest_quarter_usd: 18m, "
        "contracted_share: 75%",
        "tenants: {openai: 75%}\ndebts:\n"
        + debt("a", "500m", "term_loan", "coupon: 8%, maturity: 2027-01-15")
        + debt("b", "400m", "term_loan", "coupon: 8%, maturity: 2030-01-15"),
    )  # fmt: skip
    rows = bridge(build_state(known({"acme": text}), quotes(btc_usd=60_000.0)), n_periods=24)
    paths = simulated(rows, 60_000.0, 0.04, seed=1, n_paths=2_048)
    by_book = run(rows.inputs, paths)
    by_tape = solve(work, chunks(work, 1, 1)[0])
    assert np.bincount(by_book.first[0], minlength=25).tolist() == by_tape.first[0].tolist()
    assert 0 < by_tape.first[0, :-1].sum() < 2_048


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000))
def test_tapes_and_their_books_give_the_same_answers(seed: int) -> None:
    """Several obligors at once, with fixed and floating, bullet and straight loans, coins and floors: as borrowers of a
    book they first break on the same paths in the same months as the columns of the tape say."""
    with tempfile.TemporaryDirectory() as folder:
        tape = read(Path(folder), *tape_for_a_book(seed))
    work = work_of(tape, 1_024)
    book = replace(book_of(tape), assumptions=assumptions())
    rows = bridge(build_state(as_known(book, MOMENT), quotes(btc_usd=60_000.0, sofr=0.04)), n_periods=12)
    by_book = run(rows.inputs, simulated(rows, 60_000.0, 0.04, seed=1, n_paths=1_024))
    by_tape = solve(work, chunks(work, 1, 1)[0])
    assert [one.name for one in book.borrowers] == list(tape.obligors)
    assert [np.bincount(first, minlength=13).tolist() for first in by_book.first] == by_tape.first.tolist()
    assert judged(work).all()


def test_a_book_of_a_tape_says_what_is_missing(tmp_path: Path) -> None:
    """Figures carry both dates and the source; an obligor that lost a line has no total and says why."""
    tape = read(tmp_path, {"LoanID": "L1"}, {"LoanID": "L2", "Balance": "?"}, {"LoanID": "L3", "Borrower": "B"})
    acme, other = book_of(tape).borrowers
    assert acme.missing == ("a line of it could not be used",)
    assert "debt_usd" not in {fact.field for fact in acme.facts}
    assert not other.missing
    (cash,) = [fact for fact in other.facts if fact.field == "cash_unrestricted_usd"]
    assert (cash.value, cash.as_of, cash.published) == (1e8, tape.as_of, tape.published)
    assert (cash.source, cash.quality) == ("A warehouse tape", "derived")
    assert [one.name for one in book_of(tape, ["B"]).borrowers] == ["B"]
    with pytest.raises(KeyError):
        book_of(tape, ["nobody"])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_a_tape_written_into_the_book_reads_back_as_itself(seed: int) -> None:
    """Every figure to its last digit, every date, name and id; a second time it is refused and nothing is touched."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tape = read(folder, *tape_for_a_book(seed))
        (folder / "book").mkdir()
        files = watch(tape, tape.obligors, folder / "book", folder / "state")
        before = {file: file.read_bytes() for file in files}
        found = {one.id: replace(one, file="") for one in load_book(folder / "book").borrowers}
        assert found == {one.id: one for one in book_of(tape).borrowers}
        with pytest.raises(CanaryError, match="is in the book already"):
            watch(tape, tape.obligors, folder / "book", folder / "state")
        assert before == {file: file.read_bytes() for file in (folder / "book").iterdir()}


def test_names_that_mean_something_to_yaml_stay_names(tmp_path: Path) -> None:
    """Quotes, colons and braces in a tape are text in the book; a character that hides or reorders text is refused, and
    then none of the obligors is written."""
    (tmp_path / "book").mkdir()
    strange = "{a}: 'b' # c"
    tape = read(tmp_path, {"LoanID": strange, "Borrower": strange, "Customer": strange})
    watch(tape, [strange], tmp_path / "book", tmp_path)
    (one,) = load_book(tmp_path / "book").borrowers
    assert (one.name, one.debts[0].name, one.id, list(one.tenants)) == (strange, strange, "a-b-c", ["a-b-c"])
    tape = read(tmp_path, {"LoanID": "L1", "Borrower": "Good"}, {"LoanID": "L2", "Borrower": "B\u202ead"})
    with pytest.raises(InputError):
        watch(tape, ["Good", "B\u202ead"], tmp_path / "book", tmp_path)
    assert [file.name for file in (tmp_path / "book").iterdir()] == ["a-b-c.yaml"]


def test_an_obligor_that_is_watched_is_a_borrower_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`canary book import --watch` puts it where the daemon looks; `canary book` then shows it; a name the tape does
    not have is a sentence with the one that was meant."""
    desk = lay_desk(tmp_path)
    tape, map_ = written(tmp_path, {}, {"LoanID": "L2", "Borrower": "Other"})
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    line = ["--offline", "--json", "book", "import", str(tape), "--map", str(map_), "--watch"]
    assert run_line([*line, "Acmee"]) == 2
    assert "the tape has no obligor 'Acmee'; did you mean 'Acme'" in capsys.readouterr().err
    assert run_line([*line, "Acme"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == [str(desk / "book" / "acme.yaml")]
    assert run_line(["--offline", "--json", "book", "acme"]) == 0
    assert "500000000" in capsys.readouterr().out.replace(".0", "")
    assert not (desk / "book" / "other.yaml").exists()


def test_a_tape_published_after_the_prices_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prices of one day and figures nobody had on it are a look ahead: both days are said and nothing is begun. The day
    of the prices itself will do."""
    desk = lay_desk(tmp_path)
    known_ = (Path(__file__).parents[1] / "book" / "_assumptions.yaml").read_text("utf-8")
    (desk / "book" / "_assumptions.yaml").write_text(known_, "utf-8")
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    tape, map_ = written(tmp_path, *random_lines(3, 6))
    world = build_world(load_config(Found(desk / "config.yaml", "a test"), {"HOME": str(tmp_path)}), offline=True)
    priced = case_of(world, None, datetime.now(UTC)).state.at.date()
    line = ["--offline", "--json", "large", str(tape), "--map", str(map_), "--paths", "100", "--out"]
    map_.write_text(MAP.replace("2026-07-15", str(priced + timedelta(days=1))), "utf-8")
    assert run_line([*line, "late"]) == 2
    said = capsys.readouterr().err
    assert f"the tape was published on {priced + timedelta(days=1)}, after the prices of {priced}" in said
    assert not (desk / "late").exists()
    map_.write_text(MAP.replace("2026-07-15", str(priced)), "utf-8")
    pytest.importorskip("pyarrow")
    assert run_line([*line, "in-time"]) == 0


def test_coins_without_a_price_make_their_holder_unknown(tmp_path: Path) -> None:
    """Bitcoin unknown: whoever holds coins is unknown, whoever holds none is not."""
    tape = read(tmp_path, {"LoanID": "L1", "Coins": "5"}, {"LoanID": "L2", "Borrower": "None"})
    cells = cells_of(tape, AT, 12, 0.04, {}, coin_impact(work_of(tape, 1).assumptions, float("nan")))
    assert judged(replace(work_of(tape, 256), cells=cells)).tolist() == [False, True]


# ---------------------------------------------------------------- cutting
@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Two blocks of obligors, the second a short one, over one and a bit micro-blocks of paths."""
    return work_of(read(tmp_path_factory.mktemp("tape"), *random_lines(140, 420)), 5_000, months=6)


@pytest.fixture(scope="module")
def whole(small: Work) -> Outcome:
    """Its answer in one piece."""
    return outcome(small, [solve(small, chunk) for chunk in chunks(small, 99, 99)])


@settings(max_examples=3, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.randoms())
def test_no_cut_and_no_order_changes_a_bit(small: Work, whole: Outcome, rows: int, blocks: int, random: object) -> None:
    """Any chunking, finished in any order, gives the same answer to the last bit."""
    found = [solve(small, chunk) for chunk in chunks(small, rows, blocks)]
    random.shuffle(found)  # type: ignore[attr-defined]
    assert same(outcome(small, found), whole)


@pytest.mark.parametrize("driver", ["numpy", "compiled"])
def test_processes_and_threads_give_the_answer_of_one(small: Work, whole: Outcome, driver: str) -> None:
    """Two worker processes with numpy, two threads with the compiled driver: the answer of a single one."""
    if driver == "compiled":
        pytest.importorskip("numba")
    work = replace(small, driver=driver)  # type: ignore[arg-type]
    alone = outcome(work, [part for _, part in run_local(work, parts(work), 1)])
    together = outcome(work, [part for _, part in run_local(work, parts(work), 2)])
    assert same(alone, together)
    if driver == "numpy":
        assert same(alone, whole)


def test_part_of_a_run_is_not_a_run(small: Work) -> None:
    """A missing part is an error, and a part may not count twice."""
    found = [solve(small, chunk) for chunk in chunks(small, 99, 1)]
    with pytest.raises(ValueError, match="not complete"):
        outcome(small, found[:-1])
    with pytest.raises(ValueError, match="twice"):
        merged([found[0], found[0]])


def test_the_counts_add_up(small: Work, whole: Outcome) -> None:
    """Every path of every judged obligor is in one month or in none, in one bin of cash, and broke by some test."""
    assert (whole.bins.sum(axis=1) == small.n_paths).all()
    assert ((whole.pd[:, -1] >= 0) & (whole.pd[:, -1] <= 1)).all()
    assert (np.diff(whole.pd, axis=1) >= 0).all()
    assert 0.0 < whole.pd[:, -1].mean() < 1.0
    assert (whole.tests.sum(axis=1) >= whole.pd[:, -1] - 1e-12).all()


# ---------------------------------------------------------------- memory and parts
def test_a_plan_keeps_to_its_memory() -> None:
    """Sizes are read as people write them; too little memory is refused with how much would do."""
    assert memory_of("1.5GiB") == 3 << 29
    with pytest.raises(CanaryError, match="write for example"):
        memory_of("lots")


def test_more_memory_is_more_workers_and_never_more_than_cores(small: Work) -> None:
    """The number of workers follows the budget; the parts do not change with it."""
    tight = plan(small, 8, 1 << 30, processes=True)
    wide = plan(small, 8, 64 << 30, processes=True)
    assert 1 <= tight.workers <= wide.workers == 8
    assert tight.parts == wide.parts == parts(small)
    with pytest.raises(CanaryError, match="give --memory"):
        plan(small, 8, 1 << 20, processes=True)


def test_memory_does_not_grow_with_the_paths(tmp_path: Path) -> None:
    """What a worker needs is one micro-block and the two last draws, however many follow: measured, and within the
    estimate. Three blocks fill the memo of draws; from there on nothing grows."""
    import tracemalloc

    few, peaks = work_of(read(tmp_path, *random_lines(20, 40)), 1), []
    for blocks in (3, 12):
        work = replace(few, n_paths=blocks * 4_096, seed=blocks)  # a seed of its own: nothing is drawn already
        chunk = chunks(work, 1, 99)[0]
        tracemalloc.start()
        solve(work, chunk)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.02 * peaks[0]
    assert max(peaks) < peak_bytes(few)


# ---------------------------------------------------------------- keeping
def test_a_run_goes_on_where_it_was(small: Work, whole: Outcome, tmp_path: Path) -> None:
    """Kept parts are read back as they were, a damaged one is done again, and another run is refused."""
    told = manifest(small, {"tape": "x"})
    folder = RunFolder.opened(tmp_path / "run", told)
    every = parts(small)
    for chunk in every[:-1]:
        folder.keep(chunk, solve(small, chunk))
    (tmp_path / "run" / "parts" / f"{every[0].name}.npz").write_bytes(b"half")
    again = RunFolder.opened(tmp_path / "run", told)
    kept = [again.finished(chunk) for chunk in every]
    assert kept[0] is None
    assert kept[-1] is None
    done = [part or solve(small, chunk) for part, chunk in zip(kept, every, strict=True)]
    assert same(outcome(small, done), whole)
    with pytest.raises(CanaryError, match="another run"):
        RunFolder.opened(tmp_path / "run", manifest(replace(small, seed=2), {"tape": "x"}))


# ---------------------------------------------------------------- the cascade
def test_the_rounds_end_and_only_grow(small: Work) -> None:
    """Fallen obligors never rise, prices never come back, and it ends within as many rounds as there are obligors."""
    found = rounds.rounds(small, rounds.here(small))
    assert len(found) <= small.n_rows + 1
    for before, after in pairwise(found):
        assert after.fallen >= before.fallen
        assert (after.price <= before.price).all()
    backwards = rounds.rounds(small, lambda price: reversed(list(rounds.here(small)(price))))
    assert [r.price.tolist() for r in backwards] == [r.price.tolist() for r in found]


# ---------------------------------------------------------------- the command
def test_the_command_runs_resumes_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`canary large` writes its table; run again it uses what is kept; wrong engines and sizes are sentences."""
    pytest.importorskip("pyarrow")
    desk = lay_desk(tmp_path)
    (desk / "book" / "_assumptions.yaml").write_text(
        (Path(__file__).parents[1] / "book" / "_assumptions.yaml").read_text("utf-8"), "utf-8"
    )
    tape, map_ = written(tmp_path, *random_lines(20, 60))
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    line = ["--offline", "--json", "large", str(tape), "--map", str(map_), "--out", "run", "--paths", "5000"]
    assert run_line(line) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["obligors"] == 20
    assert Path(first["file"]).exists()
    assert json.loads((desk / "run" / "run.json").read_text("utf-8"))["seed"] == first["seed"]
    assert run_line(line) == 0
    assert json.loads(capsys.readouterr().out) == first
    for extra, says in (
        (["--paths", "0"], "--paths is 1 to"),
        (["--months", "6"], "another run"),
        (["--engine", "dask"], "needs its scheduler"),
        (["--scheduler", "tcp://127.0.0.1:1"], "goes with --engine dask"),
        (["--memory", "1MiB"], "give --memory"),
    ):
        assert run_line([*line, *extra]) == 2
        assert says in capsys.readouterr().err

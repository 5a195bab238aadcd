"""Rule files edited for people: checked, refused when they changed, written whole or not at all, audited, undone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from desk import lay_desk
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import safewrite
from monitor.cli import run_line
from monitor.config import Config, Found, load_config
from monitor.editing import Wish, carry_out, holds, past_of, proposal_of, propose, propose_undo, wish_of
from monitor.model import CanaryError, InputError
from monitor.safewrite import alone, digest, replace_file
from monitor.starter import starter_root
from monitor.store import Store

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
RULES = """# our rules
- alert: LowCash
  expr: cash_unrestricted_usd < 50m   # f\u00fcnfzig
  for: 1d
  severity: critical
  summary: "{borrower}: cash {cash_unrestricted_usd:usd} USD"
  do: Ask for the bank statement.
  proof:
    - {at: {cash_unrestricted_usd: 40m, days: 2}, fires: true}
    - {at: {cash_unrestricted_usd: 60m, days: 2}, fires: false}

- alert: Debt
  expr: debt_usd > 100m and pledged_share > 60%
  severity: warning
  summary: "{borrower}"
  do: Look.
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A small desk with two rules in one file."""
    lay_desk(tmp_path)
    (tmp_path / "rules/mine.yaml").write_text(RULES, encoding="utf-8")
    return load_config(Found(tmp_path / "config.yaml", "for a test"), {"HOME": str(tmp_path)})


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    """The database the audit is in."""
    with Store(config.paths.state / "canary.sqlite") as opened:
        yield opened


def file_of(config: Config) -> Path:
    """The rule file of the desk."""
    return config.paths.rules / "mine.yaml"


# ---------------------------------------------------------------- proposing
def test_a_proposal_shows_the_difference_and_changes_nothing(config: Config) -> None:
    """The diff names the file and the line; the file is as it was."""
    shown = propose(config, Wish("LowCash", "expr", "45m"))
    assert "-  expr: cash_unrestricted_usd < 50m   # f\u00fcnfzig\n+  expr: cash_unrestricted_usd < 45m" in shown.diff
    assert (shown.was.expr, shown.now.expr) == ("cash_unrestricted_usd < 50m", "cash_unrestricted_usd < 45m")
    assert file_of(config).read_text("utf-8") == RULES
    assert proposal_of(shown.proposal.json) == shown.proposal


def test_an_edit_that_breaks_a_proof_says_which(config: Config) -> None:
    """The proof's line and its case are named, and a proof that must fire makes it a matter for two."""
    shown = propose(config, Wish("LowCash", "for", "3d"))
    assert shown.warnings == (
        "its proof on line 9 no longer holds: it stays quiet on cash_unrestricted_usd 40.0m USD, days 2",
    )
    louder = propose(config, Wish("LowCash", "expr", "70m"))
    assert "its proof on line 10 no longer holds: it fires on" in louder.warnings[0]
    assert louder.proposal.second == "", "a rule that fires more is no weaker"


def test_an_edit_that_breaks_a_test_beside_the_rules_says_which(config: Config) -> None:
    """Tests in rules/tests count like proofs."""
    folder = config.paths.rules / "tests"
    folder.mkdir()
    values = "values: {cash_unrestricted_usd: 40m*4}, expect: {24h: firing}"
    (folder / "cash.yaml").write_text(f"- {{test: a day is enough, rule: LowCash, every: 12h, {values}}}\n")
    shown = propose(config, Wish("LowCash", "for", "36h"))
    assert "its test no longer holds" in shown.warnings[0]
    assert "a day is enough" in shown.warnings[0]


def test_an_edit_that_reads_oddly_says_so(config: Config) -> None:
    """What `canary check` would smell only since the edit is shown before it is made."""
    text = RULES.replace("debt_usd > 100m and pledged_share > 60%", "btc_usd < 50_000 or debt_usd < 1m").replace(
        "  severity: warning", "  for: 1h\n  severity: warning"
    )
    file_of(config).write_text(text, encoding="utf-8")
    shown = propose(config, Wish("Debt", "for", "0"))
    assert any("moves all the time and the rule has no `for`" in warning for warning in shown.warnings)


def test_several_numbers_are_listed_and_one_is_chosen_by_its_place(config: Config) -> None:
    """Nothing is guessed: the text lists the numbers as they are counted, and #2 means the second."""
    with pytest.raises(CanaryError) as caught:
        propose(config, wish_of("Debt", ["threshold", "70%"]))
    assert "1  100m in debt_usd > 100m\n  2  60% in pledged_share > 60%" in str(caught.value)
    assert "pledged_share > 70%" in propose(config, wish_of("Debt", ["threshold", "70%", "#2"])).now.expr
    for words in (["threshold", "70%", "#3"], ["threshold", "70%", "#0"], ["clear", "1"], ["for", "1d", "#1"]):
        with pytest.raises(CanaryError):
            propose(config, wish_of("Debt", words))


@pytest.mark.parametrize(
    "words", [[], ["for"], ["fro", "4h"], ["threshold"], ["threshold", "1", "#x"], ["threshold", "1", "#\u0664"]]
)
def test_what_cannot_be_meant_is_answered_with_what_can_be_typed(words: list[str]) -> None:
    """Every half or wrong wish gets the examples."""
    with pytest.raises(CanaryError, match="for 4h"):
        wish_of("LowCash", words)


def test_a_value_that_does_not_fit_its_metric_is_refused_at_its_place(config: Config) -> None:
    """The compiler judges the edited text: the problem points into the rule, and nothing is written."""
    with pytest.raises(InputError, match=r"mine\.yaml:3:"):
        propose(config, Wish("LowCash", "expr", "4h"))
    assert file_of(config).read_text("utf-8") == RULES


def test_the_rules_that_ship_are_never_edited(tmp_path: Path) -> None:
    """Without a config of one's own the answer is how to get one."""
    found = Found(starter_root() / "config.yaml", "the starter set", starter=True)
    config = load_config(found, {"HOME": str(tmp_path)})
    with pytest.raises(CanaryError, match="canary init DIR"):
        propose(config, Wish("LockedBoxShort", "for", "2d"))


# ---------------------------------------------------------------- carrying out
def test_an_edit_is_written_audited_and_taken_back_to_the_byte(config: Config, store: Store) -> None:
    """Who, when, before and after are kept; undo restores the file and marks the entry; a second undo has nothing."""
    proposal = propose(config, Wish("Debt", "for", "4h")).proposal
    number = carry_out(store, config, proposal, AT, "Ada (43)", "43")
    assert "  for: 4h\n  severity: warning" in file_of(config).read_text("utf-8")
    entry = past_of(store, "Debt")[0]
    assert (entry.number, entry.who, entry.chat, entry.at) == (number, "Ada (43)", "43", AT)
    assert entry.before == "for: not there (mine.yaml)"
    assert entry.after.startswith("for: 4h\n")
    back = propose_undo(config, "Debt", past_of(store, "Debt"))
    carry_out(store, config, back.proposal, AT, "Ada (43)")
    assert file_of(config).read_bytes() == RULES.encode()
    assert [one.undone for one in past_of(store, "Debt")] == [None, AT]
    with pytest.raises(CanaryError, match="no edit of Debt stands"):
        propose_undo(config, "Debt", past_of(store, "Debt"))


def test_undo_is_refused_once_the_file_went_on(config: Config, store: Store) -> None:
    """Any later change of the file, even elsewhere, leaves undo to the person who sees both."""
    carry_out(store, config, propose(config, Wish("Debt", "for", "4h")).proposal, AT, "Ada")
    with file_of(config).open("a") as handle:
        handle.write("# later\n")
    with pytest.raises(CanaryError, match="no longer holds what edit 1 left there"):
        propose_undo(config, "Debt", past_of(store, "Debt"))


def test_a_file_that_changed_since_the_proposal_is_left_alone(config: Config, store: Store) -> None:
    """Somebody's save in between wins, and nothing is audited as done."""
    proposal = propose(config, Wish("Debt", "for", "4h")).proposal
    changed = RULES + "# mine\n"
    file_of(config).write_text(changed, encoding="utf-8")
    with pytest.raises(CanaryError, match="changed since this was proposed"):
        carry_out(store, config, proposal, AT, "Ada")
    assert file_of(config).read_text("utf-8") == changed
    assert past_of(store, "Debt") == []


def test_of_two_at_once_one_wins_and_the_other_is_told(config: Config) -> None:
    """Eight threads carry out the same proposal: one edit, one audit entry, seven refusals."""
    proposal = propose(config, Wish("Debt", "for", "4h")).proposal
    told: list[str] = []

    def try_it() -> None:
        with Store(config.paths.state / "canary.sqlite") as mine:
            try:
                carry_out(mine, config, proposal, AT, "Ada")
            except CanaryError as error:
                told.append(str(error))

    Store(config.paths.state / "canary.sqlite").close()
    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 7
    assert file_of(config).read_text("utf-8").count("for: 4h") == 1
    with Store.reader(config.paths.state / "canary.sqlite") as reader:
        assert len(past_of(reader, "Debt")) == 1


def test_a_proposal_tampered_with_writes_nothing(config: Config, store: Store) -> None:
    """A payload whose edit is not the one that was shown does not fit its digest."""
    proposal = propose(config, Wish("Debt", "for", "4h")).proposal
    forged = proposal_of(proposal.json.replace('"for: 4h', '"for: 9h'))
    with pytest.raises(CanaryError, match="not the edit that was shown"):
        carry_out(store, config, forged, AT, "Ada")
    away = proposal_of(proposal.json.replace('"mine.yaml"', '"../config.yaml"'))
    with pytest.raises(CanaryError, match="leads out of"):
        carry_out(store, config, away, AT, "Ada")
    assert file_of(config).read_text("utf-8") == RULES


def test_links_are_followed_inside_the_folder_and_nowhere_else(config: Config, store: Store, tmp_path: Path) -> None:
    """A link to a file of the folder is edited where it leads and stays a link; one that leads out is refused."""
    real = config.paths.rules / "kept.txt"
    file_of(config).rename(real)
    file_of(config).symlink_to("kept.txt")
    carry_out(store, config, propose(config, Wish("Debt", "for", "4h")).proposal, AT, "Ada")
    assert file_of(config).is_symlink()
    assert "for: 4h" in real.read_text("utf-8")
    outside = tmp_path / "outside.yaml"
    real.rename(outside)
    file_of(config).unlink()
    file_of(config).symlink_to(outside)
    before = outside.read_bytes()
    with pytest.raises(CanaryError, match="leads out of"):
        carry_out(store, config, propose(config, Wish("Debt", "for", "5h")).proposal, AT, "Ada")
    assert outside.read_bytes() == before


# ---------------------------------------------------------------- two people
def test_a_critical_rule_is_not_weakened_by_one_alone(config: Config, store: Store) -> None:
    """Far enough, a second name is needed and kept; near enough, one will do; step by step does not get around it."""
    far = propose(config, Wish("LowCash", "expr", "30m")).proposal
    assert far.second == "expr 1 moves from 50m to 30m, away from firing by more than a tenth"
    with pytest.raises(CanaryError, match="a second person must agree"):
        carry_out(store, config, far, AT, "Ada")
    near = propose(config, Wish("LowCash", "expr", "45m")).proposal
    carry_out(store, config, near, AT, "Ada")
    step = propose(config, Wish("LowCash", "expr", "41m"), past_of(store, "LowCash")).proposal
    assert "from 50m to 41m" in step.second
    carry_out(store, config, step, AT, "Ada", second="Bob (44)")
    assert "agreed by Bob (44)" in past_of(store, "LowCash")[0].after
    fresh = propose(config, Wish("LowCash", "expr", "40m"), past_of(store, "LowCash")).proposal
    assert (
        fresh.second == "its proof on line 9 no longer holds: it stays quiet on cash_unrestricted_usd 40.0m USD, days 2"
    )


def test_taking_back_one_s_own_strengthening_needs_nobody(config: Config, store: Store) -> None:
    """Undo leads to what was agreed on before, so it is no weakening; lowering the severity is."""
    carry_out(store, config, propose(config, Wish("LowCash", "for", "1h")).proposal, AT, "Ada")
    assert propose_undo(config, "LowCash", past_of(store, "LowCash")).proposal.second == ""
    assert propose(config, Wish("LowCash", "severity", "info")).proposal.second
    assert not propose(config, Wish("Debt", "for", "30d")).proposal.second, "only critical rules are guarded"


# ---------------------------------------------------------------- the file itself
def test_mode_and_owner_stay_and_nothing_is_left_over(tmp_path: Path) -> None:
    """The new file has the rights of the old one; the waiting file is gone, also one left by a kill."""
    path = tmp_path / "a.yaml"
    path.write_text("old")
    path.chmod(0o640)
    (tmp_path / ".a.yaml.canary-edit").write_text("left by a kill")
    before = path.stat()
    replace_file(path, b"new", digest(b"old"))
    after = path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, 0o640)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.yaml"]
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
def test_another_s_file_stays_his(tmp_path: Path) -> None:
    """Owner and group are kept where this user may set them."""
    path = tmp_path / "a.yaml"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    path.chmod(0o664)
    replace_file(path, b"new", digest(b"old"))
    assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (12345, 23456, 0o664)


KILLED = """
import os, sys
from pathlib import Path
from monitor import safewrite
point = sys.argv[2]
def dies(*arguments, **named):
    os.kill(os.getpid(), 9)
setattr(safewrite.os, point, dies)
safewrite.replace_file(Path(sys.argv[1]), b"new" * 100000, safewrite.digest(b"old"))
"""


@pytest.mark.parametrize("point", ["write", "fsync", "fchmod", "rename"])
def test_a_kill_at_any_step_leaves_the_old_file_whole(tmp_path: Path, point: str) -> None:
    """Killed before the rename, the file is the old one; the next edit succeeds and clears what was left."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), point], cwd=Path(__file__).parents[1], check=False, timeout=60
    )
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    replace_file(path, b"newer", digest(b"old"))
    assert [one.name for one in tmp_path.iterdir()] == ["a.yaml"]


def test_a_kill_between_audit_and_file_is_no_edit_that_undo_believes(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit is written first, so nothing is ever without author; what never reached the file is not taken back."""

    def dies(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("monitor.editing.replace_file", dies)
        with pytest.raises(KeyboardInterrupt):
            carry_out(store, config, propose(config, Wish("Debt", "for", "4h")).proposal, AT, "Ada")
    assert len(past_of(store, "Debt")) == 1
    assert file_of(config).read_text("utf-8") == RULES
    with pytest.raises(CanaryError, match="no longer holds"):
        propose_undo(config, "Debt", past_of(store, "Debt"))
    assert not holds(config, past_of(store, "Debt")[0])


def test_a_file_that_cannot_be_written_is_said_and_the_audit_says_it_was_not_done(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the old file, and the entry is marked as taken back."""

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    proposal = propose(config, Wish("Debt", "for", "4h")).proposal
    with monkeypatch.context() as patched:
        patched.setattr(safewrite.os, "write", full)
        with pytest.raises(CanaryError, match="No space left"):
            carry_out(store, config, proposal, AT, "Ada")
    assert file_of(config).read_text("utf-8") == RULES
    assert [one.undone for one in past_of(store, "Debt")] == [AT]
    assert not list(config.paths.rules.glob(".*"))


def test_a_save_during_the_write_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last look at the old file comes after the new one is on the disk."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"old")
    real = os.fsync

    def saved_meanwhile(handle: int) -> None:
        path.write_bytes(b"somebody's")
        real(handle)

    monkeypatch.setattr(safewrite.os, "fsync", saved_meanwhile)
    with pytest.raises(CanaryError, match="changed meanwhile"):
        replace_file(path, b"new", digest(b"old"))
    assert path.read_bytes() == b"somebody's"
    assert [one.name for one in tmp_path.iterdir()] == ["a.yaml"]


@given(st.binary(max_size=2000), st.binary(max_size=2000))
@settings(max_examples=25, deadline=None)
def test_any_bytes_are_written_as_they_are(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    """Nothing is encoded, ended or cut on the way."""
    path = tmp_path_factory.mktemp("w") / "f"
    path.write_bytes(old)
    replace_file(path, new, digest(old))
    assert path.read_bytes() == new


def test_one_editor_at_a_time(tmp_path: Path) -> None:
    """A second editor waits until the first is done."""
    order: list[str] = []
    inside, done = threading.Event(), threading.Event()

    def second() -> None:
        inside.wait(5)
        with alone(tmp_path):
            order.append("second")
        done.set()

    thread = threading.Thread(target=second)
    thread.start()
    with alone(tmp_path):
        inside.set()
        order.append("first")
    assert done.wait(5)
    thread.join()
    assert order == ["first", "second"]


# ---------------------------------------------------------------- the command line
def test_the_terminal_shows_asks_and_writes(config: Config, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Shown without a value; proposed and refused without an answer; written with --yes, listed, taken back."""
    here = ["--config", str(config.found.file), "--offline"]
    assert run_line([*here, "rule", "Debt"]) == 0
    assert "expr: debt_usd > 100m and pledged_share > 60%" in capsys.readouterr().out
    assert run_line([*here, "rule", "LowCash", "for", "3d"]) == 2
    said = capsys.readouterr()
    assert "+  for: 3d" in said.out
    assert "dry run:" in said.out
    assert "takes two: critical, and for 3d instead of 1d is more than twice as long" in said.out
    assert "--yes" in said.err
    assert file_of(config).read_text("utf-8") == RULES
    assert run_line([*here, "rule", "LowCash", "for", "3d", "--yes", "--by", "ada"]) == 0
    assert "for: 3d" in file_of(config).read_text("utf-8")
    capsys.readouterr()
    assert run_line([*here, "audit"]) == 0
    assert "ada at the terminal" in capsys.readouterr().out
    assert run_line([*here, "rule", "LowCash", "--undo", "--yes"]) == 0
    assert file_of(config).read_bytes() == RULES.encode()
    assert run_line([*here, "rule", "LowCsh"]) == 2
    assert "did you mean 'LowCash'?" in capsys.readouterr().err

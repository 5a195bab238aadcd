"""What an installation stands on, looked at one by one; copies of the database that can be trusted."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from desk import CONFIG, RULE, lay_desk
from loopback import Answer, Loopback

from monitor import feeds
from monitor.asking import LOCK_FILE
from monitor.backups import back_up, put_back
from monitor.cli import run_line
from monitor.config import Found, load_config
from monitor.doctor import MAX_SKEW_S, clock, examine, skew, sources
from monitor.model import Message, StoreError
from monitor.shell import Shell
from monitor.store import Lock, Store, TickRow
from monitor.world import World, build_world

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def desk(tmp_path):
    """A small desk with a database that holds one evaluation and one unsent message."""
    lay_desk(tmp_path)
    (tmp_path / "config.yaml").write_text(f"{CONFIG}serve: {{enabled: false}}\n")
    tmp_path.chmod(0o755)
    with Store(tmp_path / "state" / "canary.sqlite") as store:
        store.commit_tick(TickRow(NOW))
        store.queue([Message("m1", "console", "console", "", "notice", "info", "Hello", (), NOW)])
    return tmp_path


def lines(desk, offline=True):
    """What -> (outcome, found, fix) of an examination."""
    reply = examine(Shell(config_path=str(desk / "config.yaml"), offline=offline))
    found = {line["what"]: (line["outcome"], line["found"], line["fix"]) for line in reply.data["lines"]}
    assert reply.finding == any(outcome == "problem" for outcome, _, _ in found.values())
    return found


# ---------------------------------------------------------------- the doctor
def test_a_healthy_desk_has_no_finding(desk, capsys):
    """Every part is ok or skipped with a reason, and the command ends with 0."""
    found = lines(desk)
    assert {outcome for outcome, _, _ in found.values()} == {"ok", "skipped"}
    assert found["canary.sqlite"][1].startswith("whole")
    assert found["sources"][1].startswith("--offline")
    assert run_line(["doctor", "--offline", "--json", "--config", str(desk)]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == 0


def test_a_broken_file_is_one_line_and_the_rest_goes_on(desk):
    """A mistake in the config or in a rule is named with its place; what does not need it is looked at all the same."""
    (desk / "rules" / "mine.yaml").write_text(RULE.replace("critical", "criticl"))
    found = lines(desk)
    assert found["files"][0] == "problem"
    assert "mine.yaml:3" in found["files"][1]
    assert found["canary.sqlite"][0] == "ok"
    (desk / "config.yaml").write_text("schedul: {}\n")
    assert lines(desk)["config"][0] == "problem"


@pytest.mark.parametrize(
    ("path", "mode", "what", "fix"),
    [
        ("state", 0o755, "state folder", "chmod 700"),
        ("state/canary.sqlite", 0o644, "database file", "chmod 600"),
        ("rules/mine.yaml", 0o666, "your files", "chmod o-w"),
        ("token", 0o644, "chat.telegram token", "chmod 600"),
    ],
)
def test_rights_that_are_too_wide(desk, path, mode, what, fix):
    """A database or secret others can read, or a rule anybody can change, is a problem with its command."""
    (desk / "token").write_text("123456:" + "A" * 35)
    (desk / "token").chmod(0o600)
    (desk / "config.yaml").write_text(CONFIG + "chat: {telegram: {token_file: token, chat: 5}}\n")
    assert lines(desk).get(what, ("ok",))[0] == "ok"
    (desk / path).chmod(mode)
    outcome, found, advice = lines(desk)[what]
    assert (outcome, fix in advice) == ("problem", True)
    assert "AAAA" not in found + advice


def test_a_missing_secret_is_named_by_its_place(desk, monkeypatch):
    """A token or heartbeat address that is not there is a problem; one that is there is never shown."""
    monkeypatch.delenv("CANARY_BEAT", raising=False)
    (desk / "config.yaml").write_text(CONFIG + "heartbeat: {url_env: CANARY_BEAT}\n")
    outcome, _, fix = lines(desk)["heartbeat url"]
    assert (outcome, "CANARY_BEAT" in fix) == ("problem", True)
    monkeypatch.setenv("CANARY_BEAT", "https://hc.example/1b2c3d")
    assert "1b2c3d" not in repr(lines(desk))
    assert lines(desk)["heartbeat url"][0] == "ok"


def test_a_damaged_database_is_found(desk):
    """Overwritten pages do not pass as a database, and the way back is named."""
    path = desk / "state" / "canary.sqlite"
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 8] = b"\xff" * (4096 * 7)
    path.write_bytes(data)
    outcome, _, fix = lines(desk)["canary.sqlite"]
    assert (outcome, "canary restore" in fix) == ("problem", True)


def test_a_clock_that_cannot_be_true():
    """A clock before this program, one that differs from a source's, and a last evaluation in the future are said."""
    assert clock(datetime(1970, 1, 1, tzinfo=UTC)).outcome == "problem"
    assert skew(NOW, lambda: NOW + timedelta(seconds=MAX_SKEW_S)).outcome == "ok"
    assert "fast" in skew(NOW, lambda: NOW + timedelta(seconds=MAX_SKEW_S + 1)).found
    assert skew(None, lambda: NOW).outcome == "skipped"


def test_an_evaluation_of_the_future_betrays_a_clock_set_back(desk):
    """When the newest evaluation lies in the future, the clock is named and not the database."""
    with Store(desk / "state" / "canary.sqlite") as store:
        store.commit_tick(TickRow(datetime.now(UTC) + timedelta(days=1)))
    assert "in the future" in lines(desk)["clock"][1]


def test_sources_are_asked_once_each(desk):
    """One that answers is ok with its count, one that does not is a problem with its reason; the clock is compared."""
    with Loopback() as server:
        names = {off_or_feed.name for off_or_feed in feeds.discover()} - {"coinbase"}
        off = "".join(f"  {name}: {{enabled: false}}\n" for name in sorted(names))
        (desk / "config.yaml").write_text(f"{CONFIG}feeds:\n{off}  coinbase: {{base_url: '{server.url}'}}\n")
        world: World = build_world(load_config(Found(desk / "config.yaml", "test"), {}))
        found = {line.what: line for line in sources(world)}
    assert found["source coinbase"].outcome == "problem"
    assert "404" in found["source coinbase"].found
    assert "enabled: false" in found["source coinbase"].fix
    assert found["clock, compared"].outcome == "ok"


def test_the_page_is_asked_or_its_port_is_tried(desk):
    """A free port is fine and a taken one is not; of a running daemon the page itself says whether it is ready."""
    state = desk / "state"
    with Loopback() as server:
        at = server.url.removeprefix("http://")
        (desk / "config.yaml").write_text(f"{CONFIG}serve: {{listen: '{at}'}}\n")
        assert lines(desk)["page"][0] == "problem"
        with Lock(state / LOCK_FILE):
            for status, outcome in ((200, "ok"), (503, "problem")):
                server.on("/readyz", Answer(status, b"nothing was evaluated yet"))
                assert lines(desk)["page"][0] == outcome
    assert lines(desk)["page"][0] == "ok"
    with Lock(state / LOCK_FILE):
        assert "does not answer" in lines(desk)["page"][1]


# ---------------------------------------------------------------- copies
def test_a_copy_is_whole_and_private(desk, capsys):
    """A copy made while the writer is open holds the same, is for its owner only, and never overwrites a file."""
    with Store(desk / "state" / "canary.sqlite") as writer:
        writer.set_meta("word", "kept")
        assert run_line(["backup", str(desk / "copy.sqlite"), "--config", str(desk)]) == 0
    assert (desk / "copy.sqlite").stat().st_mode & 0o777 == 0o600
    assert not (desk / "copy.sqlite-wal").exists()
    with Store.reader(desk / "copy.sqlite") as copy:
        assert (copy.meta("word"), copy.check()) == ("kept", "ok")
    assert run_line(["backup", str(desk / "copy.sqlite"), "--config", str(desk)]) == 2
    assert "there is a file already" in capsys.readouterr().err


def test_nothing_to_copy_and_nowhere_to_put_it(desk, tmp_path):
    """No database yet, or a folder that is not there, is said and leaves no file behind."""
    with pytest.raises(StoreError, match="nothing to back up"):
        back_up(tmp_path / "empty", desk / "copy.sqlite")
    with pytest.raises(StoreError, match="no such folder"):
        back_up(desk / "state", desk / "gone" / "copy.sqlite")
    assert not (desk / "copy.sqlite").exists()


def test_a_copy_comes_back_and_what_it_replaces_is_kept(desk):
    """After a restore the database is the copy; what was written since is in the file that was put aside."""
    state = desk / "state"
    back_up(state, desk / "copy.sqlite")
    with Store(state / "canary.sqlite") as store:
        store.set_meta("word", "later")
    done = put_back(desk / "copy.sqlite", state)
    assert (done.last, done.unsent) == (NOW, 1)
    with Store(state / "canary.sqlite") as store:
        assert store.meta("word") is None
        assert [row.message.id for row in store.due(NOW)] == ["m1"]
    assert done.replaced is not None
    with Store.reader(done.replaced) as old:
        assert old.meta("word") == "later"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_restores_for_the_user_of_the_service(desk):
    """What root puts back belongs to whom the state folder belongs to, or the service could not write it."""
    state = desk / "state"
    back_up(state, desk / "copy.sqlite")
    os.chown(state, 12345, 12345)
    done = put_back(desk / "copy.sqlite", state)
    assert {path.stat().st_uid for path in (done.database, state / LOCK_FILE)} == {12345}


def test_no_restore_under_a_running_daemon(desk, capsys):
    """While the lock is held nothing changes, and the holder is named."""
    state = desk / "state"
    back_up(state, desk / "copy.sqlite")
    before = sorted(path.name for path in state.iterdir())
    with Lock(state / LOCK_FILE):
        assert run_line(["restore", str(desk / "copy.sqlite"), "--config", str(desk)]) == 2
    assert "another Canary is writing" in capsys.readouterr().err
    assert {path.name for path in state.iterdir()} - set(before) <= {LOCK_FILE}


@pytest.mark.parametrize("what", ["damaged", "text", "missing", "itself"])
def test_a_bad_copy_is_refused(desk, what):
    """A damaged file, another kind of file, none at all or the database itself: nothing is replaced."""
    state, source = desk / "state", desk / "copy.sqlite"
    if what == "damaged":
        back_up(state, source)
        data = bytearray(source.read_bytes())
        data[4096 * 2 : 4096 * 9] = b"\xff" * (4096 * 7)
        source.write_bytes(data)
    elif what == "text":
        source.write_text("this is no database, " * 400)
    elif what == "itself":
        source = state / "canary.sqlite"
    with pytest.raises(StoreError):
        put_back(source, state)
    with Store(state / "canary.sqlite") as store:
        last = store.last_tick()
        assert last is not None
        assert last.eval_at == NOW
    assert not list(state.glob("*replaced*"))

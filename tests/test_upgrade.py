"""A newer Canary opens what an older one wrote: brought up to date with a copy made first, or refused untouched."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor import __version__
from monitor.backups import put_back
from monitor.migrations import MIGRATIONS, newest
from monitor.model import StoreError
from monitor.store import Store

ROOT = Path(__file__).parents[1]
DUMPS = sorted((ROOT / "tests" / "databases").glob("shape-*.sql"))
T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
T1 = datetime(2026, 11, 1, 12, 15, tzinfo=UTC)


def written(dump: Path, path: Path) -> int:
    """Make the database a dump describes; the number of its shape."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    shape = int(connection.execute("PRAGMA user_version").fetchone()[0])
    connection.close()
    return shape


def same_as_before(store: Store) -> None:
    """What the older version knew is all there."""
    last = store.last_tick()
    assert last is not None
    assert last.eval_at == T1
    states = {key: state.state for key, state in store.load_states().items()}
    assert {key for key, state in states.items() if state == "firing"} == {
        ("CheapCoins", "market"),
        ("LowCash", "alpha"),
    }
    assert next(iter(store.events(rule="CheapCoins"))).kind == "fired"
    assert {row.message.id for row in store.due(T1)} == {"m-unsent"}
    assert len(store.outbox("sent")) == 2
    assert [(one.rule, one.by) for one in store.overlays(T1)] == [("LowCash", "Ada")]
    assert (store.meta("word"), store.check(), store.lost_events()) == ("kept", "ok", [])
    steps = store.metric_history("cash_unrestricted_usd", ["alpha"])
    assert steps is not None
    assert steps.window(0, 0.0, T1.timestamp())[1][-1] == 20e6
    assert len(store.observations(T1, series=["btc_usd"])) == 4


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_an_older_database_is_brought_up_to_date(tmp_path: Path, dump: Path) -> None:
    """Everything is still there, a copy in the old shape lies beside it for its owner only, a next start makes none."""
    path = tmp_path / "canary.sqlite"
    shape = written(dump, path)
    assert shape < newest()
    with Store(path) as store:
        same_as_before(store)
    copy = tmp_path / f"canary-shape-{shape}.sqlite"
    assert copy.stat().st_mode & 0o777 == 0o600
    with Store.reader(copy, older=True) as old:
        assert old.rows("PRAGMA user_version")[0]["user_version"] == shape
        assert old.check() == "ok"
    with Store(path):
        pass
    assert len(list(tmp_path.glob("*-shape-*.sqlite"))) == 1


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_a_backup_of_an_older_version_comes_back(tmp_path: Path, dump: Path) -> None:
    """A copy made before an upgrade is put back and brought up to date on the way; the copy itself is not changed."""
    source, state = tmp_path / "copy.sqlite", tmp_path / "state"
    written(dump, source)
    before = source.read_bytes()
    with Store(state / "canary.sqlite") as store:
        store.set_meta("word", "later")
    done = put_back(source, state)
    assert (done.last, done.unsent) == (T1, 1)
    assert source.read_bytes() == before
    with Store(state / "canary.sqlite") as store:
        same_as_before(store)
    assert not list(state.glob("*restoring*"))


def test_no_room_for_the_copy_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a copy there is no new shape: the older version can still open its database."""
    path = tmp_path / "canary.sqlite"
    shape = written(DUMPS[0], path)

    def full(self: Store, target: Path) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(Store, "backup", full)
    with pytest.raises(StoreError, match="no room"):
        Store(path)
    with Store.reader(path, older=True) as old:
        assert old.rows("PRAGMA user_version")[0]["user_version"] == shape


def test_a_newer_backup_is_refused(tmp_path: Path) -> None:
    """What a newer Canary wrote is neither opened nor put back; what is there stays."""
    source, state = tmp_path / "copy.sqlite", tmp_path / "state"
    written(DUMPS[0], source)
    connection = sqlite3.connect(source)
    connection.execute(f"PRAGMA user_version = {newest() + 1}")
    connection.close()
    with Store(state / "canary.sqlite") as store:
        store.set_meta("word", "mine")
    with pytest.raises(StoreError, match="newer Canary"):
        put_back(source, state)
    with Store(state / "canary.sqlite") as store:
        assert store.meta("word") == "mine"


def test_every_shape_before_the_last_is_tried(tmp_path: Path) -> None:
    """Each earlier shape that was ever written has a dump here; the numbers have no gap."""
    assert [number for number, _, _ in MIGRATIONS] == list(range(1, newest() + 1))
    released = {written(dump, tmp_path / f"{dump.stem}.sqlite") for dump in DUMPS}
    assert {1, 2} <= released <= set(range(1, newest()))


def test_the_changelog_names_this_version() -> None:
    """The newest heading of the changelog is the version of the program, and versions are three numbers."""
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", heading) for heading in headings)
    assert headings == sorted(headings, key=lambda text: tuple(map(int, text.split("."))), reverse=True)

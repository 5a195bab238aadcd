"""The command line: light help, errors as sentences with exit code 2, tables for people, JSON for machines."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from desk import lay_desk

from monitor.cli import _explain, cli, run_line
from monitor.store import Lock, Store

ROOT = Path(__file__).parents[1]
HEAVY = (
    "pandas",
    "numpy",
    "matplotlib",
    "telegram",
    "numba",
    "httpx",
    "sqlite_utils",
    "pydantic",
    "rich",
    "apscheduler",
)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A small desk to stand in, with nothing of the real user around."""
    for name in ("CANARY_CONFIG", "CANARY_DEBUG", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / ".config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / ".state"))
    monkeypatch.chdir(lay_desk(tmp_path / "desk"))
    return tmp_path / "desk"


@pytest.fixture
def canary(desk, capsys):
    """Run one command line in this process: (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_line(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


# ---------------------------------------------------------------- light
def test_help_is_light():
    """Help needs no number crunching, no chat and no database: nothing heavy is imported, under 0.3 s of work."""
    code = "import sys\nfrom monitor.cli import run_line\ncode = run_line(['--help'])\n"
    code += (
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\nprint(heavy, file=sys.stderr); sys.exit(code)"
    )
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert (done.returncode, done.stderr.strip()) == (0, "[]")
        assert "Usage: canary" in done.stdout
    assert min(times) < 0.3


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_explains_itself(canary, name):
    """Each command has help that offers the shared options."""
    code, out, _ = canary(name, "--help")
    assert code == 0
    assert all(option in out for option in ("--json", "--offline", "--config"))


def test_no_command_shows_help(canary):
    """A bare call is a question, not a mistake."""
    code, out, _ = canary()
    assert code == 0
    assert "Watch: evaluate on time" in out


@pytest.mark.parametrize(
    "arguments", [["nope"], ["tick", "--nope"], ["init"], ["tick", "--at", "2026-08-12", "--dry-run"]]
)
def test_usage_errors_exit_with_2(canary, arguments):
    """A mistyped command line is a usage error."""
    code, _, err = canary(*arguments)
    assert code == 2
    assert err


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "--config", "gone.yaml"], "no such config"),
        (["book", "alhpa"], "did you mean 'alpha'?"),
        (["list", "rulez"], "did you mean 'rules'?"),
        (["tick", "--at", "yesterday", "--offline"], "write 2026-08-12 or 2026-08-12T09:30Z"),
        (["tick", "--at", "2999-01-01", "--offline"], "has not ended yet"),
        (["tick", "--at", "0001-01-05", "--offline"], "before any price"),
        (["init", "config.yaml/x"], "cannot be written"),
    ],
)
def test_input_errors_are_sentences(canary, arguments, says):
    """What a user got wrong comes back as a sentence with exit code 2."""
    code, out, err = canary(*arguments)
    assert code == 2
    assert says in err
    assert out == ""


def test_all_mistakes_of_all_files_at_once(canary, desk):
    """One check names the mistakes of book, rules and scenarios together, with their places."""
    (desk / "book" / "alpha.yaml").write_text("name: Alpha\nkind: minor\n")
    (desk / "rules" / "mine.yaml").write_text(
        "- alert: A\n  expr: cash_unrestricted_us < 5\n  severity: critical\n  summary: x\n"
    )
    (desk / "scenarios" / "half.yaml").write_text("name: half\nmoves: [{factor: bct, by: -50%}]\n")
    code, _, err = canary("check")
    assert code == 2
    for place in ("alpha.yaml:2:", "mine.yaml:2:", "half.yaml:2:"):
        assert place in err
    code, out, _ = canary("check", "--json")
    assert code == 2
    files = {Path(problem["file"]).name for problem in json.loads(out)["problems"]}
    assert files == {"alpha.yaml", "mine.yaml", "half.yaml"}


def test_a_fault_of_ours_is_one_line(capsys, monkeypatch):
    """An unexpected error is one line and how to see more; with CANARY_DEBUG=1 the traceback is there."""
    monkeypatch.delenv("CANARY_DEBUG", raising=False)
    assert _explain(ZeroDivisionError("division by zero"), as_json=False) == 2
    err = capsys.readouterr().err
    assert "this is a fault in Canary: ZeroDivisionError: division by zero" in err
    assert "CANARY_DEBUG=1" in err
    assert "Traceback" not in err
    monkeypatch.setenv("CANARY_DEBUG", "1")
    try:
        raise ZeroDivisionError("division by zero")
    except ZeroDivisionError as error:
        _explain(error, as_json=False)
    assert "Traceback" in capsys.readouterr().err


def test_errors_never_show_a_token(capsys):
    """A token inside an error text is hidden."""
    _explain(RuntimeError("POST https://api.telegram.org/bot123456789:" + "A" * 35 + "/sendMessage"), as_json=True)
    out, err = capsys.readouterr()
    assert "AAAA" not in out + err


# ---------------------------------------------------------------- commands
def test_version(canary):
    """Which version, which config and why, where the state is."""
    code, out, _ = canary("version", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["found"] == "in this folder"
    assert facts["state"].endswith("desk/state")
    assert canary("--json", "version")[1] == out


def test_starter_set_is_announced(canary, tmp_path, monkeypatch):
    """Where no config is found the starter set is used, and said to be read-only."""
    monkeypatch.chdir(tmp_path)
    if not Path("/etc/canary/config.yaml").exists():
        _, out, err = canary("version")
        assert "read-only" in err
        assert "canary init DIR" in err
        assert str(tmp_path / "home" / ".state" / "canary") in out


def test_init_lays_out_a_working_desk(canary, tmp_path):
    """What init writes can be checked at once, and a second init touches nothing."""
    target = tmp_path / "new"
    code, out, _ = canary("init", str(target))
    assert code == 0
    assert [line[:2] for line in out.splitlines() if line[:1].isdigit()][1:] == ["1.", "2.", "3."]  # after the count
    assert f"1. cd {target} && canary check: " in out
    assert canary("check", "--config", str(target))[0] == 0
    (target / "config.yaml").write_text("schedule: {every: 1h}\n")
    code, out, _ = canary("init", str(target), "--json")
    assert code == 0
    assert json.loads(out)["written"] == []
    assert (target / "config.yaml").read_text() == "schedule: {every: 1h}\n"


def test_check_counts_and_warns(canary, desk, monkeypatch):
    """A good desk is counted; what works but not as meant is a finding with exit code 1."""
    code, out, _ = canary("check")
    assert code == 0
    assert "2 borrowers, 1 rule, 1 scenario" in out
    (desk / "config.yaml").write_text(
        "chat: {telegram: {token_env: NO_SUCH_VARIABLE, chat: 7}}\nroutes: [{name: a, channel: telegram}]\n"
    )
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    code, out, _ = canary("check", "--json")
    assert code == 1
    assert "NO_SUCH_VARIABLE is not set" in "\n".join(json.loads(out)["warnings"])


def test_names_that_do_not_exist_are_refused_where_they_stand(canary, desk):
    """A source, borrower, channel or rule that is not there would silence somebody unnoticed: each is an error."""
    (desk / "config.yaml").write_text(
        "feeds: {krakn: {enabled: false}}\n"
        "routes: [{name: a, channel: console, borrowers: [alfa], rules: [LowCsh]}, {name: b, channel: pigeon}]\n"
    )
    code, out, _ = canary("check", "--json")
    assert code == 2
    found = {(p["line"], p["column"]): (p["message"], p["fix"]) for p in json.loads(out)["problems"]}
    assert found[1, 9] == ("there is no source 'krakn'", "did you mean 'kraken'?")
    assert [message for message, _ in found.values()][1:] == [
        "there is no borrower 'alfa'",
        "there is no rule 'LowCsh'",
        "there is no channel 'pigeon'",
    ]


def test_check_runs_the_examples_of_rules(canary, desk):
    """A rule that does not do what its own example says is a finding."""
    rule = (desk / "rules" / "mine.yaml").read_text()
    proof = "  proof:\n    - at: {cash_unrestricted_usd: 60m}\n      fires: true\n"
    (desk / "rules" / "mine.yaml").write_text(rule + proof)
    code, out, _ = canary("check")
    assert code == 1
    assert "LowCash stays quiet on its own example" in out


def test_check_points_at_figures_of_a_day_to_come(canary, desk):
    """A year mistyped is no error, since a date may be ahead, but nobody should miss it."""
    (desk / "book" / "late.yaml").write_text(
        "name: Late\nkind: miner\nfacts:\n  - {as_of: 2026-06-30, published: 2096-08-12, quality: filing, source: 10-Q,"
        " values: {debt_usd: 1bn}}\n"
    )
    code, out, _ = canary("check", "--json")
    assert code == 1
    (said,) = (text for text in json.loads(out)["warnings"] if "late.yaml" in text)
    assert "debt_usd as of 2026-06-30, published 2096-08-12: that day is still to come" in said


def test_list_shows_every_kind_with_its_file(canary):
    """Everything found is listed, each with the file it comes from."""
    code, out, _ = canary("list", "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"feeds", "channels", "borrowers", "rules", "scenarios", "metrics", "words", "commands"}
    files = {kind: {thing["name"]: thing["file"] for thing in things} for kind, things in found.items()}
    assert files["feeds"]["coinbase"] == "monitor/feeds/coinbase.py"
    assert files["channels"]["console"] == "monitor/chat/console.py"
    assert files["rules"]["LowCash"].endswith("rules/mine.yaml:1")
    assert files["metrics"]["ltv_economic"].startswith("monitor/metrics")
    assert files["commands"]["status"] == "monitor/commands.py"
    code, out, _ = canary("list", "feeds", "--offline")
    assert code == 0
    assert "off because of --offline" in out


def test_book(canary):
    """The book in a table; one borrower with every figure, its dates and its source; stubs say what is missing."""
    code, out, _ = canary("book")
    assert code == 0
    assert "400.0m" in out
    assert "insufficient data" in out
    code, out, _ = canary("book", "alpha")
    assert "2026-08-12" in out
    assert "Form 10-Q for the quarter" in out
    facts = {fact["field"]: fact for fact in json.loads(canary("book", "alpha", "--json")[1])["facts"]}
    assert facts["debt_usd"]["value"] == 400e6
    assert "missing: no filing was found" in canary("book", "stub")[1]


# ---------------------------------------------------------------- one evaluation
def test_tick_offline(canary, desk):
    """One evaluation of recorded prices: RECORDED, the table, exit code 1 as something fires; status repeats it."""
    code, out, _ = canary("status")
    assert (code, "nothing was evaluated yet" in out) == (1, True)
    code, out, _ = canary("tick", "--offline")
    assert code == 1
    assert out.startswith("RECORDED 2026-")
    assert "Alpha Mining" in out
    assert "LowCash" in out
    assert "insufficient data: Stub Cloud" in out
    assert sorted(path.name for path in (desk / "state").glob("*.sqlite")) == ["canary.sqlite", "recorded.sqlite"]
    code, again, _ = canary("status")
    assert code == 1
    assert again.splitlines()[:7] == out.splitlines()[:7]
    assert "the daemon is not running" in again
    shown = json.loads(canary("status", "--json")[1])
    assert shown["borrowers"][0]["alerts"] == [{"rule": "LowCash", "severity": "critical", "subject": "alpha"}]
    assert shown["borrowers"][0]["metrics"]["debt_usd"]["value"] == 400e6


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--at", "2026-08-20"]])
def test_tick_without_a_trace(canary, desk, arguments):
    """A dry run and a look at the past write nothing, send nothing and need no lock; JSON is only JSON."""
    with Lock(desk / "state" / "daemon.lock"):
        code, out, _ = canary("tick", "--offline", "--json", *arguments)
    assert code == 1
    assert json.loads(out)["borrowers"][0]["id"] == "alpha"
    assert [path.name for path in (desk / "state").iterdir()] == ["daemon.lock"]


def test_at_sees_only_what_was_known(canary):
    """Before the filing was published nothing is known of it: unknown, not zero, and no alert."""
    code, out, _ = canary("tick", "--offline", "--json", "--at", "2026-08-11")
    row = json.loads(out)["borrowers"][0]
    assert row["metrics"]["debt_usd"]["value"] is None
    assert "debt_usd" in row["metrics"]["debt_usd"]["reason"]
    assert row["alerts"] == []
    assert code == 0


def test_what_another_version_left_is_not_an_error(canary, desk):
    """An overview of another shape reads as nothing evaluated yet, not as damage."""
    with Store(desk / "state" / "canary.sqlite") as store:
        store.set_meta("overview", '{"at": "2026-08-20"}')
    code, out, _ = canary("status")
    assert (code, "nothing was evaluated yet" in out) == (1, True)


def test_tick_is_refused_while_the_daemon_runs(canary, desk):
    """A plain tick takes the daemon's lock; held, it is an error that names the holder."""
    with Lock(desk / "state" / "daemon.lock"):
        code, _, err = canary("tick", "--offline")
        assert code == 2
        assert f"process {os.getpid()}" in err
        assert f"the daemon is running (process {os.getpid()})" in canary("status")[1]

"""What is installed as a service: a unit systemd accepts and finds tight, a script that spares data, true rules."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from test_serving import NOW, board

from monitor.exposition import exposition
from monitor.model import Quote
from monitor.store import Store
from monitor.store_post import Post

DEPLOY = Path(__file__).parents[1] / "deploy"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
#: a stand-in for a Python that makes environments without any package
PYTHON = """#!/bin/sh
case $2 in venv)
  mkdir -p "$3/bin" && echo home >"$3/pyvenv.cfg"
  for name in python canary; do
    printf '#!/bin/sh\\necho ran %s "$@"\\n' $name >"$3/bin/$name" && chmod +x "$3/bin/$name"
  done
esac
"""


def analyze(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze without a running systemd."""
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "LC_ALL": "C.UTF-8"}
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, env=environ, timeout=60)


def rendered(text: str, folder: Path) -> Path:
    """A unit whose program exists on this machine."""
    unit = folder / "canary.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    return unit


def install(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script for a user whose home is a folder, where systemctl does not work."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name, text in (("some-python", PYTHON), ("systemctl", "#!/bin/sh\nexit 1\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    environ = {"HOME": str(folder / "home"), "PATH": f"{tools}:{os.environ['PATH']}"}
    command = [str(DEPLOY / "install.sh"), *arguments, "--python", "some-python"]
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)


# ---------------------------------------------------------------- the unit
@needs_systemd
def test_the_unit_is_accepted(tmp_path):
    """systemd finds nothing wrong with the unit."""
    done = analyze("verify", str(rendered((DEPLOY / "canary.service").read_text(), tmp_path)), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_unit_is_tight(tmp_path):
    """Its exposure is at most 1.5 of 10, and a unit without its limits is above that."""
    text = (DEPLOY / "canary.service").read_text()
    for wanted, unit in ((0, text), (1, text.replace("SystemCallFilter", "#").replace("CapabilityBounding", "#"))):
        path = rendered(unit, tmp_path)
        done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(path), folder=tmp_path)
        assert done.returncode == wanted, done.stdout[-200:]


def test_the_service_has_a_user_of_its_own_and_writes_little():
    """A fixed user, so that a group can share the files; its own folder closed; of the shared ones only the rules."""
    lines = (DEPLOY / "canary.service").read_text().splitlines()
    assert {"User=canary", "Group=canary", "StateDirectoryMode=0700", "UMask=0077", "Type=notify"} <= set(lines)
    assert [line for line in lines if line.startswith("ReadWritePaths")] == ["ReadWritePaths=-/etc/canary/rules"]
    assert "WatchdogSec=120" in lines
    assert not [line for line in lines if line.startswith("DynamicUser")]


@needs_systemd
def test_the_drop_in_for_compiled_code_lifts_one_limit_only(tmp_path):
    """With it the unit is still accepted; nothing but memory that is written and executed is allowed again."""
    drop = [line for line in (DEPLOY / "fast.conf").read_text().splitlines() if line and line[0] != "#"]
    assert drop == ["[Service]", "MemoryDenyWriteExecute=no"]
    text = (DEPLOY / "canary.service").read_text()
    assert "\nMemoryDenyWriteExecute=yes\n" in text
    unit = rendered(text.replace("MemoryDenyWriteExecute=yes", "MemoryDenyWriteExecute=no"), tmp_path)
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(unit), folder=tmp_path)
    assert done.returncode == 0, done.stdout[-200:]


def test_a_stop_may_take_as_long_as_the_daemon_drains():
    """systemd waits longer than the daemon itself does, or it would kill what is ending well."""
    from monitor.daemon import DRAIN_S

    found = re.search(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "canary.service").read_text(), re.MULTILINE)
    assert found is not None
    assert int(found[1]) > DRAIN_S + 5


# ---------------------------------------------------------------- the script
@needs_systemd
def test_a_users_own_unit_is_accepted(tmp_path):
    """What the script writes for one user has that user's paths and is a unit systemd accepts."""
    assert install(tmp_path, "--user", "install").returncode == 0
    text = (tmp_path / "home/.config/systemd/user/canary.service").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert f"ExecStart={tmp_path}/home/.local/share/canary/bin/canary run" in text
    gone = ("User", "Group", "ReadWritePaths", "StateDirectory", "ProtectSystem")
    assert not [line for line in lines if line.startswith(gone)]
    assert "NoNewPrivileges=yes" in lines
    done = analyze("--user", "verify", str(rendered(text, tmp_path)), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_install_upgrade_uninstall_leave_data_alone(tmp_path):
    """Config and database survive an upgrade, which copies the database first, and the removal of the program."""
    home = tmp_path / "home"
    first = install(tmp_path, "--user", "install")
    assert (first.returncode, first.stderr) == (0, "")
    assert f"ran canary init {home}/.config/canary" in first.stdout
    kept = {home / ".config/canary/config.yaml": "schedule: {}\n", home / ".local/state/canary/canary.sqlite": "data"}
    for path, text in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    second = install(tmp_path, "--user", "upgrade", "--from", "some.whl")
    assert "ran canary backup" in second.stdout.splitlines()[0]
    assert "--upgrade some.whl" in second.stdout
    removed = install(tmp_path, "--user", "uninstall")
    assert removed.returncode == 0
    assert not (home / ".local/share/canary").exists()
    assert not (home / ".config/systemd/user/canary.service").exists()
    assert {path: path.read_text() for path in kept} == kept


def scratch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script for a whole machine whose root is a folder."""
    (folder / "root").mkdir(exist_ok=True)
    return install(folder, *arguments, "--root", str(folder / "root"))


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole machine needs root")
def test_a_whole_machine_below_another_root(tmp_path):
    """Install, upgrade with compiled code, uninstall: all below that root, nobody's user made, nothing started."""
    root = tmp_path / "root"
    done = scratch(tmp_path, "install", "--fast")
    assert (done.returncode, done.stderr) == (0, "")
    assert "note:" not in done.stdout  # systemctl, which fails here, was not asked
    assert "compute-canary[fast]" in done.stdout
    assert (root / "etc/systemd/system/canary.service").read_text() == (DEPLOY / "canary.service").read_text()
    drop = root / "etc/systemd/system/canary.service.d/fast.conf"
    assert drop.read_text() == (DEPLOY / "fast.conf").read_text()
    kept = root / "var/lib/canary/canary.sqlite"
    kept.parent.mkdir(parents=True)
    kept.write_text("data")
    again = scratch(tmp_path, "upgrade", "--from", "some.whl")
    assert "some.whl[fast]" in again.stdout  # an upgrade keeps what was chosen
    assert again.stdout.startswith("ran canary backup")
    assert scratch(tmp_path, "uninstall").returncode == 0
    left = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert left == ["var/lib/canary/canary.sqlite"]


def test_a_python_in_a_home_folder_is_refused_for_a_service(tmp_path):
    """The service sees no home folder: the script says so before anything is made."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "homely").write_text("#!/bin/sh\ncase $2 in *base_prefix*) echo /home/ada/.pyenv/versions/3.12 ;; esac\n")
    (tools / "homely").chmod(0o755)
    environ = {"PATH": f"{tools}:{os.environ['PATH']}"}
    command = [str(DEPLOY / "install.sh"), "install", "--dry-run", "--python", "homely"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    assert done.returncode == 2
    assert "home folder" in done.stderr


def test_a_folder_that_is_no_installation_is_not_removed(tmp_path):
    """Uninstalling removes an environment it made, never another folder of the same name."""
    other = tmp_path / "home/.local/share/canary/notes.txt"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    assert install(tmp_path, "--user", "uninstall").returncode == 0
    assert other.read_text() == "mine"


@pytest.mark.parametrize("whose", [[], ["--user"]])
@pytest.mark.parametrize("action", ["install", "upgrade", "uninstall"])
def test_a_dry_run_does_nothing(tmp_path, whose, action):
    """Every step is printed and nothing is made."""
    done = install(tmp_path, *whose, action, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "would run: " in done.stdout
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("words", [[], ["instal"], ["install", "upgrade"], ["--from"]])
def test_a_mistyped_word_is_refused(tmp_path, words):
    """What is not understood is said and nothing is done."""
    done = install(tmp_path, "--user", *words)
    assert done.returncode == 2
    assert "install.sh: " in done.stderr


# ---------------------------------------------------------------- the rules about Canary itself
def test_the_rules_ask_for_metrics_there_are():
    """Every metric a rule names is one that the page gives, every part and outcome too."""
    seen = board()
    seen.post = Post({"telegram": 1}, NOW, {("telegram", "unknown"): 1}, {"telegram": 2}, ("telegram",))
    text = exposition(seen, 1000.0, NOW).decode()
    given = set(re.findall(r"^(canary_\w+)", text, re.MULTILINE)) | set(re.findall(r"^# TYPE (canary_\w+)", text, re.M))
    groups = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    asked = {name for rule in rules for name in re.findall(r"canary_\w+", rule["expr"])}
    assert len(rules) > 8
    assert asked - given == set()
    labels = {pair for rule in rules for pair in re.findall(r'(?:part|outcome)="\w+"', rule["expr"])}
    assert all(pair in text for pair in labels)


def told_metrics() -> set[str]:
    """The names of every metric the page gives, with what follows from their types."""
    seen = board(quotes=(Quote("btc_usd", "market", 1.0, "usd", NOW, NOW, "a venue"),))
    seen.heartbeat_s = 1.0
    seen.post = Post({"telegram": 1}, NOW, {("telegram", "unknown"): 1}, {"telegram": 2}, ("telegram",))
    text = exposition(seen, 1000.0, NOW).decode()
    return set(re.findall(r"^(\w+)", text, re.MULTILINE)) | set(re.findall(r"^# TYPE (\w+)", text, re.M))


def test_the_dashboard_shows_metrics_there_are():
    """Every query of every panel names metrics of the page; panels neither overlap nor share a number."""
    made = json.loads((DEPLOY / "grafana.json").read_text())
    asked = [target["expr"] for panel in made["panels"] for target in panel["targets"]]
    names = {name for query in asked for name in re.findall(r"(?:canary|process)_\w+", query)}
    assert len(made["panels"]) > 12
    assert names - told_metrics() == set()
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    cells = [
        (x, y)
        for panel in made["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_datasette_site_names_what_there_is(tmp_path):
    """Every table, column, facet and order it names exists, and every query runs."""
    made = yaml.safe_load((DEPLOY / "datasette.yaml").read_text())
    look = made["databases"]["look"]
    with Store(tmp_path / "look.sqlite") as store:
        for table, words in look["tables"].items():
            columns = {row["name"] for row in store.rows(f'PRAGMA table_info("{table}")')}
            named = {*words.get("columns", {}), *words.get("facets", []), words.get("sort"), words.get("sort_desc")}
            named |= {words.get("label_column")}
            assert columns, table
            assert named - {None} - columns == set(), table
        for words in look["queries"].values():
            given = dict.fromkeys(re.findall(r"(?<!['%\w]):([a-z]\w*)", words["sql"]), "x")
            store.db.execute(words["sql"], given).fetchall()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_prometheus_accepts_the_rules():
    """promtool finds nothing wrong with them."""
    done = subprocess.run(
        ["promtool", "check", "rules", str(DEPLOY / "prometheus-rules.yaml")],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


PROOF = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'canary_borrower_blind{{job="canary",borrower="a"}}', values: '1x3000'}}
      - {{series: 'canary_borrower_blind{{job="canary",borrower="b"}}', values: '{other}x3000'}}
      - {{series: 'canary_tick_age_seconds{{job="canary"}}', values: '2701x3000'}}
      - {{series: 'canary_evaluation_interval_seconds{{job="canary"}}', values: '900x3000'}}
    alert_rule_test:
      - {{eval_time: 2d, alertname: CanaryBlind, exp_alerts: [{blind}]}}
      - eval_time: 2d
        alertname: CanaryEvaluationOld
        exp_alerts:
          - exp_labels: {{severity: critical, job: canary}}
            exp_annotations: {{summary: The last evaluation ended 45m 1s ago}}
"""
BLIND = (
    "{exp_labels: {severity: warning}, exp_annotations: "
    "{summary: The 12-month liquidity of more than half of the borrowers cannot be told}}"
)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
@pytest.mark.parametrize(("other", "blind"), [("1", BLIND), ("0", "")])
def test_the_rules_fire_when_they_should(tmp_path, other, blind):
    """Two of two blind borrowers fire, one of two does not; an evaluation three intervals old fires."""
    proof = tmp_path / "proof.yaml"
    proof.write_text(PROOF.format(rules=DEPLOY / "prometheus-rules.yaml", other=other, blind=blind))
    done = subprocess.run(["promtool", "test", "rules", str(proof)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_container_files_agree_with_the_program():
    """They are YAML, run without rights, say that nobody ran them, and ask the page where it is by default."""
    from monitor.config import Serve

    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["canary"]
    assert (compose["read_only"], compose["cap_drop"]) == (True, ["ALL"])
    docker = (DEPLOY / "Dockerfile").read_text()
    assert f"http://{Serve().listen}/healthz" in docker
    assert "USER 10001" in docker
    for name in ("Dockerfile", "compose.yaml"):
        assert "Written but not run" in (DEPLOY / name).read_text().split("\n")[0]

"""The storm, small: alerts against a failing Bot API, the sender killed at every named point and at random moments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_nothing_is_lost_in_a_storm() -> None:
    """30 kills, every named point among them: no event lost, no repetition without an unknown outcome, order kept, and
    a sender that loads neither pandas nor matplotlib. ``make storm`` is the same with 1,000."""
    command = [
        sys.executable,
        str(ROOT / "tests" / "storm" / "storm.py"),
        "--kills",
        "30",
        "--changes",
        "120",
        "--speed",
        "6000",
        "--json",
    ]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, timeout=240)
    assert done.stdout, done.stderr
    counts = json.loads(done.stdout)
    assert done.returncode == 0, counts
    assert counts["kills"] >= 30
    assert counts["points_missed"] == []
    assert (counts["lost"], counts["overtaken"], counts["still_waiting"]) == (0, 0, 0)
    assert counts["repeated"] <= counts["unknown"]
    assert counts["digests_after_an_outage"] > 0
    assert counts["failed_requests"]

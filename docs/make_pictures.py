"""Draw the pictures of the manual again, on recorded prices of one day: ``python docs/make_pictures.py``.

Those of docs/evidence.md are drawn with their texts: ``python bench/replay.py --out docs``. `make pictures` does both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
#: the newest day with every recorded series
DAY = "2026-09-21"
#: file -> the command that draws it; the index is drawn by its benchmark
PICTURES = {
    "borrower.png": f"stress coreweave --scenario joint_collapse --paths 1024 --at {DAY}",
    "reverse.png": f"reverse mara --at {DAY}",
    "fall.png": f"cascade --from coreweave --at {DAY}",
    "ranking.png": f"cascade --at {DAY}",
    "cycle.png": f"cycle --at {DAY}",
}
INDEX = "index.png"


def command_of(name: str) -> list[str]:
    """The words behind ``python`` that draw a picture."""
    if name == INDEX:
        return ["bench/rental_index.py", "--seeds", "1", "--picture", str(FOLDER / name)]
    line = ["--offline", *PICTURES[name].split(), "--picture", str(FOLDER / name)]
    return ["-c", "from monitor.cli import main; main()", *line]


def main() -> None:
    """Draw every picture and say which."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as nobody:  # a database of whoever draws is not in the manual
        environ = {**os.environ, "XDG_STATE_HOME": nobody}
        for name in (*PICTURES, INDEX):
            line = [sys.executable, *command_of(name)]
            done = subprocess.run(  # noqa: S603 - our own line
                line, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
            )
            if done.returncode not in (0, 1):  # 1: something fires
                raise SystemExit(f"{name}: {done.stderr.strip()}")
            print(FOLDER.relative_to(ROOT) / name)


if __name__ == "__main__":
    main()

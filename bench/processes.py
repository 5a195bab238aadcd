"""What processes use, read from /proc: processor time and memory of a process and of all it started."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def processor(pid: int) -> float:
    """Seconds of processor time a process has used; 0 for one that is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def family(pids: Iterable[int]) -> set[int]:
    """These processes and all that come of them."""
    parent = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and (fields := _stat(int(path.name))):
            parent[int(path.name)] = int(fields[1])
    found = set(pids)
    while more := {pid for pid, of in parent.items() if of in found} - found:
        found |= more
    return found


def held(pids: Iterable[int]) -> int:
    """Bytes of memory they hold together; what several share is counted once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
        except OSError:  # it is gone
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def _stat(pid: int) -> list[str]:
    """The fields of a process behind its name; none for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []

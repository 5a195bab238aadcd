"""How a large run is cut: as many workers as there are cores and memory for, in parts that are worth keeping. Pure."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from monitor.large.solve import ROWS, Chunk, Work, chunks
from monitor.model import CanaryError
from monitor.stress.paths import MICRO_BLOCK

#: bytes of one number
WIDE = 8
#: what a worker of its own holds before it has any work: the interpreter and the libraries
WORKER_BYTES = 160 << 20
#: a part is about this many cells: some seconds of work, so that little is lost when it has to be done again
PART_CELLS = 400_000_000
#: but a run has at least about this many parts, so that every core has something to do
LEAST_PARTS = 64
#: obligors of one part; more rows share the paths that were drawn for them
PART_ROWS = 1024


@dataclass(frozen=True)
class Plan:
    """How many workers, and the parts they do. ``bytes_each``: what one worker needs at its peak, an estimate."""

    workers: int
    bytes_each: int
    parts: tuple[Chunk, ...]


def plan(work: Work, cores: int, memory: int, processes: bool) -> Plan:
    """A plan within a budget of memory in bytes. CanaryError when not even one worker fits into it."""
    each = peak_bytes(work) + (WORKER_BYTES if processes else 0)
    base = WORKER_BYTES + sys.getsizeof(work)
    if base + each > memory:
        raise CanaryError(
            f"one worker needs about {human(base + each)} for {work.n_rows:,} obligors over {work.n_periods} months; "
            f"give --memory {human(base + each)} or more"
        )
    workers = max(1, min(cores, (memory - base) // each))
    return Plan(int(workers), each, parts(work))


def parts(work: Work) -> tuple[Chunk, ...]:
    """The parts of a run: the same for every engine and any number of workers, so that a run can go on elsewhere."""
    wanted = min(PART_CELLS, work.n_cells // LEAST_PARTS)
    unit = min(ROWS, work.n_rows) * min(MICRO_BLOCK, work.n_paths) * work.n_periods
    rows_each = max(1, min(PART_ROWS // ROWS, wanted // unit))
    return tuple(chunks(work, rows_each, max(1, wanted // (unit * rows_each))))


def peak_bytes(work: Work) -> int:
    """Bytes of one micro-block while it is drawn and run: shocks and their copies, factors, a block of rows."""
    customers, models, months = len(work.cells.counterparties), len(work.cells.models), work.n_periods
    axes = 3 + customers
    drawn = 5 * months * axes * MICRO_BLOCK * WIDE
    factors = 2 * months * (12 + 2 * models + customers) * MICRO_BLOCK * WIDE
    summary = ROWS * MICRO_BLOCK * (6 * WIDE + 4)
    return int(drawn + factors + summary) + sys.getsizeof(work) // 4


def memory_of(text: str) -> int:
    """Bytes meant by a text. CanaryError for anything else.

    >>> memory_of("2GiB"), memory_of("500 MB")
    (2147483648, 500000000)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?\s*", text, re.IGNORECASE)
    if found is None:
        raise CanaryError(f"--memory {text[:40]!r}: write for example 2GiB or 500MB")
    power = "KMGT".index(found[2].upper()) + 1
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def human(size: int) -> str:
    """Bytes as a person writes them, rounded up.

    >>> human(1 << 31), human(700 << 20)
    ('2.0GiB', '700MiB')
    """
    return f"{-(-size // (1 << 20))}MiB" if size < 1 << 30 else f"{-(-size * 10 // (1 << 30)) / 10:.1f}GiB"

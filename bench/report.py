"""The page of a book of 500 borrowers: what it costs to write and to show, beside gathering that of the starter book.

    python bench/report.py [--borrowers 500]

The borrowers are the starter book's, repeated under other names. The browser's share needs Chromium; without it that
line is left out. The aim for writing and showing is two seconds together.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from monitor.config import find_config, load_config
from monitor.report.gather import gather
from monitor.report.page import render
from monitor.report.parts import Report
from monitor.tick import looking, newest_close
from monitor.world import World, build_world


def starter() -> World:
    """The world of the checkout, nothing fetched."""
    found = find_config(None, {"HOME": tempfile.gettempdir()}, Path(__file__).parents[1])
    return build_world(load_config(found, os.environ), offline=True)


def repeated(report: Report, count: int) -> Report:
    """The judged borrowers of a report under other names until there are ``count``."""
    sections = {section.id: section for section in report.sections}
    rows, parts = [], []
    for i in range(count):
        row = report.rows[i % len(report.rows)]
        name, id_ = f"{row.name} {i}", f"{row.id}-{i}"
        rows.append(replace(row, id=id_, name=name))
        parts.append(replace(sections[row.id], id=id_, name=name))
    return replace(report, rows=tuple(rows), sections=tuple(parts))


def shown_s(page: str) -> float | None:
    """Seconds until Chromium has laid the page out, less those for an empty page; None without Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return None
    took = []
    with tempfile.TemporaryDirectory() as folder:
        for text in ("<!doctype html><title>empty</title>", page):
            file = Path(folder) / "page.html"
            file.write_text(text, encoding="utf-8")
            command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", file.as_uri()]
            runs = []
            for _ in range(3):
                start = time.perf_counter()
                subprocess.run(command, capture_output=True, check=True, timeout=120)
                runs.append(time.perf_counter() - start)
            took.append(min(runs))
    return took[1] - took[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--borrowers", type=int, default=500)
    count = parser.parse_args().borrowers
    world = starter()
    with looking(world, newest_close(world, datetime.now(UTC))) as (store, _):
        start = time.perf_counter()
        small = gather(world, store)
        gathered = time.perf_counter() - start
    report = repeated(small, count)
    render(report)  # the template is compiled once
    start = time.perf_counter()
    page = render(report)
    written = time.perf_counter() - start
    shown = shown_s(page)
    print(f"{count} borrowers, page of {len(page.encode()) / 1e6:.1f} MB")
    print(f"  gather the starter book ({len(small.rows)} judged)  {gathered * 1e3:8.0f} ms  baseline")
    print(f"  write the page                    {written * 1e3:8.0f} ms  {written / gathered:.2f} x")
    if shown is not None:
        both = written + shown
        print(f"  show it (less an empty page)      {shown * 1e3:8.0f} ms  {shown / gathered:.2f} x")
        print(
            f"  write and show                    {both * 1e3:8.0f} ms  aim 2000 ms: {'met' if both < 2 else 'missed'}"
        )


if __name__ == "__main__":
    main()

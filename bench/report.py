"""The page of a book of 500 borrowers: what it costs to write and to show, beside gathering that of the starter book.

    python bench/report.py [--borrowers 500]

The borrowers are the starter book's, repeated under other names. The browser's share is the time from the start of the
navigation until two frames were painted with the whole document in, less that of an empty page; it needs Chromium, its
driver and selenium, and is left out without them. Medians of five, by the clock and of a processor, which others on the
machine lengthen less; the load is printed beside them. The aim is two seconds together by the clock.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.config import find_config, load_config
from monitor.report.gather import gather
from monitor.report.page import render
from monitor.report.parts import Report
from monitor.tick import looking, newest_close
from monitor.world import World, build_world

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

EMPTY = "<!doctype html><title>empty</title>"


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


#: milliseconds from the start of the navigation until two frames were painted after the end of the document
PAINTED = """const done = arguments[0];
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));"""
RUNS = 5
Took = tuple[float, float]


def shown_s(page: str) -> Took | None:
    """Seconds until Chromium has shown the page, by the clock and of a processor, less those for an empty page; None
    without Chromium or its driver."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver and find_spec("selenium")):
        return None
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.execute_cdp_cmd("Performance.enable", {})
        with tempfile.TemporaryDirectory() as folder:
            empty, full = (_loaded(browser, Path(folder) / "page.html", text) for text in (EMPTY, page))
    finally:
        browser.quit()
    return full[0] - empty[0], full[1] - empty[1]


def _loaded(browser: WebDriver, file: Path, text: str) -> Took:
    """The median of some loads of a page."""
    file.write_text(text, encoding="utf-8")
    took = []
    for _ in range(RUNS):
        browser.get("about:blank")
        before = _processor_s(browser)
        browser.get(file.as_uri())
        clock = float(browser.execute_async_script(PAINTED)) / 1e3
        took.append((clock, _processor_s(browser) - before))
    return _medians(took)


def _processor_s(browser: WebDriver) -> float:
    """Processor time of the page's process so far."""
    found = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(one["value"] for one in found if one["name"] == "ProcessTime"))


def _medians(took: list[Took]) -> Took:
    return statistics.median(one[0] for one in took), statistics.median(one[1] for one in took)


def written_s(report: Report) -> tuple[str, Took]:
    """The page, and what writing it took."""
    page, took = render(report), list[Took]()  # the template is compiled once
    for _ in range(RUNS):
        clock, own = time.perf_counter(), time.process_time()
        page = render(report)
        took.append((time.perf_counter() - clock, time.process_time() - own))
    return page, _medians(took)


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
    page, written = written_s(repeated(small, count))
    shown = shown_s(page)
    load = os.getloadavg()[0]
    print(
        f"{count} borrowers, page of {len(page.encode()) / 1e6:.1f} MB; load {load:.1f} on {os.cpu_count()} processors"
    )
    print("                                       clock    processor")
    print(f"  gather the starter book ({len(small.rows)} judged)  {gathered * 1e3:8.0f} ms             baseline")
    _said("write the page", written)
    if shown is not None:
        both = written[0] + shown[0], written[1] + shown[1]
        _said("show it (less an empty page)", shown)
        _said("write and show", both, f"  aim 2000 ms: {'met' if both[0] < 2 else 'missed'}")


def _said(what: str, took: Took, more: str = "") -> None:
    print(f"  {what:34}{took[0] * 1e3:8.0f} ms  {took[1] * 1e3:8.0f} ms{more}")


if __name__ == "__main__":
    main()

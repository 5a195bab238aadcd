"""The page in a real browser: both colour schemes, phone and desktop, sorting, keyboard, accessibility, no requests.

Needs Chromium and its driver (Debian: chromium, chromium-driver); where they are missing the tests are left out.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_pages import hostile, starter

from monitor.report.page import render
from monitor.report.tags import LONGEST

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its driver are not installed"),
    pytest.mark.xdist_group("browser"),
]
SIZES = {"phone": (390, 844), "desktop": (1400, 900)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless browser without a network for all tests here."""
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):  # fmt: skip
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(300)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter book's page as a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(starter()), "utf-8")
    return path


def opened(browser: Any, page: Path, size: str = "desktop", scheme: str = "light") -> None:
    """Show the page in a window of that size and scheme; what was logged before is forgotten."""
    width, height = SIZES[size]
    command = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", command)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_the_page_renders_without_errors_or_requests(browser: Any, page: Path, size: str, scheme: str) -> None:
    """No console message, nothing asked of any other address, the page itself never scrolls sideways, right colours."""
    opened(browser, page, size, scheme)
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert set(urls) <= {page.as_uri()}
    wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, tmp_path: Path, scheme: str) -> None:
    """The accessibility rules of axe-core find no serious or critical fault in either colour scheme; three borrowers
    stand for all, which are made of the same parts."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is not installed")
    few = replace(starter(), sections=starter().sections[:3], rows=starter().rows[:3])
    page = tmp_path / "few.html"
    page.write_text(render(few), "utf-8")
    opened(browser, page, scheme=scheme)
    browser.execute_script((Path(found.origin).parent / "axe.min.js").read_text("utf-8"))
    result = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    serious = [
        (one["id"], one["nodes"][0]["html"][:120])
        for one in result["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_press_on_a_head_orders_the_table_and_unknown_stays_last(browser: Any, page: Path) -> None:
    """Once: lowest first; twice: highest first; what is unknown is at the end both times, and it is said aloud."""
    opened(browser, page)
    column = 3 + [head.label for head in starter().heads].index("liquidity 12 m, locked")
    press = f"document.querySelectorAll('#canaries thead button')[{column}].click();"
    read = f"return [...document.querySelectorAll('#canaries tbody tr')].map(r => r.cells[{column}].dataset.sort ?? '')"
    for sign, direction in ((1, "ascending"), (-1, "descending")):
        order = browser.execute_script(press + read)
        numbers = [sign * float(text) for text in order if text]
        assert numbers == sorted(numbers)
        assert order[len(numbers) :] == [""] * (len(order) - len(numbers))
        assert "" in order
        assert len(numbers) > 3
        head = browser.execute_script(f"return document.querySelectorAll('#canaries thead th')[{column}].ariaSort")
        assert head == direction
    assert "highest first" in browser.execute_script("return document.getElementById('sorted').textContent")


def test_everything_can_be_reached_and_used_from_the_keyboard(browser: Any, page: Path) -> None:
    """The first tab stop skips to the table; return on a head sorts; the heads come in their order."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    opened(browser, page)
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.execute_script("return document.activeElement.className") == "skip"
    assert browser.execute_script("return document.activeElement.getBoundingClientRect().left") >= 0
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineWidth") == "3px"
    browser.execute_script("document.querySelector('#canaries thead button').focus()")
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert browser.execute_script("return document.querySelector('#canaries thead th').ariaSort") == "ascending"
    said = browser.execute_script("return document.getElementById('sorted')")
    assert (said.get_attribute("aria-live"), said.text) == ("polite", "sorted by borrower, lowest first; unknown last")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.execute_script("return document.activeElement.closest('th').cellIndex") == 1


def test_the_page_works_without_a_script(browser: Any, page: Path) -> None:
    """With scripts off the table is there, without buttons that would do nothing, and details still open."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, page)
        tree = browser.execute_cdp_cmd("DOM.getDocument", {"depth": 0})
        root = tree["root"]["nodeId"]
        found = {
            what: len(browser.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": root, "selector": what})["nodeIds"])
            for what in ("#canaries tbody tr", "#canaries button", "details > summary")
        }
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert found["#canaries tbody tr"] == len(starter().rows)
    assert found["#canaries button"] == 0
    assert found["details > summary"] > 5


def test_a_hostile_name_runs_nothing_and_is_shown(browser: Any, tmp_path: Path) -> None:
    """A name made of markup is on the page as text; no script of it runs and no element of it exists."""
    path = tmp_path / "hostile.html"
    text = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    path.write_text(render(hostile(text)), "utf-8")
    opened(browser, path, "phone")
    assert browser.title.startswith("Canary")
    assert browser.execute_script("return document.images.length + document.scripts.length") == 1
    assert text in browser.execute_script("return document.querySelector('#canaries tbody th').textContent")
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("text", ["a" * 10_000, "Core\u202eWeave\u2066 " * 500], ids=["one word", "bidi"])
def test_a_name_of_any_length_never_breaks_the_page(browser: Any, tmp_path: Path, size: str, text: str) -> None:
    """The page does not scroll sideways, a row of the table stays a row, and the name is whole in its section."""
    path = tmp_path / "long.html"
    few = replace(hostile(text), sections=hostile(text).sections[:1], rows=hostile(text).rows[:1])
    path.write_text(render(few), "utf-8")
    opened(browser, path, size)
    assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
    link = "return document.querySelector('#canaries tbody th').getBoundingClientRect().height"
    assert browser.execute_script(link.replace("th')", "th a')")) < 100
    said = browser.execute_script("return document.querySelector('section.borrower h2').textContent")
    assert len(said) > LONGEST / 2


def test_a_table_of_grids_is_still_a_table_to_a_screen_reader(browser: Any, page: Path) -> None:
    """The rows are laid out as grids; their roles are those of a table, with row and column heads."""
    opened(browser, page)
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [one["role"]["value"] for one in nodes if not one.get("ignored") and "role" in one]
    judged = len(starter().rows)
    assert roles.count("row") >= judged + 1
    assert roles.count("rowheader") >= judged
    assert roles.count("columnheader") >= len(starter().heads)
    assert roles.count("table") > 1


def test_paper_is_light_and_shows_the_whole_table(browser: Any, page: Path) -> None:
    """Printed from a dark screen the page is black on white, no cell lies outside it, and details are open."""
    opened(browser, page, scheme="dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    beyond = browser.execute_script(
        "return [...document.querySelectorAll('#canaries :is(td, th)')]"
        ".filter(c => c.getBoundingClientRect().right > innerWidth).length"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert paper == "rgb(255, 255, 255)"
    assert beyond == 0

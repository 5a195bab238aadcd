"""The rental index against the median of whatever was offered: how far each jumps, and how far each is from the truth.

    python bench/rental_index.py [--picture FILE.png] [--seeds 5]

Baseline: the naive median, on the same offers in the same run. The recorded market is read where it lies and left out
where it is absent; the simulated one has a known truth. The chained Jevons index stands beside them.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from datetime import date, datetime
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: more threads only wait for each other
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from matplotlib.figure import Figure
from rental_market import (
    LATER,
    RECORDED,
    Simulated,
    moves,
    naive_median,
    offer,
    recorded_offers,
    simulate,
    tracking_errors,
)

from monitor.charts import GREY, MAIN, SECOND, Stamp
from monitor.framing import framed
from monitor.index import IndexPoint, Offer, RentalMarket, rental_index

PANELS: list[tuple[str, RentalMarket]] = [
    *((model, "on_demand") for model in ("H100", "A100", "H200", "B200", "L40S", "A100-PCIe")),
    ("H100", "spot"),
]
JUMPS = [
    (date(2026, 5, 21), date(2026, 5, 22)),
    (date(2026, 8, 17), date(2026, 8, 18)),
    (date(2026, 8, 18), date(2026, 8, 19)),
]


MEDIAN = "median of what was offered"


def index_of(offers: list[Offer], model: str, market: RentalMarket) -> tuple[tuple[IndexPoint, ...], float]:
    """(points, seconds it took)."""
    started = time.perf_counter()
    points = rental_index(offers, model, market, LATER)
    return points, time.perf_counter() - started


def recorded_table() -> None:
    """Largest daily moves on the recorded market, per model and market, and the days the H100 median is known for."""
    print("Recorded market, largest move from one day to the next")
    print("model      market     days withheld thin   naive  jevons   index  naive/index  ms/day")
    for model, market in PANELS:
        offers = recorded_offers(model, market)
        points, seconds = index_of(offers, model, market)
        naive = moves(list(naive_median(offers).values())).max()
        chain = moves([point.jevons_usd_per_gpu_hour for point in points]).max()
        ours = moves([point.value_usd_per_gpu_hour for point in points]).max()
        withheld, thin = (sum(bool(x) for x in xs) for xs in zip(*((p.withheld, p.thin) for p in points), strict=True))
        print(
            f"{model:10} {market:10} {len(points):4} {withheld:8} {thin:4} {naive:7.1%} {chain:7.1%} {ours:7.1%}"
            f"  {naive / ours:11.1f}  {1000 * seconds / len(points):6.1f}"
        )
    offers = recorded_offers("H100", "on_demand")
    naive_at = naive_median(offers)
    ours_at = {p.day: p.value_usd_per_gpu_hour for p in index_of(offers, "H100", "on_demand")[0]}
    for before, day in JUMPS:
        print(
            f"  H100 on demand {before} -> {day}: median {naive_at[before]:.2f} -> {naive_at[day]:.2f},"
            f" index {ours_at[before]:.3f} -> {ours_at[day]:.3f} ({ours_at[day] / ours_at[before] - 1:+.1%})"
        )


#: list prices that never move, added to the recorded panel: as many as there are providers in it
LISTS = 6


def frozen_table() -> None:
    """Lists that never move beside the recorded H100 market: how much of its move from end to end is left."""
    offers = recorded_offers("H100", "on_demand")
    days = sorted({one.observed_at.date() for one in offers})
    still = [offer(f"list {n}", day, 2.6 + n / 10, "list") for n in range(LISTS) for day in days]
    print(f"\nRecorded H100 on demand, {days[0]} to {days[-1]}, and the same with {LISTS} list prices that never move")
    print("                   index   median")
    for name, rows in (("as recorded", offers), (f"with {LISTS} lists", offers + still)):
        known = [p.value_usd_per_gpu_hour for p in index_of(rows, "H100", "on_demand")[0] if not p.withheld]
        naive = list(naive_median(rows).values())
        print(f"{name:16} {known[-1] / known[0] - 1:+7.1%} {naive[-1] / naive[0] - 1:+8.1%}")


def simulated_table(seeds: int) -> None:
    """Distance from the truth of simulated markets with random entry, exit, noise and errors."""
    print("\nSimulated markets, standard deviation of the log distance from the truth (150 days, 14 providers)")
    print("seed    naive  jevons   index  index/naive")
    met = 0
    for seed in range(seeds):
        market = simulate(seed)
        points, _ = index_of(list(market.offers), "H100", "on_demand")
        ours, naive = tracking_errors(market, points)
        level = np.array([market.truth[market.days.index(point.day)] for point in points])
        chain = np.std([math.log(p.jevons_usd_per_gpu_hour) for p in points] - level)
        met += ours <= naive / 3
        print(f"{seed:4} {naive:8.1%} {chain:7.1%} {ours:7.1%}  {ours / naive:11.2f}")
    print(f"at most a third of the error of the median: on {met} of {seeds} markets")


def picture(file: Path) -> None:
    """Median and index on the recorded H100 market, and both against the truth on a simulated one, as PNG."""
    notes = "median: of all offers of the day; index: offers compared with themselves only; right: drawn at random"
    source = "recorded offers of a public catalogue; simulated offers"
    points = _points()
    at = datetime.combine(points[-1].day, datetime.min.time()) if points else LATER
    stamp = Stamp(at, points[-1].day if points else None, source, notes=(notes,))
    file.write_bytes(framed("A rental index beside the median of what was offered", stamp, (13.0, 4.4), _fill))
    print(f"\nwrote {file}")


def _points() -> tuple[IndexPoint, ...]:
    """The index of the recorded market; none where it is not here."""
    return index_of(recorded_offers("H100", "on_demand"), "H100", "on_demand")[0] if RECORDED.exists() else ()


def _fill(figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    if points := _points():
        naive = naive_median(recorded_offers("H100", "on_demand"))
        left.plot(list(naive), list(naive.values()), color=SECOND, lw=1, label=MEDIAN)
        left.plot([p.day for p in points], [p.value_usd_per_gpu_hour for p in points], color=MAIN, lw=2, label="index")
        left.set_title("H100 on demand, recorded", loc="left", fontsize=10)
    market: Simulated = simulate(1)
    points, _ = index_of(list(market.offers), "H100", "on_demand")
    naive = naive_median(market.offers)
    start = math.log(points[-1].value_usd_per_gpu_hour) - market.truth[-1]
    right.plot(market.days, np.exp(market.truth + start), color=GREY, lw=6, alpha=0.6, label="truth")
    right.plot(list(naive), list(naive.values()), color=SECOND, lw=1, label=MEDIAN)
    right.plot([p.day for p in points], [p.value_usd_per_gpu_hour for p in points], color=MAIN, lw=2, label="index")
    right.set_title("simulated: providers come, go and err", loc="left", fontsize=10)
    for axes in (left, right):
        axes.set_ylabel("USD per GPU-hour")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", fontsize=8, frameon=False, ncols=3)
        axes.tick_params(axis="x", labelrotation=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, help="write a PNG here")
    parser.add_argument("--seeds", type=int, default=5, help="how many simulated markets")
    chosen = parser.parse_args()
    if RECORDED.exists():
        recorded_table()
        frozen_table()
    else:
        print("The recorded market is not here; only the simulated one is measured.")
    simulated_table(chosen.seeds)
    if chosen.picture:
        picture(chosen.picture)


if __name__ == "__main__":
    main()

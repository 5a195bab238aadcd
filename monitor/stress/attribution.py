"""Which part of a change came from which cause: Shapley values over groups of inputs. Parts add to the whole. Pure.

Source: Shapley, "A Value for n-Person Games" (1953); exact over all subsets, so at most twelve groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import factorial

import numpy as np

from monitor.model import FloatArray

MAX_GROUPS = 12


def shapley(groups: Sequence[str], value: Callable[[frozenset[str]], FloatArray]) -> dict[str, FloatArray]:
    """Shapley value of each group.

    ``value(moved)`` gives the outcome (any shape) when exactly the groups in ``moved`` have their new inputs and the
    others their old ones. The parts add to ``value(all) - value(none)``. Raises ValueError beyond twelve groups.

    >>> def loss(moved):
    ...     x, y, z = ("x" in moved), ("y" in moved), ("z" in moved)
    ...     return np.array(x + 2.0 * y + 3 * x * y + z)
    >>> {name: float(part) for name, part in shapley(["x", "y", "z"], loss).items()}
    {'x': 2.5, 'y': 3.5, 'z': 1.0}
    """
    if len(groups) > MAX_GROUPS:
        raise ValueError(f"at most {MAX_GROUPS} groups; merge the ones that move together")
    outcomes = {
        frozenset(subset): np.asarray(value(frozenset(subset)), float)
        for size in range(len(groups) + 1)
        for subset in combinations(groups, size)
    }
    total = factorial(len(groups))
    parts = {}
    for group in groups:
        part = np.zeros_like(outcomes[frozenset()])
        for subset, outcome in outcomes.items():
            if group not in subset:
                weight = factorial(len(subset)) * factorial(len(groups) - len(subset) - 1) / total
                part = part + weight * (outcomes[subset | {group}] - outcome)
        parts[group] = part
    return parts

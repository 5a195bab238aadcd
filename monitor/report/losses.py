"""What the lenders of each borrower lose if it falls today and nobody else does, lender by lender.

A lender nobody named stands in a row of its own: whoever is named may have lent part of that too, so that a named
lender loses *at least* what its row says. Assets nobody valued count as nothing: then what is lost is *at most* that.
Where both hold neither is said; the notes name what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from monitor.stress.creditors import CORNERS, NOBODY, Behind, Claim, Recovery, fallen_alone, recover
from monitor.stress.sale import holdings, settle
from monitor.stress.state import State
from monitor.tables import Cell, Head, Table, show

#: so many instruments are named in the row of unknown lenders
NAMED = 3
HEADS = (Head("lender"), Head("is owed, USD", right=True), Head("gets back", right=True),
         Head("loses, USD (range)", right=True))  # fmt: skip
HOW = (
    "it falls alone: pools pay their own loans first, the rest is shared by clearing; the range is over the assumptions"
)
UNNAMED = "who bears the row of the unknown is not in the book: a lender that is named may bear part of it too"
OPEN = "? its whole debt was never reported: only the instruments of the book are counted, more may be owed and lost"


def losses(state: State) -> tuple[Table, ...]:
    """A table for every borrower, in the order of the state."""
    behind, corners = Behind.of(state), list[list[Recovery]]()
    for corner in CORNERS:
        own = holdings(state, corner)
        end = settle(own, np.eye(len(own.borrowers), dtype=bool))
        each = range(len(own.borrowers))
        corners.append([recover(state, own, fallen_alone(end, b), corner, behind) for b in each])
    names = {one.debt.id: one.debt.name for row in state.rows for one in row.debts}
    whole = [row.number("debt_usd") is not None for row in state.rows]
    return tuple(_table([found[b] for found in corners], names, known) for b, known in enumerate(whole))


def _table(found: Sequence[Recovery], names: Mapping[str, str], whole: bool) -> Table:
    """What one fall costs each lender; the first corner is the middle. ``whole``: all it owes was reported."""
    lenders, floors = [one.by_lender() for one in found], tuple(found[0].floors.values())
    if not lenders[0]:
        return Table("", notes=(Cell("? what it owes was never reported, so nobody's loss is known", "dim"),))
    some = NOBODY in lenders[0] and len(lenders[0]) > 1
    rows = []
    for lender, (owed, paid) in lenders[0].items():
        ends = [owed_ - paid_ for owed_, paid_ in (one.get(lender, (0.0, 0.0)) for one in lenders)]
        who = lender if lender != NOBODY else f"{NOBODY}: {_instruments(found[0].claims, names)}"
        more = not whole or (some and lender != NOBODY)
        bound = "" if bool(floors) == more or not max(ends) else "at most " if floors else "at least "
        share = show(paid / owed, "ratio") if owed else "-"
        back = f"at least {share}" if floors and paid < owed else share
        rows.append((Cell(who), Cell(show(owed, "usd")), Cell(back), Cell(bound + _range(ends))))
    said = [*(f"? {why}, counted as nothing: more may be paid" for why in floors), *([] if whole else [OPEN])]
    return Table(
        "", HEADS, tuple(rows), tuple(Cell(text, "dim") for text in (*said, *([UNNAMED] if some else []), HOW))
    )


def _range(ends: Sequence[float]) -> str:
    """The middle, and the two ends where they differ from it.

    >>> _range([2e9, 3e9, 1e9]), _range([0.0, 0.0, 0.0])
    ('2.00bn (1.00bn-3.00bn)', 'nothing')
    """
    middle, low, high = (show(value, "usd") if value > 0.5 else "0" for value in (ends[0], min(ends), max(ends)))
    if high == "0":
        return "nothing"
    return middle if low == high else f"{middle} ({low}-{high})"


def _instruments(claims: Sequence[Claim], names: Mapping[str, str]) -> str:
    """The largest instruments nobody is named for."""
    largest = sorted((one for one in claims if one.lender == NOBODY), key=lambda one: -one.owed_usd)
    said = ", ".join(names.get(one.debt, one.debt) for one in largest[:NAMED])
    return said + (f" and {len(largest) - NAMED} more" if len(largest) > NAMED else "")

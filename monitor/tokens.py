"""What a million tokens cost -> one price index for reading and one for writing: the deflator of inference. Pure.

The same matched-model index as for rents (:mod:`monitor.index`): a model is compared only with itself, each maker has
one voice, and a list price nobody touches does not hold the index still. A new model that is better or cheaper moves
nothing, so the index tells what became of the models there were, and understates how fast the price of an answer falls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from monitor.index import Offer, offer_of
from monitor.model import Observation
from monitor.rents import say_index

#: raw prices, USD per million tokens; the subject is maker/model/on_demand/list/side/1
OFFERS = "offer_token_usd"
#: reading and writing are two products: side -> the series of its index
TOKEN_INDEX = {"input": "tokens_input_index_usd", "output": "tokens_output_index_usd"}


def token_offers(observations: Iterable[Observation], side: str) -> list[Offer]:
    """The offers of one side of the meter, all models together as one market; the rest is left out.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 8, 14, 12, tzinfo=UTC)
    >>> seen = Observation("offer_token_usd", 3.0, "usd/mtok", noon, noon, "a list",
    ...                    subject="maker/large-1/on_demand/list/input/1")
    >>> (found,) = token_offers([seen], "input")
    >>> found.provider, found.model, found.series
    ('maker', 'INPUT', 'maker/large-1/on_demand/list/input/1')
    >>> token_offers([seen], "output")
    []
    """
    read = (offer_of(seen) for seen in observations if seen.series == OFFERS)
    return [replace(offer, model=side.upper()) for offer in read if offer is not None and offer.region == side]


def token_observations(
    offers: Sequence[Observation], said: Sequence[Observation], now: datetime
) -> tuple[list[Observation], dict[str, str]]:
    """Both indices for the days that have prices and were not said yet, and for a withheld one why.

    ``offers`` and ``said`` (earlier index observations) reach :data:`monitor.rents.LOOK_BACK` into the past.
    """
    observations: list[Observation] = []
    withheld: dict[str, str] = {}
    for side, series in TOKEN_INDEX.items():
        mine = token_offers(offers, side)
        if mine:
            new, reason = say_index(
                mine, series, side.upper(), "on_demand", said, now, "usd/mtok", "matched-model index of token prices"
            )
            observations += new
            if reason:
                withheld[series] = reason
    return observations, withheld

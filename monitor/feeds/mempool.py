"""mempool.space: mining difficulty, its past adjustments, and the average block reward of the last day. No key.

Hashprice is derived from both and the bitcoin price in :mod:`monitor.market`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from monitor.dated import from_epoch, settled
from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, field, number
from monitor.model import FeedError, Observation

#: blocks asked for: one day at one block in ten minutes
BLOCKS = 144
SATOSHI_PER_BTC = 1e8
#: (from when, subsidy of a block in BTC, assumed fees as a share of it): what the protocol paid in the past
ERAS = (
    (datetime(2016, 7, 10, tzinfo=UTC), 12.5, 0.05),
    (datetime(2020, 5, 12, tzinfo=UTC), 6.25, 0.02),
    (datetime(2024, 4, 21, tzinfo=UTC), 3.125, 0.01),
)


class Mempool(Feed):
    """Two requests: the hashrate page for the difficulty in force, the reward statistics (satoshi as strings)."""

    name = "mempool"
    series = ("difficulty", "block_reward_btc")
    hosts = ("mempool.space",)
    what = "mining difficulty and the average block reward, fees included"
    limits = "not published, bans repeated excess; two requests a fetch"

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """Difficulty in force and mean reward per block, fees included, over the last 144 blocks."""
        parts = {"difficulty": self._difficulty(client, now), "reward": self._reward(client, now)}
        return await gather_parts(client, parts)

    async def history(
        self, client: Client, now: datetime, since: datetime | None = None, until: datetime | None = None
    ) -> list[Observation]:
        """Every difficulty in force since then, known with its block, and the protocol's subsidy with assumed fees."""
        rows, _ = settled(await self._adjustments(client), now)
        in_force = max((at for at, _ in rows if since and at <= since), default=None)
        source = "mempool.space difficulty adjustments"
        found = [
            Observation("difficulty", value, "number", at, at, source, known_basis="assumed")
            for at, value in rows
            if in_force is None or at >= in_force
        ]
        return [*found, *_subsidies(now, since)]

    async def _adjustments(self, client: Client) -> list[tuple[datetime, float]]:
        """(time of the block, difficulty from it on) of every row ``[s, height, difficulty, ratio to the last]``."""
        answer = await client.get_json(f"{self.base_url}/api/v1/mining/difficulty-adjustments")
        if not isinstance(answer, list):
            raise FeedError("the difficulty adjustments are not a list")
        found = []
        for row in answer:
            if not isinstance(row, list) or len(row) < 3:
                raise FeedError("a difficulty adjustment has too few columns")
            found.append((from_epoch(number(row[0], "its time"), 1.0), number(row[2], "difficulty")))
        return found

    async def _difficulty(self, client: Client, now: datetime) -> list[Observation]:
        answer = await client.get_json(f"{self.base_url}/api/v1/mining/hashrate/3d")
        value = number(field(answer, "currentDifficulty"), "difficulty")
        return [self.observation("difficulty", value, now, now, "mempool.space difficulty in force")]

    async def _reward(self, client: Client, now: datetime) -> list[Observation]:
        answer = await client.get_json(f"{self.base_url}/api/v1/mining/reward-stats/{BLOCKS}")
        blocks = number(field(answer, "endBlock"), "endBlock") - number(field(answer, "startBlock"), "startBlock") + 1
        if not BLOCKS / 2 <= blocks <= BLOCKS * 2:
            raise FeedError(f"the reward statistics cover {blocks:.0f} blocks, not about {BLOCKS}")
        reward_btc = number(field(answer, "totalReward"), "totalReward") / SATOSHI_PER_BTC / blocks
        source = f"mempool.space mean reward of {BLOCKS} blocks"
        return [self.observation("block_reward_btc", reward_btc, now, now, source)]


def _subsidies(now: datetime, since: datetime | None) -> list[Observation]:
    """The reward of each era that was in force between two moments; its fees are a judgement."""
    found = []
    for (at, subsidy, fees), following in zip(ERAS, (*(era[0] for era in ERAS[1:]), now), strict=True):
        if at <= now and (since is None or following > since):
            source = f"protocol subsidy of {subsidy:g} BTC and {fees:.0%} of fees"
            row = Observation("block_reward_btc", subsidy * (1 + fees), "btc", at, at, source, known_basis="assumed")
            found.append(replace(row, quality="assumed"))
    return found

"""mempool.space: mining difficulty and the average block reward of the last day. No key.

Hashprice is derived from both and the bitcoin price in :mod:`monitor.market`.
"""

from __future__ import annotations

from datetime import datetime

from monitor.feeds import Feed, gather_parts
from monitor.feeds.http import Client, field, number
from monitor.model import FeedError, Observation

#: blocks asked for: one day at one block in ten minutes
BLOCKS = 144
SATOSHI_PER_BTC = 1e8


class Mempool(Feed):
    """Two requests: the hashrate page for the difficulty in force, the reward statistics (satoshi as strings)."""

    name = "mempool"
    series = ("difficulty", "block_reward_btc")
    hosts = ("mempool.space",)

    async def fetch(self, client: Client, now: datetime) -> list[Observation]:
        """Difficulty in force and mean reward per block, fees included, over the last 144 blocks."""
        parts = {"difficulty": self._difficulty(client, now), "reward": self._reward(client, now)}
        return await gather_parts(client, parts)

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

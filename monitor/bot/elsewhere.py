"""The world in the worker process: built from the files there, kept until one of them changes.

Light to import, so that the daemon can name functions of the worker without loading what they need.
"""

from __future__ import annotations

import os

from monitor.config import Config, Found, inputs_hash, load_config
from monitor.world import World, build_world


class _Kept:
    """The world of the files as they are, built again only when one of them changed."""

    def __init__(self) -> None:
        self.key: object = None
        self.world: World | None = None

    def world_of(self, config: Config, offline: bool) -> World:
        key = (config.found, offline, inputs_hash(config))
        if self.world is None or key != self.key:
            self.world, self.key = build_world(config, offline=offline), key
        return self.world


_KEPT = _Kept()


def world_of(found: Found, offline: bool) -> World:
    """The world of a config, in this process. InputError when somebody's edit cannot be read."""
    return _KEPT.world_of(load_config(found, os.environ), offline)

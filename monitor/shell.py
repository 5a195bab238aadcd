"""What every command shares: which config, whether offline, whether a person or a machine reads. Light to import."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.commands import Reply
    from monitor.config import Config

OK, FINDING, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


@dataclass
class Shell:
    """The options of one command line."""

    config_path: str | None = None
    offline: bool = False
    as_json: bool = False
    plain: bool = False
    said_starter: bool = False

    def config(self) -> Config:
        """The config that counts, read afresh; says once when it is the starter set, which nobody can edit."""
        from monitor.config import find_config, load_config

        named = Path(self.config_path) if self.config_path else None
        found = find_config(named, os.environ, Path.cwd())
        if found.starter and not self.said_starter:
            self.said_starter = True
            print(f"canary: no config here; using {found.why}. Your own: canary init DIR", file=sys.stderr)
        return load_config(found, os.environ)

    def guard(self) -> AbstractContextManager[None]:
        """With --offline, nothing inside may leave this machine."""
        from monitor.offline import offline_guard

        return offline_guard() if self.offline else nullcontext()

    def show(self, reply: Reply) -> int:
        """Print a reply for people or for machines; the exit code says whether there is a finding."""
        if self.as_json:
            print(json.dumps(reply.data, indent=2, allow_nan=False, ensure_ascii=False))
        else:
            from monitor.tables import print_table, terminal

            console = terminal(plain=self.plain)
            for table in reply.tables:
                print_table(table, console)
        return FINDING if reply.finding else OK

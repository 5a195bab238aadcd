"""One process beside the main one for heavy work: it starts when first needed and ends when it was idle.

Pictures and large calculations load hundreds of megabytes and may take seconds; a process that does nothing else takes
that load and the crash, if there is one. Functions are named by text (``"monitor.drawing:heatmap"``), so that the
process that asks never imports them or what they need.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from monitor.model import CanaryError

#: the process ends by itself after so many seconds without work
IDLE_S = 300.0
#: a piece of work that takes longer is given up, and the process with it
LIMIT_S = 120.0


class Worker:
    """The process and the way to it. Pieces of work are done one after the other, in the order they were asked for.

    >>> worker = Worker()
    >>> asyncio.run(worker.run("monitor.units:format_usd", 35.55e9))
    '35.55bn'
    >>> worker.close()
    """

    def __init__(self, idle_s: float = IDLE_S, limit_s: float = LIMIT_S):
        self.idle_s, self.limit_s = idle_s, limit_s
        self._turn = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._closed = False

    async def run(self, function: str, *arguments: object) -> Any:
        """The value of ``module:function`` called there. CanaryError: its own words, a crash, or too long."""
        return await asyncio.to_thread(self._ask, function, arguments)

    def close(self) -> None:
        """End the process now; work under way fails in words. Nothing is started any more."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
            process.join()

    @property
    def pid(self) -> int | None:
        """The process under way, if there is one."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    def _ask(self, function: str, arguments: tuple[object, ...]) -> Any:
        with self._turn:
            for fresh in (False, True):
                try:
                    pipe = self._open(fresh)
                    pipe.send((function, arguments))
                    break
                except OSError:  # it ended by itself a moment ago: idle
                    if fresh:
                        raise CanaryError("the worker process cannot be started") from None
            try:
                if not pipe.poll(self.limit_s):
                    self._drop()
                    raise CanaryError(f"{function} took longer than {self.limit_s:g} s and was given up")
                ok, answer = pipe.recv()
            except (EOFError, OSError):
                self._drop()
                raise CanaryError(f"the worker process died over {function}") from None
        if not ok:
            raise CanaryError(answer)
        return answer

    def _open(self, fresh: bool) -> Connection:
        if self._closed:
            raise CanaryError("Canary is stopping")
        if fresh or self._pipe is None or self._process is None or not self._process.is_alive():
            self._drop()
            # spawn, never fork: the asking process has threads
            context = multiprocessing.get_context("spawn")
            self._pipe, far = context.Pipe()
            self._process = context.Process(target=_serve, args=(far, self.idle_s), name="worker", daemon=True)
            self._process.start()
            far.close()
        return self._pipe

    def _drop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection, idle_s: float) -> None:
    """The process: answer until nothing comes for a while or nobody is left to answer."""
    # Ctrl-C goes to the whole group; only the asking process decides when this one ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while pipe.poll(idle_s):
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(function, arguments))


def _answer(function: str, arguments: tuple[object, ...]) -> tuple[bool, object]:
    module, _, name = function.partition(":")
    try:
        return True, getattr(importlib.import_module(module), name)(*arguments)
    except CanaryError as error:
        return False, str(error)
    except Exception as error:  # whatever it was belongs to the one who asked, as words
        return False, f"{function} failed: {type(error).__name__}: {error}"

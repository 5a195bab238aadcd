"""``canary run``: evaluate on time, deliver what is unsent, take up edits, stop cleanly.

The event loop does only sources, channels and scheduling. One thread, the writer, does everything with SQLite, numpy
and files; every job is a coroutine that awaits it. Stopping lets the work under way finish: what is unsent stays in the
outbox, so nothing depends on it being sent now.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from monitor.alive import say_alive
from monitor.asking import OVERVIEW
from monitor.bot.desk import Desk
from monitor.bot.service import LOOK_S, Bot
from monitor.config import Config, inputs_hash, routes_of
from monitor.health import ClockWatch, Health, not_alive, sd_notify, watchdog_s
from monitor.heartbeat import Pulse, place
from monitor.illustrator import Illustrator, chosen_of
from monitor.logsafe import TICK
from monitor.messages import notice
from monitor.model import CanaryError, InputError, Line, Message
from monitor.nightly import Nightly
from monitor.overview import Overview, Snapshot, overview, overview_json
from monitor.picture import Board, picture_of
from monitor.postman import Delivered, Postman
from monitor.redact import redact
from monitor.report.served import ReportPage
from monitor.routes import Route
from monitor.rows import tick_id
from monitor.serving import Server
from monitor.store_post import post_of
from monitor.tick import Memory, TickResult, tick
from monitor.units import format_age
from monitor.worker import Worker
from monitor.world import World, build_world

#: an evaluation may take this long before the watchdog stops vouching for it
TICK_LIMIT_S = 120.0
DELIVER_EVERY_S = 5.0
#: how often it is asked whether the large run of the night is due
NIGHT_LOOK_S = 60.0
#: a clock that is corrected by less is no reason to evaluate
CLOCK_STEP_S = 60.0
#: how much longer a start may take after each day of the past that was lived through
EXTEND_S = 60
LOG = logging.getLogger("canary")
#: how long a stop waits for the work under way; the service manager allows a little more
DRAIN_S = 30.0
T = TypeVar("T")


def _wall() -> datetime:
    return datetime.now(UTC)


def seen(world: World, result: TickResult) -> Overview:
    """One evaluation as it is shown."""
    return overview(
        Snapshot(
            numbers=result.numbers,
            states=result.states,
            severities={rule.id: rule.severity for rule in world.rules},
            borrowers={borrower.id: borrower for borrower in world.book.borrowers},
            reports=result.reports,
            recorded=result.recorded,
        )
    )


def remember(memory: Memory, result: TickResult, shown: Overview) -> None:
    """Keep the overview in the database that was evaluated, for ``canary status`` of another process. On the writer."""
    store = memory.recorded(result.eval_at) if result.recorded else memory.live
    store.set_meta(OVERVIEW, json.dumps(overview_json(shown), allow_nan=False))


async def deliver_all(postman: Postman, world: World, memory: Memory, now: datetime) -> list[Delivered]:
    """One round of sending from both databases; what was done, one for each.

    Recorded time stands still: a message is not overdue because the wall clock went on since the recorded moment.
    """
    done = []
    for store in memory.stores():
        last = await postman.on_writer(store.last_tick)
        done.append(await postman.deliver(world, store, last.eval_at if last and last.recorded else now))
    return done


class Screen(Protocol):
    """Where the daemon shows what it does; the command line gives one for people and one for machines."""

    def evaluated(self, world: World, result: TickResult, shown: Overview, next_at: datetime) -> None:
        """Show one evaluation."""

    def say(self, text: str, trouble: bool = False) -> None:
        """One line about the daemon itself; ``trouble``: something that should work did not."""


class Reloader:
    """The world in use, rebuilt when a file a user writes has changed; a file that cannot be used changes nothing.

    Everything here reads files, so it runs on the writer.
    """

    def __init__(self, load: Callable[[], Config], offline: bool) -> None:
        self.load, self.offline = load, offline
        self.config = load()
        self.seen = inputs_hash(self.config)
        self.world = build_world(self.config, offline=offline)
        self.refused = ""

    def refresh(self) -> str:
        """Take up edits. Returns what to tell people: the text of a refusal not told before, else nothing.

        A set of files is tried once: a broken one is not read again until something changes.
        """
        found = inputs_hash(self.config)
        if found == self.seen:
            return ""
        self.seen = found
        try:
            config = self.load()
            self.world = build_world(config, offline=self.offline)
        except InputError as error:
            news = "" if str(error) == self.refused else str(error)
            self.refused = str(error)
            return news
        self.config, self.refused = config, ""
        self.seen = inputs_hash(config)
        return ""


class Daemon:
    """One running Canary. ``load`` reads the config afresh, ``screen`` is told what happens, ``clock`` is the time."""

    def __init__(
        self,
        load: Callable[[], Config],
        environ: Mapping[str, str],
        screen: Screen,
        offline: bool,
        clock: Callable[[], datetime] = _wall,
    ) -> None:
        self.environ, self.screen, self.clock = environ, screen, clock
        self.inputs = Reloader(load, offline)
        self.every_s = self.inputs.config.schedule.every
        self.health = Health(self.every_s, TICK_LIMIT_S, time.monotonic())
        self.board = Board(self.health)
        self.report = ReportPage(self._report, lambda: self.board.picture)
        self.server, self.serves = Server(self.board, report=self.report.answer), self.inputs.config.serve
        self.pulse, self.beats_every_s = Pulse(self.board), self.inputs.config.heartbeat.every
        #: said below the first table: where the page is, or why there is none
        self.news: list[str] = []
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self.scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        self.tasks: set[asyncio.Task[None]] = set()
        #: run beside the timetable until the end: whoever watches the clock, and whoever vouches to systemd
        self.watchers: list[asyncio.Task[None]] = []
        self.ready = False
        self.stop = asyncio.Event()
        self.delivering = asyncio.Lock()
        self.worker = Worker()
        self.pictures = Illustrator(
            self.worker,
            self.clock,
            self.inputs.config.found,
            offline,
            chosen=lambda rule: chosen_of(self.inputs.world.rules, rule),
        )
        desk = Desk(lambda: self.inputs.world, lambda: self.memory, self._on_writer, self.worker, offline)
        self.bot = Bot(desk, self.board.hearing, self._say, environ, clock, self._notify)
        self.nightly = Nightly(clock(), dict(environ))
        self.postman, self.postman_world = self._postman(), self.inputs.world

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; returns when everything was put away."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        self._say("asking the sources; a first start also lives through the past 30 days (some seconds)")
        async with self.opened():
            await self._serve()
            self._start()
            await self.stop.wait()
            sd_notify("STOPPING=1", self.environ)
            await self._drain()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """The databases open on the writer; afterwards they and every channel are closed."""
        self.memory = await self._on_writer(
            lambda: Memory(self.inputs.config.paths.state, self.clock(), self._lived_on)
        )
        try:
            yield
        finally:
            await self.server.stop()
            await self.bot.stop()
            self.pictures.close()
            self.worker.close()
            await self.postman.close()
            await self._on_writer(self.memory.close)
            self.writer.shutdown(wait=True)

    def _lived_on(self) -> None:
        """One more evaluation was written, one of the past during a first start: that takes longer than a start may."""
        if not self.ready:
            sd_notify(f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1_000_000}\nSTATUS=living through the past", self.environ)

    def _ready(self, status: str) -> None:
        self.ready = True
        sd_notify(f"READY=1\nSTATUS={status}", self.environ)

    def _postman(self) -> Postman:
        return Postman(self._on_writer, self.clock, self.pictures, opened=self.bot.channel)

    def _on_writer(self, work: Callable[[], T]) -> asyncio.Future[T]:
        # with the context of whoever asks, so that what is logged there names its evaluation
        return asyncio.get_running_loop().run_in_executor(self.writer, copy_context().run, work)

    def _say(self, text: str, trouble: bool = False) -> None:
        try:
            self.screen.say(text, trouble)
        except BrokenPipeError:  # a reader such as `head` went away: nobody watches any more
            self.stop.set()

    # ------------------------------------------------------------ starting and stopping
    def _start(self) -> None:
        now = self.clock()
        jobs = (
            ("evaluate", self.evaluate, self.every_s),
            ("deliver", self.deliver, DELIVER_EVERY_S),
            ("heartbeat", self.heartbeat, self.beats_every_s),
            ("listen", self.listen, LOOK_S),
            ("nightly", self.at_night, NIGHT_LOOK_S),
        )
        for name, work, every_s in jobs:
            self.scheduler.add_job(
                self._tracked, "interval", args=[work], seconds=every_s, id=name, name=name, next_run_time=now
            )
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # what it would warn about is counted below
        self.scheduler.add_listener(self._scheduler_said, EVENT_JOB_MISSED | EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)
        self.scheduler.start()
        self.watchers.append(asyncio.create_task(self._watch_clock()))
        period_s = watchdog_s(self.environ)
        if period_s:
            self.watchers.append(asyncio.create_task(self._supervise(period_s / 2)))

    def _asked_to_stop(self) -> None:
        if self.stop.is_set():  # asked twice: do not wait for a slow source
            for task in self.tasks:
                task.cancel()
        elif self.tasks:
            self._say("stopping: finishing what is under way (once more to stop at once)")
        self.stop.set()

    async def _drain(self) -> None:
        """No new work; what is under way may end. The scheduler cancels its own waiting, not the work: see _tracked."""
        self.scheduler.shutdown(wait=False)
        self.nightly.stop()
        for watcher in self.watchers:
            watcher.cancel()
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=5)
                self._say(f"gave up waiting for {len(late)} unfinished jobs; unsent messages stay in the outbox")
        self._say("stopped")

    async def _tracked(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = asyncio.create_task(work())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not self.stop.is_set():  # in a stop the work goes on without its waiter, and nothing has failed
                raise

    def _scheduler_said(self, event: JobEvent) -> None:
        if event.code in (EVENT_JOB_MISSED, EVENT_JOB_MAX_INSTANCES):
            if event.job_id == "evaluate":  # a round of delivery that waits for a long evaluation is nothing to tell
                self._say("an evaluation was left out: the one before it was still going on")
        else:
            self._say(f"{event.job_id} failed: {getattr(event, 'exception', '')}", trouble=True)

    # ------------------------------------------------------------ the work
    async def evaluate(self) -> None:
        """Take up edits, evaluate now, show the outcome; whatever goes wrong is said and the next one tries again."""
        now = self.clock()
        TICK.set(tick_id(now))
        try:
            refusal = await self._on_writer(self.inputs.refresh)
            if refusal:
                await self._tell_refusal(refusal, now)
            if self.inputs.config.serve != self.serves:
                await self._serve()
            world = self.inputs.world
            result = await tick(world, self.memory, now, self._on_writer)
            shown = await self._on_writer(lambda: self._remember(world, result))
        except (
            Exception
        ) as error:  # one bad evaluation must not end the watch: it is said, and the next one tries again
            failure = str(error) if isinstance(error, CanaryError) else f"{type(error).__name__}: {error}"
            self.health.ended(time.monotonic(), redact(failure))
            self._say(f"the evaluation of {now:%H:%M} UTC failed: {redact(failure)}", trouble=True)
            if not isinstance(error, CanaryError):
                LOG.error("a fault in an evaluation", exc_info=True)
            self._tell_news()
            self._ready("degraded: the last evaluation failed")
            return
        self.health.ended(time.monotonic())
        try:
            self.screen.evaluated(world, result, shown, self._next_at(now))
        except BrokenPipeError:
            self.stop.set()
        self._tell_news()
        self._ready(f"evaluated {now:%Y-%m-%d %H:%M} UTC")
        await self.deliver()

    def _remember(self, world: World, result: TickResult) -> Overview:
        shown = seen(world, result)
        remember(self.memory, result, shown)
        newest = self.board.picture.newest if self.board.picture else {}
        self.board.picture = picture_of(world, result, shown, newest)
        self.board.post = post_of(self.memory.stores())
        if result.recorded is None:
            say_alive(world, self.memory.live, self.board, result.eval_at)
        return shown

    def _next_at(self, now: datetime) -> datetime:
        """When the next evaluation starts; an edited interval takes effect here."""
        every_s = self.inputs.config.schedule.every
        edited = every_s != self.every_s
        self.every_s = self.health.every_s = every_s
        job = self.scheduler.get_job("evaluate")
        if job and edited:
            job = self.scheduler.reschedule_job("evaluate", trigger="interval", seconds=every_s)
        beats = self.inputs.config.heartbeat.every
        if beats != self.beats_every_s and self.scheduler.get_job("heartbeat"):
            self.scheduler.reschedule_job("heartbeat", trigger="interval", seconds=beats)
        self.beats_every_s = beats
        return job.next_run_time if job and job.next_run_time else now + timedelta(seconds=every_s)

    async def _tell_refusal(self, refusal: str, now: datetime) -> None:
        """Say on screen and to every route that an edit cannot be used, once per distinct mistake."""
        self._say(f"an edit cannot be used; the last good files stay in force:\n{refusal}")
        what = "an edit cannot be used; the last good files stay in force"
        title, lines = notice(
            "warning", what, refusal.split("\n")[:20], do="Run `canary check`, then correct the file."
        )
        await self._queue(title, lines, now)

    async def _notify(self, what: str, do: str) -> None:
        """Say something about the daemon itself to every route."""
        title, lines = notice("warning", what, do=do)
        await self._queue(title, lines, self.clock())

    async def _queue(self, title: str, lines: tuple[Line, ...], now: datetime) -> None:
        messages = [_message(route, title, lines, now) for route in routes_of(self.inputs.config)]
        await self._on_writer(lambda: self.memory.live.queue(messages))

    async def deliver(self) -> None:
        """One round of sending what is unsent; what could not be sent stays in the outbox."""
        async with self.delivering:
            await self._deliver_now()

    async def _deliver_now(self) -> None:
        try:
            if self.postman_world is not self.inputs.world:  # an edit may have changed where channels lead
                await self.postman.close()
                self.postman, self.postman_world = self._postman(), self.inputs.world
            if self.health.delivery_failure:  # a row left in flight by the failed round would hold back its chat
                await self._on_writer(lambda: self._recover(self.clock()))
            done = await deliver_all(self.postman, self.postman_world, self.memory, self.clock())
            for one in (one for one in done if one != Delivered()):
                LOG.log(logging.WARNING if one.problems else logging.INFO, "delivered", extra={"facts": asdict(one)})
            if self.board.post.waiting or any(one != Delivered() for one in done):
                self.board.post = await self._on_writer(lambda: post_of(self.memory.stores()))
        except Exception as error:  # one bad round must not end the watch; said once until it changes
            failure = str(error) if isinstance(error, CanaryError) else f"{type(error).__name__}: {error}"
            if failure != self.health.delivery_failure:
                self._say(f"delivery failed: {redact(failure)}", trouble=True)
                if not isinstance(error, CanaryError):
                    LOG.error("a fault in a round of delivery", exc_info=True)
            self.health.delivery_failure = failure
        else:
            self.health.delivery_failure = ""

    async def listen(self) -> None:
        """See that the bot hears what people write, where there is one."""
        try:
            await self.bot.look_after()
        except Exception as error:  # alerts do not depend on it; the next look tries again
            failure = redact(f"{type(error).__name__}: {error}")
            if failure != self.board.hearing.trouble:
                self._say(f"the bot does not listen: {failure}")
            self.board.hearing.trouble = failure

    def _recover(self, now: datetime) -> None:
        for store in self.memory.stores():
            store.recover_after_restart(now)

    # ------------------------------------------------------------ what others may see
    async def _serve(self) -> None:
        """Open the page where the config says, again after an edit."""
        self.serves = self.inputs.config.serve
        self.news.append(await self.server.follow(self.serves))

    def _report(self) -> str:
        """The page of the last evaluation. In a thread of its own, which loads what it needs when first asked."""
        from monitor.report.make import page

        return page(self.inputs.world, None, self.clock())

    def _tell_news(self) -> None:
        while self.news:
            self._say(self.news.pop(0))

    async def heartbeat(self) -> None:
        """One sign of life to the watcher elsewhere, where there is one and all is well."""
        config, now = self.inputs.config, self.clock()
        if not self.inputs.offline and self.health.tick_ended_s is not None:
            said = await self.pulse.beat(await self._on_writer(lambda: place(config, self.environ)), now)
            if said:
                self._say(said)

    async def at_night(self) -> None:
        """The large run of the day, where one is configured and due; what came of it goes to every route."""
        try:
            said = await self.nightly.look(self.inputs.config, self.clock())
        except CanaryError as error:
            await self._notify(redact(str(error)), "Run `canary large` by hand; finished parts are kept.")
            return
        if said:
            self._say(said)
            title, lines = notice("info", said, do="Open the table it names.")
            await self._queue(title, lines, self.clock())

    async def _watch_clock(self) -> None:
        """The timetable is in time of day: with a clock set back it would stand still until the old time returns."""
        watch = ClockWatch(self.clock(), time.monotonic())
        while True:
            await asyncio.sleep(DELIVER_EVERY_S)
            moved_s = watch.moved_s(self.clock(), time.monotonic())
            if abs(moved_s) > CLOCK_STEP_S:
                await self._clock_moved(moved_s)

    async def _clock_moved(self, moved_s: float) -> None:
        """Say so; after a step back everything that waits for a time of day is due now. Forward, it is due anyway."""
        way = "back" if moved_s < 0 else "forward (or the machine slept)"
        self._say(f"the clock went {way} by {format_age(abs(moved_s))}; the next evaluation follows now", trouble=True)
        if moved_s < 0:
            for job in self.scheduler.get_jobs():
                job.modify(next_run_time=self.clock())
            try:
                await self._on_writer(lambda: [store.retry_now() for store in self.memory.stores()])
            except CanaryError as error:  # the next round of delivery says what is wrong with the database
                LOG.warning("%s", error)

    async def _supervise(self, every_s: float) -> None:
        """Vouch for the daemon while there is reason to: this loop turns, the writer answers, evaluations end."""
        answer: asyncio.Future[None] | None = None
        while True:
            if answer is None or answer.done():
                self.health.writer_asked_s = time.monotonic()
                answer = self._on_writer(lambda: None)
            await asyncio.wait([answer], timeout=min(1.0, every_s / 2))
            if answer.done():
                self.health.writer_asked_s = None
            reasons = not_alive(self.health, time.monotonic())
            sd_notify("WATCHDOG=1" if not reasons else f"STATUS=not alive: {'; '.join(reasons)}", self.environ)
            await asyncio.sleep(every_s)


def _message(route: Route, title: str, lines: tuple[Line, ...], now: datetime) -> Message:
    """A notice for one route; one text at one moment is one message."""
    text = "\n".join([route.name, title, now.isoformat(), *(line.text for line in lines)])
    return Message(
        id="notice-" + hashlib.sha256(text.encode()).hexdigest()[:16],
        route=route.name,
        channel=route.channel,
        to=route.to,
        kind="notice",
        severity="warning",
        title=title,
        lines=lines,
        created_at=now,
    )

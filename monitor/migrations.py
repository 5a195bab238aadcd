"""The history of the database's shape: numbered steps, applied in order, each once, all in one transaction.

A step is never edited after it was released; a new one is added. ``PRAGMA user_version`` is the number of the last one.
Times are ISO 8601 text in UTC, of one width, so that they compare as text and any SQLite browser shows them.
"""

from __future__ import annotations

_FIRST = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE observations (
    id INTEGER PRIMARY KEY,
    series TEXT NOT NULL,
    subject TEXT NOT NULL,
    observed_at TEXT NOT NULL,
    known_at TEXT NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL,
    source TEXT NOT NULL,
    known_basis TEXT NOT NULL,
    restated INTEGER NOT NULL,
    quality TEXT NOT NULL,
    note TEXT NOT NULL,
    UNIQUE (series, subject, observed_at, source, known_at)
);
CREATE INDEX observations_known ON observations (known_at);

CREATE TABLE raw (
    id INTEGER PRIMARY KEY,
    feed TEXT NOT NULL,
    fetched_at TEXT NOT NULL,
    what TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE ticks (
    id INTEGER PRIMARY KEY,
    eval_at TEXT NOT NULL,
    book_hash TEXT NOT NULL,
    rules_hash TEXT NOT NULL,
    assumptions_hash TEXT NOT NULL,
    code_version TEXT NOT NULL,
    seed INTEGER NOT NULL,
    duration_s REAL,
    recorded INTEGER NOT NULL
);

CREATE TABLE feed_reports (
    tick INTEGER NOT NULL REFERENCES ticks (id),
    feed TEXT NOT NULL,
    ok INTEGER NOT NULL,
    reason TEXT NOT NULL,
    observations INTEGER NOT NULL,
    seconds REAL NOT NULL,
    newest TEXT,
    PRIMARY KEY (tick, feed)
) WITHOUT ROWID;

CREATE TABLE metric_series (
    id INTEGER PRIMARY KEY,
    metric TEXT NOT NULL,
    subject TEXT NOT NULL,
    scenario TEXT NOT NULL,
    unit TEXT NOT NULL,
    UNIQUE (metric, scenario, subject)
);
CREATE TABLE metric_values (
    series INTEGER NOT NULL REFERENCES metric_series (id),
    tick INTEGER NOT NULL REFERENCES ticks (id),
    value REAL,
    reason TEXT,
    PRIMARY KEY (series, tick)
) WITHOUT ROWID;
CREATE VIEW metrics AS
    SELECT ticks.eval_at AS eval_at, metric, subject, scenario, value, unit, reason
    FROM metric_values JOIN metric_series ON metric_series.id = series JOIN ticks ON ticks.id = tick;

CREATE TABLE alerts (
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL,
    active_at TEXT,
    fired_at TEXT,
    keep_since TEXT,
    resolved_at TEXT,
    state_before TEXT,
    nodata_since TEXT,
    served_s REAL NOT NULL,
    seen_at TEXT,
    flaps INTEGER NOT NULL,
    reason TEXT NOT NULL,
    short_id TEXT NOT NULL,
    logic_hash TEXT NOT NULL,
    PRIMARY KEY (rule, subject)
) WITHOUT ROWID;

CREATE TABLE events (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    short_id TEXT NOT NULL,
    "values" TEXT NOT NULL,
    because TEXT NOT NULL,
    episode TEXT NOT NULL
);
CREATE INDEX events_at ON events (at);
CREATE INDEX events_alert ON events (rule, subject, at);

CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    tick INTEGER NOT NULL REFERENCES ticks (id),
    event_id TEXT NOT NULL,
    route TEXT NOT NULL,
    send INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message_id TEXT NOT NULL,
    UNIQUE (event_id, route, tick)
);

CREATE TABLE waiting (
    event_id TEXT NOT NULL REFERENCES events (id),
    route TEXT NOT NULL,
    since TEXT NOT NULL,
    reason TEXT NOT NULL,
    undelivered INTEGER NOT NULL,
    PRIMARY KEY (event_id, route)
);

CREATE TABLE told (
    route TEXT NOT NULL,
    short_id TEXT NOT NULL,
    firing INTEGER NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (route, short_id)
) WITHOUT ROWID;

CREATE TABLE overlays (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    until TEXT,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    short_id TEXT NOT NULL,
    "by" TEXT NOT NULL,
    note TEXT NOT NULL
);

CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    repeat_of TEXT,
    route TEXT NOT NULL,
    channel TEXT NOT NULL,
    destination TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    rank INTEGER NOT NULL,
    title TEXT NOT NULL,
    lines TEXT NOT NULL,
    event_ids TEXT NOT NULL,
    created_at TEXT NOT NULL,
    recorded INTEGER NOT NULL,
    possibly_repeated INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    attempt_id TEXT NOT NULL,
    next_at TEXT,
    sent_at TEXT,
    channel_message_id TEXT NOT NULL,
    error TEXT NOT NULL
);
CREATE INDEX outbox_open ON outbox (state, rank);

CREATE TABLE notices (message_id TEXT PRIMARY KEY, at TEXT NOT NULL, snapshot TEXT NOT NULL) WITHOUT ROWID;
"""

# a message's age counts by the clock of delivery, which is not that of the evaluation that made it
_WAITS = "ALTER TABLE outbox ADD COLUMN waits_since TEXT;"

# ids of chats and people stand here only when the config allows them: of strangers nothing is kept
_CHAT = """
CREATE TABLE callbacks (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    until TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    version TEXT NOT NULL,
    user INTEGER,
    used_at TEXT,
    used_by TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX callbacks_at ON callbacks (at);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    chat TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    "before" TEXT NOT NULL,
    "after" TEXT NOT NULL,
    undone TEXT
);

CREATE TABLE moved_chats (old TEXT PRIMARY KEY, new TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
"""

# what repeats a message, and what was ever said of a borrower, is looked up for every message that is sent
_REPEATS = """
CREATE INDEX outbox_repeats ON outbox (repeat_of) WHERE repeat_of IS NOT NULL;
CREATE INDEX events_subject ON events (subject);
"""

#: (number, name, statements separated by ";")
MIGRATIONS: tuple[tuple[int, str, str], ...] = (
    (1, "first", _FIRST),
    (2, "waits since", _WAITS),
    (3, "chat", _CHAT),
    (4, "repeats", _REPEATS),
)


def newest() -> int:
    """The number of the last step this version knows.

    >>> newest() == len(MIGRATIONS)
    True
    """
    return MIGRATIONS[-1][0]


def statements(sql: str) -> list[str]:
    """The single statements of a step (none of them holds a semicolon inside).

    >>> statements("CREATE TABLE a (x); CREATE TABLE b (y);")
    ['CREATE TABLE a (x)', 'CREATE TABLE b (y)']
    """
    return [part.strip() for part in sql.split(";") if part.strip()]

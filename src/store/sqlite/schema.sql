-- Version 1. Every time is in milliseconds since the epoch: due times, `since_ms` and `full_us` by the steady clock, all others
-- by the machine's own.
--
-- What can be derived is derived: an item is pending while it has a send; a job is under way while it has a send that
-- is not a repeat. Only ends are written down. The exceptions are the counters in `cdns`, since counting a million rows
-- on every look at the queue is slow.

CREATE TABLE cdns (
    id            INTEGER PRIMARY KEY,
    site          TEXT NOT NULL,
    name          TEXT NOT NULL,
    jobs          INTEGER NOT NULL DEFAULT 0,   -- under way
    pending       INTEGER NOT NULL DEFAULT 0,   -- sends that are not repeats
    paused_by     TEXT,                         -- person | credentials; null: sending
    paused_reason TEXT,
    UNIQUE (site, name)
);

-- Numbers are never given out twice (AUTOINCREMENT): a late answer must not settle somebody else's send.
CREATE TABLE purges (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,           -- ordered by time
    site        TEXT NOT NULL,
    caller      TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    finished_ms INTEGER,
    outcome     TEXT,                           -- done | failed | cancelled; null: under way
    items       INTEGER NOT NULL,               -- asked for
    head        TEXT NOT NULL,                  -- the request without its items, JSON
    body        TEXT NOT NULL                   -- its items, JSON: up to 8 MiB, so it comes last and lists do not read it
);
CREATE INDEX purges_by_site ON purges (site, id);
CREATE INDEX purges_under_way ON purges (id) WHERE outcome IS NULL;
CREATE INDEX purges_unsuccessful ON purges (outcome, id) WHERE outcome IN ('failed', 'cancelled');
CREATE INDEX purges_finished ON purges (finished_ms) WHERE finished_ms IS NOT NULL;

CREATE TABLE jobs (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    purge           INTEGER NOT NULL REFERENCES purges (n) ON DELETE CASCADE,
    cdn             INTEGER NOT NULL REFERENCES cdns (id),
    type            TEXT NOT NULL,
    items           INTEGER NOT NULL,           -- as this CDN names them
    fallback        TEXT NOT NULL,              -- JSON array of sentences
    repeat_after_ms INTEGER NOT NULL,           -- 0: no repeat
    lane            INTEGER NOT NULL,           -- of its planned items' sends
    due_ms          INTEGER NOT NULL,
    outcome         TEXT,                       -- done | failed | cancelled; null: under way
    accepted_ms     INTEGER,
    completed_ms    INTEGER,
    acknowledged    INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX jobs_by_purge ON jobs (purge);
CREATE INDEX jobs_under_way ON jobs (cdn, due_ms) WHERE outcome IS NULL;
CREATE INDEX jobs_failed ON jobs (cdn) WHERE outcome = 'failed' AND acknowledged = 0;

-- What was planned, and what it was widened to: items whose number is not below the job's `items`.
CREATE TABLE items (
    job    INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    n      INTEGER NOT NULL,
    kind   INTEGER NOT NULL,                    -- 0 url, 1 tag, 2 prefix, 3 everything
    hard   INTEGER NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0,
    value  TEXT NOT NULL,
    PRIMARY KEY (job, n)
) WITHOUT ROWID;
CREATE INDEX items_failed ON items (job) WHERE failed = 1;

-- One row per item and reason for which it is yet to be sent. It is removed when it ends.
CREATE TABLE sends (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    job     INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    n       INTEGER NOT NULL,                   -- which item of the job
    -- What claims go by, in the order of the index: whose, how urgent, what may share a call.
    cdn     INTEGER NOT NULL,
    lane    INTEGER NOT NULL,                   -- 0 all of the site, 1 small, 2 of a bulk purge
    kind    INTEGER NOT NULL,                   -- as in items, but CloudFront's wildcards are 2
    hard    INTEGER NOT NULL,
    due_ms  INTEGER NOT NULL,                   -- when it may be claimed; while leased, when the lease ends
    reason  INTEGER NOT NULL,                   -- 0 first, 1 retry, 2 repeat, 3 follow-up
    leased  INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,         -- times claimed: the fence of a settlement
    batch   INTEGER,                            -- goes out with those of the same number, and with nothing else
    -- Leased along with a send that covers it, as of that claim: ends with it.
    absorber         INTEGER,
    absorber_attempt INTEGER
);
CREATE INDEX sends_due ON sends (cdn, lane, kind, hard, due_ms);
CREATE INDEX sends_by_job ON sends (job, reason, leased, due_ms);
CREATE INDEX sends_leased ON sends (id) WHERE leased = 1;
CREATE INDEX sends_batched ON sends (batch) WHERE batch IS NOT NULL;
CREATE INDEX sends_absorbed ON sends (absorber) WHERE absorber IS NOT NULL;

-- A call carries items of many jobs; its answer, up to 2 KiB, is kept once.
CREATE TABLE calls (
    id          INTEGER PRIMARY KEY,
    at_ms       INTEGER NOT NULL,
    status      INTEGER,
    request_id  TEXT,
    duration_ms INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    message     TEXT NOT NULL
);

CREATE TABLE attempts (
    job   INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    call  INTEGER NOT NULL REFERENCES calls (id),
    items INTEGER NOT NULL,
    PRIMARY KEY (job, call)
) WITHOUT ROWID;
CREATE INDEX attempts_by_call ON attempts (call);

CREATE TABLE idempotency (
    caller     TEXT NOT NULL,
    key        TEXT NOT NULL,
    hash       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    purge      INTEGER NOT NULL REFERENCES purges (n) ON DELETE CASCADE,
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_purge ON idempotency (purge);
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

-- The token buckets of the CDNs' accounts: when each is full again, microseconds since the epoch.
CREATE TABLE rates (
    account TEXT NOT NULL,
    name    TEXT NOT NULL,
    full_us INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- What CDNs accepted and have not reported complete yet, and whose it is.
CREATE TABLE works (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    cdn       INTEGER NOT NULL REFERENCES cdns (id),
    name      TEXT NOT NULL,                    -- the CDN's
    since_ms  INTEGER NOT NULL,
    items     INTEGER NOT NULL,
    wildcards INTEGER NOT NULL                  -- of the items
);
CREATE INDEX works_by_cdn ON works (cdn);
CREATE TABLE work_jobs (
    work INTEGER NOT NULL REFERENCES works (id) ON DELETE CASCADE,
    job  INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (work, job)
) WITHOUT ROWID;
CREATE INDEX work_jobs_by_job ON work_jobs (job);

-- Written to learn whether the store still commits.
CREATE TABLE heartbeat (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    at_ms INTEGER NOT NULL
);

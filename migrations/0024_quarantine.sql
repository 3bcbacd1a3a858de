-- Work that goes wrong whoever does it, so that it harms nobody but itself.

SET LOCAL lock_timeout = '10s';

-- Streams that are not worked on. A row whose time to retry has come is a suspicion: its work is done
-- with care, and when it is done the row goes.
CREATE TABLE ops.quarantine (
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    retry_at timestamptz,
    strikes integer NOT NULL CHECK (strikes > 0),
    item integer NOT NULL,
    tenant uuid NOT NULL,
    stream uuid NOT NULL,
    category text NOT NULL,
    cause text NOT NULL CHECK (cause IN ('panicked', 'died', 'newer')),
    reason text NOT NULL,
    PRIMARY KEY (stream, category, tenant)
);
COMMENT ON COLUMN ops.quarantine.retry_at IS 'when it is tried again; never by itself if null';
COMMENT ON COLUMN ops.quarantine.strikes IS 'how often in a row it went wrong';
COMMENT ON COLUMN ops.quarantine.item IS 'which piece of work of the stream it was';

-- When workers died, for as long as that matters.
CREATE TABLE ops.death (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker uuid NOT NULL
);
CREATE INDEX death_at ON ops.death (at);

-- What workers that are careful are in the middle of. Whoever finds one dead finds here what it may have
-- died of.
CREATE TABLE ops.turn (
    at timestamptz NOT NULL,
    worker uuid PRIMARY KEY,
    tenants uuid[] NOT NULL,
    streams uuid[] NOT NULL,
    categories text[] NOT NULL,
    items integer[] NOT NULL
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE, DELETE ON ops.quarantine, ops.death, ops.turn TO everstep_worker;
GRANT USAGE ON SCHEMA ops TO everstep_query;
GRANT SELECT ON ops.quarantine TO everstep_query;
SELECT rm.protect('ops.quarantine');

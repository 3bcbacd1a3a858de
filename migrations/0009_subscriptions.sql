-- Shared reading: what is divided among processes is divided in slices, by hash of the stream. The
-- partitions of open work are such slices, and so are those of every subscription. They take the
-- place of ops.lease and of the one position that a subscription had.

SET LOCAL lock_timeout = '10s';

-- Whoever holds a slice may act on it until its lease ends, by the database's clock. The fence counts
-- changes of owner: a checkpoint is written under the fence that its writer was given, and one that
-- comes late, under an older one, is refused.
CREATE TABLE ops.slice (
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    fence bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity',
    slice smallint NOT NULL CHECK (slice >= 0),
    owner uuid,
    name text NOT NULL,
    error text,
    PRIMARY KEY (name, slice)
) WITH (fillfactor = 50);
COMMENT ON COLUMN ops.slice.name IS 'what is divided: work, or a subscription';
COMMENT ON COLUMN ops.slice.position IS 'checkpoint of a subscription: all before it is done or parked';
COMMENT ON COLUMN ops.slice.refused IS 'how many checkpoints came under an old fence';
COMMENT ON COLUMN ops.slice.error IS 'why it stands still, if it does';

INSERT INTO ops.slice (name, slice) SELECT 'work', generate_series(0, 255);
INSERT INTO ops.slice (name, slice, position)
    SELECT name, generate_series(0, 15), position FROM ops.subscription;

-- Who takes part, so that slices are shared out evenly.
CREATE TABLE ops.member (
    expires_at timestamptz NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (name, id)
);

-- Workers of the release before find no leases any more and begin nothing new: nothing is done by two.
DROP TABLE ops.lease, ops.worker;

-- The subscriptions there are.
ALTER TABLE ops.subscription DROP COLUMN position, DROP COLUMN error;

-- Streams that a subscription cannot go on with: at the event named here it stopped. That and what
-- follows it in its stream is held back and given in order once somebody has it tried again, or
-- skips the event. All other streams go on.
CREATE TABLE ops.parked (
    since timestamptz NOT NULL DEFAULT now(),
    position bigint NOT NULL,
    version bigint NOT NULL,
    tries integer NOT NULL,
    slice smallint NOT NULL,
    again boolean NOT NULL DEFAULT false,
    tenant uuid NOT NULL,
    stream uuid NOT NULL,
    event uuid NOT NULL,
    subscription text NOT NULL REFERENCES ops.subscription (name),
    category text NOT NULL,
    name text NOT NULL,
    cause text NOT NULL CHECK (cause IN ('failed', 'newer')),
    reason text NOT NULL,
    PRIMARY KEY (subscription, tenant, category, stream)
);
CREATE INDEX parked_by_slice ON ops.parked (subscription, slice);
COMMENT ON COLUMN ops.parked.again IS 'somebody asked for another attempt';
COMMENT ON COLUMN ops.parked.cause IS 'newer: a release that knows the event goes on by itself';

-- Events that somebody had a subscription skip, on purpose. It stays known for ever.
CREATE TABLE ops.skipped (
    at timestamptz NOT NULL DEFAULT now(),
    position bigint NOT NULL,
    version bigint NOT NULL,
    tenant uuid NOT NULL,
    stream uuid NOT NULL,
    event uuid NOT NULL,
    subscription text NOT NULL REFERENCES ops.subscription (name),
    category text NOT NULL,
    name text NOT NULL,
    failure text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (subscription, position)
);
COMMENT ON COLUMN ops.skipped.failure IS 'why it was parked';
COMMENT ON COLUMN ops.skipped.reason IS 'why it was skipped';
COMMENT ON COLUMN ops.skipped.by IS 'who did it: the login at the database';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ops.skipped
    FOR EACH ROW EXECUTE FUNCTION es.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON ops.skipped
    FOR EACH STATEMENT EXECUTE FUNCTION es.refuse();

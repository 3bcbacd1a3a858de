-- What the workers share: who owns which partition, and how far each policy has read.

-- A worker acts on a partition only while it holds its lease. Expiry is by the database's clock.
-- The epoch counts changes of owner, for people who look into a quarrel. A late owner does no harm to
-- the log: what it appends names a version that has passed.
CREATE TABLE ops.lease (
    partition  smallint    PRIMARY KEY,
    owner      uuid,
    epoch      bigint      NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
INSERT INTO ops.lease (partition) SELECT generate_series(0, 255);

-- Workers that are alive, so that leases can be shared out evenly.
CREATE TABLE ops.worker (
    id         uuid        PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- How far each reader of the log has come that carries something out (policies).
CREATE TABLE ops.subscription (
    name     text   PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0,
    -- Why it stands still, if it does.
    error    text
);
INSERT INTO ops.subscription (name) VALUES ('policies');

GRANT SELECT, INSERT, UPDATE, DELETE ON ops.lease, ops.worker, ops.subscription TO everstep_worker;

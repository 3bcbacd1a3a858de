-- Secrets, sealed with AES-256-GCM: the master key (not in here) seals one key per tenant, and that
-- key seals the tenant's secrets. What is sealed begins with its nonce (12 bytes) and ends with its
-- tag (16 bytes). Deleting a tenant's key makes all its secrets unreadable.

-- A known text, sealed by the master key: tells at start-up whether it is the right one.
CREATE TABLE ops.vault_canary (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one), -- there is one row
    sealed bytea   NOT NULL
);

CREATE TABLE ops.vault_key (
    tenant     uuid        PRIMARY KEY,
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Never changed: another secret gets another id.
CREATE TABLE ops.vault_secret (
    tenant      uuid        NOT NULL REFERENCES ops.vault_key (tenant) ON DELETE CASCADE,
    id          uuid        NOT NULL,
    sealed      bytea       NOT NULL,
    fingerprint text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
);

GRANT SELECT, INSERT ON ops.vault_canary, ops.vault_key, ops.vault_secret
    TO everstep_command, everstep_worker;
REVOKE UPDATE, DELETE ON ops.vault_canary, ops.vault_key, ops.vault_secret
    FROM everstep_command, everstep_worker;

-- Which version of its sealed secrets a connector uses, and what each one's queries took (COST-2).

ALTER TABLE tenantry.connectors
    ADD COLUMN credential_version integer NOT NULL DEFAULT 0 CHECK (credential_version >= 0);

-- The connector that a tool reached; no foreign key, since use outlives what was used.
ALTER TABLE tenantry.usage_events ADD COLUMN connector_id uuid;

-- Access lists inside a tenant (DB-4, VEC-2): a document may be for members of some groups only, and
-- the database holds to that as it holds to the tenant, whatever SQL runs.
--
-- Who acts stands in the signed context. One letter more than before says what it may see (token:
-- key id (2) | tenant, hex (32) | actor, hex (32) | expiry (10) | view (1) | backend pid | MAC):
--   g  a member: what is open to all, and what its groups may read, looked up at each statement
--   o  what is open to all, and no more; so does every letter that is not listed here
--   e  everything: work of the platform's own, such as ingestion and metering
--   k  a keeper of groups and lists, as an owner or admin is while keeping them
--   p  provisioning, by an operator: members and keys, and of documents what is open to all
--
-- What a document is open to is its audience: a number for a set of groups, 0 for everybody. Each
-- row that holds something of it carries the number: a policy compares it with a short list that is
-- made once a statement, and not at all where nothing is restricted.

CREATE OR REPLACE FUNCTION tenantry.verified_tenant() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL UNSAFE -- a parallel worker cannot note
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    token text := current_setting('tenantry.context', true);
    body text := left(token, -64);
    inner_block bytea;
    outer_block bytea;
BEGIN
    -- After a transaction that set it, the setting reads '' instead of NULL: both are missing.
    IF coalesce(token, '') = '' THEN
        RAISE EXCEPTION 'tenant context missing' USING ERRCODE = 'TC001';
    END IF;
    SELECT k.inner_block, k.outer_block INTO inner_block, outer_block
      FROM tenantry_private.signing_keys AS k
     WHERE k.key_id = left(token, 2) AND k.retired_at IS NULL;
    -- The MAC is checked before any part is read: what follows parses only what we wrote.
    IF NOT FOUND
       OR encode(sha256(outer_block || sha256(inner_block || convert_to(body, 'UTF8'))), 'hex')
          <> right(token, 64)
       OR substr(body, 78)::integer <> pg_backend_pid()
       OR to_timestamp(substr(body, 67, 10)::double precision) < clock_timestamp()
    THEN
        RAISE EXCEPTION 'tenant context invalid' USING ERRCODE = 'TC002';
    END IF;
    IF has_parameter_privilege('backtrace_functions', 'SET') THEN
        token := set_config('backtrace_functions', token, true);
    END IF;
    RETURN substr(body, 3, 32)::uuid;
END
$$;

-- What this transaction may see, and who acts in it; both raise where there is no genuine context.
CREATE FUNCTION tenantry.current_view() RETURNS text
    LANGUAGE sql STABLE PARALLEL UNSAFE
RETURN CASE WHEN tenantry.current_tenant() IS NOT NULL
            THEN substr(current_setting('tenantry.context', true), 77, 1) END;
CREATE FUNCTION tenantry.current_actor() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL UNSAFE
RETURN CASE WHEN tenantry.current_tenant() IS NOT NULL
            THEN substr(current_setting('tenantry.context', true), 35, 32)::uuid END;

CREATE TABLE tenantry.groups (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    group_id uuid NOT NULL,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, group_id),
    UNIQUE (tenant_id, name)
);
CREATE TABLE tenantry.group_members (
    tenant_id uuid NOT NULL,
    group_id uuid NOT NULL,
    member_id uuid NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, group_id, member_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES tenantry.groups (tenant_id, group_id)
        ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, member_id) REFERENCES tenantry.members (tenant_id, member_id)
        ON DELETE CASCADE
);
CREATE INDEX group_members_by_member ON tenantry.group_members (tenant_id, member_id);
CREATE TABLE tenantry.audiences (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    audience integer NOT NULL CHECK (audience > 0),
    groups uuid[] NOT NULL CHECK (cardinality(groups) BETWEEN 1 AND 100), -- in order, each once
    PRIMARY KEY (tenant_id, audience),
    UNIQUE (tenant_id, groups)
);

-- Permissive: the tenant's own rows, and the same for the functions below, which run as the owner.
ALTER TABLE tenantry.groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.groups FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.groups TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.groups TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
ALTER TABLE tenantry.group_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.group_members FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.group_members TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.group_members TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
ALTER TABLE tenantry.audiences ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.audiences FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.audiences TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.audiences TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, DELETE ON tenantry.groups, tenantry.group_members TO tenantry_tenant;
GRANT SELECT ON tenantry.audiences TO tenantry_tenant;

-- Restrictive: what is seen besides, of one's own memberships, groups and audiences; and that only a
-- keeper writes. Who may write a membership may read everything: so nothing a member runs may.
CREATE POLICY own ON tenantry.group_members AS RESTRICTIVE TO tenantry_tenant
    USING ((SELECT tenantry.current_view()) IN ('e', 'k')
           OR ((SELECT tenantry.current_view()) = 'g'
               AND member_id = (SELECT tenantry.current_actor())))
    WITH CHECK ((SELECT tenantry.current_view()) = 'k');
CREATE POLICY own ON tenantry.groups AS RESTRICTIVE TO tenantry_tenant
    USING ((SELECT tenantry.current_view()) IN ('e', 'k')
           OR group_id IN (SELECT m.group_id FROM tenantry.group_members AS m))
    WITH CHECK ((SELECT tenantry.current_view()) = 'k');
CREATE POLICY own ON tenantry.audiences AS RESTRICTIVE TO tenantry_tenant
    USING ((SELECT tenantry.current_view()) IN ('e', 'k')
           OR groups && ARRAY(SELECT m.group_id FROM tenantry.group_members AS m))
    WITH CHECK (false);
CREATE POLICY kept ON tenantry.group_members AS RESTRICTIVE FOR DELETE TO tenantry_tenant
    USING ((SELECT tenantry.current_view()) = 'k');
CREATE POLICY kept ON tenantry.groups AS RESTRICTIVE FOR DELETE TO tenantry_tenant
    USING ((SELECT tenantry.current_view()) = 'k');

-- A member's role and whose a key is decide who keeps the groups: they are kept as these are.
CREATE POLICY written ON tenantry.members AS RESTRICTIVE TO tenantry_tenant
    USING (true) WITH CHECK ((SELECT tenantry.current_view()) IN ('k', 'p'));
CREATE POLICY kept ON tenantry.members AS RESTRICTIVE FOR DELETE TO tenantry_tenant
    USING ((SELECT tenantry.current_view()) IN ('k', 'p'));
CREATE POLICY written ON tenantry.api_keys AS RESTRICTIVE TO tenantry_tenant
    USING (true) WITH CHECK ((SELECT tenantry.current_view()) IN ('k', 'p'));

-- The audiences of this transaction, 0 aside. With the caller's rights: the policies above decide.
CREATE FUNCTION tenantry.readable_audiences() RETURNS integer[]
    LANGUAGE plpgsql STABLE SECURITY INVOKER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT a.audience FROM tenantry.audiences AS a);
END
$$;

-- Names of the groups of an audience, as far as this transaction may know them.
CREATE FUNCTION tenantry.audience_names(of_audience integer) RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY INVOKER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN of_audience = 0 THEN '{}' ELSE ARRAY(
        SELECT g.name FROM tenantry.audiences AS a
          JOIN tenantry.groups AS g ON g.tenant_id = a.tenant_id AND g.group_id = ANY (a.groups)
         WHERE a.audience = of_audience ORDER BY g.name) END;
END
$$;

-- Citations of a saved answer as this transaction may read them: where the document is not there for
-- it any more, for want of a group or because it was removed, without what they say of it.
CREATE FUNCTION tenantry.readable_citations(given jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY INVOKER PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN given = '[]' THEN given ELSE (
        SELECT jsonb_agg(
                   CASE WHEN c.cited->>'kind' = 'document' AND NOT EXISTS (
                             SELECT FROM tenantry.documents AS d
                              WHERE d.document_id = nullif(c.cited->>'document_id', '')::uuid)
                        THEN c.cited || '{"title": "", "locator": "", "quote": "", "withheld": true}'
                        ELSE c.cited END
                   ORDER BY c.place)
          FROM jsonb_array_elements(given) WITH ORDINALITY AS c (cited, place)) END;
END
$$;

-- The audience that is exactly these groups, made when there is none: for whoever is in all of them,
-- keeps them, or sees everything. It looks past the policies, since a set must be known whole.
CREATE FUNCTION tenantry.audience_of(wanted uuid[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := tenantry.current_tenant();
    listed CONSTANT uuid[] := ARRAY(SELECT DISTINCT w.id FROM unnest(wanted) AS w (id) ORDER BY w.id);
    known uuid[];
    number integer;
BEGIN
    IF cardinality(listed) = 0 THEN
        RETURN 0;
    END IF;
    -- Held until the end: a group that is being removed is not named any more.
    known := ARRAY(SELECT g.group_id FROM tenantry.groups AS g
                    WHERE g.tenant_id = own AND g.group_id = ANY (listed)
                      AND (tenantry.current_view() IN ('e', 'k')
                           OR (tenantry.current_view() = 'g' AND EXISTS (
                               SELECT FROM tenantry.group_members AS m
                                WHERE m.tenant_id = own AND m.group_id = g.group_id
                                  AND m.member_id = tenantry.current_actor())))
                      FOR KEY SHARE OF g);
    IF NOT known @> listed THEN
        RAISE EXCEPTION 'not a group of this actor' USING ERRCODE = '23503';
    END IF;
    LOOP
        SELECT a.audience INTO number FROM tenantry.audiences AS a
         WHERE a.tenant_id = own AND a.groups = listed FOR KEY SHARE;
        IF FOUND THEN
            RETURN number;
        END IF;
        INSERT INTO tenantry.audiences (tenant_id, audience, groups)
        SELECT own, coalesce(max(a.audience), 0) + 1, listed
          FROM tenantry.audiences AS a WHERE a.tenant_id = own
        ON CONFLICT DO NOTHING; -- another was quicker: with this set, or with this number
    END LOOP;
END
$$;

-- Every row that holds something of a document says for whom it is. New foreign keys are checked
-- against what is there with the owner's rights, which must see it for that long.
ALTER TABLE tenantry.audiences NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.documents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunks NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunk_embeddings NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.jobs NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.job_inputs NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.documents
    ADD COLUMN audience integer NOT NULL DEFAULT 0,
    ADD COLUMN restricted_to integer GENERATED ALWAYS AS (nullif(audience, 0)) STORED,
    ADD FOREIGN KEY (tenant_id, restricted_to) REFERENCES tenantry.audiences (tenant_id, audience),
    ADD UNIQUE (tenant_id, document_id, audience),
    -- The same bytes, or the same source, for other readers are another document: a collision would
    -- tell of one that its writer may not see.
    DROP CONSTRAINT documents_tenant_id_sha256_key,
    ADD UNIQUE (tenant_id, sha256, audience);
CREATE INDEX documents_by_audience ON tenantry.documents (tenant_id, restricted_to)
    WHERE restricted_to IS NOT NULL;
DROP INDEX tenantry.documents_source;
CREATE UNIQUE INDEX documents_source ON tenantry.documents (tenant_id, source, audience)
    WHERE source IS NOT NULL;
GRANT UPDATE (audience) ON tenantry.documents TO tenantry_tenant;
CREATE POLICY kept ON tenantry.documents AS RESTRICTIVE FOR UPDATE TO tenantry_tenant
    USING ((SELECT tenantry.current_view()) = 'k') WITH CHECK ((SELECT tenantry.current_view()) = 'k');

-- The foreign key keeps a passage's audience equal to its document's, whoever writes.
ALTER TABLE tenantry.chunks
    ADD COLUMN audience integer NOT NULL DEFAULT 0,
    DROP CONSTRAINT chunks_tenant_id_document_id_fkey,
    ADD FOREIGN KEY (tenant_id, document_id, audience)
        REFERENCES tenantry.documents (tenant_id, document_id, audience)
        ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE tenantry.chunk_embeddings
    ADD COLUMN audience integer NOT NULL DEFAULT 0,
    DROP CONSTRAINT chunk_embeddings_tenant_id_document_id_fkey,
    ADD FOREIGN KEY (tenant_id, document_id, audience)
        REFERENCES tenantry.documents (tenant_id, document_id, audience)
        ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE tenantry.chunk_vectors ADD COLUMN audience integer NOT NULL DEFAULT 0;
CREATE OR REPLACE VIEW tenantry.searchable_documents WITH (security_invoker = true) AS
    SELECT tenant_id, document_id, title, media_type, chunk_count, created_at, language, sha256,
           audience
      FROM tenantry.documents;
ALTER TABLE tenantry.jobs
    ADD COLUMN audience integer NOT NULL DEFAULT 0,
    ADD UNIQUE (tenant_id, job_id, audience);
ALTER TABLE tenantry.job_inputs
    ADD COLUMN audience integer NOT NULL DEFAULT 0,
    DROP CONSTRAINT job_inputs_tenant_id_job_id_fkey,
    ADD FOREIGN KEY (tenant_id, job_id, audience)
        REFERENCES tenantry.jobs (tenant_id, job_id, audience) ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE tenantry.audiences FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.documents FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunks FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunk_embeddings FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.jobs FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.job_inputs FORCE ROW LEVEL SECURITY;

DO $readers$
DECLARE
    content text;
BEGIN
    FOR content IN
        SELECT c.relname FROM pg_class AS c
         WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind IN ('r', 'p')
           AND (c.relname IN ('documents', 'chunks', 'chunk_embeddings', 'jobs', 'job_inputs')
                OR c.relname LIKE 'chunk\_vectors%')
    LOOP
        EXECUTE format(
            'CREATE POLICY readers ON tenantry.%I AS RESTRICTIVE TO tenantry_tenant '
            'USING (audience = 0 OR audience = ANY ((SELECT tenantry.readable_audiences())::integer[])) '
            'WITH CHECK (audience = 0 OR audience = ANY ((SELECT tenantry.readable_audiences())::integer[]))',
            content);
    END LOOP;
END
$readers$;

-- As before, with the audience: a new shelf has the policy too, and its rows say for whom they are.
CREATE OR REPLACE FUNCTION tenantry_private.take_shelf() RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken integer;
    field text;
BEGIN
    UPDATE tenantry_private.shelf_slots SET is_taken = true
     WHERE shelf = (SELECT s.shelf FROM tenantry_private.shelf_slots AS s WHERE NOT s.is_taken
                     ORDER BY s.shelf LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING shelf INTO taken;
    IF FOUND THEN
        RETURN taken;
    END IF;
    INSERT INTO tenantry_private.shelf_slots (is_taken) VALUES (true) RETURNING shelf INTO taken;
    EXECUTE format('CREATE TABLE tenantry.chunk_vectors_%s '
                   '(LIKE tenantry.chunk_vectors INCLUDING ALL)', taken);
    EXECUTE format('ALTER TABLE tenantry.chunk_vectors_%s ENABLE ROW LEVEL SECURITY', taken);
    EXECUTE format('ALTER TABLE tenantry.chunk_vectors_%s FORCE ROW LEVEL SECURITY', taken);
    EXECUTE format('CREATE POLICY tenant ON tenantry.chunk_vectors_%s TO tenantry_tenant '
                   'USING (tenant_id = (SELECT tenantry.current_tenant())) '
                   'WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()))', taken);
    EXECUTE format(
        'CREATE POLICY readers ON tenantry.chunk_vectors_%s AS RESTRICTIVE TO tenantry_tenant '
        'USING (audience = 0 OR audience = ANY ((SELECT tenantry.readable_audiences())::integer[])) '
        'WITH CHECK (audience = 0 OR audience = ANY ((SELECT tenantry.readable_audiences())::integer[]))',
        taken);
    -- Neither samples nor frequencies of what it holds: every role could read estimates of them.
    FOREACH field IN ARRAY
            ARRAY['tenant_id', 'shelf', 'document_id', 'chunk_no', 'embedding', 'audience'] LOOP
        EXECUTE format('ALTER TABLE tenantry.chunk_vectors_%s ALTER COLUMN %I SET STATISTICS 0',
                       taken, field);
    END LOOP;
    EXECUTE format('ALTER TABLE tenantry.chunk_vectors ATTACH PARTITION '
                   'tenantry.chunk_vectors_%s FOR VALUES IN (%s)', taken, taken);
    RETURN taken;
END
$$;

-- Rows of this transaction's tenant enter its shelf: all of them, or those of the documents noted.
CREATE FUNCTION tenantry_private.fill_shelf(of_tenant uuid, of_version integer, on_shelf integer,
                                            only_noted boolean)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tenantry.chunk_vectors
           (tenant_id, shelf, document_id, chunk_no, embedding, audience)
    SELECT d.tenant_id, on_shelf, d.document_id, e.chunk_no, e.embedding, e.audience
      FROM tenantry.documents AS d
     CROSS JOIN LATERAL ( -- by key, document by document: never the whole table
           SELECT e.chunk_no, e.embedding, e.audience FROM tenantry.chunk_embeddings AS e
            WHERE e.tenant_id = d.tenant_id AND e.document_id = d.document_id
              AND e.version = of_version
           OFFSET 0) AS e
     WHERE d.tenant_id = of_tenant
       AND (NOT only_noted OR d.document_id IN (
            SELECT n.document_id FROM tenantry.vector_changes AS n
             WHERE n.tenant_id = of_tenant AND n.version = of_version));
END
$$;

-- Keeps shelves as their tenant's vectors are: in the same transaction, whoever writes.
CREATE OR REPLACE FUNCTION tenantry.shelve_chunks() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held tenantry.vector_shelves;
BEGIN
    -- Shared among writers; a shelf becomes ready, or is freed, between them.
    FOR held IN SELECT s.* FROM tenantry.vector_shelves AS s
                 WHERE s.tenant_id IN (SELECT c.tenant_id FROM changed AS c)
                   AND s.state <> 'retired' FOR SHARE
    LOOP
        IF held.state <> 'ready' THEN
            INSERT INTO tenantry.vector_changes (tenant_id, version, document_id)
            SELECT DISTINCT c.tenant_id, c.version, c.document_id FROM changed AS c
             WHERE c.tenant_id = held.tenant_id AND c.version = held.version
            ON CONFLICT DO NOTHING;
        ELSIF TG_OP = 'INSERT' THEN
            INSERT INTO tenantry.chunk_vectors
                   (tenant_id, shelf, document_id, chunk_no, embedding, audience)
            SELECT c.tenant_id, held.shelf, c.document_id, c.chunk_no, c.embedding, c.audience
              FROM changed AS c
             WHERE c.tenant_id = held.tenant_id AND c.version = held.version;
        ELSIF TG_OP = 'UPDATE' THEN -- of the audience, by the foreign key: all else stays
            EXECUTE format(
                'UPDATE tenantry.chunk_vectors AS v SET audience = c.audience FROM changed AS c '
                ' WHERE c.tenant_id = $1 AND c.version = $2 AND v.tenant_id = $1 AND v.shelf = %s '
                '   AND v.document_id = c.document_id AND v.chunk_no = c.chunk_no '
                '   AND v.audience <> c.audience', held.shelf)
                USING held.tenant_id, held.version;
        ELSE
            EXECUTE format(
                'DELETE FROM tenantry.chunk_vectors AS v USING changed AS c '
                ' WHERE c.tenant_id = $1 AND c.version = $2 AND v.tenant_id = $1 AND v.shelf = %s '
                '   AND v.document_id = c.document_id AND v.chunk_no = c.chunk_no', held.shelf)
                USING held.tenant_id, held.version;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER shelve_changed AFTER UPDATE ON tenantry.chunk_embeddings
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tenantry.shelve_chunks();

-- Removes the audiences that name a group and that nothing has; how many are left, in use.
CREATE FUNCTION tenantry.sweep_audiences(of_group uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := tenantry.current_tenant();
BEGIN
    IF tenantry.current_view() <> 'k' THEN
        RAISE EXCEPTION 'not a keeper' USING ERRCODE = '42501';
    END IF;
    -- Whoever is about to name it in an audience waits, or is waited for.
    PERFORM FROM tenantry.groups AS g WHERE g.tenant_id = own AND g.group_id = of_group FOR UPDATE;
    DELETE FROM tenantry.audiences AS a
     WHERE a.tenant_id = own AND of_group = ANY (a.groups)
       AND NOT EXISTS (SELECT FROM tenantry.documents AS d
                        WHERE d.tenant_id = own AND d.restricted_to = a.audience)
       AND NOT EXISTS (SELECT FROM tenantry.jobs AS j
                        WHERE j.tenant_id = own AND j.audience = a.audience);
    RETURN (SELECT count(*) FROM tenantry.audiences AS a
             WHERE a.tenant_id = own AND of_group = ANY (a.groups));
END
$$;

REVOKE ALL ON FUNCTION tenantry.current_view() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.current_actor() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.readable_audiences() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.audience_names(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.readable_citations(jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.audience_of(uuid[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.sweep_audiences(uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry_private.fill_shelf(uuid, integer, integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.current_view(), tenantry.current_actor(),
    tenantry.readable_audiences(), tenantry.audience_names(integer),
    tenantry.readable_citations(jsonb), tenantry.audience_of(uuid[]), tenantry.sweep_audiences(uuid)
    TO tenantry_tenant;

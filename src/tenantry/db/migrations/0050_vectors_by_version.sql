-- Vectors by version (VEC-1, VEC-3): what embeds a tenant's passages can change, and its dimension
-- with it, while the tenant is searched and written to. See docs/adr/0050-vectors-by-version.md.
--
--   preparing  its vectors are being made; documents that come meanwhile get vectors of it too
--   active     what searches compare; one of a tenant
--   leaving    no search begins with it any more; its vectors are being removed
--   gone       the record of it: a number is never used again
--
-- The switch changes two rows. Whoever stores a document holds the active version's row meanwhile,
-- so that none is stored without vectors of the version that is active when it commits.

CREATE TABLE tenantry.vector_versions (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    version integer NOT NULL CHECK (version > 0),
    embedder text NOT NULL CHECK (length(embedder) BETWEEN 1 AND 300), -- model and version of it
    is_default boolean NOT NULL, -- the deployment's, not chosen by the tenant
    dimension integer NOT NULL CHECK (dimension BETWEEN 1 AND 16000),
    is_shortened boolean NOT NULL DEFAULT false, -- the model is asked for this dimension
    query_prefix text NOT NULL DEFAULT '' CHECK (length(query_prefix) <= 200),
    passage_prefix text NOT NULL DEFAULT '' CHECK (length(passage_prefix) <= 200),
    state text NOT NULL CHECK (state IN ('preparing', 'active', 'leaving', 'gone')),
    is_behind boolean NOT NULL DEFAULT false, -- a document was stored without vectors of it
    job_id uuid, -- what prepares it
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, version)
);
CREATE UNIQUE INDEX vector_versions_active ON tenantry.vector_versions (tenant_id)
    WHERE state = 'active';
CREATE UNIQUE INDEX vector_versions_preparing ON tenantry.vector_versions (tenant_id)
    WHERE state = 'preparing';
ALTER TABLE tenantry.vector_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.vector_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.vector_versions TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE ON tenantry.vector_versions TO tenantry_tenant;

-- No foreign key to the passages: a document's go with it, all at once.
CREATE TABLE tenantry.chunk_embeddings (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL,
    version integer NOT NULL,
    chunk_no integer NOT NULL,
    embedding extensions.halfvec NOT NULL, -- of its version's dimension
    PRIMARY KEY (tenant_id, document_id, version, chunk_no),
    FOREIGN KEY (tenant_id, document_id) REFERENCES tenantry.documents (tenant_id, document_id)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.chunk_embeddings ALTER COLUMN embedding SET STORAGE MAIN;
ALTER TABLE tenantry.chunk_embeddings ALTER COLUMN embedding SET STATISTICS 0;
ALTER TABLE tenantry.chunk_embeddings ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.chunk_embeddings TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY shelver ON tenantry.chunk_embeddings FOR SELECT TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, DELETE ON tenantry.chunk_embeddings TO tenantry_tenant;

-- What there is becomes each tenant's first version, made by what embedded its newest document; a
-- shelf is made anew when its tenant is next tended.
DROP TRIGGER shelve_added ON tenantry.chunks;
DROP TRIGGER shelve_removed ON tenantry.chunks;
DROP POLICY shelver ON tenantry.chunks;
ALTER TABLE tenantry.documents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunks NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.vector_versions NO FORCE ROW LEVEL SECURITY;
INSERT INTO tenantry.vector_versions (tenant_id, version, embedder, is_default, dimension, state)
SELECT DISTINCT ON (d.tenant_id) d.tenant_id, 1, d.embedder, true,
       extensions.vector_dims(c.embedding), 'active'
  FROM tenantry.documents AS d JOIN tenantry.chunks AS c USING (tenant_id, document_id)
 ORDER BY d.tenant_id, d.created_at DESC;
-- What another embedder had made was found by no search; vectors for it are still to be made.
UPDATE tenantry.vector_versions AS v SET is_behind = true
 WHERE EXISTS (SELECT FROM tenantry.documents AS d
                WHERE d.tenant_id = v.tenant_id AND d.embedder <> v.embedder);
INSERT INTO tenantry.chunk_embeddings (tenant_id, document_id, version, chunk_no, embedding)
SELECT c.tenant_id, c.document_id, v.version, c.chunk_no, c.embedding
  FROM tenantry.chunks AS c JOIN tenantry.documents AS d USING (tenant_id, document_id)
  JOIN tenantry.vector_versions AS v ON v.tenant_id = d.tenant_id AND v.embedder = d.embedder;
ALTER TABLE tenantry.documents FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunks FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.vector_versions FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunk_embeddings FORCE ROW LEVEL SECURITY;
DELETE FROM tenantry.vector_shelves;
DO $$
DECLARE
    slot integer;
BEGIN
    FOR slot IN SELECT s.shelf FROM tenantry_private.shelf_slots AS s LOOP
        EXECUTE format('DROP INDEX IF EXISTS tenantry.chunk_vectors_%s_nearest', slot);
        EXECUTE format('TRUNCATE tenantry.chunk_vectors_%s', slot);
    END LOOP;
    UPDATE tenantry_private.shelf_slots SET is_taken = false;
END
$$;

DROP VIEW tenantry.searchable_documents;
ALTER TABLE tenantry.chunks DROP COLUMN embedding;
ALTER TABLE tenantry.documents DROP COLUMN embedder;
CREATE VIEW tenantry.searchable_documents WITH (security_invoker = true) AS
    SELECT tenant_id, document_id, title, media_type, chunk_count, created_at, language, sha256
      FROM tenantry.documents;
GRANT SELECT ON tenantry.searchable_documents TO tenantry_tenant;

-- Shelves are of a version now: what indexes the next one is made before the switch.
DROP FUNCTION tenantry_private.fill_shelf(uuid, text, integer, boolean);
DROP FUNCTION tenantry.open_shelf(text, integer);
DROP FUNCTION tenantry.advance_shelf(text);
DROP FUNCTION tenantry.retire_shelf(text);
DROP FUNCTION tenantry.free_shelf(text);
DROP FUNCTION tenantry.nearest_on_shelf(
    integer, integer, extensions.halfvec, integer, text, uuid[], text[], timestamptz, timestamptz);
DROP TABLE tenantry.vector_changes;
ALTER TABLE tenantry.vector_shelves DROP CONSTRAINT vector_shelves_pkey;
ALTER TABLE tenantry.vector_shelves DROP COLUMN embedder;
ALTER TABLE tenantry.vector_shelves ADD COLUMN version integer NOT NULL;
ALTER TABLE tenantry.vector_shelves ADD PRIMARY KEY (tenant_id, version);
CREATE TABLE tenantry.vector_changes (
    tenant_id uuid NOT NULL,
    version integer NOT NULL,
    document_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, version, document_id),
    FOREIGN KEY (tenant_id, version) REFERENCES tenantry.vector_shelves (tenant_id, version)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.vector_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.vector_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.vector_changes TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.vector_changes TO tenantry_owner USING (true) WITH CHECK (true);

-- Begins a shelf for this transaction's tenant; false when it has one for this version.
CREATE FUNCTION tenantry.open_shelf(of_version integer, of_dimension integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own uuid := tenantry.current_tenant();
BEGIN
    -- The row first: who loses the race must not take a shelf.
    INSERT INTO tenantry.vector_shelves (tenant_id, version, shelf, dimension, state)
    VALUES (own, of_version, 0, of_dimension, 'opened')
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE tenantry.vector_shelves SET shelf = tenantry_private.take_shelf()
     WHERE tenant_id = own AND version = of_version;
    RETURN true;
END
$$;

-- Brings this transaction's tenant's shelf one step on; its state afterwards, or NULL.
-- Filling takes as long as it takes: the caller lifts the statement's time limit.
CREATE FUNCTION tenantry.advance_shelf(of_version integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own uuid := tenantry.current_tenant();
    held tenantry.vector_shelves;
BEGIN
    SELECT * INTO held FROM tenantry.vector_shelves
     WHERE tenant_id = own AND version = of_version;
    IF held.state = 'opened' THEN
        -- Whoever began to write before now may not have seen the shelf.
        UPDATE tenantry.vector_shelves
           SET state = 'settling', settled_after = pg_snapshot_xmax(pg_current_snapshot()),
               changed_at = now()
         WHERE tenant_id = own AND version = of_version AND state = 'opened';
        RETURN 'settling';
    END IF;
    IF held.state IS DISTINCT FROM 'settling'
       OR pg_snapshot_xmin(pg_current_snapshot()) < held.settled_after THEN
        RETURN held.state;
    END IF;
    BEGIN
        -- Nobody else uses it before it is ready: the lock tells another process's turn.
        EXECUTE format('LOCK TABLE ONLY tenantry.chunk_vectors_%s IN SHARE ROW EXCLUSIVE MODE NOWAIT',
                       held.shelf);
    EXCEPTION WHEN lock_not_available THEN
        RETURN held.state;
    END;
    PERFORM FROM tenantry.vector_shelves
      WHERE tenant_id = own AND version = of_version AND state = 'settling';
    IF NOT FOUND THEN
        RETURN 'ready'; -- the other process had just finished
    END IF;
    PERFORM tenantry_private.fill_shelf(own, of_version, held.shelf, false);
    EXECUTE format('CREATE INDEX chunk_vectors_%1$s_nearest ON tenantry.chunk_vectors_%1$s USING hnsw '
                   '((embedding::extensions.halfvec(%2$s)) extensions.halfvec_cosine_ops) '
                   'WITH (m = 16, ef_construction = 128)', -- with 64, recall was 0.94 at 200,000
                   held.shelf, held.dimension);
    EXECUTE format('ALTER INDEX tenantry.chunk_vectors_%s_nearest ALTER COLUMN 1 SET STATISTICS 0',
                   held.shelf);
    -- From here the tenant's writers wait, for as long as what they changed meanwhile is entered.
    PERFORM FROM tenantry.vector_shelves
      WHERE tenant_id = own AND version = of_version FOR UPDATE;
    -- With the number written out, the plan opens this one partition.
    EXECUTE format('DELETE FROM tenantry.chunk_vectors AS v USING tenantry.vector_changes AS n '
                   ' WHERE n.tenant_id = $1 AND n.version = $2 AND v.tenant_id = $1 '
                   '   AND v.shelf = %s AND v.document_id = n.document_id', held.shelf)
        USING own, of_version;
    PERFORM tenantry_private.fill_shelf(own, of_version, held.shelf, true);
    DELETE FROM tenantry.vector_changes WHERE tenant_id = own AND version = of_version;
    UPDATE tenantry.vector_shelves SET state = 'ready', changed_at = now()
     WHERE tenant_id = own AND version = of_version;
    RETURN 'ready';
END
$$;

-- Gives this transaction's tenant's shelf up: at once for searches, emptied at the next step.
CREATE FUNCTION tenantry.retire_shelf(of_version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE tenantry.vector_shelves SET state = 'retired', changed_at = now()
     WHERE tenant_id = tenantry.current_tenant() AND version = of_version AND state <> 'retired';
    RETURN FOUND;
END
$$;

-- Empties a retired shelf of this transaction's tenant and frees it; false while it is in use.
-- A search that still meant to use it finds it empty, and makes an exact pass instead.
CREATE FUNCTION tenantry.free_shelf(of_version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own uuid := tenantry.current_tenant();
    held tenantry.vector_shelves;
BEGIN
    SELECT * INTO held FROM tenantry.vector_shelves
     WHERE tenant_id = own AND version = of_version AND state = 'retired';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    BEGIN
        EXECUTE format('LOCK TABLE ONLY tenantry.chunk_vectors_%s IN ACCESS EXCLUSIVE MODE NOWAIT',
                       held.shelf);
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    DELETE FROM tenantry.vector_shelves
     WHERE tenant_id = own AND version = of_version AND state = 'retired';
    IF NOT FOUND THEN
        RETURN false; -- another process was quicker, and the shelf may be somebody's already
    END IF;
    EXECUTE format('DROP INDEX IF EXISTS tenantry.chunk_vectors_%s_nearest', held.shelf);
    EXECUTE format('TRUNCATE tenantry.chunk_vectors_%s', held.shelf);
    UPDATE tenantry_private.shelf_slots SET is_taken = false WHERE shelf = held.shelf;
    RETURN true;
END
$$;

-- What they call, and what fills a shelf, knows for whom a row is: `0060_access_lists.sql`.
CREATE TRIGGER shelve_added AFTER INSERT ON tenantry.chunk_embeddings
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tenantry.shelve_chunks();
CREATE TRIGGER shelve_removed AFTER DELETE ON tenantry.chunk_embeddings
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tenantry.shelve_chunks();

-- The statement of a search on a shelf: one partition, in the order its index gives, each passage
-- tried against the filters as it comes. $1 question, $2 most, $3 version, then the filters. That the
-- shelf is the version's is asked in the same moment: it may have been freed, and given out anew.
CREATE OR REPLACE FUNCTION tenantry.shelf_statement(on_shelf integer, dimension integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(
        'SELECT v.document_id, v.chunk_no, '
        '       (v.embedding::extensions.halfvec(%2$s) OPERATOR(extensions.<=>) $1)::float8 AS distance '
        '  FROM tenantry.chunk_vectors AS v '
        '  JOIN tenantry.searchable_documents AS d USING (tenant_id, document_id) '
        ' WHERE v.shelf = %1$s '
        '   AND $3 = (SELECT s.version FROM tenantry.vector_shelves AS s WHERE s.shelf = %1$s) '
        '   AND ($4 IS NULL OR d.document_id = ANY ($4)) '
        '   AND ($5 IS NULL OR d.media_type = ANY ($5)) '
        '   AND ($6 IS NULL OR d.created_at >= $6) AND ($7 IS NULL OR d.created_at < $7) '
        ' ORDER BY v.embedding::extensions.halfvec(%2$s) OPERATOR(extensions.<=>) $1 LIMIT $2',
        on_shelf, dimension)
$$;

-- Loads pgvector, so that its settings below are known.
DO $$ BEGIN PERFORM '[1]'::extensions.halfvec; END $$;

-- The nearest passages by a shelf's index, with the caller's rights: policies decide, as anywhere.
-- The scan goes on until the filters have left enough (VEC-2); the settings forbid every plan but
-- the index in its order, since the planner, which has no samples, would guess.
CREATE FUNCTION tenantry.nearest_on_shelf(
        on_shelf integer, dimension integer, question extensions.halfvec, most integer,
        of_version integer, only_documents uuid[], media_types text[], added_from timestamptz,
        added_before timestamptz)
    RETURNS TABLE (document_id uuid, chunk_no integer, distance double precision)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
    SET hnsw.ef_search = 200
    SET hnsw.iterative_scan = strict_order
    SET hnsw.max_scan_tuples = 200000
    SET enable_sort = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
AS $$
BEGIN
    RETURN QUERY EXECUTE tenantry.shelf_statement(on_shelf, dimension)
        USING question, most, of_version, only_documents, media_types, added_from, added_before;
END
$$;

REVOKE ALL ON FUNCTION tenantry.open_shelf(integer, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.advance_shelf(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.retire_shelf(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.free_shelf(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.nearest_on_shelf(
    integer, integer, extensions.halfvec, integer, integer, uuid[], text[], timestamptz, timestamptz)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.open_shelf(integer, integer), tenantry.advance_shelf(integer),
    tenantry.retire_shelf(integer), tenantry.free_shelf(integer),
    tenantry.nearest_on_shelf(
        integer, integer, extensions.halfvec, integer, integer, uuid[], text[], timestamptz, timestamptz)
    TO tenantry_tenant;

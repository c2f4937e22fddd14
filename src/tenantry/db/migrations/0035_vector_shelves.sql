-- Dedicated indexes of large tenants (VEC-1): a tenant whose passages are too many to compare each
-- gets a shelf, a copy of its vectors with an HNSW index of its own. See docs/adr/0020.
--
-- `chunks` stays the authority: what a shelf cannot give, an exact pass over it gives. A shelf is a
-- partition, so that no statement of another tenant ever opens, locks or plans with it; it has a
-- number and no name, so that the catalogue, which every role can read, does not tell whose it is.
-- A shelf that is given up is emptied and kept for the next tenant: dropping it would lock them all.
--
--   opened    from here on, the tenant's writers note in `vector_changes` which documents they touch
--   settling  waits until every writer that may have missed that has ended (`settled_after`)
--   ready     filled and indexed; writers write to it too
--   retired   no search uses it any more
--
-- Each step is a function with the owner's rights that takes no tenant: it works on the rows of the
-- tenant whose signed context the transaction carries, and only owner and trigger write to shelves.

CREATE TABLE tenantry.vector_shelves (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    embedder text NOT NULL,
    shelf integer NOT NULL,
    dimension integer NOT NULL CHECK (dimension BETWEEN 1 AND 4000), -- what HNSW can index
    state text NOT NULL CHECK (state IN ('opened', 'settling', 'ready', 'retired')),
    settled_after xid8,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, embedder)
);
ALTER TABLE tenantry.vector_shelves ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.vector_shelves FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.vector_shelves TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.vector_shelves TO tenantry_owner USING (true) WITH CHECK (true);
GRANT SELECT ON tenantry.vector_shelves TO tenantry_tenant;

-- Documents touched while a shelf is being filled: they are entered when it becomes ready.
CREATE TABLE tenantry.vector_changes (
    tenant_id uuid NOT NULL,
    embedder text NOT NULL,
    document_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, embedder, document_id),
    FOREIGN KEY (tenant_id, embedder) REFERENCES tenantry.vector_shelves (tenant_id, embedder)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.vector_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.vector_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.vector_changes TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.vector_changes TO tenantry_owner USING (true) WITH CHECK (true);

-- No foreign key to chunks: its check, planned once for all tenants, would open every shelf.
CREATE TABLE tenantry.chunk_vectors (
    tenant_id uuid NOT NULL,
    shelf integer NOT NULL,
    document_id uuid NOT NULL,
    chunk_no integer NOT NULL,
    embedding extensions.halfvec NOT NULL,
    PRIMARY KEY (tenant_id, shelf, document_id, chunk_no)
) PARTITION BY LIST (shelf);
ALTER TABLE tenantry.chunk_vectors ALTER COLUMN embedding SET STORAGE MAIN;
ALTER TABLE tenantry.chunk_vectors ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.chunk_vectors FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.chunk_vectors TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.chunk_vectors TO tenantry_owner USING (true) WITH CHECK (true);
GRANT SELECT ON tenantry.chunk_vectors TO tenantry_tenant;

-- Which shelves there are; whose a taken one is stands in `vector_shelves` alone.
CREATE TABLE tenantry_private.shelf_slots (
    shelf integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    is_taken boolean NOT NULL
);
REVOKE ALL ON TABLE tenantry_private.shelf_slots FROM PUBLIC;

-- What filling a shelf reads: the rows of the one tenant whose context the transaction carries.
CREATE POLICY shelver ON tenantry.documents FOR SELECT TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY shelver ON tenantry.chunks FOR SELECT TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()));

-- What a search needs to know of a document.
CREATE VIEW tenantry.searchable_documents WITH (security_invoker = true) AS
    SELECT tenant_id, document_id, title, media_type, embedder, chunk_count, created_at
      FROM tenantry.documents;
GRANT SELECT ON tenantry.searchable_documents TO tenantry_tenant;

-- A free shelf, made when there is none. Attaching locks out no reader and no writer.
CREATE FUNCTION tenantry_private.take_shelf() RETURNS integer
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
    -- Neither samples nor frequencies of what it holds: every role could read estimates of them.
    FOREACH field IN ARRAY ARRAY['tenant_id', 'shelf', 'document_id', 'chunk_no', 'embedding'] LOOP
        EXECUTE format('ALTER TABLE tenantry.chunk_vectors_%s ALTER COLUMN %I SET STATISTICS 0',
                       taken, field);
    END LOOP;
    EXECUTE format('ALTER TABLE tenantry.chunk_vectors ATTACH PARTITION '
                   'tenantry.chunk_vectors_%s FOR VALUES IN (%s)', taken, taken);
    RETURN taken;
END
$$;

-- Rows of this transaction's tenant enter its shelf: all of them, or those of the documents noted.
CREATE FUNCTION tenantry_private.fill_shelf(of_tenant uuid, of_embedder text, on_shelf integer,
                                            only_noted boolean)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO tenantry.chunk_vectors (tenant_id, shelf, document_id, chunk_no, embedding)
    SELECT d.tenant_id, on_shelf, d.document_id, c.chunk_no, c.embedding
      FROM tenantry.documents AS d
     CROSS JOIN LATERAL ( -- by key, document by document: never the whole table
           SELECT c.chunk_no, c.embedding FROM tenantry.chunks AS c
            WHERE c.tenant_id = d.tenant_id AND c.document_id = d.document_id
           OFFSET 0) AS c
     WHERE d.tenant_id = of_tenant AND d.embedder = of_embedder
       AND (NOT only_noted OR d.document_id IN (
            SELECT n.document_id FROM tenantry.vector_changes AS n
             WHERE n.tenant_id = of_tenant AND n.embedder = of_embedder));
END
$$;

-- Begins a shelf for this transaction's tenant; false when it has one for this embedder.
CREATE FUNCTION tenantry.open_shelf(of_embedder text, of_dimension integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own uuid := tenantry.current_tenant();
BEGIN
    -- The row first: who loses the race must not take a shelf.
    INSERT INTO tenantry.vector_shelves (tenant_id, embedder, shelf, dimension, state)
    VALUES (own, of_embedder, 0, of_dimension, 'opened')
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE tenantry.vector_shelves SET shelf = tenantry_private.take_shelf()
     WHERE tenant_id = own AND embedder = of_embedder;
    RETURN true;
END
$$;

-- Brings this transaction's tenant's shelf one step on; its state afterwards, or NULL.
-- Filling takes as long as it takes: the caller lifts the statement's time limit.
CREATE FUNCTION tenantry.advance_shelf(of_embedder text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own uuid := tenantry.current_tenant();
    held tenantry.vector_shelves;
BEGIN
    SELECT * INTO held FROM tenantry.vector_shelves
     WHERE tenant_id = own AND embedder = of_embedder;
    IF held.state = 'opened' THEN
        -- Whoever began to write before now may not have seen the shelf.
        UPDATE tenantry.vector_shelves
           SET state = 'settling', settled_after = pg_snapshot_xmax(pg_current_snapshot()),
               changed_at = now()
         WHERE tenant_id = own AND embedder = of_embedder AND state = 'opened';
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
      WHERE tenant_id = own AND embedder = of_embedder AND state = 'settling';
    IF NOT FOUND THEN
        RETURN 'ready'; -- the other process had just finished
    END IF;
    PERFORM tenantry_private.fill_shelf(own, of_embedder, held.shelf, false);
    EXECUTE format('CREATE INDEX chunk_vectors_%1$s_nearest ON tenantry.chunk_vectors_%1$s USING hnsw '
                   '((embedding::extensions.halfvec(%2$s)) extensions.halfvec_cosine_ops)',
                   held.shelf, held.dimension);
    EXECUTE format('ALTER INDEX tenantry.chunk_vectors_%s_nearest ALTER COLUMN 1 SET STATISTICS 0',
                   held.shelf);
    -- From here the tenant's writers wait, for as long as what they changed meanwhile is entered.
    PERFORM FROM tenantry.vector_shelves
      WHERE tenant_id = own AND embedder = of_embedder FOR UPDATE;
    -- With the number written out, the plan opens this one partition.
    EXECUTE format('DELETE FROM tenantry.chunk_vectors AS v USING tenantry.vector_changes AS n '
                   ' WHERE n.tenant_id = $1 AND n.embedder = $2 AND v.tenant_id = $1 '
                   '   AND v.shelf = %s AND v.document_id = n.document_id', held.shelf)
        USING own, of_embedder;
    PERFORM tenantry_private.fill_shelf(own, of_embedder, held.shelf, true);
    DELETE FROM tenantry.vector_changes WHERE tenant_id = own AND embedder = of_embedder;
    UPDATE tenantry.vector_shelves SET state = 'ready', changed_at = now()
     WHERE tenant_id = own AND embedder = of_embedder;
    RETURN 'ready';
END
$$;

-- Gives this transaction's tenant's shelf up: at once for searches, emptied at the next step.
CREATE FUNCTION tenantry.retire_shelf(of_embedder text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE tenantry.vector_shelves SET state = 'retired', changed_at = now()
     WHERE tenant_id = tenantry.current_tenant() AND embedder = of_embedder AND state <> 'retired';
    RETURN FOUND;
END
$$;

-- Empties a retired shelf of this transaction's tenant and frees it; false while it is in use.
-- A search that still meant to use it finds it empty, and makes an exact pass instead.
CREATE FUNCTION tenantry.free_shelf(of_embedder text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own uuid := tenantry.current_tenant();
    held tenantry.vector_shelves;
BEGIN
    SELECT * INTO held FROM tenantry.vector_shelves
     WHERE tenant_id = own AND embedder = of_embedder AND state = 'retired';
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
     WHERE tenant_id = own AND embedder = of_embedder AND state = 'retired';
    IF NOT FOUND THEN
        RETURN false; -- another process was quicker, and the shelf may be somebody's already
    END IF;
    EXECUTE format('DROP INDEX IF EXISTS tenantry.chunk_vectors_%s_nearest', held.shelf);
    EXECUTE format('TRUNCATE tenantry.chunk_vectors_%s', held.shelf);
    UPDATE tenantry_private.shelf_slots SET is_taken = false WHERE shelf = held.shelf;
    RETURN true;
END
$$;

-- Keeps shelves as their tenant's chunks are: in the same transaction, whoever writes.
CREATE FUNCTION tenantry.shelve_chunks() RETURNS trigger
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
            INSERT INTO tenantry.vector_changes (tenant_id, embedder, document_id)
            SELECT DISTINCT c.tenant_id, held.embedder, c.document_id
              FROM changed AS c WHERE c.tenant_id = held.tenant_id
            ON CONFLICT DO NOTHING;
        ELSIF TG_OP = 'INSERT' THEN
            INSERT INTO tenantry.chunk_vectors (tenant_id, shelf, document_id, chunk_no, embedding)
            SELECT c.tenant_id, held.shelf, c.document_id, c.chunk_no, c.embedding
              FROM changed AS c
             WHERE c.tenant_id = held.tenant_id AND EXISTS (
                   SELECT FROM tenantry.documents AS d
                    WHERE d.tenant_id = c.tenant_id AND d.document_id = c.document_id
                      AND d.embedder = held.embedder);
        ELSE
            EXECUTE format(
                'DELETE FROM tenantry.chunk_vectors AS v USING changed AS c '
                ' WHERE c.tenant_id = $1 AND v.tenant_id = $1 AND v.shelf = %s '
                '   AND v.document_id = c.document_id AND v.chunk_no = c.chunk_no', held.shelf)
                USING held.tenant_id;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER shelve_added AFTER INSERT ON tenantry.chunks
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tenantry.shelve_chunks();
CREATE TRIGGER shelve_removed AFTER DELETE ON tenantry.chunks
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION tenantry.shelve_chunks();

-- The statement of a search on a shelf: one partition, in the order its index gives, each passage
-- tried against the filters as it comes. $1 question, $2 most, $3 embedder, then the filters.
CREATE FUNCTION tenantry.shelf_statement(on_shelf integer, dimension integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(
        'SELECT v.document_id, v.chunk_no, '
        '       (v.embedding::extensions.halfvec(%2$s) OPERATOR(extensions.<=>) $1)::float8 AS distance '
        '  FROM tenantry.chunk_vectors AS v '
        '  JOIN tenantry.searchable_documents AS d USING (tenant_id, document_id) '
        ' WHERE v.shelf = %1$s AND d.embedder = $3 '
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
        of_embedder text, only_documents uuid[], media_types text[], added_from timestamptz,
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
        USING question, most, of_embedder, only_documents, media_types, added_from, added_before;
END
$$;

REVOKE ALL ON FUNCTION tenantry_private.take_shelf() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry_private.fill_shelf(uuid, text, integer, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.open_shelf(text, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.advance_shelf(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.retire_shelf(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.free_shelf(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.shelve_chunks() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.shelf_statement(integer, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.nearest_on_shelf(
    integer, integer, extensions.halfvec, integer, text, uuid[], text[], timestamptz, timestamptz)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.open_shelf(text, integer), tenantry.advance_shelf(text),
    tenantry.retire_shelf(text), tenantry.free_shelf(text),
    tenantry.shelf_statement(integer, integer), tenantry.nearest_on_shelf(
        integer, integer, extensions.halfvec, integer, text, uuid[], text[], timestamptz, timestamptz)
    TO tenantry_tenant;

-- Files that wait for a worker, or that one failed to read, are kept until then: they count (COST-2).
-- So do the codes and names of passages, and vectors of every version: a tenant that changes its
-- embedder keeps two for a while.

CREATE OR REPLACE FUNCTION tenantry.stored_sizes()
    RETURNS TABLE (what text, size_bytes bigint, row_count bigint)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, extensions, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT 'conversations', coalesce(sum(octet_length(m.content) + pg_column_size(m.citations)
                                         + pg_column_size(m.attachments)), 0)::bigint,
           count(*) FROM tenantry.messages AS m
    UNION ALL
    SELECT 'tool_calls', coalesce(sum(pg_column_size(t.arguments)), 0)::bigint, count(*)
      FROM tenantry.tool_calls AS t
    UNION ALL
    SELECT 'documents', coalesce(sum(octet_length(c.content) + octet_length(c.heading)
                                     + octet_length(c.names) + pg_column_size(c.terms)), 0)::bigint, count(*)
      FROM tenantry.chunks AS c
    UNION ALL
    SELECT 'vectors', coalesce(sum(pg_column_size(e.embedding)), 0)::bigint, count(*)
      FROM tenantry.chunk_embeddings AS e
    UNION ALL
    SELECT 'files', coalesce(sum(f.size_bytes), 0)::bigint, count(*) FROM tenantry.data_files AS f
    UNION ALL
    SELECT 'results', coalesce(sum(octet_length(r.content)), 0)::bigint, count(*)
      FROM tenantry.result_files AS r
    UNION ALL
    SELECT 'patterns', coalesce(sum(octet_length(p.question) + octet_length(p.sql)
                                    + pg_column_size(p.embedding)), 0)::bigint, count(*)
      FROM tenantry.pattern_versions AS p
    UNION ALL
    SELECT 'job_inputs', coalesce(sum(octet_length(i.content)), 0)::bigint, count(*)
      FROM tenantry.job_inputs AS i;
END
$$;

-- Rows of one table for a break-glass session (DB-5): as JSON, without vectors and search terms,
-- which help no investigation. Runs with the caller's rights: its grants and policies decide.

CREATE FUNCTION tenantry.break_glass_rows(of_table text, most integer, skipped bigint)
    RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT to_jsonb(t) - ARRAY[''embedding'', ''terms''] FROM tenantry.%I AS t '
        'ORDER BY t.ctid LIMIT $1 OFFSET $2', of_table) USING most, skipped;
END
$$;
REVOKE ALL ON FUNCTION tenantry.break_glass_rows(text, integer, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.break_glass_rows(text, integer, bigint) TO tenantry_breakglass;

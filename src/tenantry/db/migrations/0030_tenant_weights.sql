-- What a tenant weighs beside others where turns are taken (FAIR-1): twice the weight, twice the
-- share. Every process hears of a change at once.

ALTER TABLE tenantry.tenants
    ADD COLUMN weight double precision NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0.01 AND 100);

CREATE FUNCTION tenantry.tell_weight() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('tenantry_weights', '');
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tenantry.tell_weight() FROM PUBLIC;

CREATE TRIGGER weight AFTER UPDATE OF weight ON tenantry.tenants
    FOR EACH ROW EXECUTE FUNCTION tenantry.tell_weight();

-- Tells every process that a credential may stand for something else from now on (SEC-6): what is
-- remembered of the tenant's keys and members is then dropped. The notice names the tenant alone.

CREATE FUNCTION tenantry.tell_standing() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('tenantry_standing', OLD.tenant_id::text);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tenantry.tell_standing() FROM PUBLIC;

-- The time of last use is no matter of standing: it is written all the time.
CREATE TRIGGER standing AFTER DELETE OR UPDATE OF digest, scopes, member_id, expires_at, revoked_at
    ON tenantry.api_keys FOR EACH ROW EXECUTE FUNCTION tenantry.tell_standing();
CREATE TRIGGER standing AFTER DELETE OR UPDATE OF role, status
    ON tenantry.members FOR EACH ROW EXECUTE FUNCTION tenantry.tell_standing();
CREATE TRIGGER standing AFTER DELETE OR UPDATE OF status
    ON tenantry.tenants FOR EACH ROW EXECUTE FUNCTION tenantry.tell_standing();

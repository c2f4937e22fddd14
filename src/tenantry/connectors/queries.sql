-- Connectors and files: tenantry.connectors, tenantry.suspended_operations, tenantry.approvals,
-- tenantry.data_files, tenantry.result_files.

-- name: create_connector
INSERT INTO tenantry.connectors (
    tenant_id, connector_id, name, kind, options, credential_version)
VALUES (%(tenant)s, %(connector_id)s, %(name)s, %(kind)s, %(options)s, %(credential_version)s)
RETURNING connector_id, name, kind, options, created_at, credential_version;

-- name: change_connector
-- Rows: the connector as it is now; none when it was changed or removed since it was read.
UPDATE tenantry.connectors
   SET options = %(options)s, credential_version = %(credential_version)s
 WHERE connector_id = %(connector_id)s AND credential_version = %(known_version)s
RETURNING connector_id, name, kind, options, created_at, credential_version;

-- name: list_connectors
-- Rows: connectors with ids after the given one, oldest first.
SELECT connector_id, name, kind, options, created_at, credential_version
  FROM tenantry.connectors
 WHERE connector_id > %(after)s
 ORDER BY connector_id LIMIT %(limit)s;

-- name: get_connector
SELECT connector_id, name, kind, options, created_at, credential_version
  FROM tenantry.connectors WHERE connector_id = %(connector_id)s;

-- name: find_connector
SELECT connector_id, name, kind, options, created_at, credential_version
  FROM tenantry.connectors WHERE name = %(name)s;

-- name: delete_connector
-- Touches 0 rows when there is none. Its tables and verified queries go with it.
DELETE FROM tenantry.connectors WHERE connector_id = %(connector_id)s;

-- name: list_suspended
-- Rows: operations of a connector that were suspended since this acceptance.
SELECT operation FROM tenantry.suspended_operations
 WHERE connector_id = %(connector_id)s AND acceptance = %(acceptance)s;

-- name: suspend_operation
-- Rows: the operation, unless it was suspended already.
INSERT INTO tenantry.suspended_operations (tenant_id, connector_id, acceptance, operation)
VALUES (%(tenant)s, %(connector_id)s, %(acceptance)s, %(operation)s)
ON CONFLICT DO NOTHING
RETURNING operation;

-- name: forget_suspended
-- Those of earlier acceptances mean nothing any more.
DELETE FROM tenantry.suspended_operations
 WHERE connector_id = %(connector_id)s AND acceptance <> %(acceptance)s;

-- name: ask_approval
-- Rows: the approval; none when the member has as many waiting as may be.
INSERT INTO tenantry.approvals (
    tenant_id, approval_id, connector_id, conversation_id, requested_by, operation, arguments,
    sha256, expires_at)
SELECT %(tenant)s, %(approval_id)s, %(connector_id)s, %(conversation_id)s, %(member_id)s,
       %(operation)s, %(arguments)s, %(sha256)s, now() + make_interval(secs => %(seconds)s)
  FROM (SELECT count(*) AS waiting FROM tenantry.approvals
         WHERE requested_by = %(member_id)s AND state = 'pending' AND expires_at > now()) AS a
 WHERE a.waiting < %(most)s
RETURNING approval_id, connector_id, conversation_id, operation, arguments, sha256, state,
          requested_at, expires_at;

-- name: list_approvals
-- Rows: the member's own that still wait, with ids after the given one, oldest first.
SELECT approval_id, connector_id, conversation_id, operation, arguments, sha256, state,
       requested_at, expires_at
  FROM tenantry.approvals
 WHERE requested_by = %(member_id)s AND state = 'pending' AND expires_at > now()
   AND approval_id > %(after)s
 ORDER BY approval_id LIMIT %(limit)s;

-- name: get_approval
SELECT approval_id, connector_id, conversation_id, operation, arguments, sha256, state,
       requested_at, expires_at
  FROM tenantry.approvals
 WHERE approval_id = %(approval_id)s AND requested_by = %(member_id)s;

-- name: decide_approval
-- Rows: the approval, once; none when it is not the member's, was decided before, or has expired.
UPDATE tenantry.approvals SET state = %(state)s, decided_at = now()
 WHERE approval_id = %(approval_id)s AND requested_by = %(member_id)s
   AND state = 'pending' AND expires_at > now()
RETURNING approval_id, connector_id, conversation_id, operation, arguments, sha256, state,
          requested_at, expires_at;

-- name: delete_old_approvals
DELETE FROM tenantry.approvals WHERE expires_at < now() - make_interval(days => %(days)s);

-- name: lock_stored
-- Held until the transaction ends: the file of a content is named or removed by one at a time.
SELECT pg_advisory_xact_lock(
    hashtextextended(%(tenant)s::text || encode(%(stored)s::bytea, 'hex'), 7223410007));

-- name: lock_connector
-- Rows: its kind; held until the transaction ends, so that it is not removed meanwhile.
SELECT kind FROM tenantry.connectors WHERE connector_id = %(connector_id)s FOR SHARE;

-- name: add_table
INSERT INTO tenantry.data_files (
    tenant_id, connector_id, table_name, sha256, stored_sha256, size_bytes, row_count, columns,
    description, created_by)
VALUES (%(tenant)s, %(connector_id)s, %(table_name)s, %(sha256)s, %(stored_sha256)s,
        %(size_bytes)s, %(row_count)s, %(columns)s, %(description)s, %(created_by)s)
RETURNING connector_id, table_name, sha256, stored_sha256, size_bytes, row_count, columns,
          description, created_at;

-- name: list_tables
-- Rows: tables of a connector, by name.
SELECT connector_id, table_name, sha256, stored_sha256, size_bytes, row_count, columns,
       description, created_at
  FROM tenantry.data_files
 WHERE connector_id = %(connector_id)s
 ORDER BY table_name;

-- name: delete_table
-- Rows: the content it was stored as; none when there is no such table.
DELETE FROM tenantry.data_files
 WHERE connector_id = %(connector_id)s AND table_name = %(table_name)s
RETURNING stored_sha256;

-- name: count_stored
-- Rows: how many tables of the tenant are stored as this content.
SELECT count(*) FROM tenantry.data_files WHERE stored_sha256 = %(stored)s;

-- name: keep_result
-- Rows: the result as it is listed; none when the tenant's results would outgrow their ceiling.
INSERT INTO tenantry.result_files (
    tenant_id, result_id, connector, sql, row_count, is_whole, size_bytes, content, created_by,
    expires_at)
SELECT %(tenant)s, %(result_id)s, %(connector)s, %(sql)s, %(row_count)s, %(is_whole)s,
       %(size_bytes)s, %(content)s, %(member_id)s, now() + make_interval(days => %(days)s)
  FROM (SELECT coalesce(sum(octet_length(content)), 0) AS kept FROM tenantry.result_files) AS r
 WHERE r.kept + octet_length(%(content)s) <= %(most_bytes)s
RETURNING result_id, connector, sql, row_count, is_whole, size_bytes, created_at, expires_at;

-- name: list_results
-- Rows: the member's own with ids after the given one, oldest first.
SELECT result_id, connector, sql, row_count, is_whole, size_bytes, created_at, expires_at
  FROM tenantry.result_files
 WHERE created_by = %(member_id)s AND expires_at > now() AND result_id > %(after)s
 ORDER BY result_id LIMIT %(limit)s;

-- name: get_result
SELECT result_id, connector, sql, row_count, is_whole, size_bytes, created_at, expires_at
  FROM tenantry.result_files
 WHERE result_id = %(result_id)s AND created_by = %(member_id)s AND expires_at > now();

-- name: result_content
SELECT content FROM tenantry.result_files
 WHERE result_id = %(result_id)s AND created_by = %(member_id)s AND expires_at > now();

-- name: delete_result
-- Touches 0 rows when there is none of this member's.
DELETE FROM tenantry.result_files
 WHERE result_id = %(result_id)s AND created_by = %(member_id)s;

-- name: delete_expired_results
DELETE FROM tenantry.result_files WHERE expires_at <= now();

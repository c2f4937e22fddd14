-- name: note_picked
-- Rows: id and key of the rows just picked; moves their pools' virtual time on to the smallest tag.
-- Role: tenantry_queue.
WITH picked AS MATERIALIZED (
    SELECT id, entrypoint, priority, dedupe_key
      FROM tenantry_queue.pgqueuer WHERE id = ANY (%(ids)s)
), moved AS (
    UPDATE tenantry_queue.virtual_time AS v SET reached = v.origin - p.priority
      FROM (SELECT entrypoint, max(priority) AS priority FROM picked GROUP BY entrypoint) AS p
     WHERE v.pool = p.entrypoint AND v.reached < v.origin - p.priority
)
SELECT id, dedupe_key FROM picked;

-- name: still_ours
-- Rows: those of the ids that this worker still has. Role: tenantry_queue.
SELECT id FROM tenantry_queue.pgqueuer
 WHERE id = ANY (%(ids)s) AND status = 'picked' AND queue_manager_id = %(worker)s;

-- name: rebase
-- Role: tenantry_queue.
SELECT tenantry.rebase_jobs(%(pool)s, %(beyond)s) AS moved;

-- name: remove_old_log
-- Role: tenantry_queue.
DELETE FROM tenantry_queue.pgqueuer_log WHERE created < now() - interval '1 day';

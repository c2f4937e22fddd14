-- name: note_picked
-- Rows: id and key of the rows just picked, as far as they are still this worker's: a report that was
-- under way may have removed one. Moves their pools' virtual time on to the smallest tag.
-- Role: tenantry_queue.
WITH picked AS MATERIALIZED (
    SELECT id, entrypoint, priority, dedupe_key FROM tenantry_queue.pgqueuer
     WHERE id = ANY (%(ids)s) AND status = 'picked' AND queue_manager_id = %(worker)s
), moved AS (
    UPDATE tenantry_queue.virtual_time AS v SET reached = v.origin - p.priority
      FROM (SELECT entrypoint, max(priority) AS priority FROM picked GROUP BY entrypoint) AS p
     WHERE v.pool = p.entrypoint AND v.reached < v.origin - p.priority
)
SELECT id, dedupe_key FROM picked;

-- name: report
-- How jobs ended, of those that this worker still has: held when they failed, else removed; as the
-- library does it, but for whose they are. Role: tenantry_queue.
WITH told AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(statuses)s::tenantry_queue.pgqueuer_status[],
                         %(tracebacks)s::text[]) AS t (id, status, traceback)
), removed AS (
    DELETE FROM tenantry_queue.pgqueuer AS q USING told AS t
     WHERE q.id = t.id AND t.status <> 'failed'
       AND q.status = 'picked' AND q.queue_manager_id = %(worker)s
    RETURNING q.id, q.entrypoint, q.priority
), held AS (
    UPDATE tenantry_queue.pgqueuer AS q
       SET status = 'failed', updated = now(), queue_manager_id = NULL
      FROM told AS t
     WHERE q.id = t.id AND t.status = 'failed'
       AND q.status = 'picked' AND q.queue_manager_id = %(worker)s
    RETURNING q.id, q.entrypoint, q.priority
)
INSERT INTO tenantry_queue.pgqueuer_log (job_id, status, entrypoint, priority, traceback)
SELECT id, t.status, e.entrypoint, e.priority, t.traceback::jsonb
  FROM (SELECT * FROM removed UNION ALL SELECT * FROM held) AS e JOIN told AS t USING (id);

-- name: put_back
-- For later, if this worker still has it. Role: tenantry_queue.
UPDATE tenantry_queue.pgqueuer
   SET status = 'queued', execute_after = now() + %(pause)s, attempts = attempts + 1,
       updated = now(), queue_manager_id = NULL
 WHERE id = %(id)s AND status = 'picked' AND queue_manager_id = %(worker)s;

-- name: keep_alive
-- Those that this worker still has. Role: tenantry_queue.
UPDATE tenantry_queue.pgqueuer SET heartbeat = now()
 WHERE id = ANY (%(ids)s) AND status = 'picked' AND queue_manager_id = %(worker)s;

-- name: rebase
-- Role: tenantry_queue.
SELECT tenantry.rebase_jobs(%(pool)s, %(beyond)s) AS moved;

-- name: remove_old_log
-- Role: tenantry_queue.
DELETE FROM tenantry_queue.pgqueuer_log WHERE created < now() - interval '1 day';

-- name: add_job
-- Rows: the job; none when this work was enqueued before (see find_by_key).
INSERT INTO tenantry.jobs (tenant_id, job_id, pool, kind, key, subject, arguments, cost, actor_kind,
                           actor_id, actor_role, audience)
VALUES (%(tenant)s, %(job_id)s, %(pool)s, %(kind)s, %(key)s, %(subject)s, %(arguments)s, %(cost)s,
        %(actor_kind)s, %(actor_id)s, %(actor_role)s, %(audience)s)
ON CONFLICT (tenant_id, kind, key) DO NOTHING
RETURNING job_id;

-- name: add_input
INSERT INTO tenantry.job_inputs (tenant_id, job_id, content, audience)
VALUES (%(tenant)s, %(job_id)s, %(content)s, %(audience)s);

-- name: job_input
SELECT content FROM tenantry.job_inputs WHERE job_id = %(job_id)s;

-- name: remove_input
DELETE FROM tenantry.job_inputs WHERE job_id = %(job_id)s;

-- name: find_by_key
SELECT job_id, pool, kind, subject, arguments, state, turn, attempt, tries, steps_done, steps_total,
       error_code, error, actor_kind, actor_id, actor_role, created_at, started_at, finished_at,
       audience
  FROM tenantry.jobs WHERE kind = %(kind)s AND key = %(key)s;

-- name: get_job
SELECT job_id, pool, kind, subject, arguments, state, turn, attempt, tries, steps_done, steps_total,
       error_code, error, actor_kind, actor_id, actor_role, created_at, started_at, finished_at,
       audience
  FROM tenantry.jobs WHERE job_id = %(job_id)s;

-- name: list_jobs
-- Rows: jobs after the cursor, oldest first, in one state unless that is empty.
SELECT job_id, pool, kind, subject, arguments, state, turn, attempt, tries, steps_done, steps_total,
       error_code, error, actor_kind, actor_id, actor_role, created_at, started_at, finished_at,
       audience
  FROM tenantry.jobs
 WHERE job_id > %(after)s AND (%(state)s = '' OR state = %(state)s)
 ORDER BY job_id LIMIT %(limit)s;

-- name: release_jobs
-- Rows: how many jobs of the pool were put into the queue; see db/migrations/0032_jobs.sql.
SELECT tenantry.release_jobs(%(pool)s) AS released;

-- name: recover_jobs
-- Rows: how many jobs the queue had lost.
SELECT tenantry.recover_jobs() AS recovered;

-- name: waiting_pools
-- In the order in which other transactions take a tenant's turns: upkeep before documents.
SELECT DISTINCT pool FROM tenantry.jobs WHERE state = 'waiting' ORDER BY pool DESC;

-- name: change_state
-- Rows: the pool of the job, if it was in one of the states it may leave for the new one.
UPDATE tenantry.jobs
   SET state = %(to)s, tries = CASE WHEN %(to)s = 'waiting' THEN 0 ELSE tries END,
       error_code = CASE WHEN %(to)s = 'waiting' THEN '' ELSE error_code END,
       error = CASE WHEN %(to)s = 'waiting' THEN '' ELSE error END,
       finished_at = CASE WHEN %(to)s = 'cancelled' THEN now() END
 WHERE job_id = %(job_id)s AND state = ANY (%(leaving)s)
RETURNING pool;

-- name: renew_job
UPDATE tenantry.jobs
   SET state = 'waiting', tries = 0, error_code = '', error = '', steps_done = 0, steps_total = 0,
       finished_at = NULL, subject = %(subject)s, arguments = %(arguments)s
 WHERE job_id = %(job_id)s AND state IN ('done', 'failed', 'cancelled');

-- name: discard_job
-- Rows: the pool of the job, if it was there.
DELETE FROM tenantry.jobs WHERE job_id = %(job_id)s RETURNING pool;

-- name: forget_subject
DELETE FROM tenantry.jobs WHERE subject = %(subject)s AND subject <> '';

-- name: forget_finished
-- Touches 0 rows when there is none that is over.
DELETE FROM tenantry.jobs
 WHERE subject = %(subject)s AND subject <> '' AND state IN ('done', 'failed', 'cancelled');

-- name: is_under_way
SELECT EXISTS (SELECT FROM tenantry.jobs WHERE subject = %(subject)s AND subject <> '') AS is_so;

-- name: remove_finished
-- Jobs that ended long ago, with what they worked on.
DELETE FROM tenantry.jobs
 WHERE state IN ('done', 'failed', 'cancelled')
   AND finished_at < now() - CASE WHEN pool = 'maintenance' AND state = 'done'
                                  THEN interval '2 hours' ELSE %(older_than)s END;

-- name: begin_attempt
-- Rows: the job as this attempt has it; none when it is over, paused, or in the queue another time.
UPDATE tenantry.jobs
   SET state = 'running', attempt = attempt + 1, tries = tries + 1,
       started_at = coalesce(started_at, now())
 WHERE job_id = %(job_id)s AND turn = %(turn)s AND pool = %(pool)s AND kind = %(kind)s
   AND subject = %(subject)s AND state IN ('queued', 'running')
   AND tenantry.may_work()
RETURNING job_id, pool, kind, subject, arguments, state, turn, attempt, tries, steps_done,
          steps_total, error_code, error, actor_kind, actor_id, actor_role, created_at, started_at,
          finished_at, audience;

-- name: is_suspended
-- Rows: one, whether the tenant may not work just now and the job waits in the queue for it.
SELECT NOT tenantry.may_work()
       AND EXISTS (SELECT FROM tenantry.jobs WHERE job_id = %(job_id)s AND turn = %(turn)s
                      AND state IN ('queued', 'running')) AS suspended;

-- name: note_progress
-- Touches 0 rows when the attempt is over.
UPDATE tenantry.jobs SET steps_done = %(done)s, steps_total = %(total)s
 WHERE job_id = %(job_id)s AND attempt = %(attempt)s AND state = 'running';

-- name: rest_job
-- It waits for its next turn; what it has done so far counts as no try.
UPDATE tenantry.jobs
   SET state = 'waiting', tries = 0, error_code = '', error = '', steps_done = %(done)s,
       steps_total = %(total)s
 WHERE job_id = %(job_id)s AND attempt = %(attempt)s AND state = 'running';

-- name: finish_job
-- The fence, taken before the effect; touches 0 rows when the attempt is over.
UPDATE tenantry.jobs
   SET state = 'done', finished_at = now(), error_code = '', error = '',
       steps_done = greatest(steps_total, 1), steps_total = greatest(steps_total, 1)
 WHERE job_id = %(job_id)s AND attempt = %(attempt)s AND state = 'running';

-- name: fail_job
UPDATE tenantry.jobs
   SET state = 'failed', finished_at = now(), error_code = %(code)s, error = %(message)s
 WHERE job_id = %(job_id)s AND attempt = %(attempt)s AND state = 'running';

-- name: postpone_job
-- The queue keeps its row, and gives it out again after a pause.
UPDATE tenantry.jobs SET state = 'queued', error_code = %(code)s, error = %(message)s
 WHERE job_id = %(job_id)s AND attempt = %(attempt)s AND state = 'running';

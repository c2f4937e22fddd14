-- Budgets: tenantry.budget_plans, budgets, budget_counters, budget_leases, budget_alerts,
-- complexity_weights. Amounts in thousandths of a weighted token, pico-USD, calls; times in UTC.

-- name: lock_plan
-- Rows: epoch; none when the tenant has no budgets. Whoever holds it is alone with its counters.
SELECT epoch FROM tenantry.hold_budgets() AS epoch

-- name: lock_plan_of
-- As `lock_plan`. Role: tenantry_operator.
SELECT epoch FROM tenantry.budget_plans WHERE tenant_id = %(tenant_id)s FOR NO KEY UPDATE

-- name: read_state
-- Rows: exactly one, after `lock_plan`. Counters of the given subjects, and every lease.
SELECT clock_timestamp() AS now, pg_current_xact_id()::text AS transaction, p.time_zone, p.epoch,
       (SELECT json_agg(b ORDER BY b.set_by, b.scope DESC, b.budget_id)
          FROM tenantry.budgets AS b WHERE b.tenant_id = p.tenant_id) AS budgets,
       (SELECT json_agg(l) FROM tenantry.budget_leases AS l WHERE l.tenant_id = p.tenant_id)
           AS leases,
       (SELECT json_agg(c)
          FROM tenantry.budgets AS b
          JOIN tenantry.budget_counters AS c
            ON c.tenant_id = b.tenant_id AND c.budget_id = b.budget_id
               AND c.subject = ANY (%(subjects)s::text[])
               AND c.window_end > clock_timestamp() - interval '1 hour'
         WHERE b.tenant_id = p.tenant_id) AS counters
  FROM tenantry.budget_plans AS p
 WHERE p.tenant_id = %(tenant)s

-- name: write_budgets
-- Rows: the alerts that were not there yet. Writes counters and leases, and ends leases, as a text
-- says that was signed in this transaction.
SELECT budget_id, subject, mark, scope, unit, period, amount, limit_amount
  FROM tenantry.write_budgets(%(key)s, %(body)s, %(mac)s)

-- name: hold_lease
-- Rows: lease_id of a lease that is long over; waits for intents that are being written under it.
SELECT lease_id
  FROM tenantry.hold_lease(%(lease_id)s, %(overdue_s)s::double precision) AS lease_id

-- name: overdue_leases
-- Rows: tenant_id, lease_id; the longest overdue first. Role: tenantry_operator.
SELECT tenant_id, lease_id FROM tenantry.budget_leases
 WHERE expires_at < clock_timestamp() - make_interval(secs => %(overdue_s)s::double precision)
 ORDER BY expires_at LIMIT %(most)s

-- name: count_budgets
SELECT count(*) FROM tenantry.budgets WHERE tenant_id = %(tenant_id)s AND set_by = %(set_by)s

-- name: set_budget
-- Rows: budget_id. In the tenant's transaction, or by the operator's role.
INSERT INTO tenantry.budgets AS b (
    tenant_id, budget_id, set_by, scope, subject, unit, period, hard_limit, soft_limit, grace,
    alerts)
VALUES (
    %(tenant_id)s, %(budget_id)s, %(set_by)s, %(scope)s, %(subject)s, %(unit)s, %(period)s,
    %(hard_limit)s, %(soft_limit)s, %(grace)s, %(alerts)s::integer[])
ON CONFLICT (tenant_id, set_by, scope, subject, unit, period)
    DO UPDATE SET hard_limit = EXCLUDED.hard_limit, soft_limit = EXCLUDED.soft_limit,
                  grace = EXCLUDED.grace, alerts = EXCLUDED.alerts
RETURNING b.budget_id

-- name: remove_budget
-- Touches 0 rows when there is no such budget of this kind.
DELETE FROM tenantry.budgets
 WHERE tenant_id = %(tenant_id)s AND budget_id = %(budget_id)s AND set_by = %(set_by)s

-- name: list_plan
-- Rows: the operator's budgets of a tenant. Role: tenantry_operator.
SELECT budget_id, set_by, scope, subject, unit, period, hard_limit, soft_limit, grace,
       alerts
  FROM tenantry.budgets WHERE tenant_id = %(tenant_id)s ORDER BY scope DESC, budget_id

-- name: set_time_zone
-- Role: tenantry_operator.
INSERT INTO tenantry.budget_plans AS p (tenant_id, time_zone) VALUES (%(tenant_id)s, %(time_zone)s)
ON CONFLICT (tenant_id) DO UPDATE SET time_zone = EXCLUDED.time_zone

-- name: time_zone_of
-- Role: tenantry_operator.
SELECT time_zone FROM tenantry.budget_plans WHERE tenant_id = %(tenant_id)s

-- name: live_counters
-- Rows: counters of windows that are not over, of every subject, the fullest first.
SELECT budget_id, subject, window_start, window_end, used, tat_us
  FROM tenantry.budget_counters
 WHERE tenant_id = %(tenant)s AND window_end > clock_timestamp()
 ORDER BY used DESC LIMIT %(most)s

-- name: list_alerts
-- Rows: alerts, newest first, from before the given moment.
SELECT budget_id, subject, window_start, mark, reached_at, amount, scope, unit, period,
       limit_amount
  FROM tenantry.budget_alerts
 WHERE tenant_id = %(tenant)s
   AND (%(before)s::timestamptz IS NULL OR reached_at < %(before)s::timestamptz)
 ORDER BY reached_at DESC, budget_id, subject, mark
 LIMIT %(most)s

-- name: listen_budgets
LISTEN tenantry_budgets

-- name: list_weights
-- Rows: every row. Role: tenantry_operator.
SELECT provider, model, input, cached, output, tool_call, tool_second
  FROM tenantry.complexity_weights ORDER BY provider, model

-- name: set_weights
-- Role: tenantry_operator.
INSERT INTO tenantry.complexity_weights (
    provider, model, input, cached, output, tool_call, tool_second)
VALUES (
    %(provider)s, %(model)s, %(input)s, %(cached)s, %(output)s, %(tool_call)s, %(tool_second)s)
ON CONFLICT (provider, model)
    DO UPDATE SET input = EXCLUDED.input, cached = EXCLUDED.cached, output = EXCLUDED.output,
                  tool_call = EXCLUDED.tool_call, tool_second = EXCLUDED.tool_second

-- name: remove_weights
-- Role: tenantry_operator.
DELETE FROM tenantry.complexity_weights WHERE provider = %(provider)s AND model = %(model)s

-- name: parts_of
-- Rows: the parts of a lease.
SELECT parts FROM tenantry.budget_leases
 WHERE tenant_id = %(tenant)s AND lease_id = %(lease_id)s

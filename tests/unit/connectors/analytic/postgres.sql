-- PostgreSQL's own analytic SQL over Chinook and TPC-H.

SELECT date_trunc('quarter', invoice_date) AS quarter, sum(total) AS revenue FROM invoices GROUP BY 1 ORDER BY 1

SELECT to_char(invoice_date, 'YYYY-MM') AS month, count(*) FROM public.invoices GROUP BY 1 ORDER BY 1

SELECT DISTINCT ON (billing_country) billing_country, invoice_id, total FROM invoices ORDER BY billing_country, total DESC, invoice_id

SELECT count(*) FILTER (WHERE total > 5) AS large, sum(total) FILTER (WHERE billing_country = 'USA') AS usa FROM invoices

SELECT billing_country, extract(year FROM invoice_date) AS y, sum(total) FROM invoices GROUP BY GROUPING SETS ((billing_country), (extract(year FROM invoice_date)), ()) ORDER BY 1, 2

SELECT billing_country, billing_city, sum(total), grouping(billing_city) FROM invoices GROUP BY ROLLUP (billing_country, billing_city) ORDER BY 1 NULLS LAST, 2 NULLS LAST

SELECT l_returnflag, l_linestatus, count(*) FROM lineitem GROUP BY CUBE (l_returnflag, l_linestatus) ORDER BY 1, 2

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) AS median, mode() WITHIN GROUP (ORDER BY billing_country) FROM invoices

SELECT percentile_disc(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY total) FROM invoices

SELECT string_agg(name, ', ' ORDER BY name) FROM genres

SELECT array_agg(name ORDER BY name) FROM media_types

SELECT (array_agg(name ORDER BY genre_id))[1:3] FROM genres

SELECT d.month::date, count(i.invoice_id) FROM generate_series('2009-01-01'::date, '2009-12-01'::date, interval '1 month') AS d(month) LEFT JOIN invoices i ON date_trunc('month', i.invoice_date) = d.month GROUP BY 1 ORDER BY 1

SELECT g, g * g AS square FROM generate_series(1, 5) AS g

SELECT x.x FROM unnest(ARRAY['a', 'b']) AS x ORDER BY x.x

SELECT u.value, u.place FROM unnest(ARRAY['x', 'y']) WITH ORDINALITY AS u(value, place) ORDER BY u.place

SELECT c.customer_id, l.invoice_id, l.total FROM customers c CROSS JOIN LATERAL (SELECT invoice_id, total FROM invoices i WHERE i.customer_id = c.customer_id ORDER BY total DESC, invoice_id LIMIT 2) AS l ORDER BY c.customer_id, l.total DESC, l.invoice_id

SELECT c.last_name, l.n FROM customers c LEFT JOIN LATERAL (SELECT count(*) AS n FROM invoices i WHERE i.customer_id = c.customer_id) AS l ON true ORDER BY c.customer_id

SELECT '{"a": {"b": [1, 2]}}'::jsonb -> 'a' -> 'b' AS list

SELECT '{"a": 5}'::json ->> 'a' AS a, '{"a": {"b": 7}}'::jsonb #>> '{a,b}' AS b

SELECT key, value FROM jsonb_each('{"a": 1, "b": 2}'::jsonb) ORDER BY key

SELECT e.key, e.value FROM jsonb_each_text('{"a": 1, "b": 2}') AS e ORDER BY e.key

SELECT e.value FROM jsonb_array_elements('[1, 2, 3]'::jsonb) AS e(value)

SELECT value FROM json_array_elements_text('["x", "y"]') ORDER BY value

SELECT jsonb_build_object('name', name, 'id', genre_id) FROM genres ORDER BY genre_id LIMIT 3

SELECT jsonb_agg(name ORDER BY name) FROM media_types

SELECT json_object_agg(name, genre_id ORDER BY genre_id) FROM genres WHERE genre_id < 4

SELECT row_to_json(g) FROM genres g ORDER BY g.genre_id LIMIT 2

SELECT to_jsonb(g) ->> 'name' FROM genres g ORDER BY g.genre_id LIMIT 2

SELECT jsonb_typeof('[1]'::jsonb), jsonb_array_length('[1, 2]'::jsonb), jsonb_extract_path_text('{"a": "b"}'::jsonb, 'a')

SELECT '{"a": 1, "b": 2}'::jsonb @> '{"a": 1}'::jsonb AS holds

SELECT age('2020-03-01'::timestamp, '2019-01-15'::timestamp) AS age

SELECT invoice_date + interval '30 days' AS due, invoice_date - date '2009-01-01' AS days FROM invoices ORDER BY invoice_id LIMIT 3

SELECT date_part('dow', invoice_date)::int AS weekday, sum(total) FROM invoices GROUP BY 1 ORDER BY 1

SELECT extract(epoch FROM timestamp '2020-01-01 00:00:00'), make_date(2020, 2, 29), make_interval(days => 3)

SELECT timestamp '2020-01-01 12:00' AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin' AS there

SELECT regexp_replace(phone, '[^0-9]', '', 'g') AS digits FROM customers WHERE phone IS NOT NULL ORDER BY customer_id LIMIT 5

SELECT split_part(email, '@', 2) AS domain, count(*) FROM customers GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 8

SELECT substring(email FROM '@(.+)$') AS domain FROM customers ORDER BY customer_id LIMIT 3

SELECT name FROM tracks WHERE name ~* '^(love|hate)' ORDER BY track_id

SELECT name FROM tracks WHERE name ILIKE ANY (ARRAY['%rock%', '%roll%']) ORDER BY track_id LIMIT 5

SELECT name FROM genres WHERE genre_id = ANY (ARRAY[1, 2, 3]) ORDER BY name

SELECT width_bucket(total, 0, 26, 5) AS bucket, count(*) FROM invoices GROUP BY 1 ORDER BY 1

SELECT total, sum(total) OVER (ORDER BY invoice_date RANGE BETWEEN interval '30 days' PRECEDING AND CURRENT ROW) FROM invoices ORDER BY invoice_id LIMIT 10

SELECT total, count(*) OVER (ORDER BY total GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM invoices ORDER BY invoice_id LIMIT 10

SELECT genre_id, avg(milliseconds) OVER w, count(*) OVER w FROM tracks WINDOW w AS (PARTITION BY genre_id) ORDER BY track_id LIMIT 10

SELECT name, nth_value(name, 2) OVER (ORDER BY genre_id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM genres ORDER BY genre_id LIMIT 4

WITH m AS MATERIALIZED (SELECT customer_id, sum(total) AS total FROM invoices GROUP BY 1) SELECT max(total), min(total) FROM m

WITH v (name, worth) AS (VALUES ('a', 1), ('b', 2)) SELECT name, worth FROM v ORDER BY worth

SELECT t.n, t.label FROM (VALUES (1, 'one'), (2, 'two')) AS t(n, label) ORDER BY t.n

SELECT corr(milliseconds, bytes), regr_slope(bytes, milliseconds), covar_pop(bytes, milliseconds) FROM tracks

SELECT bool_and(total > 0), bool_or(total > 25), every(total > 1), bit_or(invoice_id) FROM invoices

SELECT greatest(1, 2, 3), least('a', 'b'), coalesce(NULL, 4), nullif(1, 1), 7 % 3, 2 ^ 10, 17 / 5

SELECT "name" AS "Genre Name" FROM "genres" ORDER BY "genre_id" LIMIT 2

SELECT array_length(string_to_array('a,b,c', ','), 1), array_to_string(ARRAY[1, 2], '-'), cardinality(ARRAY[1, 2])

SELECT ARRAY(SELECT name FROM media_types ORDER BY media_type_id) AS names

SELECT ROW(1, 'a') = ROW(1, 'a') AS same, (1, 2) < (1, 3) AS less

SELECT o_orderpriority, count(*) FROM orders WHERE o_orderdate BETWEEN '1995-01-01' AND '1995-12-31' GROUP BY o_orderpriority ORDER BY 1

SELECT position('a' IN 'banana'), overlay('abcdef' PLACING 'xx' FROM 2 FOR 2), initcap('the shop'), repeat('ab', 2)

SELECT to_date('2020-02-03', 'YYYY-MM-DD'), to_timestamp('2020', 'YYYY') IS NOT NULL, to_number('1,234', '9,999')

SELECT c.company IS DISTINCT FROM NULL AS has_company, count(*) FROM customers c GROUP BY 1 ORDER BY 1

SELECT x FROM jsonb_to_recordset('[{"a": 1, "b": "x"}]') AS x(a int, b text)

SELECT encode(sha256('x'::bytea), 'hex'), md5('x'), length('é'), octet_length('é')

SELECT round(avg(total)::numeric, 2), trunc(2.567, 1), sign(-2), mod(7, 3), ln(1), log(100), sqrt(16), power(2, 3) FROM invoices

SELECT FROM_t.name FROM genres AS FROM_t FETCH FIRST 2 ROWS ONLY

-- DuckDB's own analytic SQL over Chinook and TPC-H.

FROM genres SELECT name ORDER BY ALL

SELECT billing_country, sum(total) FROM invoices GROUP BY ALL ORDER BY ALL

SELECT * EXCLUDE (composer, bytes) FROM tracks ORDER BY track_id LIMIT 5

SELECT * REPLACE (upper(name) AS name) FROM genres ORDER BY genre_id

SELECT genre_id, name FROM tracks QUALIFY row_number() OVER (PARTITION BY genre_id ORDER BY milliseconds DESC, track_id) = 1 ORDER BY genre_id

SELECT date_trunc('quarter', invoice_date) AS quarter, sum(total) AS revenue FROM invoices GROUP BY quarter ORDER BY quarter

SELECT year(invoice_date) AS y, month(invoice_date) AS m, count(*) FROM invoices GROUP BY y, m HAVING count(*) > 6 ORDER BY y, m

SELECT billing_country, extract(year FROM invoice_date) AS y, sum(total) FROM invoices GROUP BY GROUPING SETS ((billing_country), (y), ()) ORDER BY 1, 2

SELECT billing_country, billing_city, sum(total), grouping(billing_city) FROM invoices GROUP BY ROLLUP (billing_country, billing_city) ORDER BY 1 NULLS LAST, 2 NULLS LAST

SELECT l_returnflag, l_linestatus, count(*) FROM lineitem GROUP BY CUBE (l_returnflag, l_linestatus) ORDER BY 1 NULLS FIRST, 2 NULLS FIRST

SELECT count(*) FILTER (WHERE total > 5) AS large, sum(total) FILTER (WHERE billing_country = 'USA') AS usa FROM invoices

SELECT DISTINCT ON (billing_country) billing_country, total FROM invoices ORDER BY billing_country, total DESC

SELECT list(name ORDER BY name) AS names FROM genres

SELECT string_agg(name, ', ' ORDER BY name) FROM media_types

SELECT unnest([1, 2, 3]) AS n

SELECT g.name, u.n FROM genres g, unnest([1, 2]) AS u(n) ORDER BY g.name, u.n

SELECT i, i * i AS square FROM range(1, 6) AS r(i) ORDER BY i

SELECT d.month, count(i.invoice_id) FROM generate_series(DATE '2009-01-01', DATE '2009-12-01', INTERVAL 1 MONTH) AS d(month) LEFT JOIN invoices i ON date_trunc('month', i.invoice_date) = d.month GROUP BY d.month ORDER BY d.month

SELECT quantile_cont(total, [0.25, 0.5, 0.75]) FROM invoices

SELECT median(total), mode(billing_country), stddev(total), skewness(total) FROM invoices

SELECT approx_quantile(o_totalprice, 0.5) > 0 FROM orders

SELECT arg_max(name, milliseconds), max_by(name, milliseconds), min_by(name, milliseconds) FROM tracks

SELECT histogram(quantity) FROM invoice_lines

SELECT {'a': 1, 'b': 'x'} AS s, [1, 2, 3][1] AS first

SELECT struct_pack(name := name, id := genre_id).name FROM genres ORDER BY genre_id LIMIT 3

SELECT '{"a": {"b": [1, 2]}}'::JSON -> 'a' -> 'b' AS list

SELECT json_extract_string('{"name": "x"}', '$.name') AS name

SELECT '{"a": 5}'::JSON ->> '$.a' AS a

SELECT list_transform([1, 2, 3], lambda x: x * 2) AS doubled

SELECT list_filter(list(total), lambda x: x > 20) AS large FROM invoices

SELECT list_sum(list(total)), list_max(list(total)), len(list(total)) FROM invoices

SELECT strftime(invoice_date, '%Y-%m') AS month, sum(total) FROM invoices GROUP BY month ORDER BY month

SELECT date_diff('day', min(invoice_date), max(invoice_date)) AS days FROM invoices

SELECT invoice_date + INTERVAL 30 DAY AS due FROM invoices ORDER BY invoice_id LIMIT 3

SELECT age(DATE '2020-03-01', DATE '2019-01-15') AS age

SELECT regexp_extract(email, '@(.+)$', 1) AS domain, count(*) FROM customers GROUP BY domain ORDER BY 2 DESC, 1 LIMIT 8

SELECT split_part(c_name, '#', 2) AS number FROM customer ORDER BY c_custkey LIMIT 3

SELECT regexp_replace(phone, '[^0-9]', '', 'g') AS digits FROM customers WHERE phone IS NOT NULL ORDER BY customer_id LIMIT 5

SELECT c.country, l.total FROM customers c, LATERAL (SELECT max(total) AS total FROM invoices i WHERE i.customer_id = c.customer_id) AS l ORDER BY c.customer_id

SELECT a.invoice_id, b.invoice_id FROM invoices a ASOF JOIN invoices b ON a.invoice_date > b.invoice_date AND a.billing_country = b.billing_country ORDER BY 1 LIMIT 10

SELECT name FROM genres g SEMI JOIN tracks t ON t.genre_id = g.genre_id AND t.milliseconds > 1000000 ORDER BY name

SELECT name FROM artists a ANTI JOIN albums b ON b.artist_id = a.artist_id ORDER BY name LIMIT 10

SELECT genre_id, avg(milliseconds) OVER w, count(*) OVER w FROM tracks WINDOW w AS (PARTITION BY genre_id) ORDER BY track_id LIMIT 10

SELECT name, lead(name, 1, 'none') OVER (ORDER BY genre_id) AS next FROM genres ORDER BY genre_id

SELECT try_cast(postal_code AS INTEGER) AS code FROM customers ORDER BY customer_id

SELECT CASE billing_country WHEN 'USA' THEN 'home' ELSE 'abroad' END AS place, sum(total) FROM invoices GROUP BY place ORDER BY place

WITH m AS MATERIALIZED (SELECT customer_id, sum(total) AS total FROM invoices GROUP BY 1) SELECT max(total), min(total) FROM m

WITH RECURSIVE f(a, b) AS (SELECT 0, 1 UNION ALL SELECT b, a + b FROM f WHERE b < 100) SELECT a FROM f ORDER BY a

SELECT name FROM tracks WHERE name ILIKE '%ROCK%' ORDER BY track_id LIMIT 7

SELECT bool_and(total > 0), bool_or(total > 25), bit_xor(invoice_id) FROM invoices

SELECT corr(t.milliseconds, t.bytes), regr_slope(t.bytes, t.milliseconds) FROM tracks t

SELECT time_bucket(INTERVAL '3 months', invoice_date) AS b, count(*) FROM invoices GROUP BY b ORDER BY b

SELECT greatest(1, 2, 3), least('a', 'b'), coalesce(NULL, 4), nullif(1, 1)

SELECT o_orderdate::VARCHAR, o_totalprice::DOUBLE, o_orderkey::HUGEINT FROM orders ORDER BY o_orderkey LIMIT 3

SELECT map_keys(MAP {'a': 1, 'b': 2}), map_values(MAP {'a': 1})

SELECT dayname(invoice_date) AS day, count(*) FROM invoices GROUP BY day ORDER BY 2 DESC, 1

SELECT epoch(TIMESTAMP '2020-01-01 00:00:00'), make_date(2020, 2, 29), last_day(DATE '2021-02-03')

SELECT list_sort(list(DISTINCT billing_country))[1:3] FROM invoices

SELECT count(DISTINCT (billing_country, billing_city)) FROM invoices

SELECT hash(1) = hash(1), bar(5, 0, 10, 10), format('{} x', 3), printf('%05.2f', 3.14159)

SELECT list_zip([1, 2], ['a', 'b']), array_agg(g.name ORDER BY g.name) FROM genres g

SELECT json_group_array(name) FROM media_types

SELECT t.name, length(t.name) AS letters FROM tracks AS t USING SAMPLE 100 PERCENT (bernoulli) ORDER BY t.track_id LIMIT 5

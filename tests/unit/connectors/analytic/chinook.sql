-- Questions to the Chinook media shop in SQL that every dialect reads.

SELECT count(*) AS tracks FROM tracks

SELECT name FROM genres ORDER BY name

SELECT a.name, count(*) AS albums FROM artists a JOIN albums b ON b.artist_id = a.artist_id GROUP BY a.artist_id, a.name ORDER BY albums DESC, a.name LIMIT 10

SELECT g.name AS genre, sum(l.quantity * l.unit_price) AS revenue FROM invoice_lines l JOIN tracks t ON t.track_id = l.track_id JOIN genres g ON g.genre_id = t.genre_id GROUP BY g.name ORDER BY revenue DESC, genre

SELECT billing_country, sum(total) AS revenue, count(*) AS invoices, avg(total) AS mean FROM invoices GROUP BY billing_country HAVING count(*) > 7 ORDER BY revenue DESC, billing_country

SELECT extract(year FROM invoice_date) AS year, extract(month FROM invoice_date) AS month, sum(total) AS revenue FROM invoices GROUP BY 1, 2 ORDER BY 1, 2

SELECT c.first_name, c.last_name, sum(i.total) AS spent FROM customers AS c LEFT JOIN invoices AS i ON i.customer_id = c.customer_id GROUP BY c.customer_id, c.first_name, c.last_name ORDER BY spent DESC, c.last_name LIMIT 5

SELECT e.first_name, e.last_name, m.last_name AS reports_to FROM employees e LEFT JOIN employees m ON m.employee_id = e.reports_to ORDER BY e.employee_id

SELECT t.name FROM tracks t LEFT JOIN invoice_lines l ON l.track_id = t.track_id WHERE l.track_id IS NULL ORDER BY t.track_id LIMIT 20

SELECT name, milliseconds / 60000.0 AS minutes FROM tracks WHERE milliseconds > (SELECT avg(milliseconds) FROM tracks) ORDER BY milliseconds DESC, name LIMIT 10

SELECT country, count(*) AS customers FROM customers GROUP BY country ORDER BY customers DESC, country

SELECT m.name, count(*) AS n, round(100.0 * count(*) / (SELECT count(*) FROM tracks), 2) AS share FROM tracks t JOIN media_types m ON m.media_type_id = t.media_type_id GROUP BY m.name ORDER BY n DESC

WITH spent AS (SELECT customer_id, sum(total) AS total FROM invoices GROUP BY customer_id) SELECT c.country, max(s.total) AS best FROM spent s JOIN customers c ON c.customer_id = s.customer_id GROUP BY c.country ORDER BY best DESC, c.country

WITH monthly AS (SELECT extract(year FROM invoice_date) AS y, extract(month FROM invoice_date) AS m, sum(total) AS revenue FROM invoices GROUP BY 1, 2) SELECT y, m, revenue, lag(revenue) OVER (ORDER BY y, m) AS previous, revenue - lag(revenue) OVER (ORDER BY y, m) AS growth FROM monthly ORDER BY y, m

WITH ranked AS (SELECT t.name, g.name AS genre, t.milliseconds, row_number() OVER (PARTITION BY g.genre_id ORDER BY t.milliseconds DESC, t.track_id) AS r FROM tracks t JOIN genres g ON g.genre_id = t.genre_id) SELECT genre, name, milliseconds FROM ranked WHERE r <= 2 ORDER BY genre, r

SELECT customer_id, invoice_date, total, sum(total) OVER (PARTITION BY customer_id ORDER BY invoice_date ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running FROM invoices ORDER BY customer_id, invoice_date, invoice_id

SELECT invoice_id, total, avg(total) OVER (ORDER BY invoice_date, invoice_id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS smooth FROM invoices ORDER BY invoice_id LIMIT 30

SELECT name, ntile(4) OVER (ORDER BY unit_price, track_id) AS quartile FROM tracks ORDER BY track_id LIMIT 12

SELECT country, customers, rank() OVER (ORDER BY customers DESC) AS place, dense_rank() OVER (ORDER BY customers DESC) AS step FROM (SELECT country, count(*) AS customers FROM customers GROUP BY country) AS c ORDER BY place, country

SELECT billing_country, sum(CASE WHEN total > 10 THEN 1 ELSE 0 END) AS large, sum(CASE WHEN total <= 10 THEN 1 ELSE 0 END) AS small FROM invoices GROUP BY billing_country ORDER BY billing_country

SELECT first_name FROM customers UNION SELECT first_name FROM employees ORDER BY first_name

SELECT country FROM customers INTERSECT SELECT country FROM employees ORDER BY country

SELECT billing_country FROM invoices EXCEPT SELECT country FROM employees ORDER BY 1

SELECT upper(name) AS loud, length(name) AS letters, substring(name, 1, 3) AS start FROM genres ORDER BY name

SELECT coalesce(composer, 'unknown') AS composer, count(*) AS n FROM tracks GROUP BY coalesce(composer, 'unknown') ORDER BY n DESC, 1 LIMIT 10

SELECT c.country, count(DISTINCT c.customer_id) AS customers, count(DISTINCT i.invoice_id) AS invoices FROM customers c JOIN invoices i USING (customer_id) GROUP BY c.country ORDER BY c.country

SELECT p.name, count(pt.track_id) AS tracks FROM playlists p LEFT JOIN playlist_tracks pt ON pt.playlist_id = p.playlist_id GROUP BY p.playlist_id, p.name ORDER BY tracks DESC, p.playlist_id

SELECT a.title FROM albums a WHERE EXISTS (SELECT 1 FROM tracks t WHERE t.album_id = a.album_id AND t.milliseconds > 600000) ORDER BY a.title

SELECT a.title FROM albums a WHERE a.album_id NOT IN (SELECT t.album_id FROM tracks t JOIN invoice_lines l ON l.track_id = t.track_id WHERE t.album_id IS NOT NULL) ORDER BY a.title LIMIT 15

SELECT name FROM tracks WHERE name LIKE '%Love%' AND unit_price BETWEEN 0.5 AND 1 ORDER BY name, track_id

SELECT billing_city FROM invoices WHERE billing_state IS NULL AND total >= 13 ORDER BY invoice_id

WITH RECURSIVE boss (employee_id, last_name, depth) AS (SELECT employee_id, last_name, 0 FROM employees WHERE reports_to IS NULL UNION ALL SELECT e.employee_id, e.last_name, b.depth + 1 FROM employees e JOIN boss b ON e.reports_to = b.employee_id) SELECT depth, count(*) AS people FROM boss GROUP BY depth ORDER BY depth

WITH RECURSIVE days (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM days WHERE n < 31) SELECT d.n, count(i.invoice_id) AS invoices FROM days d LEFT JOIN invoices i ON extract(day FROM i.invoice_date) = d.n GROUP BY d.n ORDER BY d.n

SELECT round(avg(total), 2) AS mean, min(total) AS least, max(total) AS most, floor(sum(total)) AS whole, ceil(sum(total)) AS up, abs(min(total) - max(total)) AS spread FROM invoices

SELECT * FROM genres ORDER BY genre_id

SELECT g.* FROM genres g WHERE g.genre_id IN (1, 2, 3) ORDER BY g.name DESC

SELECT t.name, x.sold FROM tracks t JOIN (SELECT track_id, count(*) AS sold FROM invoice_lines GROUP BY track_id) AS x ON x.track_id = t.track_id ORDER BY x.sold DESC, t.track_id LIMIT 25

SELECT first_value(name) OVER (ORDER BY milliseconds DESC, track_id) AS longest, name FROM tracks ORDER BY track_id LIMIT 5

SELECT a.billing_country, a.total FROM invoices a WHERE a.total = (SELECT max(b.total) FROM invoices b WHERE b.billing_country = a.billing_country) ORDER BY a.billing_country, a.invoice_id

SELECT concat(first_name, ' ', last_name) AS name, replace(email, '@', ' at ') AS address FROM customers WHERE country = 'Brazil' ORDER BY name

SELECT nullif(composer, '') AS composer, name FROM tracks WHERE album_id = 1 ORDER BY track_id

SELECT CAST(invoice_date AS date) AS day, CAST(total AS decimal(10, 1)) AS rounded FROM invoices ORDER BY invoice_id LIMIT 10

SELECT g.name, sum(t.milliseconds) / 3600000.0 AS hours FROM genres AS g, tracks AS t WHERE t.genre_id = g.genre_id GROUP BY g.name ORDER BY hours DESC, g.name LIMIT 100 OFFSET 3

SELECT e.last_name, count(DISTINCT c.customer_id) AS customers, sum(i.total) AS revenue FROM employees e JOIN customers c ON c.support_rep_id = e.employee_id JOIN invoices i ON i.customer_id = c.customer_id GROUP BY e.employee_id, e.last_name ORDER BY revenue DESC

SELECT sum(total) AS total, billing_country FROM invoices WHERE invoice_date >= date '2010-01-01' AND invoice_date < date '2011-01-01' GROUP BY billing_country ORDER BY total DESC, billing_country LIMIT 5

SELECT (SELECT count(*) FROM artists) AS artists, (SELECT count(*) FROM albums) AS albums, (SELECT count(*) FROM tracks) AS tracks

SELECT percent_rank() OVER (ORDER BY total) AS place, cume_dist() OVER (ORDER BY total) AS below, total FROM invoices ORDER BY total DESC, invoice_id LIMIT 10

SELECT trim(name) AS name, lower(name) AS quiet FROM media_types ORDER BY media_type_id

SELECT c.customer_id, x.invoice_id FROM customers c CROSS JOIN genres g JOIN invoices x ON x.customer_id = c.customer_id WHERE g.name = 'Jazz' AND c.country = 'Canada' ORDER BY 1, 2

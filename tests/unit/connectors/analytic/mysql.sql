-- MySQL's and MariaDB's own analytic SQL over Chinook and TPC-H.

SELECT DATE_FORMAT(invoice_date, '%Y-%m') AS month, SUM(total) AS revenue FROM invoices GROUP BY DATE_FORMAT(invoice_date, '%Y-%m') ORDER BY month

SELECT YEAR(invoice_date) AS y, MONTH(invoice_date) AS m, COUNT(*) FROM invoices GROUP BY YEAR(invoice_date), MONTH(invoice_date) ORDER BY y, m

SELECT GROUP_CONCAT(name ORDER BY name SEPARATOR ', ') FROM genres

SELECT GROUP_CONCAT(DISTINCT billing_country ORDER BY billing_country) FROM invoices

SELECT IF(total > 10, 'large', 'small') AS size, COUNT(*) FROM invoices GROUP BY IF(total > 10, 'large', 'small') ORDER BY size

SELECT IFNULL(composer, 'unknown') AS composer, COUNT(*) AS n FROM tracks GROUP BY IFNULL(composer, 'unknown') ORDER BY n DESC, 1 LIMIT 10

SELECT `name` AS `Genre Name` FROM `genres` ORDER BY `genre_id` LIMIT 2

SELECT name FROM genres ORDER BY genre_id LIMIT 2, 5

SELECT DATEDIFF(MAX(invoice_date), MIN(invoice_date)) AS days FROM invoices

SELECT DATE_ADD(invoice_date, INTERVAL 30 DAY) AS due, DATE_SUB(invoice_date, INTERVAL 1 MONTH) AS before_ FROM invoices ORDER BY invoice_id LIMIT 3

SELECT invoice_date + INTERVAL 1 YEAR AS later FROM invoices ORDER BY invoice_id LIMIT 3

SELECT TIMESTAMPDIFF(MONTH, MIN(hire_date), MAX(hire_date)) AS months FROM employees

SELECT DAYNAME(invoice_date) AS day, COUNT(*) AS n FROM invoices GROUP BY DAYNAME(invoice_date) ORDER BY n DESC, day

SELECT QUARTER(invoice_date) AS q, WEEKDAY(invoice_date) AS d, SUM(total) FROM invoices GROUP BY QUARTER(invoice_date), WEEKDAY(invoice_date) ORDER BY q, d

SELECT STR_TO_DATE('02/03/2013', '%d/%m/%Y') AS parsed, LAST_DAY('2021-02-03') AS end_, MAKEDATE(2021, 32) AS made

SELECT SUBSTRING_INDEX(email, '@', -1) AS domain, COUNT(*) AS n FROM customers GROUP BY SUBSTRING_INDEX(email, '@', -1) ORDER BY n DESC, domain LIMIT 8

SELECT CONCAT(first_name, ' ', last_name) AS name, CONCAT_WS('-', city, country) AS place FROM customers ORDER BY customer_id LIMIT 5

SELECT name FROM tracks WHERE name REGEXP '^(Love|Hate)' ORDER BY track_id

SELECT name FROM genres WHERE name LIKE '%\\_%' OR name LIKE '%Rock%' ORDER BY name

SELECT billing_country, SUM(total) FROM invoices GROUP BY billing_country WITH ROLLUP

SELECT SUM(total > 10) AS large, SUM(billing_country = 'USA') AS usa FROM invoices

SELECT 7 DIV 2, 7 MOD 2, 7 % 2, 1 <=> NULL, TRUNCATE(2.567, 1), ROUND(2.567, 1), POW(2, 3)

SELECT CAST(total AS SIGNED) AS whole, CAST(invoice_id AS CHAR) AS text FROM invoices ORDER BY invoice_id LIMIT 3

SELECT JSON_EXTRACT('{"a": {"b": 7}}', '$.a.b') AS b, JSON_UNQUOTE(JSON_EXTRACT('{"a": "x"}', '$.a')) AS a

SELECT JSON_LENGTH('[1, 2, 3]'), JSON_KEYS('{"a": 1}'), JSON_VALID('{}')

SELECT JSON_OBJECT('name', name, 'id', genre_id) FROM genres ORDER BY genre_id LIMIT 2

SELECT JSON_ARRAYAGG(media_type_id) FROM media_types

SELECT c.country, c.last_name, ROW_NUMBER() OVER (PARTITION BY c.country ORDER BY c.customer_id) AS r FROM customers c ORDER BY c.country, r

SELECT billing_country, SUM(total) AS revenue, RANK() OVER (ORDER BY SUM(total) DESC) AS place FROM invoices GROUP BY billing_country ORDER BY place, billing_country

WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i, i * i FROM n ORDER BY i

SELECT t.name FROM shop.tracks AS t STRAIGHT_JOIN shop.genres g ON g.genre_id = t.genre_id WHERE g.name = 'Opera'

SELECT CASE WHEN total > 10 THEN 'large' WHEN total > 5 THEN 'middle' ELSE 'small' END AS size, COUNT(*) FROM invoices GROUP BY size ORDER BY size

SELECT FIELD(country, 'Brazil', 'Canada') AS place, country FROM customers ORDER BY place DESC, customer_id LIMIT 5

SELECT LPAD(invoice_id, 5, '0') AS number, HEX(255), UNHEX('41'), CHAR_LENGTH('é'), LOCATE('a', 'banana') FROM invoices ORDER BY invoice_id LIMIT 2

SELECT 'it''s', "double", 'back\\slash', 'line\nbreak', 'quote\'d', '100%'

SELECT STD(total), VAR_POP(total), BIT_OR(invoice_id) FROM invoices

SELECT UNIX_TIMESTAMP('2020-01-02') > 0, FROM_DAYS(TO_DAYS('2020-01-02')), EXTRACT(YEAR_MONTH FROM '2020-03-04')

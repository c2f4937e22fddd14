-- Verified queries of Chord Store over Chinook: a question, and the DuckDB SQL that answers it.

-- question: What was our total revenue?
SELECT sum(total) AS revenue_usd, count(*) AS invoices FROM invoices;

-- question: What was our busiest month?
SELECT strftime(invoice_date, '%B %Y') AS busiest_month, sum(total) AS revenue_usd
  FROM invoices
 GROUP BY 1
 ORDER BY revenue_usd DESC
 LIMIT 1;

-- question: Who is our best customer?
SELECT c.first_name || ' ' || c.last_name AS customer, c.country, sum(i.total) AS revenue_usd
  FROM invoices AS i
  JOIN customers AS c ON c.customer_id = i.customer_id
 GROUP BY c.customer_id, c.first_name, c.last_name, c.country
 ORDER BY revenue_usd DESC
 LIMIT 1;

-- question: Which country brings in the most revenue?
SELECT billing_country AS country, sum(total) AS revenue_usd
  FROM invoices
 GROUP BY billing_country
 ORDER BY revenue_usd DESC
 LIMIT 1;

-- question: Which genre sells best?
SELECT g.name AS genre, sum(l.quantity) AS tracks_sold
  FROM invoice_lines AS l
  JOIN tracks AS t ON t.track_id = l.track_id
  JOIN genres AS g ON g.genre_id = t.genre_id
 GROUP BY g.name
 ORDER BY tracks_sold DESC
 LIMIT 1;

-- question: Which artists sell the most tracks?
SELECT r.name AS artist, sum(l.quantity) AS tracks_sold
  FROM invoice_lines AS l
  JOIN tracks AS t ON t.track_id = l.track_id
  JOIN albums AS a ON a.album_id = t.album_id
  JOIN artists AS r ON r.artist_id = a.artist_id
 GROUP BY r.name
 ORDER BY tracks_sold DESC
 LIMIT 3;

-- question: What is our revenue per year?
SELECT extract(year FROM invoice_date) AS year, sum(total) AS revenue_usd
  FROM invoices
 GROUP BY 1
 ORDER BY 1;

-- question: Which support agent looks after the most revenue?
SELECT e.first_name || ' ' || e.last_name AS agent, sum(i.total) AS revenue_usd
  FROM invoices AS i
  JOIN customers AS c ON c.customer_id = i.customer_id
  JOIN employees AS e ON e.employee_id = c.support_rep_id
 GROUP BY e.employee_id, e.first_name, e.last_name
 ORDER BY revenue_usd DESC
 LIMIT 1;

-- question: What is the average amount of an invoice?
SELECT round(avg(total), 2) AS average_usd FROM invoices;

-- question: How many tracks have never been sold?
SELECT count(*) AS never_sold
  FROM tracks AS t
  LEFT JOIN invoice_lines AS l ON l.track_id = t.track_id
 WHERE l.track_id IS NULL;

-- question: How many customers do we have in each country?
SELECT country, count(*) AS customers
  FROM customers
 GROUP BY country
 ORDER BY customers DESC, country
 LIMIT 5;

-- question: Which album is the longest?
SELECT a.title AS album, round(sum(t.milliseconds) / 60000.0, 1) AS minutes
  FROM tracks AS t
  JOIN albums AS a ON a.album_id = t.album_id
 GROUP BY a.album_id, a.title
 ORDER BY minutes DESC
 LIMIT 1;

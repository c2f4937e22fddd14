-- Questions to the Chinook media shop, and the DuckDB SQL whose rows are the right answer.

-- question: How many tracks are there?
SELECT count(*) FROM tracks;

-- question: How many customers does each country have? Give country and number.
SELECT country, count(*) FROM customers GROUP BY country;

-- question: What was the total revenue over all invoices?
SELECT sum(total) FROM invoices;

-- question: What was the revenue of each year? Give year and revenue.
SELECT year(invoice_date), sum(total) FROM invoices GROUP BY 1;

-- question: Which five customers spent the most? Give first name, last name and amount.
SELECT c.first_name, c.last_name, sum(i.total) AS spent FROM customers c JOIN invoices i ON i.customer_id = c.customer_id GROUP BY c.customer_id, c.first_name, c.last_name ORDER BY spent DESC, c.customer_id LIMIT 5;

-- question: Which country brings in the most revenue? Give country and revenue.
SELECT billing_country, sum(total) AS revenue FROM invoices GROUP BY 1 ORDER BY revenue DESC LIMIT 1;

-- question: How many albums does the artist Iron Maiden have?
SELECT count(*) FROM albums b JOIN artists a ON a.artist_id = b.artist_id WHERE a.name = 'Iron Maiden';

-- question: Which artist has the most albums? Give name and number of albums.
SELECT a.name, count(*) AS n FROM albums b JOIN artists a ON a.artist_id = b.artist_id GROUP BY a.artist_id, a.name ORDER BY n DESC LIMIT 1;

-- question: How many artists have no album at all?
SELECT count(*) FROM artists a WHERE NOT EXISTS (SELECT 1 FROM albums b WHERE b.artist_id = a.artist_id);

-- question: How many tracks does each genre have? Give genre and number.
SELECT g.name, count(*) FROM tracks t JOIN genres g ON g.genre_id = t.genre_id GROUP BY g.name;

-- question: What is the average length of a track in minutes, for each genre? Give genre and minutes.
SELECT g.name, avg(t.milliseconds) / 60000.0 FROM tracks t JOIN genres g ON g.genre_id = t.genre_id GROUP BY g.name;

-- question: What is the longest track? Give its name and milliseconds.
SELECT name, milliseconds FROM tracks ORDER BY milliseconds DESC LIMIT 1;

-- question: Which genre earned the most from track sales? Give genre and revenue.
SELECT g.name, sum(l.quantity * l.unit_price) AS revenue FROM invoice_lines l JOIN tracks t ON t.track_id = l.track_id JOIN genres g ON g.genre_id = t.genre_id GROUP BY g.name ORDER BY revenue DESC LIMIT 1;

-- question: How many tracks were never sold?
SELECT count(*) FROM tracks t WHERE NOT EXISTS (SELECT 1 FROM invoice_lines l WHERE l.track_id = t.track_id);

-- question: How much revenue did each sales support agent bring in through the customers they look after? Give first name, last name and revenue.
SELECT e.first_name, e.last_name, sum(i.total) FROM employees e JOIN customers c ON c.support_rep_id = e.employee_id JOIN invoices i ON i.customer_id = c.customer_id GROUP BY e.employee_id, e.first_name, e.last_name;

-- question: Who reports directly to the general manager? Give first and last names.
SELECT e.first_name, e.last_name FROM employees e JOIN employees m ON m.employee_id = e.reports_to WHERE m.title = 'General Manager';

-- question: What is the average invoice total in the USA?
SELECT avg(total) FROM invoices WHERE billing_country = 'USA';

-- question: How many invoices are larger than 10 dollars?
SELECT count(*) FROM invoices WHERE total > 10;

-- question: Which playlists contain more than 500 tracks? Give name and number of tracks.
SELECT p.name, count(*) FROM playlists p JOIN playlist_tracks x ON x.playlist_id = p.playlist_id GROUP BY p.playlist_id, p.name HAVING count(*) > 500;

-- question: How many tracks are there of each media type? Give media type and number.
SELECT m.name, count(*) FROM tracks t JOIN media_types m ON m.media_type_id = t.media_type_id GROUP BY m.name;

-- question: What share of all tracks, in percent, costs 1.99?
SELECT 100.0 * count(*) FILTER (WHERE unit_price = 1.99) / count(*) FROM tracks;

-- question: In which month of 2010 was the revenue highest? Give the month's number and the revenue.
SELECT month(invoice_date), sum(total) AS revenue FROM invoices WHERE year(invoice_date) = 2010 GROUP BY 1 ORDER BY revenue DESC LIMIT 1;

-- question: How many different cities do our customers live in?
SELECT count(DISTINCT city) FROM customers;

-- question: Which customers come from Brazil? Give first and last names.
SELECT first_name, last_name FROM customers WHERE country = 'Brazil';

-- question: Which album has the most tracks? Give title and number of tracks.
SELECT a.title, count(*) AS n FROM albums a JOIN tracks t ON t.album_id = a.album_id GROUP BY a.album_id, a.title ORDER BY n DESC LIMIT 1;

-- question: For each country, what is the largest invoice total? Give country and total.
SELECT billing_country, max(total) FROM invoices GROUP BY 1;

-- question: How many customers have a company?
SELECT count(*) FROM customers WHERE company IS NOT NULL;

-- question: Which tracks of the genre Jazz are longer than ten minutes? Give their names.
SELECT t.name FROM tracks t JOIN genres g ON g.genre_id = t.genre_id WHERE g.name = 'Jazz' AND t.milliseconds > 600000;

-- question: Which composer has the most tracks? Leave out tracks without a composer. Give composer and number.
SELECT composer, count(*) AS n FROM tracks WHERE composer IS NOT NULL GROUP BY composer ORDER BY n DESC LIMIT 1;

-- question: By how much did the yearly revenue grow against the year before, in dollars? Give the year and the difference for each year but the first.
WITH yearly AS (SELECT year(invoice_date) AS y, sum(total) AS revenue FROM invoices GROUP BY 1), grown AS (SELECT y, revenue - lag(revenue) OVER (ORDER BY y) AS growth FROM yearly) SELECT y, growth FROM grown WHERE growth IS NOT NULL;

-- question: Who is the best customer of each country by money spent? Give country, last name and amount.
WITH spent AS (SELECT c.country, c.last_name, sum(i.total) AS total, rank() OVER (PARTITION BY c.country ORDER BY sum(i.total) DESC) AS place FROM customers c JOIN invoices i ON i.customer_id = c.customer_id GROUP BY c.country, c.customer_id, c.last_name) SELECT country, last_name, total FROM spent WHERE place = 1;

-- question: How many tracks does an average invoice have?
SELECT avg(n) FROM (SELECT sum(quantity) AS n FROM invoice_lines GROUP BY invoice_id) AS x;

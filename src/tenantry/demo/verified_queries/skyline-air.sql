-- Verified queries of Skyline Air over nycflights13: a question, and the DuckDB SQL that answers it.

-- question: How many flights are there in total?
SELECT count(*) AS flights FROM flights;

-- question: What was our busiest month?
SELECT strftime(make_date(year, month, 1), '%B %Y') AS busiest_month, count(*) AS flights
  FROM flights
 GROUP BY year, month
 ORDER BY flights DESC
 LIMIT 1;

-- question: Which carrier flew the most flights?
SELECT a.name AS carrier, count(*) AS flights
  FROM flights AS f
  JOIN airlines AS a ON a.carrier = f.carrier
 GROUP BY a.name
 ORDER BY flights DESC
 LIMIT 1;

-- question: Which carrier has the longest average departure delay?
SELECT a.name AS carrier, round(avg(f.dep_delay), 1) AS average_delay_minutes
  FROM flights AS f
  JOIN airlines AS a ON a.carrier = f.carrier
 GROUP BY a.name
 ORDER BY average_delay_minutes DESC
 LIMIT 1;

-- question: How many flights left from each New York airport?
SELECT f.origin AS airport, p.name AS airport_name, count(*) AS flights
  FROM flights AS f
  JOIN airports AS p ON p.faa = f.origin
 GROUP BY f.origin, p.name
 ORDER BY flights DESC;

-- question: What are the five most popular destinations?
SELECT dest AS destination, count(*) AS flights
  FROM flights
 GROUP BY dest
 ORDER BY flights DESC
 LIMIT 5;

-- question: How many flights were cancelled?
SELECT count(*) AS cancelled_flights,
       round(100.0 * count(*) / (SELECT count(*) FROM flights), 2) AS percent_of_all
  FROM flights
 WHERE dep_time IS NULL;

-- question: What share of flights arrived on time?
SELECT round(100.0 * sum(CASE WHEN arr_delay < 15 THEN 1 ELSE 0 END) / count(*), 1)
           AS percent_on_time
  FROM flights
 WHERE arr_delay IS NOT NULL;

-- question: Which day of the year had the worst departure delays?
SELECT make_date(year, month, day) AS day, round(avg(dep_delay), 1) AS average_delay_minutes
  FROM flights
 GROUP BY year, month, day
 ORDER BY average_delay_minutes DESC
 LIMIT 1;

-- question: What is the longest route we fly?
SELECT DISTINCT origin, dest AS destination, distance AS miles
  FROM flights
 ORDER BY miles DESC
 LIMIT 1;

-- question: Which aircraft manufacturer built most of the planes?
SELECT manufacturer, count(*) AS planes
  FROM planes
 GROUP BY manufacturer
 ORDER BY planes DESC
 LIMIT 1;

-- question: Does rain make departures later?
SELECT CASE WHEN w.precip > 0 THEN 'rain' ELSE 'dry' END AS weather,
       count(*) AS departures,
       round(avg(f.dep_delay), 1) AS average_delay_minutes
  FROM flights AS f
  JOIN weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour
 WHERE f.dep_delay IS NOT NULL
 GROUP BY 1
 ORDER BY average_delay_minutes DESC;

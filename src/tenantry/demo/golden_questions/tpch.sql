-- Questions to TPC-H's wholesale supplier, and the DuckDB SQL whose rows are the right answer.

-- question: How many orders are there?
SELECT count(*) FROM orders;

-- question: How many customers does each market segment have? Give segment and number.
SELECT c_mktsegment, count(*) FROM customer GROUP BY 1;

-- question: How many nations belong to each region? Give the region's name and the number.
SELECT r_name, count(*) FROM nation JOIN region ON r_regionkey = n_regionkey GROUP BY r_name;

-- question: What is the total price of all orders of 1995?
SELECT sum(o_totalprice) FROM orders WHERE year(o_orderdate) = 1995;

-- question: How many orders has each order priority? Give priority and number.
SELECT o_orderpriority, count(*) FROM orders GROUP BY 1;

-- question: What is the average account balance of customers in Germany?
SELECT avg(c_acctbal) FROM customer JOIN nation ON n_nationkey = c_nationkey WHERE n_name = 'GERMANY';

-- question: Which ten customers have the highest account balance? Give name and balance.
SELECT c_name, c_acctbal FROM customer ORDER BY c_acctbal DESC LIMIT 10;

-- question: How many suppliers are in Europe?
SELECT count(*) FROM supplier JOIN nation ON n_nationkey = s_nationkey JOIN region ON r_regionkey = n_regionkey WHERE r_name = 'EUROPE';

-- question: For each return flag and line status: how many line items, and what total quantity? Give flag, status, number and quantity.
SELECT l_returnflag, l_linestatus, count(*), sum(l_quantity) FROM lineitem GROUP BY 1, 2;

-- question: What is the revenue after discount (extended price times one minus discount) of items shipped in 1994?
SELECT sum(l_extendedprice * (1 - l_discount)) FROM lineitem WHERE year(l_shipdate) = 1994;

-- question: What is the revenue after discount by shipping mode? Give mode and revenue.
SELECT l_shipmode, sum(l_extendedprice * (1 - l_discount)) FROM lineitem GROUP BY 1;

-- question: Which nation's customers ordered for the most money? Give the nation and the sum of total prices.
SELECT n_name, sum(o_totalprice) AS total FROM orders JOIN customer ON c_custkey = o_custkey JOIN nation ON n_nationkey = c_nationkey GROUP BY n_name ORDER BY total DESC LIMIT 1;

-- question: How many customers have never ordered anything?
SELECT count(*) FROM customer WHERE NOT EXISTS (SELECT 1 FROM orders WHERE o_custkey = c_custkey);

-- question: What is the largest order by total price? Give its key and price.
SELECT o_orderkey, o_totalprice FROM orders ORDER BY o_totalprice DESC LIMIT 1;

-- question: How many parts are there of each brand? Give brand and number.
SELECT p_brand, count(*) FROM part GROUP BY 1;

-- question: What is the average retail price of parts of size 15?
SELECT avg(p_retailprice) FROM part WHERE p_size = 15;

-- question: Which part types that end in BRASS exist, and how many parts has each? Give type and number.
SELECT p_type, count(*) FROM part WHERE p_type LIKE '%BRASS' GROUP BY 1;

-- question: How many line items were received after their commit date?
SELECT count(*) FROM lineitem WHERE l_receiptdate > l_commitdate;

-- question: What percentage of line items was returned (return flag R)?
SELECT 100.0 * count(*) FILTER (WHERE l_returnflag = 'R') / count(*) FROM lineitem;

-- question: How many orders were placed in each year? Give year and number.
SELECT year(o_orderdate), count(*) FROM orders GROUP BY 1;

-- question: In each year, which order priority was the most frequent? Give year, priority and number.
WITH counted AS (SELECT year(o_orderdate) AS y, o_orderpriority AS p, count(*) AS n FROM orders GROUP BY 1, 2) SELECT y, p, n FROM counted QUALIFY rank() OVER (PARTITION BY y ORDER BY n DESC) = 1;

-- question: Which supplier has the highest account balance? Give name and balance.
SELECT s_name, s_acctbal FROM supplier ORDER BY s_acctbal DESC LIMIT 1;

-- question: What is the lowest supply cost of each part of size 1? Give part key and cost.
SELECT p_partkey, min(ps_supplycost) FROM part JOIN partsupp ON ps_partkey = p_partkey WHERE p_size = 1 GROUP BY p_partkey;

-- question: What is the total value of the stock (available quantity times supply cost) of suppliers in France?
SELECT sum(ps_availqty * ps_supplycost) FROM partsupp JOIN supplier ON s_suppkey = ps_suppkey JOIN nation ON n_nationkey = s_nationkey WHERE n_name = 'FRANCE';

-- question: How many orders contain more than six line items?
SELECT count(*) FROM (SELECT l_orderkey FROM lineitem GROUP BY l_orderkey HAVING count(*) > 6) AS x;

-- question: What is the average number of days between ordering and shipping?
SELECT avg(date_diff('day', o_orderdate, l_shipdate)) FROM orders JOIN lineitem ON l_orderkey = o_orderkey;

-- question: What was the revenue after discount per region of the customer in 1996? Give region and revenue, by the order's date.
SELECT r_name, sum(l_extendedprice * (1 - l_discount)) FROM lineitem JOIN orders ON o_orderkey = l_orderkey JOIN customer ON c_custkey = o_custkey JOIN nation ON n_nationkey = c_nationkey JOIN region ON r_regionkey = n_regionkey WHERE year(o_orderdate) = 1996 GROUP BY r_name;

-- question: Which five clerks handled the most orders? Give clerk and number; break ties by the clerk's name.
SELECT o_clerk, count(*) AS n FROM orders GROUP BY o_clerk ORDER BY n DESC, o_clerk LIMIT 5;

-- question: What are the median and the maximum total price of finished orders (status F)? Give both.
SELECT median(o_totalprice), max(o_totalprice) FROM orders WHERE o_orderstatus = 'F';

-- question: What is the average discount by quarter of 1997, by shipping date? Give quarter and discount.
SELECT quarter(l_shipdate), avg(l_discount) FROM lineitem WHERE year(l_shipdate) = 1997 GROUP BY 1;

-- question: Which suppliers in Asia have a negative account balance? Give their names.
SELECT s_name FROM supplier JOIN nation ON n_nationkey = s_nationkey JOIN region ON r_regionkey = n_regionkey WHERE r_name = 'ASIA' AND s_acctbal < 0;

-- question: What is the running total of order prices by month in 1992? Give the month's number and the total so far.
WITH monthly AS (SELECT month(o_orderdate) AS m, sum(o_totalprice) AS total FROM orders WHERE year(o_orderdate) = 1992 GROUP BY 1) SELECT m, sum(total) OVER (ORDER BY m) FROM monthly;

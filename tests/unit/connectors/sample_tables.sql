CREATE TABLE flights (
    year SMALLINT, month SMALLINT, flight INTEGER, carrier VARCHAR, origin VARCHAR,
    dep_delay INTEGER);
INSERT INTO flights VALUES
    (2013, 1, 11, 'UA', 'EWR', 2),
    (2013, 1, 12, 'AA', 'JFK', 30),
    (2013, 2, 13, 'UA', 'JFK', NULL),
    (2013, 7, 14, 'B6', 'LGA', 17);
CREATE TABLE airlines (carrier VARCHAR, name VARCHAR);
INSERT INTO airlines VALUES
    ('UA', 'United Air'), ('AA', 'American'), ('B6', 'JetBlue Air'), ('WN', 'Southwest');
CREATE TABLE weather (origin VARCHAR, precip DOUBLE);
INSERT INTO weather VALUES ('EWR', 0), ('JFK', 0.2);
CREATE TABLE invoices (day DATE, total DECIMAL(10, 2));
INSERT INTO invoices VALUES ('2021-01-03', 1.98), ('2021-02-28', 3.96), ('2022-02-01', 0.99);

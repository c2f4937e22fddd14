-- Statements of the process that runs DuckDB over one tenant's files (the platform's own are in
-- queries.sql). What stands in braces is filled with quoted names and texts, paths of descriptors,
-- and as `query` with what the guard regenerated.

-- name: lock_down
-- The last statement that can change any setting.
SET TimeZone = 'UTC';
SET allowed_paths = [{paths}];
SET enable_external_access = false;
SET lock_configuration = true

-- name: create_view
CREATE VIEW {name} AS SELECT * FROM read_parquet({path})

-- name: describe
-- Rows: name and type of each column.
DESCRIBE SELECT * FROM ({query}) AS result

-- name: select
-- Rows: those of the query, in its order, with `values` in place of its columns.
SELECT {values} FROM ({query}) AS result

-- name: csv_lines
-- The lines as texts: an error names the first line that does not fit the columns.
read_csv({path}, auto_detect = false, header = true, skip = 0, delim = {delimiter}, quote = '"',
         escape = '"', columns = {{{columns}}}, strict_mode = true, max_line_size = {line_bytes})

-- name: csv
-- The same with types that every value fits, not only those of a sample.
read_csv({path}, header = true, skip = 0, delim = {delimiter}, quote = '"', escape = '"',
         names = [{names}], strict_mode = true, max_line_size = {line_bytes}, sample_size = -1,
         nullstr = [{nulls}])

-- name: parquet
read_parquet({path})

-- name: everything
SELECT * FROM {source}

-- name: count
SELECT count(*) FROM {source}

-- name: store
-- Rows: how many were written.
COPY (SELECT {values} FROM {source}) TO {path}
     (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880, USE_TMP_FILE false)

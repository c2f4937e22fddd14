"""The allow-lists say what they seem to say, and nothing dangerous is on them."""

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tenantry.connectors.sql_vocabulary import DIALECTS, VOCABULARIES, Dialect

pytestmark = pytest.mark.req("CON-3")

_FORMS = (
    "{}", "{}()", "{}(*)", "{}(a)", "{}(a, b)", "{}('day', a)", "{}('day', a, b)", "{}(a, 'x')",
    "{}(a, b, c)", "{}(a, 'x', 'y')", "{}(a, b, c, d)", "{}(1, 2, 3, 4, 5, 6)", "{}(YEAR FROM a)",
    "{}('a' IN b)", "{}(a AS INT)", "{}(a USING utf8)", "{}(a, INTERVAL 1 DAY)", "{}(DAY, a, b)",
    "{} WHEN a THEN b END", "{}(0.5) WITHIN GROUP (ORDER BY a)", "{}() OVER (ORDER BY a)",
)  # fmt: skip
_DANGEROUS = (
    "read_csv read_csv_auto read_parquet parquet_scan read_json read_text read_blob sniff_csv glob "
    "query query_table getenv getvariable current_setting set_config duckdb_settings duckdb_tables "
    "duckdb_secrets pragma_table_info nextval currval setval pg_sleep pg_read_file "
    "pg_read_binary_file pg_ls_dir lo_import lo_export lo_get dblink query_to_xml table_to_xml "
    "pg_terminate_backend pg_cancel_backend pg_advisory_lock pg_notify inet_server_addr "
    "current_user session_user user current_role current_database current_schema current_catalog "
    "version load_file sleep benchmark get_lock release_lock sys_exec last_insert_id found_rows "
    "database schema connection_id uuid_short master_pos_wait json_execute_serialized_sql "
    "list_aggregate write_log which_secret force_checkpoint to_regclass has_table_privilege"
)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_function_listed_is_read_as_a_class_that_is_allowed(dialect: Dialect) -> None:
    vocabulary = VOCABULARIES[dialect]
    strangers = {
        name: classes
        for name in sorted(vocabulary.functions)
        if not (classes := _classes(name, dialect)) & (vocabulary.nodes | {"Anonymous"})
    }
    assert strangers == {}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_names_without_a_class_are_known_to_have_none(dialect: Dialect) -> None:
    vocabulary = VOCABULARIES[dialect]
    assert vocabulary.unparsed
    for name in vocabulary.unparsed:
        assert "Anonymous" in _classes(name, dialect), name


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_that_reaches_outside_is_listed(dialect: Dialect) -> None:
    vocabulary = VOCABULARIES[dialect]
    assert (vocabulary.functions | vocabulary.words) & set(_DANGEROUS.split()) == set()
    assert not vocabulary.nodes & {
        "Anonymous", "Command", "Into", "Lock", "Insert", "Delete", "Update", "Create", "Drop",
        "Placeholder", "Parameter", "SessionParameter", "Hint", "ReadCSV", "ReadParquet",
        "CurrentUser", "ObjectIdentifier", "Pivot", "Operator", "Version", "Returning",
    }  # fmt: skip
    assert not vocabulary.types & {"USERDEFINED", "UNKNOWN", "ENUM", "OBJECT", "FILE"}


def _classes(name: str, dialect: Dialect) -> set[str]:
    found = set()
    for form in _FORMS:
        try:
            tree = sqlglot.parse_one(f"SELECT {form.format(name)}", read=dialect)
        except (SqlglotError, AttributeError):
            continue
        node = tree.expressions[0]
        while isinstance(node, (exp.Window, exp.WithinGroup, exp.IgnoreNulls)):
            node = node.this
        found.add(type(node).__name__)
    return found

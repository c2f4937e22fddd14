"""Writes a statement's tree back as text, for the server that it is for.

MySQL and MariaDB are one dialect here, so what only one of them has is written as both read it.
String literals are written for the modes that the connectors pin: in MySQL a backslash escapes and
`"` quotes text (neither NO_BACKSLASH_ESCAPES nor ANSI_QUOTES), as the guard read them.
"""

from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.errors import ErrorLevel
from sqlglot.generators.mysql import MySQLGenerator

from tenantry.connectors.sql_vocabulary import Dialect


class _TenantryMySQL(MySQL):
    """MySQL as MariaDB reads it too."""

    class Generator(MySQLGenerator):
        """Writes RLIKE, because MariaDB has no REGEXP_LIKE."""

        TRANSFORMS: ClassVar = {
            **MySQLGenerator.TRANSFORMS,
            exp.RegexpLike: lambda self, node: self.written_rlike(node),
        }

        def written_rlike(self, node: exp.RegexpLike) -> str:
            """The operator when it says the same; operands that could bind looser in brackets."""
            if node.args.get("flag"):
                return str(self.func("REGEXP_LIKE", node.this, node.expression, node.args["flag"]))
            left, right = (
                f"({self.sql(side)})"
                if isinstance(side, exp.Binary | exp.Unary)
                else self.sql(side)
                for side in (node.this, node.expression)
            )
            return f"{left} RLIKE {right}"


def write(tree: exp.Expr, dialect: Dialect) -> str:
    """The text of `tree`, without comments; the tree is used up, it may be another afterwards.

    Raises:
        UnsupportedError: the dialect cannot say it.
    """
    target = _TenantryMySQL if dialect == "mysql" else dialect
    return tree.sql(target, copy=False, comments=False, unsupported_level=ErrorLevel.IMMEDIATE)

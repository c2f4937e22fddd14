"""What a tenant's server says of a query, for a model and a member (CON-2).

It is the tenant's own text, but still a stranger's: cut to one short printable line.
"""

_MOST_CHARACTERS = 300


def line(text: str) -> str:
    """`text` as one short printable line."""
    plain = "".join(c if c.isprintable() else " " for c in text).strip()
    return plain if len(plain) <= _MOST_CHARACTERS else f"{plain[:_MOST_CHARACTERS]}…"


def rejected(text: str) -> str:
    """What to tell when a server rejected a query with `text`."""
    return f"The database rejected the query: {line(text) or 'it does not say why'}"

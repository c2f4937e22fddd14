"""The catalogue of SQL attacks: each a list of statements run inside acme's transaction.

`%(globex)s` is the victim's tenant, `%(victim)s` the id of its rows, `%(own)s` the attacker's. LOOK
reads every table the tenants' role may read, and would show the victim's canaries.
"""

from tests.isolation.attacks_on_rows import OBJECTS, READS, WRITES
from tests.isolation.attacks_on_sessions import CONTEXT, IDENTITY, LEFTOVERS

FAMILIES = {
    "context": CONTEXT,
    "identity": IDENTITY,
    "objects": OBJECTS,
    "writes": WRITES,
    "reads": READS,
    "leftovers": LEFTOVERS,
}

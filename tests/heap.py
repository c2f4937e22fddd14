"""Looks through every object that Python still holds."""

import gc


def holders_of(*parts: str) -> list[str]:
    """Descriptions of the objects that hold a text containing the parts joined together.

    The caller keeps the parts only: a caller that held the whole text would find itself. Objects
    that the collector does not track (texts, tuples and dicts of texts) are reached from those
    that it does.
    """
    needle = "".join(parts)
    gc.collect()
    found: list[str] = []
    seen: set[int] = set()
    for holder in gc.get_objects():
        pending = [holder]
        while pending:
            for each in gc.get_referents(pending.pop()):
                if isinstance(each, str):
                    if needle in each and each is not needle:
                        found.append(f"{type(holder).__name__}: {each[:60]!r}")
                elif isinstance(each, bytes | bytearray):
                    if needle.encode() in each:
                        found.append(f"{type(holder).__name__}: {bytes(each[:60])!r}")
                elif not gc.is_tracked(each) and id(each) not in seen:
                    seen.add(id(each))
                    pending.append(each)
    return found

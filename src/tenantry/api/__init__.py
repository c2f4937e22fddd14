"""The HTTP edge (USE-1, USE-2): the only room, with the command line, that knows the web framework.

Threat: a header, path, body or cursor that names another tenant; an error that tells too much.
Invariant: the tenant comes from the credential alone; a foreign id and an unknown id give the
same answer, byte for byte. Neighbours: `platform` below; every handler is a few lines over it.
"""

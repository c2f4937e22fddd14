"""The vocabulary every room shares: ids, errors, events, settings, clock. Imports nothing of ours.

Invariant: nothing here performs I/O or holds state, so any room may import it.
"""

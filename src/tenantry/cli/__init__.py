"""The command line (USE-3).

The platform's own machine is served by `serve`, `migrate`, `doctor`, `erase` and `operator-key`;
every other command is a client of the HTTP API, with a key like any other.
"""

"""Rules of the house that can be read off the source: SQL, packages, layers, the map."""

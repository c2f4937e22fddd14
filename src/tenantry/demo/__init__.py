"""The demo: two real tenants on one platform, the same questions, and attacks that must fail.

Threat answered: a claim of isolation that nobody has watched hold. An airline desk (`skyline-air`,
every 2013 flight out of New York) and a media shop (`chord-store`, the Chinook sales) are loaded
side by side with handbooks that contradict each other, so that one leaked sentence shows.

Invariant: the demo reaches the platform only as a client does, over HTTP with keys. It imports no
room of the platform but `core`, so nothing it shows rests on an inner door.

Tables: none. Neighbours: the API, over the wire; `cli` starts the demo.
"""

"""Memory and learning isolation (MEM-1): what a tenant has taught its assistants.

Threat: a pattern learned from one tenant changes, or shows up in, another tenant's answer.
Invariant: a pattern is found only inside a transaction of the tenant that taught it; versions are
only added, so that what an assistant knew at any time can be read and returned to.
Tables: patterns, pattern_versions. Neighbours: `tools` recalls; `providers` embeds; `metering`.
"""

"""System prompt separation (CTX-1): assistants, conversations, and the session that joins them.

Threat: one tenant's instructions, tools or words stay in memory and reach another tenant's answer.
Invariant: a session loads the assistant's current version from rows of its own tenant, in one
transaction, and keeps nothing at its end; no module, cache or pool holds any of it. Whatever
happens in between, the conversation stays whole and each model call is settled once.
Tables: assistants, assistant_versions, conversations, messages, tool_calls.
Neighbours: `metering` below; `agent` runs the turn between open and close.
"""

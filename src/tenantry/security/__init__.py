"""Who is asking, what they may do, and the record of what was refused (SEC-4, SEC-6).

Threat: a stolen, guessed or foreign credential; an attack that erases its own traces.
Invariant: `Authenticator` is the only HTTP-side maker of a tenant context; the tenant comes from
the credential alone; the audit log is appended to by a role that can do nothing else.
Tables: members, api_keys, operators, operator_keys, audit_events, audit_heads, audit_anchors.
"""

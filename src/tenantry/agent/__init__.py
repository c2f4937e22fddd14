"""Prompt and context isolation (CTX-2): the analyst's loop, and the boundary before the model.

Threat: a prompt holds what is another tenant's, or data in it is taken for an instruction.
Invariant: a prompt is made of segments that name owner and origin; the boundary refuses one that
is not the caller's, and keeps a manifest of what was shown in the audit log before it is shown.
What a model is told (`Instruction`) and what it is shown (`Material`) are different types.
Tables: none. Neighbours: `sessions` opens and closes the turn; `tools`, `providers`, `metering`.
"""

"""Names that a model may not fill: who somebody is, where something is, what opens it (SEC-3).

Threat: an API takes the tenant, the account or the user as an argument, and a model that was talked
into it names another's.
Invariant: such a property is filled by the configuration, or shown only by an administrator's
explicit choice with a reason.
"""

import re

_SPLIT = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_WHO = "tenant|org|organi[sz]ation|account|workspace|customer|user|member|owner|role"
_ALONE = re.compile(
    r"tenants?|orgs?|organi[sz]ations?|accounts?|workspaces?|impersonate|sudo|"
    r"credentials?|passwords?|passwd|pwd|passphrase|secrets?|tokens?|auth|authorization|"
    r"authentication|jwt|bearer|session|cookie|apikey|hosts?|hostname|server|endpoint|proxy|"
    r"databases?|db|dsn|schema|callback|webhook"
)
_TOGETHER = re.compile(
    rf"(?:as|on_behalf_of|behalf_of)_(?:{_WHO})|(?:{_WHO})_(?:id|ids|uuid|guid|key|slug|number)|"
    rf"(?:{_WHO})(?:id|uuid|guid)|(?:api|access|private|client|secret|signing)_key|"
    r"connection_string|base_url|callback_url|redirect_url|redirect_uri|target_url|webhook_url"
)
# What turns a page is no credential.
_PAGING = re.compile(
    r"(?:.*_)?(?:page|next|previous|prev|continuation|cursor|sync|skip|start|resume)_tokens?"
)
_DESCRIBED = re.compile(
    r"\btenants?\b|"
    rf"\b(?:{_WHO})(?:'s)?[\s_-]*(?:ids?|identifiers?|uuids?|guids?|slugs?|numbers?)\b|"
    rf"\b(?:ids?|identifiers?|uuids?|slugs?) of (?:the |an? |your |this )?(?:{_WHO})s?\b|"
    r"\b(?:passwords?|credentials?|api[\s_-]keys?|access[\s_-]tokens?|bearer|secret keys?)\b|"
    r"\bhost ?names?\b|\bdatabase(?: name| to use)?\b|\bconnection strings?\b|\bon behalf of\b",
    re.IGNORECASE,
)


def is_reserved(name: str, description: str = "") -> bool:
    """Whether a property of this name and description is one that a model may not fill."""
    words = "_".join(word.lower() for word in _SPLIT.split(name) if word)
    if _PAGING.fullmatch(words):
        return False
    return bool(
        any(_ALONE.fullmatch(word) for word in words.split("_"))
        or _TOGETHER.search(words)
        or _DESCRIBED.search(description)
    )

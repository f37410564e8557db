"""Which scope each route needs on a shared server: one table, by method and template. What is not in it is denied.

A template is written with `{}` for each of its parameters. `*` stands for the rest of a segment, `**` for any rest.
The first line that fits holds. GET of the pages and data that are here to be read is covered by families, since a GET
changes nothing; every other method is named route by route, so that a new one is refused until somebody has said here
what it needs. `tests/app/access/test_policy.py` fails for a route that no line covers.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Need = Literal["open", "known", "person", "read", "compute", "write", "admin"]
"""`open`: anyone, even where anonymous visitors may do nothing. `known`: any person or key. `person`: only somebody who
signed in with a browser. The others are scopes."""
READING = "GET HEAD"
ANY = "GET HEAD POST PUT PATCH DELETE"


class Rule(NamedTuple):
    need: Need
    methods: str
    templates: str
    fragment: Need | None = None
    """What htmx's request for a part of the page needs, where the page alone computes nothing and its part does."""


RULES = (
    # What the pages themselves stand on, and what machines watch.
    Rule("open", READING, "/static/** /favicon.ico /robots.txt /healthz /readyz /health"),
    Rule("open", ANY, "/theme /sign-in /sign-out"),
    Rule("known", READING, "/metrics"),
    # People and keys.
    Rule("person", ANY, "/account /account.json /account/**"),
    Rule("admin", ANY, "/people /people.json /people/**"),
    # Live computing.
    Rule("compute", READING, "/{}/live.json /{}/steer.json /{}/chat.json /s/{}.json"),
    Rule("read", READING, "/{}/live /{}/steer /{}/chat /s/{}", fragment="compute"),
    Rule("write", "POST", "/{}/*/save /{}/{}/{}/save"),
    Rule(
        "compute",
        "POST",
        "/tour /{}/live /{}/live/continue /{}/steer /{}/steer/continue /{}/chat /{}/chat/continue "
        "/{}/contrast /{}/contrast.json /{}/contrast/{}/cancel /{}/{}/{} /lists/{}/try",
    ),
    # Pages and data to read.
    Rule(
        "read",
        READING,
        "/ /.json /tour /tour.* /{} /{}.* /{}/** /search /search.* /search/** /search-explanations "
        "/quick-list /quick-list.* /lists /lists.* /lists/** "
        "/s/** /cards/** /oembed /oembed.* /embed/** /jobs /jobs.* /jobs/** "
        "/training /training.* /training/** /api /api.* /api/** /v1/**",
    ),
    # What people make.
    Rule("write", "POST PUT PATCH DELETE", "/lists /lists/** /s /s/** /{}/vectors /{}/vectors/{}/**"),
    Rule("compute", "POST", "/{}/vectors/{}"),
    # Neuronpedia's web API: all of it is POST, whatever it does.
    Rule(
        "read",
        "POST",
        "/api/feature /api/features /api/features-offset /api/activation/get /api/explanation/search "
        "/api/explanation/search-* /api/model/get /api/model/list /api/global /api/list/get /api/vector/get "
        "/api/steer-load /api/steer/presets /api/umap /api/model/head-attention/get /api/model/head-metrics/* "
        "/api/model/head-sequences/get /api/sparsity/* /api/nla/* /api/user/edit /api/user/refresh /api/user/api-key "
        "/api/user/api-key-update",
    ),
    Rule("known", "POST", "/api/list/list /api/user/bookmarks /api/vector/list-owned /api/graph/list-owned"),
    Rule(
        "compute",
        "POST",
        "/api/activation/new /api/activation/source /api/search-all /api/search-topk-by-token /api/tokenize "
        "/api/cossim /api/activations.parquet /api/steer /api/steer-chat /api/steer-logits /api/lens/prompt "
        "/api/graph/tokenize /api/graph/generate /api/graph/parse-chat-prompt /api/similarity-matrix-pred",
    ),
    Rule(
        "write",
        "POST",
        "/api/list/** /api/bookmark/** /api/comment/** /api/vector/new /api/vector/delete /api/explanation/** "
        "/api/activation/upload-batch /api/feature/upload-batch /api/graph/** /api/lens/share",
    ),
    Rule(
        "admin",
        "POST",
        "/api/model/new /api/source-set/new /api/source-set/new-admin /api/source/new "
        "/api/source-release/new /api/admin/**",
    ),
    # What is nowhere below /api is told to whoever may read.
    Rule("read", "POST", "/api/{}"),
    # Neuronpedia's inference wire.
    Rule("compute", "POST", "/v1/**"),
    # Long work belongs to who runs the server.
    Rule("admin", "POST PUT PATCH DELETE", "/jobs /jobs/** /api/jobs /api/jobs/**"),
)


@lru_cache(maxsize=4096)
def needed(method: str, template: str, *, fragment: bool = False) -> Need | None:
    """What a request to this route needs; None where nobody has said, which is denied."""
    plain = re.sub(r"\{[^}]*\}", "{}", template).rstrip("/") or "/"
    for rule in RULES:
        if method in rule.methods.split() and any(_fits(pattern, plain) for pattern in rule.templates.split()):
            return rule.fragment if fragment and rule.fragment else rule.need
    return None


def _fits(pattern: str, template: str) -> bool:
    parts = re.split(r"(\*\*|\*)", pattern)
    found = {"**": ".+", "*": "[^/]+"}
    return re.fullmatch("".join(found.get(part) or re.escape(part) for part in parts), template) is not None

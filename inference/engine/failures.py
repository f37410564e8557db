"""From whatever went wrong to what the person who asked is told."""

import logging

from inference.engine.memory import is_out_of_memory
from inference.engine.passes import out_of_memory
from inference.engine.protocol import EngineError, FailureKind
from inference.errors import BadInput, GemlensError, NotFound, Unavailable

log = logging.getLogger(__name__)

KINDS: dict[type[GemlensError], FailureKind] = {
    BadInput: "bad_request",
    NotFound: "unknown",
    Unavailable: "unavailable",
}


def as_engine_error(error: Exception) -> EngineError:
    """A `GemlensError`'s message is for people; of anything else only the fact is told, the rest is in the log."""
    if isinstance(error, EngineError):
        return error
    for kind, name in KINDS.items():
        if isinstance(error, kind):
            return EngineError(name, str(error))
    if is_out_of_memory(error):
        return out_of_memory()
    log.error("a request failed by a fault of the engine", exc_info=error)
    return EngineError("internal", f"The engine failed on this request ({type(error).__name__}). Its log says more.")

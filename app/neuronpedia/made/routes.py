"""All of the web API for what people make and what is installed; behind it, what is not here."""

from fastapi import APIRouter

from app.neuronpedia.made import absent, bookmarks, catalogue, decoder, lists, vectors

router = APIRouter()
for part in (vectors, lists, bookmarks, catalogue, decoder, absent):
    router.routes.extend(part.router.routes)

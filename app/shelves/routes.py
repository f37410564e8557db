"""All pages of the room."""

from fastapi import APIRouter

from app.shelves import lists, quick, stars, tables, vectors

router = APIRouter()
# Before lists, whose ids take any word.
for part in (stars, tables, lists, quick, vectors):
    router.routes.extend(part.router.routes)

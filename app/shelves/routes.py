"""All pages of the room."""

from fastapi import APIRouter

from app.shelves import lists, quick, vectors

router = APIRouter()
for part in (lists, quick, vectors):
    router.include_router(part.router)

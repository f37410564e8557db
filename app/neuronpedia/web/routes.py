"""All of the web API for reading."""

from fastapi import APIRouter

from app.neuronpedia.web import activations, explanations, features, searching

router = APIRouter()
for part in (features, activations, searching, explanations):
    router.routes.extend(part.router.routes)

"""`/api/list/…`: lists of features, with notes.

A feature that is not on this server is refused where one is added by hand, and kept under its name where a whole list
is made (`new-with-features`): it shows up once its source is installed. Neuronpedia leaves such out without a word.
"""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.made import neurons
from app.neuronpedia.made.asked import (
    FeaturesToAdd,
    ListAsked,
    ListChange,
    ListFeature,
    NewList,
    NewListWithFeatures,
    NotedListFeature,
)
from app.neuronpedia.made.routing import answer, whole_address
from app.neuronpedia.made.told import HOME, ListsOnNeurons, ListTold, ListWithAddress, NewListTold, User
from app.neuronpedia.web.answering import as_json, post
from app.neuronpedia.web.answers import Activation, NeuronInBatch
from app.store import shelves, vectors
from app.store.at_hand import database_of
from app.web import principal
from inference.errors import NotFound

router = APIRouter(prefix="/api/list", tags=["lists"])


class ListedNeuron(ListsOnNeurons):
    neuron: NeuronInBatch | None
    """None where the feature is not on this server."""


class WholeList(ListTold):
    user: User
    neurons: list[ListedNeuron]
    activations: list[Activation]


@post(router, "/new", NewListTold)
async def new(request: Request, asked: NewList) -> Response:
    """Makes an empty list."""
    async with database_of(request).session() as session:
        made = await shelves.make(
            session,
            principal.current(request),
            title=asked.name,
            description=asked.description or "",
            test_text=asked.testText or "",
        )
    return answer(
        NewListTold(**ListTold.of(made).model_dump(), url=_address(request, made), user=User(name=made.owner or HOME))
    )


@post(router, "/new-with-features", ListWithAddress)
async def new_with_features(request: Request, asked: NewListWithFeatures) -> Response:
    """Makes a list of features in their order, each once. Those that are not here are kept by name."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        made = await shelves.make(
            session, who, title=asked.name, description=asked.description or "", test_text=asked.testText or ""
        )
        some = [one.named(one.description) for one in asked.features]
        await shelves.add(session, who, made.public_id, some, again=True)
        made = await shelves.find(session, who, made.public_id)
    return answer(ListWithAddress(**ListTold.of(made).model_dump(), url=_address(request, made)))


@post(router, "/add-features", list[ListsOnNeurons])
async def add_features(request: Request, asked: FeaturesToAdd) -> Response:
    """Adds features to a list. All of them or none: a feature that is in the list already, or not on this server, is
    named."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        some = [shelves.checked(one.named(one.description)) for one in asked.featuresToAdd]
        for name, place in zip(some, await shelves.resolve(session, who, some), strict=True):
            if place.reason:
                raise NotFound(f"{name}: {place.reason}")
        added = await shelves.add(session, who, asked.listId, some)
        made = await shelves.find(session, who, asked.listId)
    return answer([ListsOnNeurons.of(item, made) for item in added])


@post(router, "/remove", ListsOnNeurons)
async def remove(request: Request, asked: ListFeature) -> Response:
    """Takes a feature out of a list."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        made = await shelves.find(session, who, asked.listId)
        number = await shelves.number_of(session, made, shelves.checked(asked.named()))
        item = await shelves.take_out(session, who, asked.listId, number)
    return answer(ListsOnNeurons.of(item, made))


@post(router, "/edit-feature", ListsOnNeurons)
async def edit_feature(request: Request, asked: NotedListFeature) -> Response:
    """Changes the note of a feature in a list."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        made = await shelves.find(session, who, asked.listId)
        number = await shelves.number_of(session, made, shelves.checked(asked.named()))
        item = await shelves.annotate(session, who, asked.listId, number, asked.description or "")
    return answer(ListsOnNeurons.of(item, made))


@post(router, "/update", ListTold)
async def update(request: Request, asked: ListChange) -> Response:
    """Changes a list's name, description or text to try; what is left out stays."""
    async with database_of(request).session() as session:
        made = await shelves.change(
            session,
            principal.current(request),
            asked.listId,
            title=asked.name,
            description=asked.description,
            test_text=asked.defaultTestText,
        )
    return answer(ListTold.of(made))


@post(router, "/delete", bool)
async def delete(request: Request, asked: ListAsked) -> Response:
    """Removes a list for good."""
    async with database_of(request).session() as session:
        await shelves.remove(session, principal.current(request), asked.listId)
    return answer(True)


@post(router, "/list", list[ListTold])
async def list_(request: Request) -> Response:
    """One's own lists, the one changed last first; at home all that were made here."""
    async with database_of(request).session() as session:
        owned = await shelves.owned(session, principal.current(request))
    return answer([ListTold.of(made) for made in owned])


@post(router, "/get", WholeList)
async def get_one(request: Request, asked: ListAsked) -> Response:
    """A list with all of its features, each with its three strongest examples and its label."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        made = await shelves.find(session, who, asked.listId)
        items = await shelves.items(session, who, made)
        own = await vectors.some(session, who, [item.index for item in items if item.place.vector_id is not None])
        found = await neurons.of_items(session, items, own)
    listed = [{**ListsOnNeurons.of(item, made).model_dump(), "neuron": found.get(item.number)} for item in items]
    about = ListTold.of(made).model_dump()
    return as_json({**about, "user": {"name": made.owner or HOME}, "neurons": listed, "activations": []})


def _address(request: Request, made: shelves.List) -> str:
    return whole_address(request, "lists", made.public_id)

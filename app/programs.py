"""The rooms that programs ask: both of Neuronpedia's APIs, ours beside them and the page that tells of them, and what
other sites fetch to show a link of ours.

They are imported once pages are served (`app.web.later`): the shapes of their routes take longer than all pages.
"""

from app.api import activations as ours
from app.api import pages as told
from app.catalogue import api as catalogue
from app.exchange import routes as exchange
from app.neuronpedia.inference import absent as inference_absent
from app.neuronpedia.inference import routes as inference
from app.neuronpedia.made import routes as made
from app.neuronpedia.web import routes as web
from app.share import cards, oembed

ROUTERS = (
    inference.router,
    inference.at_the_root,
    inference_absent.router,
    web.router,
    made.router,
    catalogue.router,
    exchange.router,
    ours.router,
    told.router,
    told.nowhere,
    cards.router,
    oembed.router,
)

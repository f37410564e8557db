"""Every table, by room. Import them from here."""

from app.db.tables.access import ApiKey, Principal, SignIn
from app.db.tables.base import Base
from app.db.tables.catalogue import Checkpoint, Dictionary, Evaluation, Model, Source, SourceSet, Token, Tokenizer
from app.db.tables.corpus import Corpus, Harvest, Passage, Shard
from app.db.tables.features import BULK, Example, FeatureDetail, FeatureStat
from app.db.tables.labels import EMBEDDING_WIDTH, Label, Score
from app.db.tables.maps import FeatureMap
from app.db.tables.shelves import Note, SavedView, Shelf, ShelfItem, Vector

__all__ = [
    "BULK",
    "EMBEDDING_WIDTH",
    "ApiKey",
    "Base",
    "Checkpoint",
    "Corpus",
    "Dictionary",
    "Evaluation",
    "Example",
    "FeatureDetail",
    "FeatureMap",
    "FeatureStat",
    "Harvest",
    "Label",
    "Model",
    "Note",
    "Passage",
    "Principal",
    "SavedView",
    "Score",
    "Shard",
    "Shelf",
    "ShelfItem",
    "SignIn",
    "Source",
    "SourceSet",
    "Token",
    "Tokenizer",
    "Vector",
]

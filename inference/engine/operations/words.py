"""What needs no forward pass and no place in the line: tokens of prompts, and vectors of sentences."""

from inference.engine.protocol import Embed, EmbedAnswer, Tokenize, TokenizeAnswer
from inference.engine.workshop import Workshop


def tokenize(request: Tokenize, workshop: Workshop) -> TokenizeAnswer:
    return TokenizeAnswer(prompts=tuple(prompt.tokens for prompt in workshop.read(request.prompts)))


def embed(request: Embed) -> EmbedAnswer:
    # Its model is loaded by the first question, so that an engine that is never searched does without.
    from inference.embedding import embed_texts

    return embed_texts(request)

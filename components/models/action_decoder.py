"""The velocity field over action chunks as a transformer decoder."""

from components.models.chunk_transformer import ChunkTransformer
from components.models.contracts import VelocityDecoder
from trainer.registry import models


@models.register("action_decoder")
class ActionDecoder(ChunkTransformer, VelocityDecoder):
    """Transformer decoder: tokens of a noisy chunk attend to each other and to the observation.

    Its parameters are those of ``ChunkTransformer``.
    """

"""The on-disk format of episodes and rounds: schema, writer, reader, seal, verify, pack.

A round in the making: workers call ``write_episode`` (or use an ``AsyncEpisodeWriter``), the one
parent process enters the returned records through a ``RoundWriter``, and ``seal`` finishes it.
A sealed round is opened with ``open_round``, checked with ``verify_round``, joined into shards
with ``pack``.
"""

from data_collection.episodes.codec import EpisodeAttributes, read_episode
from data_collection.episodes.feature_statistics import Statistics, merge_all
from data_collection.episodes.index import Extents
from data_collection.episodes.manifest import EpisodeRecord
from data_collection.episodes.pack import pack
from data_collection.episodes.reader import SealedRound, open_round
from data_collection.episodes.round_writer import RoundWriter
from data_collection.episodes.schema import EpisodeContentError, EpisodeError
from data_collection.episodes.seal import seal
from data_collection.episodes.verify import verify_round
from data_collection.episodes.writer import AsyncEpisodeWriter, is_sealed, write_episode

__all__ = [
    "AsyncEpisodeWriter",
    "EpisodeAttributes",
    "EpisodeContentError",
    "EpisodeError",
    "EpisodeRecord",
    "Extents",
    "RoundWriter",
    "SealedRound",
    "Statistics",
    "is_sealed",
    "merge_all",
    "open_round",
    "pack",
    "read_episode",
    "seal",
    "verify_round",
    "write_episode",
]

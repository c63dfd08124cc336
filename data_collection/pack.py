"""Joins the episode files of a sealed round into shards: fewer files, the same content.

python -m data_collection.pack data/pick_place/exp1/round_000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_collection.episodes import EpisodeError, open_round, pack
from trainer.cli import run_command
from trainer.errors import DataError
from trainer.files import locked_folder


def main(arguments: Sequence[str]) -> int:
    """Pack the rounds and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data_collection.pack",
        description="Join the episode files of sealed rounds into shards of about 1 GB: copies "
        "faster, and lifts the limit of some 65,000 episodes that can be mapped. Every hash stays.",
        epilog="example: python -m data_collection.pack data/pick_place/exp1/round_000",
    )
    parser.add_argument("round", type=Path, nargs="+", help="a sealed round's folder")
    args = parser.parse_args(arguments)
    for folder in args.round:
        taken = f"another process packs {folder}; wait for it"
        try:
            open_round(folder)  # before a folder that is no round gets a lock
            with locked_folder(folder, taken):
                shards = pack(folder)
        except EpisodeError as error:
            raise DataError(str(error)) from error
        sys.stdout.write(f"{folder}: {shards} shard{'s' * (shards != 1)}\n")
    return 0


if __name__ == "__main__":
    run_command(main)

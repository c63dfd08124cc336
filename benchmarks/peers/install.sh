#!/bin/sh
# Installs each peer in an environment of its own under .peers/: all of them, or those that are named.
# Needs `make install` first, for its uv, and some 20 GB of disk for all.
set -eu
cd "$(dirname "$0")/../.."
uv=.venv/bin/uv
peers=benchmarks/peers
for peer in ${*:-robomimic lerobot imitation rsl-rl-lib torchrl}; do
    set -- --override "$peers/unneeded.txt"
    if [ -f "$peers/${peer}_overrides.txt" ]; then
        set -- "$@" --override "$peers/${peer}_overrides.txt"
    fi
    test -x ".peers/$peer/bin/python" || "$uv" venv --python 3.11 ".peers/$peer"
    "$uv" pip install --python ".peers/$peer" --requirement "$peers/$peer.txt" "$@"
done

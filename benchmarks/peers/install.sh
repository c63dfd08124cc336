#!/bin/sh
# Installs each peer in an environment of its own: .peers/robomimic, .peers/lerobot, .peers/imitation.
# Needs `make install` first, for its uv, and some 12 GB of disk.
set -eu
cd "$(dirname "$0")/../.."
uv=.venv/bin/uv
peers=benchmarks/peers
for peer in robomimic lerobot imitation; do
    set -- --override "$peers/unneeded.txt"
    if [ -f "$peers/${peer}_overrides.txt" ]; then
        set -- "$@" --override "$peers/${peer}_overrides.txt"
    fi
    test -x ".peers/$peer/bin/python" || "$uv" venv --python 3.11 ".peers/$peer"
    "$uv" pip install --python ".peers/$peer" --requirement "$peers/$peer.txt" "$@"
done

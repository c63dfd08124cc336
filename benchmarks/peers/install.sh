#!/bin/sh
# Installs each peer in an environment of its own: .peers/robomimic, .peers/lerobot.
# Needs `make install` first, for its uv, and some 12 GB of disk.
set -eu
cd "$(dirname "$0")/../.."
uv=.venv/bin/uv
peers=benchmarks/peers
for peer in robomimic lerobot; do
    test -x ".peers/$peer/bin/python" || "$uv" venv --python 3.11 ".peers/$peer"
    "$uv" pip install --python ".peers/$peer" --requirement "$peers/$peer.txt" --override "$peers/unneeded.txt"
done

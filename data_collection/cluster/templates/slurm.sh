#!/bin/bash
# A DAgger experiment on a Slurm allocation: sbatch data_collection/cluster/templates/slurm.sh DAGGER_YAML
# The first machine is the head and trains; each of the others brings teacher nodes, and fewer
# render nodes. The home folder, with the project and the token in it, is shared.
#SBATCH --job-name=dagger
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
set -euo pipefail

TEACHERS=7
RENDERERS=1
PORT=6379
PYTHON=.venv/bin/python
LAUNCH="$PYTHON -m data_collection.cluster.launch --config data_collection/cluster/templates/machine.yaml"

cd "${SLURM_SUBMIT_DIR:-.}"
mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(getent ahostsv4 "${machines[0]}" | awk '{print $1; exit}')

srun --nodes=1 --ntasks=1 --overlap --nodelist="${machines[0]}" \
  $LAUNCH --host "$head" --port $PORT --teachers $TEACHERS --renderers 0 --trainer &
until (exec 3<>"/dev/tcp/$head/$PORT") 2>/dev/null; do sleep 1; done

for machine in "${machines[@]:1}"; do
  srun --nodes=1 --ntasks=1 --overlap --nodelist="$machine" bash -c \
    "$LAUNCH --host \$(hostname -i | awk '{print \$1}') --join $head:$PORT --teachers $TEACHERS --renderers $RENDERERS" &
done

# This script runs on the first machine, so the runner is part of the cluster.
$PYTHON data_collection/dagger_runner.py --backend ray --address "$head:$PORT" --dagger_config "$1"

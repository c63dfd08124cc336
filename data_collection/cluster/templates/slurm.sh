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
# Asked here: a machine often knows itself as 127.0.1.1.
address_of() { getent ahostsv4 "$1" | awk '$1 !~ /^127\./ {print $1; exit}'; }
head=$(address_of "${machines[0]}")

srun --nodes=1 --ntasks=1 --overlap --nodelist="${machines[0]}" \
  $LAUNCH --host "$head" --port $PORT --teachers $TEACHERS --renderers 0 --trainer &
steps=($!)
# An allocation costs: a part that does not start ends the job, and says above why.
check() {
  for step in "${steps[@]}"; do
    kill -0 "$step" 2>/dev/null || { echo "a part of the cluster has ended, see above" >&2; exit 1; }
  done
}
until timeout 5 bash -c "exec 3<>/dev/tcp/$head/$PORT" 2>/dev/null; do check; sleep 1; done

for machine in "${machines[@]:1}"; do
  address=$(address_of "$machine")
  srun --nodes=1 --ntasks=1 --overlap --nodelist="$machine" \
    $LAUNCH --host "$address" --join "$head:$PORT" --teachers $TEACHERS --renderers $RENDERERS &
  steps+=($!)
done
sleep 20  # what launch refuses, it refuses by then
check

# This script runs on the first machine, so the runner is part of the cluster.
$PYTHON data_collection/dagger_runner.py --backend ray --address "$head:$PORT" --dagger_config "$1"

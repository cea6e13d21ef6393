#!/usr/bin/env bash
#SBATCH --job-name=xllms-instructions-xllama-100
#SBATCH --partition=batch
#SBATCH --account=nlp
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=131072M
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output="/shared/runs/xllama-100/cluster/logs/instructions.log"
# Job instructions of /shared/runs/xllama-100, written by `xllms submit`
set -o pipefail
trap '' USR2  # LSF's word at the run limit, minutes before it kills
folder=/shared/runs/xllama-100/cluster
task=0
name=instructions
sees='[ "$(cat "$0/token" 2>/dev/null)" = a1b2c3d4e5f60718 ] ||
  { echo "xllms: $(hostname) does not see $0 as the submitting machine does; it must be shared" >&2; exit 2; }'
bash -c "$sees" "$folder" || exit 2
mkdir -p "$folder/signals" "$folder/starts" "$folder/ended" || exit 1
stop="$folder/signals/$name"
rm -f "$stop" "$stop.yielded" "$folder/ended/$name"
export XLLMS_STOP_FILE="$stop"
echo "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" >>"$folder/starts/$name" || exit 1
work="" signalled="" code=0
warned() { signalled=1; : >"$stop"; [ -z "$work" ] || kill -TERM "$work" 2>/dev/null; }
trap warned USR1 TERM
cd /shared/xllms || exit 2

module load cuda/12.8 || exit 2
export HF_HOME='/shared/hf cache'
export PYTHONUNBUFFERED=1
export OMP_NUM_THREADS=16
source /shared/xllms/.venv/bin/activate

set -u
run() {  # waits through signals, and keeps the code of the work
  [ -e "$stop" ] && { code=75; return; }
  ( trap '' USR1; exec "$@" ) &  # LSF signals every process, and torchrun would die of it
  work=$!
  while :; do
    signalled=""
    wait "$work"; last=$?
    [ "$last" -eq 127 ] || code=$last
    [ -n "$signalled" ] || break
  done
}

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
port=$((20000 + "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" % 20000))
srun --nodes 2 --ntasks 2 --ntasks-per-node 1 bash -c "$sees" "$folder" || exit 2
export RAY_ADDRESS="$head:$port" port
srun --nodes 2 --ntasks 2 --ntasks-per-node 1 bash -c '
  if [ "$SLURM_NODEID" = 0 ]; then exec python -m ray.scripts.scripts start --head --port "$port" --include-dashboard false --block; fi
  until python -m ray.scripts.scripts start --address "$RAY_ADDRESS" --block; do sleep 2; done' >>"$folder/logs/$name.ray.log" 2>&1 &
ray=$!
run python -m xllms instructions /shared/runs/xllama-100/cluster/recipe-1.yaml --set instructions.executor=ray --set instructions.workers=32
kill -TERM "$ray" 2>/dev/null
if [ "$code" -ne 0 ]; then
  if { [ -e "$stop" ] || [ "$code" -eq 75 ]; } && [ ! -e "$folder/cancelled/instructions" ]; then
    if [ "$(wc -l <"$folder/starts/$name")" -le 20 ]; then
      echo "xllms: stopped as asked; the job is put back into the queue" >&2
      if scontrol show job --oneliner "$SLURM_JOB_ID" | grep -q " JobState=RUNNING "; then
        scontrol requeue "$SLURM_JOB_ID" && exit 75
      fi
    else
      echo "xllms: started $(wc -l <"$folder/starts/$name") times and not done; give it more time (site.time)" >&2
    fi
  fi
fi
[ "$code" -ne 75 ] || code=1  # a scheduler would take it for a wish to come back
echo "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" "$code" >"$folder/ended/$name"
exit "$code"

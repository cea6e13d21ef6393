#!/usr/bin/env bash
#BSUB -J "xllms-feedback-xllama-100"
#BSUB -q batch
#BSUB -P nlp
#BSUB -n 16
#BSUB -R "span[hosts=1] rusage[mem=131072/host]"
#BSUB -gpu "num=1:mode=exclusive_process:gmodel=a100"
#BSUB -W 24:00
#BSUB -wa USR1
#BSUB -wt 2
#BSUB -r
#BSUB -Q "75"
#BSUB -o "/shared/runs/xllama-100/cluster/logs/feedback.lsf.log"
#BSUB -w "done(102)"
#BSUB -ti
# Job feedback of /shared/runs/xllama-100, written by `xllms submit`
set -o pipefail
trap '' USR2  # LSF's word at the run limit, minutes before it kills
folder=/shared/runs/xllama-100/cluster
task=0
name=feedback
sees='[ "$(cat "$0/token" 2>/dev/null)" = a1b2c3d4e5f60718 ] ||
  { echo "xllms: $(hostname) does not see $0 as the submitting machine does; it must be shared" >&2; exit 2; }'
bash -c "$sees" "$folder" || exit 2
exec >>"$folder/logs/$name.log" 2>&1
mkdir -p "$folder/signals" "$folder/starts" "$folder/ended" || exit 1
stop="$folder/signals/$name"
rm -f "$stop" "$stop.yielded" "$folder/ended/$name"
export XLLMS_STOP_FILE="$stop"
echo "$LSB_JOBID" >>"$folder/starts/$name" || exit 1
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

run python -m xllms feedback /shared/runs/xllama-100/cluster/recipe-1.yaml
if [ "$code" -ne 0 ]; then
  if { [ -e "$stop" ] || [ "$code" -eq 75 ]; } && [ ! -e "$folder/cancelled/feedback" ]; then
    if [ "$(wc -l <"$folder/starts/$name")" -le 20 ]; then
      echo "xllms: stopped as asked; the job is put back into the queue" >&2
      exit 75
    else
      echo "xllms: started $(wc -l <"$folder/starts/$name") times and not done; give it more time (site.time)" >&2
    fi
  fi
fi
[ "$code" -ne 75 ] || code=1  # a scheduler would take it for a wish to come back
echo "$LSB_JOBID" "$code" >"$folder/ended/$name"
exit "$code"

"""The script of a job: the same for every scheduler but for its header and a few lines of that scheduler's own.

What it does besides the work:

- a warning (SIGUSR1 before the wall time, SIGTERM when the job is put aside) makes a stop file that training looks for
  after each step, since launchers swallow signals; other stages keep every finished unit and are ended at once;
- a job that stopped so puts itself back into the queue, unless it was cancelled, got nowhere, or came back too often;
- its exit code is the work's, and is also left in `ended/`, for when the scheduler has forgotten the job;
- every node must see the run's folder as the submitting machine does.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from string import Template
from typing import Protocol

from xllms.cluster.job import TRAINING, JobSpec
from xllms.cluster.site import Site

PUT_BACK = 75  # EX_TEMPFAIL: stopped as asked, the same command goes on


class Dialect(Protocol):
    """What is a scheduler's own in a script."""

    task: str  # shell expression for the task's number
    job: str  # for the job's id
    nodes: str  # lines that set `head` and, where it takes them, `hosts`
    each_node: str  # put before a command: once on each node; NODES is their number
    on_head: str  # test that is true on the first node
    put_back: str  # lines that put the job back into the queue
    own_log: bool  # whether the script writes its log itself

    def header(self, spec: JobSpec, site: Site, place: "Place", after: tuple[str, ...]) -> list[str]:
        """Lines that the scheduler reads."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a submission's files are, as every node sees them.

    Attributes:
        folder: `cluster/` of the run.
        work: folder that the jobs start in.
        token: what `folder/token` holds.
        number: of the submission.
    """

    folder: Path
    work: Path
    token: str
    number: int = 1

    @property
    def recipe(self) -> Path:
        """The recipe as it was submitted; each submission has its own."""
        return self.folder / f"recipe-{self.number}.yaml"

    def job_name(self, job: str) -> str:
        """What a scheduler calls a job: of letters that none of them takes for its own."""
        return re.sub(r"[^\w.-]", "_", f"xllms-{job}-{self.folder.parent.name}", flags=re.ASCII)

    def log(self, name: str, task: str = "") -> Path:
        """Where a job, or one task of it, writes what it says."""
        return self.folder / "logs" / (f"{name}-{task}.log" if task else f"{name}.log")


_FRAME = Template("""\
#!/usr/bin/env bash
$header
# $about
set -o pipefail
trap '' USR2  # LSF's word at the run limit, minutes before it kills
folder=$folder
task=$task
name=$name
sees='[ "$$(cat "$$0/token" 2>/dev/null)" = $token ] ||
  { echo "xllms: $$(hostname) does not see $$0 as the submitting machine does; it must be shared" >&2; exit 2; }'
bash -c "$$sees" "$$folder" || exit 2
${redirect}\
mkdir -p "$$folder/signals" "$$folder/starts" "$$folder/ended" || exit 1
stop="$$folder/signals/$$name"
rm -f "$$stop" "$$stop.yielded" "$$folder/ended/$$name"
export XLLMS_STOP_FILE="$$stop"
echo $job >>"$$folder/starts/$$name" || exit 1
work="" signalled="" code=0
warned() { signalled=1; : >"$$stop"; $on_warning }
trap warned USR1 TERM
cd $work || exit 2

$setup

set -u
run() {  # waits through signals, and keeps the code of the work
  [ -e "$$stop" ] && { code=$put_back_code; return; }
  ( trap '' USR1; exec "$$@" ) &  # LSF signals every process, and torchrun would die of it
  work=$$!
  while :; do
    signalled=""
    wait "$$work"; last=$$?
    [ "$$last" -eq 127 ] || code=$$last
    [ -n "$$signalled" ] || break
  done
}

$launch
if [ "$$code" -ne 0 ]; then
  if $kept && [ ! -e "$$folder/cancelled/$base" ]; then
    if [ "$$(wc -l <"$$folder/starts/$$name")" -le $limit ]; then
      echo "xllms: stopped as asked; the job is put back into the queue" >&2
$put_back
    else
      echo "xllms: started $$(wc -l <"$$folder/starts/$$name") times and not done; give it more time (site.time)" >&2
    fi
  fi
fi
[ "$$code" -ne $put_back_code ] || code=1  # a scheduler would take it for a wish to come back
echo $job "$$code" >"$$folder/ended/$$name"
exit "$$code"
""")


def render(spec: JobSpec, site: Site, place: Place, dialect: Dialect, after: tuple[str, ...]) -> str:
    """The script of a job.

    Args:
        spec: the job.
        site: modules, environment, container.
        place: the run's `cluster/` folder.
        dialect: of the scheduler.
        after: ids of the jobs it waits for.
    """
    training = spec.name in TRAINING
    stopped = '[ -e "$stop.yielded" ]' if training else '[ -e "$stop" ]'
    return _FRAME.substitute(
        header="\n".join(dialect.header(spec, site, place, after)) or "# no scheduler",
        about=f"Job {spec.name} of {place.folder.parent}, written by `xllms submit`",
        redirect='exec >>"$folder/logs/$name.log" 2>&1\n' if dialect.own_log else "",
        work=quote(str(place.work)),
        folder=quote(str(place.folder)),
        task=dialect.task if spec.tasks else "0",
        name=f'{spec.name}-"$task"' if spec.tasks else spec.name,
        base=spec.name,
        token=place.token,
        job=dialect.job,
        setup=_setup(spec, site),
        on_warning="" if training else '[ -z "$work" ] || kill -TERM "$work" 2>/dev/null;',
        launch=_launch(spec, site, dialect),
        kept=f'{{ {stopped} || [ "$code" -eq {PUT_BACK} ]; }}',
        limit=site.requeues,
        put_back_code=PUT_BACK,
        put_back="\n".join(f"      {line}" for line in dialect.put_back.splitlines()),
    )


def _setup(spec: JobSpec, site: Site) -> str:
    lines = [f"module load {quote(name)} || exit 2" for name in site.modules]
    lines += [f"export {name}={quote(value)}" for name, value in site.environment.items()]
    lines += ["export PYTHONUNBUFFERED=1"]
    if spec.resources.cpus and "OMP_NUM_THREADS" not in site.environment:
        lines.append(f"export OMP_NUM_THREADS={max(1, spec.resources.cpus // spec.resources.processes)}")
    return "\n".join([*lines, *site.setup])


def _launch(spec: JobSpec, site: Site, dialect: Dialect) -> str:
    python = " ".join(map(quote, site.interpreter))
    nodes, processes = spec.resources.nodes, spec.resources.processes
    commands = [" ".join(map(_word, command)) for command in spec.commands]
    if spec.launch == "plain":
        runs = [f"run {python} -m xllms {command}" for command in commands]
        return '\n[ "$code" -eq 0 ] && '.join(runs)
    if spec.launch == "torchrun" and nodes == 1:
        return (
            f"run {python} -m torch.distributed.run --standalone --nproc-per-node {processes} --max-restarts 0 "
            f"-m xllms {commands[0]}"
        )
    each = dialect.each_node.replace("NODES", str(nodes))
    lines = [
        dialect.nodes,
        f"port=$((20000 + {dialect.job} % 20000))",
        f'{each} bash -c "$sees" "$folder" || exit 2',
    ]
    if spec.launch == "torchrun":
        lines.append(
            f"run {each} {python} -m torch.distributed.run --nnodes {nodes} --nproc-per-node {processes} "
            f'--rdzv-backend c10d --rdzv-endpoint "$head:$port" --rdzv-id {dialect.job} --max-restarts 0 '
            f"-m xllms {commands[0]}"
        )
        return "\n".join(lines)
    ray = f"{python} -m ray.scripts.scripts"
    lines += [
        'export RAY_ADDRESS="$head:$port" port',
        f"{each} bash -c '",
        f'  if {dialect.on_head}; then exec {ray} start --head --port "$port" --include-dashboard false --block; fi',
        f'  until {ray} start --address "$RAY_ADDRESS" --block; do sleep 2; done\' '
        '>>"$folder/logs/$name.ray.log" 2>&1 &',
        "ray=$!",
        f"run {python} -m xllms {commands[0]}",
        'kill -TERM "$ray" 2>/dev/null',
    ]
    return "\n".join(lines)


def _word(word: str) -> str:
    if "{part}" in word:
        return '"$task"' + quote(word.removeprefix("{part}"))
    return quote(word)

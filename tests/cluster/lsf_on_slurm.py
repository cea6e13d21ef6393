"""LSF's commands as far as xllms uses them, carried out by Slurm: so that states, arrays, exit codes, dependencies and
code 75 are exercised by a real scheduler. It is strict: an option that it does not know is an error, as bsub has it.

    python lsf_on_slurm.py bsub -H <script
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

VALUED = {"-J", "-q", "-P", "-n", "-R", "-gpu", "-W", "-wa", "-wt", "-Q", "-o", "-w"}
FLAGS = {"-r", "-ti", "-H"}
STATES = {
    "PENDING": "PEND",
    "RUNNING": "RUN",
    "COMPLETING": "RUN",
    "CONFIGURING": "RUN",
    "COMPLETED": "DONE",
}
WRAPPER = """\
#!/usr/bin/env bash
export LSB_JOBID="${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}" LSB_JOBINDEX="${{SLURM_ARRAY_TASK_ID:-0}}"
export LSB_DJOB_HOSTFILE={hosts}
bash {script} &
work=$!
trap 'again=1; kill -USR1 $work $(pgrep -P $work -d " ")' USR1  # LSF signals every process
trap 'again=1; kill -TERM $work' TERM
while :; do again=; wait $work; code=$?; [ -n "$again" ] || break; done
for value in {put_back}; do
  [ "$code" = "$value" ] && scontrol requeue "$SLURM_JOB_ID"
done
exit $code
"""


def options(words: list[str]) -> dict[str, str]:
    found = {}
    words = list(words)
    while words:
        word = words.pop(0)
        if word in FLAGS:
            found[word] = ""
        elif word in VALUED and words:
            found[word] = words.pop(0)
        else:
            sys.exit(f"bsub: {word}: Illegal option. Job not submitted.")
    return found


def slurm(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)


def bsub(words: list[str]) -> None:
    script = sys.stdin.read()
    lines = [line.removeprefix("#BSUB ") for line in script.splitlines() if line.startswith("#BSUB ")]
    asked = options([*words, *shlex.split("\n".join(lines))])
    known = slurm("sinfo", "-h", "-o", "%R").stdout.split()
    if "-q" in asked and asked["-q"] not in known:
        sys.exit(f"{asked['-q']}: No such queue. Job not submitted.")
    folder = Path(os.environ["LSF_STAND_IN"])
    folder.mkdir(exist_ok=True)
    number = len(list(folder.glob("*.sh")))
    body = folder / f"{number}.sh"
    body.write_text(script)
    slots = int(asked.get("-n", "1"))
    per_host = re.search(r"ptile=(\d+)", asked.get("-R", ""))
    count = slots // int(per_host[1]) if per_host else 1
    hosts = folder / f"{number}.hosts"
    names = ["localhost", "127.0.0.1"][:count]  # two names of this machine stand for two
    hosts.write_text("".join(f"{name}\n" * (slots // count) for name in names))
    name, array = re.fullmatch(r"([^\[]+)(?:\[(.+)\](?:%\d+)?)?", asked["-J"]).groups()
    flags = ["--parsable", f"--job-name={name}", f"--ntasks={min(slots, 2)}", "--requeue", "--kill-on-invalid-dep=yes"]
    flags += [f"--partition={asked['-q']}"] if "-q" in asked else []
    flags += [f"--array={asked['-J'].partition('[')[2].replace(']', '')}"] if array else []
    flags += ["--hold"] if "-H" in asked else []
    if "-w" in asked:
        ids = re.findall(r"done\((\d+)\)", asked["-w"])
        flags.append("--dependency=" + ",".join(f"afterok:{one}" for one in ids))
    log = asked["-o"].replace("%I", "%a").replace("%J", "%A")
    flags += [f"--output={log}", "--open-mode=append"]
    wrapper = WRAPPER.format(script=body, hosts=hosts, put_back=asked.get("-Q", ""))
    done = slurm("sbatch", *flags, stdin=wrapper)
    if done.returncode:
        sys.exit(f"{done.stderr.strip()}. Job not submitted.")
    print(f"Job <{done.stdout.strip()}> is submitted to queue <{asked.get('-q', 'normal')}>.")


def bjobs(words: list[str]) -> None:
    if words[:4] != ["-a", "-o", "jobid jobindex stat exit_code exit_reason", "-json"]:
        sys.exit(f"bjobs: {words}: Illegal option")
    rows: list[dict[str, str]] = []
    for job in words[4:]:
        done = slurm("scontrol", "show", "job", "--oneliner", job)
        if done.returncode:
            rows.append({"JOBID": job, "ERROR": f"Job <{job}> is not found"})
            continue
        for line in done.stdout.splitlines():
            fields = dict(re.findall(r"(\S+?)=(\S*)", line))
            state = STATES.get(fields["JobState"], "EXIT")
            if state == "PEND" and fields.get("Reason", "").startswith("JobHeld"):
                state = "PSUSP"
            code, _, signal = fields["ExitCode"].partition(":")
            exit_code = str(128 + int(signal)) if int(signal) else code
            why = ""
            if fields["JobState"] == "CANCELLED":
                orphan = fields.get("Reason", "") == "DependencyNeverSatisfied"
                exit_code, why = "130", "TERM_ORPHAN_SYSTEM: orphan job" if orphan else "TERM_OWNER: killed by owner"
            numbers = []
            for first, last in re.findall(r"(\d+)(?:-(\d+))?", fields.get("ArrayTaskId", "0").partition("%")[0]):
                numbers += range(int(first), int(last or first) + 1)
            for index in numbers:
                shown = exit_code if state == "EXIT" else ""
                rows.append(
                    {"JOBID": job, "JOBINDEX": str(index), "STAT": state, "EXIT_CODE": shown, "EXIT_REASON": why}
                )
    print(json.dumps({"COMMAND": "bjobs", "JOBS": len(rows), "RECORDS": rows}))


def blaunch(words: list[str]) -> None:
    assert (words[0], words[2]) == ("-z", "-no-shell")
    started = [subprocess.Popen(words[3:]) for _ in words[1].split()]
    sys.exit(max(one.wait() for one in started))


def main() -> None:
    name, words = sys.argv[1], sys.argv[2:]
    if name == "bsub":
        bsub(words)
    elif name == "bjobs":
        bjobs(words)
    elif name == "blaunch":
        blaunch(words)
    else:
        command = ["scancel"] if name == "bkill" else ["scontrol", "release"]
        done = slurm(*command, *(words if name == "bkill" else [",".join(words)]))
        sys.stderr.write(done.stderr)
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()

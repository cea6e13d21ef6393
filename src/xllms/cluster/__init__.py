"""Stages as jobs of a scheduler: LSF, Slurm, or this machine, from the recipe as it stands.

    recipe + site ──stages──▶ JobSpec ──script──▶ submit ──▶ status, logs, cancel, wait

What a site needs (queues, accounts, modules, GPUs) stands in `clusters.yaml` and never in a recipe. A layer of our own,
since the libraries for it do not serve: they lose exit codes, lack LSF, or know workers and no jobs.
"""

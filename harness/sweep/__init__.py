"""Many checkpoints, stored or repaired in memory, scored by one engine: `points24 sweep` and `points24 eval`.

config.py   what is asked for            run.py         job after job, in one process
jobs.py    that, as jobs, with keys    executors.py   several processes: SLURM, Ray
cost.py     what it would take           campaign.py    plan, run, retry, gather
"""

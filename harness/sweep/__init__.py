"""Many checkpoints, stored or repaired in memory, scored by one engine: `points24 sweep` and `points24 eval`.

config.py   what is asked for            run.py         cell after cell, in one process
cells.py    that, as cells, with keys    executors.py   several processes: SLURM, Ray
cost.py     what it would take           campaign.py    plan, run, retry, gather
"""

"""Many checkpoints, stored or recovered in memory, scored by one engine: `points24 sweep`, `points24 eval`.

config.py   the settings                     run.py          one process: job after job, with one engine
grid.py     recipes from a grid              executors.py    several processes: SLURM, Ray
jobs.py     the settings as jobs             campaign.py     all jobs: run, retry, gather
cost.py     what it would run and store      leaderboard.py  the report at the end
                                             commands.py     the two commands
"""

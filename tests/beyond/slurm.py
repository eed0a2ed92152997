"""A SLURM of one's own: munged, slurmctld and slurmd by hand, on one machine, in a folder that goes with it.

``python -m tests.beyond.slurm COMMAND …`` runs a command under one. On Debian: ``apt-get install slurm-wlm munge``.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Debian keeps daemons where ordinary users do not look."""

# One node with two processors, whatever the machine has; no control groups, no accounting.
# KillWait: seconds between SIGTERM and SIGKILL. cred_expire: seconds that a job waits after a requeue; 5 is the least.
CONFIG = """
ClusterName=points24
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
KillWait={kill_wait}
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in NEEDS if shutil.which(name, path=PATH) is None]


@contextmanager
def running(kill_wait: int = 2) -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands find this SLURM; it stops with the block, and its jobs with it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="points24-slurm-")))
        folder.chmod(0o755)  # munge asks for it
        for name in ("state", "spool"):
            (folder / name).mkdir(0o755)
        (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
        (folder / "munge.key").chmod(0o400)
        settings = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser()}
        (folder / "slurm.conf").write_text(
            CONFIG.format(folder=folder, ports=_free_ports(2), kill_wait=kill_wait, **settings)
        )
        environment = os.environ | {"PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        files = {
            "key-file": "munge.key",
            "socket": "munge.socket",
            "pid-file": "munge.pid",
            "seed-file": "seed",
        }
        munge = [f"--{flag}={folder / name}" for flag, name in files.items()]
        stack.enter_context(_daemon(["munged", "--foreground", *munge], folder, environment))
        until((folder / "munge.socket").exists, 10)
        stack.enter_context(_daemon(["slurmctld", "-D", "-c"], folder, environment))
        stack.enter_context(_daemon(["slurmd", "-D"], folder, environment))
        try:
            until(lambda: said(["sinfo", "--noheader", "--format=%T"], environment) == "idle", 30)
        except TimeoutError as e:
            raise RuntimeError("\n".join(log.read_text()[-2000:] for log in folder.glob("*.log"))) from e
        try:
            yield environment
        finally:
            said(["scancel", "--me"], environment)
            until(lambda: not said(["squeue", "--noheader"], environment), 30 + kill_wait)


def said(command: list[str], environment: Mapping[str, str]) -> str:
    """What a command prints; nothing where it fails."""
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return run.stdout.strip()


def until(is_so: Callable[[], object], seconds: float) -> None:
    """Raises: TimeoutError: it is not so in time."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"not so after {seconds} seconds")
        time.sleep(0.05)


@contextmanager
def _daemon(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    if missing():
        sys.exit(f"not installed: {', '.join(missing())}")
    with running() as environment:
        sys.exit(subprocess.run(sys.argv[1:], env=environment, check=False).returncode)

import argparse
import errno
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points

import pytest
from safetensors import SafetensorError

from points24.harness import cli
from points24.harness.cli import COMMAND_GROUP, Command, main
from points24.tasks.errors import InputError


@pytest.fixture
def command(monkeypatch):
    """Replaces the installed commands by one, `it`, that does what the test says."""

    def install(run, arguments=lambda parser: None, **about):
        class Entry:
            name = "it"

            def load(self):
                return Command("a test", arguments, run, **about)

        monkeypatch.setattr(cli, "entry_points", lambda group: [Entry()])

    return install


def refuse(args: argparse.Namespace) -> int:
    raise InputError("no such thing; allowed: this")


def interrupt(args: argparse.Namespace) -> int:
    raise KeyboardInterrupt


def crash(args: argparse.Namespace) -> int:
    raise ValueError("a defect, not bad input")


def test_bad_input_is_one_line_and_status_2(command, capsys):
    command(refuse)
    assert main(["it"]) == 2
    assert capsys.readouterr().err == "points24: error: no such thing; allowed: this\n"


def test_an_interrupt_is_status_130(command):
    command(interrupt)
    assert main(["it"]) == 130


def test_sigterm_is_status_143_and_the_sentence_how_to_go_on(command, capsys):
    before = signal.getsignal(signal.SIGTERM)
    command(lambda args: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(5), goes_on=True)
    assert main(["it"]) == 143
    assert capsys.readouterr().err == "points24: terminated; the same command goes on from here\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda e: e,
        lambda e: RuntimeError(f"PytorchStreamWriter failed: {e}"),
        lambda e: SafetensorError(f"Error while serializing: I/O error: {e.strerror} (os error {e.errno})"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_status_2(command, capsys, number, wrapped):
    def fail(args):
        raise wrapped(OSError(number, os.strerror(number), "/the/file"))

    command(fail)
    assert main(["it"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert os.strerror(number) in said


def test_the_commands_own_status_is_passed_on(command):
    command(lambda args: 3)
    assert main(["it"]) == 3


def test_settings_may_stand_between_options(command, capsys):
    def arguments(parser):
        parser.add_argument("overrides", nargs="*")
        parser.add_argument("--jobs")

    command(lambda args: print(args.jobs, *args.overrides) or 0, arguments)
    assert main(["it", "a=1", "--jobs", "2", "b=2", "c=3"]) == 0
    assert capsys.readouterr().out == "2 a=1 b=2 c=3\n"
    with pytest.raises(SystemExit, match="2"):
        main(["it", "a=1", "--job-s", "2", "b=2"])
    assert "unrecognized arguments: --job-s" in capsys.readouterr().err


def test_words_too_many_are_refused(command, capsys):
    command(lambda args: 0)
    with pytest.raises(SystemExit, match="2"):
        main(["it", "more"])
    assert "unrecognized arguments: more" in capsys.readouterr().err


def test_a_defect_is_not_passed_off_as_bad_input(command):
    command(crash)
    with pytest.raises(ValueError, match="a defect"):
        main(["it"])


def test_an_unknown_command_is_status_2(capsys):
    with pytest.raises(SystemExit) as error:
        main(["nonsense"])
    assert error.value.code == 2


def test_every_command_explains_itself(capsys):
    names = [entry.name for entry in entry_points(group=COMMAND_GROUP)]
    assert {"solve", "check", "deals", "doctor", "model", "train", "demo", "tasks"} <= set(names)
    for name in names:
        with pytest.raises(SystemExit) as error:
            main([name, "--help"])
        assert error.value.code == 0
        assert f"points24 {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["sweep", "--help"], ["leaderboard", "ingest", "--help"]])
def test_a_locale_of_ascii_alone_is_no_error(words):
    program = "from points24.harness.cli import main; raise SystemExit(main())"
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=os.environ | ascii_alone, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in run.stderr
    assert run.stdout.isascii()
    assert run.returncode == 0


def test_a_closed_pipe_is_no_error():
    program = f"{sys.executable} -c 'from points24.harness.cli import main; raise SystemExit(main())'"
    run = subprocess.run(
        f"set -o pipefail; {program} deals id | head -1",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.count("\n") == 1


def test_the_light_commands_do_not_load_torch():
    program = (
        "import sys; from points24.harness.cli import main; main(['solve', '3', '3', '8', '8']); "
        "print(sorted({'torch', 'transformers', 'lm_eval', 'datasets'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["8/(3-8/3)", "[]"]

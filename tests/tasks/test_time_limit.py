import shutil
import threading
import time

import pytest

from points24.harness.checkpoints.shipped import model_folder
from points24.harness.cli import main
from points24.harness.shift.models import load_tokenizer
from points24.tasks import time_limit
from points24.tasks.errors import InputError
from points24.tasks.prompts import Template

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(time_limit, "SECONDS", 0.2)


@pytest.fixture
def looping(tmp_path):
    """A model whose chat template never ends."""
    folder = shutil.copytree(model_folder("nano-base"), tmp_path / "looping")
    (folder / "chat_template.jinja").write_text(LOOP, "utf-8")
    return folder


def test_a_template_that_loops_is_refused():
    with pytest.raises(InputError, match=r"mine: cannot render a deal: rendering: not done after 0\.2 s"):
        Template(LOOP + "{{ cards }} {{ J }}", "mine")


def test_a_chat_template_that_loops_is_refused(looping):
    with pytest.raises(InputError, match=r"chat template: not done after 0\.2 s; does it loop\?"):
        load_tokenizer(looping, chat=True)
    assert load_tokenizer(looping, chat=False)


def test_it_ends_an_evaluation_in_one_line(looping, tmp_path, capfd):
    words = ["--tasks", "points24_ood", "--limit", "1", "-o", str(tmp_path / "out"), "--apply_chat_template"]
    assert main(["eval", str(looping), *words]) != 0
    error = capfd.readouterr().err
    assert "chat template: not done after 0.2 s; does it loop?" in error
    assert "Traceback" not in error


def test_what_is_done_in_time_is_left_alone():
    with time_limit.time_limit("nothing"):
        pass
    time.sleep(0.3)


def test_other_threads_go_without():
    found = []

    def work():
        with time_limit.time_limit("sleep"):
            time.sleep(0.3)
        found.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found

"""The page to play on, in a real browser; its checker against Python's."""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterable

import pytest
from selenium.webdriver.common.by import By

from points24.harness.commands import play
from points24.harness.commands.game import judge_answer
from points24.tasks.cards import RULES, Deal, Rule, all_hands
from points24.tasks.errors import InputError
from points24.tasks.prompts import template
from points24.tasks.solver import solvable
from points24.tasks.verdict import FILTERS, Verdict, judge, judge_reply
from tests.conftest import read_cases, requests_of
from tests.harness.commands.replies_at_random import random_formula, random_reply
from tests.leaderboards.conftest import write_output
from tests.tasks.test_lm_eval import memoriser, solver

RANK = {1: "A", 11: "J", 12: "Q", 13: "K"}
K5A2 = ("K", "5", "A", "2")
Asked = tuple[Deal, str]


def run(*argv: object) -> None:
    parser = argparse.ArgumentParser()
    play.play.add_arguments(parser)
    assert play.play.run(parser.parse_args([*map(str, argv), "--no-open"])) == 0


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    path = tmp_path_factory.mktemp("play") / "page.html"
    run("-o", path)
    return path.as_uri()


@pytest.fixture
def opened(browser, url):
    browser.set_window_size(1400, 1000)
    browser.get(url)
    return browser


def cases() -> list[Asked]:
    """Everything in tests/cases that a model could have written."""
    answers = [
        (Deal(tuple(RANK.get(n, str(n)) for n in case["hand"]), RULES["ood"]), case["answer"])
        for case in read_cases("answers.jsonl")
    ]
    replies = [
        (Deal(tuple(case.get("cards", K5A2)), RULES[case.get("rule", "ood")]), case["reply"])
        for name in ("replies.jsonl", "reply_styles.jsonl", "paper_replies.jsonl")
        for case in read_cases(name)
    ]
    return answers + [(deal, reply) for deal, reply in replies if isinstance(reply, str)]


def differences(browser, asked: Iterable[Asked]) -> tuple[list, Counter[str]]:
    """Where the page's checker and Python's differ in verdict, formula or reason; and the verdicts."""
    asked = list(asked)
    rows = [
        {"cards": deal.cards, "rule": deal.rule.letters, "target": deal.target, "answer": answer}
        for deal, answer in asked
    ]
    script = """
      const checker = checkerOf(DATA.tables), [rows, filters] = arguments;
      return JSON.stringify(JSON.parse(rows).flatMap((row) => filters.map((filter) => {
        const { verdict, formula, reason } = checker.judgeAnswer(row, row.answer, filter);
        return [verdict, formula, reason];
      })));"""
    found = json.loads(browser.execute_script(script, json.dumps(rows), FILTERS))
    expected = []
    for deal, answer in asked:
        judged = [judge_answer(deal, answer, extraction) for extraction in FILTERS]
        expected += [[verdict.value, formula, reason] for verdict, formula, reason, _ in judged]
    pairs = zip(found, expected, strict=True)
    wrong = [(asked[i // 2], *pair) for i, pair in enumerate(pairs) if pair[0] != pair[1]]
    return wrong, Counter(verdict for verdict, *_ in expected)


SELDOM = [
    "x " * 15_000 + "13+5*2+1",
    "13+5*2+1 " * 3_000,
    "(1)" + "+(1)" * 60,
    "13+<think>a</think>5*2<think>b</think>+1",
    "\\text{\\mathrm{13+5*2+1}}",
    "13+5*2+1 - n gives 24",
    "24 = 13+5*2+1 = 25",
    "so 24 = 13+5*2+1 = 24 and 13 + 5 + 2 + 1 = 21",
    "13 + 5*2        +\n1 = 24",
]


def test_the_page_judges_every_case_as_python_does(opened):
    seldom = [(Deal(K5A2, RULES["ood"]), reply) for reply in SELDOM]
    wrong, verdicts = differences(opened, cases() + seldom)
    assert wrong == []
    assert verdicts.keys() == {verdict.value for verdict in Verdict}


def test_the_page_judges_formulas_and_replies_at_random_as_python_does(opened):
    rng, replies = random.Random(24), cases()
    asked = [random_formula(rng) for _ in range(5_000)] + [random_reply(rng, replies) for _ in range(5_000)]
    wrong, verdicts = differences(opened, asked)
    assert wrong == []
    assert min(verdicts[verdict.value] for verdict in Verdict) > 100


@pytest.mark.slow
def test_the_page_judges_a_million_formulas_as_python_does(opened):
    rng = random.Random(25)
    for _ in range(50):
        wrong, _ = differences(opened, (random_formula(rng) for _ in range(20_000)))
        assert wrong == []


@pytest.mark.parametrize("rule", [RULES["id"], RULES["ood"], Rule(1, 23, 999)])
def test_the_page_finds_a_solution_where_there_is_one(opened, rule):
    deals = [Deal(hand, rule) for hand in random.Random(0).sample(all_hands(), 150)]
    rows = [{"cards": deal.cards, "rule": rule._asdict(), "target": 24} for deal in deals]
    script = "return arguments[0].map(dealerOf(DATA.tables, checkerOf(DATA.tables)).solution)"
    for deal, formula in zip(deals, opened.execute_script(script, rows), strict=True):
        assert (formula is not None) is solvable(deal.values, 24)
        assert formula is None or judge(deal, formula).verdict is Verdict.CORRECT


def text(opened, selector: str) -> str:
    return opened.find_element(By.CSS_SELECTOR, selector).text


def write(opened, reply: str) -> None:
    box = opened.find_element(By.ID, "reply")
    opened.execute_script("arguments[0].value = ''", box)
    box.send_keys(reply)


def test_the_page_opens_with_a_memorised_rule_and_shows_both_values(opened):
    assert text(opened, ".verdict h3").startswith("wrong_rule")
    shown = opened.find_elements(By.CSS_SELECTOR, ".card:has(.memorised) .values")
    assert shown
    for values in shown:
        used, stated = (int(value.text) for value in values.find_elements(By.TAG_NAME, "b"))
        assert used == 10
        assert stated in RULES["ood"]
    memorised, stated = (box.text for box in opened.find_elements(By.CSS_SELECTOR, ".reading > div"))
    assert "equals 24" in memorised
    assert "not 24" in stated


def test_a_deal_is_drawn_and_won(opened):
    opened.find_element(By.ID, "draw").click()
    assert opened.find_elements(By.CSS_SELECTOR, ".verdict") == []
    cards = tuple(
        opened.execute_script(
            "return [...document.querySelectorAll('.rank')].map((rank) => rank.firstChild.textContent)"
        )
    )
    assert opened.find_element(By.ID, "prompt").get_attribute("textContent") == template().render(
        Deal(cards, RULES["ood"])
    )
    opened.find_element(By.ID, "solve").click()
    write(opened, text(opened, "#solution"))
    assert text(opened, ".verdict") == "correct strict-match and flexible-extract\nequals 24"
    write(opened, "1+1")
    assert text(opened, ".verdict h3").startswith("wrong_numbers")


def test_a_rule_of_ones_own(opened):
    opened.find_element(By.CSS_SELECTOR, "#rules > label:nth-child(3)").click()
    jack = opened.find_element(By.CSS_SELECTOR, "#own input")
    jack.clear()
    jack.send_keys("17")
    assert "J counts as 17, Q counts as 7, K counts as 9" in text(opened, "#rule-words")


def test_a_reply_of_the_gallery_goes_on_the_table(opened):
    for verdict in Verdict:
        kind = f"//div[@id='kinds']/button[text()='{verdict.value}']"
        opened.find_element(By.XPATH, kind).click()
        replies = opened.find_elements(By.CSS_SELECTOR, "#gallery button")
        assert replies
        replies[0].click()
        assert text(opened, ".verdict h3").startswith(verdict.value)


HOSTILE = "<script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'></textarea><b id=harm>"


def test_what_is_written_stays_text(opened):
    for reply in (
        HOSTILE,
        json.dumps({"cards": [], "number": [], "formula": HOSTILE}),
        f"13+5*2+1 {HOSTILE}",
    ):
        write(opened, reply)
        assert opened.find_elements(By.CSS_SELECTOR, "#verdicts .verdict")
    assert opened.execute_script("return window.harmed") is None
    assert opened.find_elements(By.CSS_SELECTOR, "img, #harm") == []


def test_what_models_wrote_stays_text(browser, tmp_path):
    reply = play.shipped_gallery()[0] | {"reply": HOSTILE, "model": f"</script>{HOSTILE}", "task": HOSTILE}
    page = tmp_path / "page.html"
    page.write_text(play.page([reply]), "utf-8")
    browser.get(page.as_uri())
    assert HOSTILE in text(browser, "#gallery")
    assert browser.execute_script("return window.harmed") is None
    assert browser.find_elements(By.CSS_SELECTOR, "img, #harm") == []


def test_nothing_is_requested_and_nothing_goes_wrong(browser, url):
    assert requests_of(browser, url) == [url]
    assert browser.get_log("browser") == []


def test_a_phone_needs_no_sideways_scrolling(phone, opened):
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 390


def test_the_gallery_has_the_verdicts_that_it_says():
    gallery = play.shipped_gallery()
    assert Counter(reply["verdict"] for reply in gallery).keys() == {verdict.value for verdict in Verdict}
    for reply in gallery:
        deal = Deal(tuple(reply["cards"]), Rule(**reply["rule"]), reply["target"])
        assert judge_reply(deal, reply["reply"]).verdict.value == reply["verdict"]


def test_the_page_is_the_same_whatever_was_judged_before():
    before = play.page([])
    judge_reply(Deal(K5A2, RULES["ood"]), "１３＋5×2＋1 ✅ ½ é", "flexible-extract")
    assert play.page([]) == before


def test_what_cannot_be_written_or_read_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for argv, said in (
        (("-o", tmp_path / "no" / "page.html"), "No such file or directory"),
        (("-o", tmp_path / "file" / "page.html"), "Not a directory"),
        (("-o", tmp_path), "Is a directory"),
        (("--samples", tmp_path), "no results_*.json below"),
        (("--samples", tmp_path / "no"), "no such folder"),
    ):
        with pytest.raises(InputError, match=re.escape(said)) as raised:
            run(*argv)
        assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_gallery_comes_from_the_samples_of_lm_eval(tmp_path):
    for player in (solver, memoriser):
        write_output(tmp_path / "lm_eval" / player.__name__, player, tasks=("points24_ood",), limit=12)
    run("--samples", tmp_path / "lm_eval", "-o", tmp_path / "gallery.json")
    gallery = json.loads((tmp_path / "gallery.json").read_text("utf-8"))
    shown = {(reply["model"], reply["verdict"], reply["task"]) for reply in gallery}
    assert ("solver", "correct", "points24_ood") in shown
    assert ("memoriser", "wrong_rule", "points24_ood") in shown
    per_verdict = Counter(reply["verdict"] for reply in gallery)
    assert per_verdict["correct"] == play.PER_VERDICT == max(per_verdict.values())
    of_one_verdict = [tuple(reply["cards"]) for reply in gallery if reply["verdict"] == "correct"]
    assert len(set(of_one_verdict)) == play.PER_VERDICT

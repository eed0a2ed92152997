"""The committed page in a real browser."""

import re
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from points24.leaderboards.render import page
from tests.conftest import requests_of

INDEX = Path(page.__file__).resolve().parents[1] / "generated" / "index.html"


@pytest.fixture
def opened(browser):
    browser.set_window_size(1280, 1600)
    browser.get(INDEX.as_uri())
    return browser


def board(opened, title):
    return next(b for b in opened.find_elements(By.CLASS_NAME, "board") if title in b.text)


def column(table, number):
    return [
        row.find_elements(By.CSS_SELECTOR, "th, td")[number].text
        for row in table.find_elements(By.CSS_SELECTOR, "tbody > tr:first-child")
    ]


def test_a_click_on_a_header_sorts_and_a_second_one_turns_it(opened):
    table = board(opened, "OOD deals")
    won = next(b for b in table.find_elements(By.CSS_SELECTOR, "thead button") if b.text == "k/n")
    won.click()
    assert [cell.split("/")[0] for cell in column(table, 1)] == ["46", "46", "41", "40", "38", "36", "21"]
    won.click()
    assert [cell.split("/")[0] for cell in column(table, 1)] == ["21", "36", "38", "40", "41", "46", "46"]
    name = table.find_elements(By.CSS_SELECTOR, "thead button")[0]
    name.click()
    assert column(table, 0)[0].startswith("Qwen2.5-7B SFT moderate")


def test_empty_cells_sort_last_both_ways(opened):
    table = board(opened, "OOD deals")
    headers = table.find_elements(By.CSS_SELECTOR, "thead button")
    place = next(i for i, header in enumerate(headers) if header.text == "vs parent")
    for _ in range(2):
        headers[place].click()
        shown = column(table, place)
        assert "" in shown
        assert all(shown[: 7 - shown.count("")])


def test_in_a_table_of_both_kinds_the_status_hides_rows(opened):
    table = board(opened, "The paper's protocol, OOD rule")
    chosen = Select(opened.find_element(By.ID, "status"))

    def kinds():
        return {
            row.get_attribute("data-status")
            for row in table.find_elements(By.TAG_NAME, "tbody")
            if row.is_displayed()
        }

    assert kinds() == {"measured", "reported"}
    for kind in ("measured", "reported"):
        chosen.select_by_visible_text(kind)
        assert kinds() == {kind}


def test_the_filter_hides_rows_and_whole_tables(opened):
    opened.find_element(By.ID, "filter").send_keys("qwen 2508")
    rows = opened.find_elements(By.CSS_SELECTOR, "tbody")
    shown = [row.text for row in rows if row.is_displayed()]
    assert len(shown) == 4  # two, beside the measured ones and among the reported ones
    assert all("Qwen" in text for text in shown)
    assert sum(b.is_displayed() for b in opened.find_elements(By.CLASS_NAME, "board")) == 2
    assert opened.find_element(By.ID, "shown").text == f"4 of {len(rows)} rows"


def test_a_row_opens_to_its_provenance(opened):
    table = board(opened, "points24_ood, strict-match")
    more = table.find_element(By.CLASS_NAME, "more")
    assert not more.is_displayed()
    table.find_element(By.TAG_NAME, "summary").click()
    assert more.is_displayed()
    assert "weights SHA-256" in more.text
    assert "lm_eval --model hf" in more.text


def test_nothing_is_requested_and_nothing_goes_wrong(browser):
    assert requests_of(browser, INDEX.as_uri()) == [INDEX.as_uri()]
    assert browser.get_log("browser") == []


def test_a_phone_needs_no_sideways_scrolling(phone, opened):
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 390
    wide = "return [...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)"
    assert not opened.execute_script(wide)


def test_without_scripts_the_tables_stand(opened):
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened.get(INDEX.as_uri())
        table = board(opened, "OOD deals")
        assert len(table.find_elements(By.TAG_NAME, "tbody")) == 7
        assert not opened.find_element(By.CLASS_NAME, "controls").is_displayed()
    finally:
        opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def shown_rows(table):
    return sum(row.is_displayed() for row in table.find_elements(By.TAG_NAME, "tbody"))


def test_the_ood_table_comes_first_with_its_first_rows_and_the_verdicts_in_view(browser):
    browser.set_window_size(1400, 1000)
    browser.get(INDEX.as_uri())
    table = browser.find_element(By.CLASS_NAME, "board")
    assert table.text.startswith("points24_ood, strict-match")
    assert shown_rows(table) == 8
    verdicts = table.find_element(By.CLASS_NAME, "mix").rect
    assert verdicts["x"] + verdicts["width"] <= 1400
    table.find_element(By.CLASS_NAME, "whole").click()
    assert shown_rows(table) == len(table.find_elements(By.TAG_NAME, "tbody")) > 8


def test_a_phone_shows_tests_of_a_row_only_when_it_is_opened(phone, opened):
    table = opened.find_element(By.CLASS_NAME, "board")
    assert shown_rows(table) == 4
    tests = table.find_element(By.CSS_SELECTOR, "tbody .test:not([data-sort=''])")
    assert not tests.is_displayed()
    table.find_element(By.TAG_NAME, "summary").click()
    assert tests.is_displayed()


def test_names_stand_beside_their_marks_without_meeting():
    spots = [(200.0, 100.0), (206.0, 101.0), (210.0, 100.0), (203.0, 104.0), (207.0, 97.0), (60.0, 200.0)]
    names = page.place_names(spots, [f"checkpoint-{i}" for i in range(6)], page.Frame())
    assert names[5] == {"text": "checkpoint-5", "x": 67.0, "y": 203.0, "anchor": "start"}
    assert any(name is None for name in names)  # six names have no room there
    boxes = []
    for name in filter(None, names):
        width = 5.2 * len(name["text"])
        left = name["x"] - {"start": 0, "middle": width / 2, "end": width}[name["anchor"]]
        boxes.append((left, name["y"] - 8, left + width, name["y"] + 2))
    for i, a in enumerate(boxes):
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[:i])


def test_no_key_has_digits_in_which_versions_of_scipy_differ():
    keys = re.findall(r'data-label="95 %" data-sort="(0\.\d*)"', INDEX.read_text("utf-8"))
    assert keys
    assert all(len(key.lstrip("0.")) <= 10 for key in keys)

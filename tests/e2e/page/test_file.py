"""The file view in a real browser: from a file to the labelled file, corrections and methods."""

import csv
import io
import json
import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openpyxl
import pytest
from playwright.async_api import Page, expect

from tests.e2e.page.conftest import OpenPage, find_faults
from tests.e2e.service_process import PATIENT, start_service

# The event loop is that of the browser.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow, pytest.mark.timeout(600)]
HTML = '<img src=x onerror="document.title=1"><b>7</b>'
LESSON = [
    ("李老师", "八分之六怎么约分？", "I-Q"),
    ("小明", "同时除以二，等于四分之三。", "R-FR"),
    ("李老师", "没错，很好。", "F-F"),
    ("小明", HTML, "无关"),
    ("李老师", "=1+1 等于几？", "no such label"),
    ("小明", None, None),
]


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["编号", "说话人", "内容", "标签"])
    for number, (speaker, text, label) in enumerate(LESSON, start=1):
        sheet.append([number, speaker, text, label])
        if text and text.startswith("="):
            sheet.cell(number + 1, 3).data_type = "s"
    book.save(tmp_path / "lesson.xlsx")
    return tmp_path / "lesson.xlsx"


def write_problems(path: Path, number: int) -> Path:
    lines = [json.dumps({"id": each, "question": f"{each} + 1 = ?"}) for each in range(number)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


async def start_labelling(page: Page, file: Path) -> None:
    await page.set_input_files("#file", file)
    await page.click("#start")


async def take(page: Page, button: str) -> Any:
    async with page.expect_download() as waiting:
        await page.click(button)
    return await waiting.value


async def count_done(page: Page) -> int:
    text = await page.locator("#progress").inner_text()
    return int(text.partition(" of ")[0].replace(",", ""))


async def test_a_workbook_is_labelled_corrected_by_keyboard_and_taken_away(
    open_page: OpenPage, workbook: Path, tmp_path: Path
) -> None:
    page = await open_page("file")
    await page.set_input_files("#file", workbook)
    await expect(page.locator("#file-text")).to_have_value("内容")
    await expect(page.locator("#file-speaker")).to_have_value("说话人")
    await expect(page.locator("#file-label")).to_have_value("标签")
    roles = page.locator(".names select")
    assert [await roles.nth(index).input_value() for index in (0, 1)] == ["teacher", "student"]
    assert await find_faults(page) == []
    await page.click("#start")
    await expect(page.locator("#download")).to_be_visible()
    await expect(page.locator("main")).to_contain_text("1 labels of the file are none")
    assert await page.locator("main img, main b").count() == 0
    await page.locator(".grid-row").first.focus()
    for key in ("ArrowDown", "3", "End", "ArrowUp", "8", "ArrowUp", "Enter"):
        await page.keyboard.press(key)
    await expect(page.locator(".grid-row").nth(1)).to_contain_text("Refuse to respond")
    await expect(page.locator(".figures")).to_contain_text("checked by you3")
    assert await find_faults(page) == []

    saved = await take(page, "#download")
    assert saved.suggested_filename == "lesson.labelled.xlsx"
    await saved.save_as(tmp_path / "out.xlsx")
    rows = [
        list(row)
        for row in openpyxl.load_workbook(tmp_path / "out.xlsx").active.iter_rows(values_only=True)
    ]
    assert rows[0][:4] == ["编号", "说话人", "内容", "标签"]
    assert [tuple(row[1:4]) for row in rows[1:]] == LESSON
    columns = {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}
    assert columns["ncal_label"][:3] == ["I-Q", "R-FR", "F-F"]
    assert columns["ncal_correction"][1::3] == ["R-RR", "U"]
    assert columns["ncal_final_label"][:3] == ["I-Q", "R-RR", "F-F"]
    assert columns["ncal_error"][5] == "no text in this row"

    await (await take(page, "#download-corrections")).save_as(tmp_path / "corrections.xlsx")
    book = openpyxl.load_workbook(tmp_path / "corrections.xlsx")
    kept = list(book.active.iter_rows(values_only=True))
    assert kept[0] == ("row", "text", "ncal_label", "ncal_confidence", "ncal_correction")
    assert [(row[0], row[4]) for row in kept[1:3]] == [(2, "R-RR"), (4, kept[2][4])]
    assert kept[3][0::4] == (5, "U")


async def test_the_methods_paragraph_names_what_a_paper_needs(
    open_page: OpenPage, workbook: Path
) -> None:
    page = await open_page("file")
    await start_labelling(page, workbook)
    await page.click("#methods")
    text = await page.locator("#methods-text").inner_text()
    for part in ("5 dialogue turns", "ncal-mini", "fingerprint", "accuracy of", "95% interval",
                 "calibration error", "estimated from all texts", "No label was checked",
                 "kappa", "Rows without a label: 1", "must not be used"):  # fmt: skip
        assert part in text
    assert "{" not in text
    await page.get_by_label("All equally frequent").check()
    await page.click("#methods-language")
    text = await page.locator("#methods-text").inner_text()
    for part in (
        "5 个对话话轮",
        "指纹",
        "各类同样多的先验",
        "没有标签经过人工检查",
        "不得用来评判人",
    ):
        assert part in text
    assert "{" not in text


async def test_twenty_thousand_rows_stay_usable(open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page("file")
    await start_labelling(page, write_problems(tmp_path / "many.jsonl", 20_000))
    await expect(page.locator(".grid-row .tag").first).to_be_visible()
    await page.click("#stop")
    await expect(page.locator("#go-on")).to_be_visible()
    done = await count_done(page)
    assert 0 < done < 20_000
    assert await page.locator(".grid-row").count() < 60
    await page.locator(".grid-row").first.focus()
    await page.keyboard.press("End")
    await expect(page.locator('[aria-selected="true"]')).to_contain_text("19999 + 1 = ?")
    await expect(page.locator('[aria-selected="true"]')).to_be_focused()
    await page.fill("#search", "1234")
    await expect(page.locator("#shown")).to_have_text("12 of 20,000 rows")
    await page.fill("#search", "")
    await page.locator(".grid-head button", has_text="Prob.").click()
    await expect(page.locator(".grid-row").first).to_contain_text("%")
    await page.locator("#filter-doubtful").check()
    await expect(page.locator("#shown")).not_to_have_text("20,000 of 20,000 rows")
    saved = await take(page, "#download")
    assert saved.suggested_filename == "many.labelled.jsonl"
    lines = (await saved.path()).read_text(encoding="utf-8").splitlines()
    labelled = [json.loads(line) for line in lines]
    assert len(labelled) == 20_000
    assert sum(row["ncal_label"] is not None for row in labelled) == done
    await page.click("#go-on")
    await expect(page.locator("#stop")).to_be_visible()
    await expect(page.locator("#progress")).not_to_contain_text(f"{done:,} of")
    assert await count_done(page) > done
    await page.click("#stop")


async def test_labelling_survives_a_service_that_dies_and_comes_back(
    open_page: OpenPage, tmp_path: Path
) -> None:
    rows = write_problems(tmp_path / "rows.jsonl", 300)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    with start_service(folders[0], *PATIENT) as service:
        port = str(urlsplit(service.url).port)
        page = await open_page("file", url=service.url)
        await start_labelling(page, rows)
        await expect(page.locator("#progress")).to_contain_text("rows a second")
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
    await expect(page.locator("h2", has_text="Waiting for the service")).to_be_visible()
    await expect(page.locator("main")).to_contain_text("nothing is lost")
    with start_service(folders[1], "--port", port, *PATIENT):
        await expect(page.locator("h2", has_text="All rows are done")).to_be_visible(
            timeout=120_000
        )
        saved = await take(page, "#download")
        lines = (await saved.path()).read_text(encoding="utf-8").splitlines()
    labelled = [json.loads(line) for line in lines]
    assert [row["id"] for row in labelled] == list(range(300))
    assert all(row["ncal_label"] for row in labelled)


async def test_columns_can_be_named_by_hand_in_chinese_on_a_phone(
    open_page: OpenPage, tmp_path: Path
) -> None:
    path = tmp_path / "题目.csv"
    path.write_text("甲,乙\n解方程 3x + 5 = 20,x\n三角形的内角和是多少度？,y\n", encoding="utf-8")
    phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
    page = await open_page("file", locale="zh-CN", **phone)
    assert await find_faults(page) == []
    await page.set_input_files("#file", path)
    await page.select_option("#file-text", "甲")
    await page.click("#start")
    await expect(page.locator("h2", has_text="全部完成")).to_be_visible()
    assert await find_faults(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    saved = await take(page, "#download")
    assert saved.suggested_filename == "题目.labelled.csv"
    text = (await saved.path()).read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["ncal_label"] for row in rows] == ["implement", "recall"]


async def test_a_file_that_cannot_be_read_is_told_and_another_can_be_taken(
    open_page: OpenPage, tmp_path: Path
) -> None:
    (tmp_path / "broken.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    page = await open_page("file")
    await page.set_input_files("#file", tmp_path / "broken.xlsx")
    await expect(page.get_by_role("alert")).to_contain_text("could not take this")
    await page.set_input_files("#file", write_problems(tmp_path / "good.jsonl", 3))
    await expect(page.locator("#start")).to_have_text("Label 3 rows")


async def test_a_dropped_transcript_comes_back_as_one_and_outlives_a_change_of_language(
    open_page: OpenPage,
) -> None:
    page = await open_page("file")
    await page.evaluate(
        """(text) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([text], "课.txt"));
          document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer }));
        }""",
        "师：三加四等于几？\n生：七。\n师：对，很好。\n",
    )
    await page.click("#start")
    await expect(page.locator("#download")).to_be_visible()
    await page.locator(".choices button", has_text="Hints").click()
    await page.click("#language")
    await expect(page.locator(".grid-row").first).to_contain_text("提示")
    await page.locator("nav a").first.click()
    await page.locator("nav a").nth(2).click()
    await expect(page.locator(".grid-row").first).to_contain_text("提示")
    saved = await take(page, "#download")
    assert saved.suggested_filename == "课.labelled.txt"
    text = (await saved.path()).read_text(encoding="utf-8")
    assert text.startswith("师：三加四等于几？")
    assert "I-H" in text

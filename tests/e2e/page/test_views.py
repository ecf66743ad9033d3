"""Problem, dialogue and model in a real browser, over a service with a real engine."""

import hashlib
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from contract.labels import IRF
from contract.manifest import read_manifest
from engine.checkpoint import BUNDLED_CHECKPOINT
from service.access.api_keys import make_key
from tests.contract.examples import make_manifest, make_task
from tests.e2e.page.conftest import OpenPage, find_faults
from tests.e2e.service_process import PATIENT, start_service
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

# The event loop is that of the browser.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow, pytest.mark.timeout(600)]
TRANSCRIPT = (
    "李老师：八分之六怎么约分？\n小明：同时除以二，等于四分之三。\n李老师：没错，很好。\n继续努力。"
)
HTML = '<img src=x onerror="document.title=1"><b>7</b>'


async def label_example(page: Page) -> None:
    await page.locator(".chips button").first.click()
    await expect(page.locator("#label")).to_be_visible()


async def test_a_problem_gets_a_label_that_is_explained(open_page: OpenPage) -> None:
    page = await open_page("problem")
    await page.fill("#problem-text", "三角形的内角和是多少度？")
    await page.click("button.primary")
    await expect(page.locator("#label")).to_have_text("Recall")
    result = page.locator("section.card")
    await expect(result).to_contain_text("Retrieve a definition, fact")
    await expect(result.locator(".bars li")).to_have_count(7)
    assert await result.locator(".set li").count() >= 1
    await expect(result).to_contain_text("ncal-mini, version")


async def test_the_prior_changes_the_probabilities(open_page: OpenPage) -> None:
    page = await open_page("problem")
    await label_example(page)
    even = await page.locator(".bars").inner_text()
    async with page.expect_response(lambda each: "prior=training" in each.url):
        await page.get_by_label("As in the training data").check()
    await expect(page.locator(".bars")).not_to_have_text(even)


async def test_an_empty_problem_and_a_too_long_one_are_told_in_words(open_page: OpenPage) -> None:
    page = await open_page("problem")
    await page.click("button.primary")
    await expect(page.get_by_role("alert")).to_have_text("Please enter a problem first.")
    await page.fill("#problem-text", "数" * 20_001)
    await page.click("button.primary")
    await expect(page.get_by_role("alert")).to_contain_text("more than 20000 characters")


async def test_what_passes_is_waited_for_but_not_a_quota_of_the_day(open_page: OpenPage) -> None:
    page = await open_page("problem")
    script = """async ([status, seconds]) => {
      const { RequestError } = await import(new URL("page/core/api.js", document.baseURI));
      return new RequestError(status, {}, seconds).passes;
    }"""
    for status, seconds, passes in [
        (0, None, True), (429, 2, True), (503, None, True), (429, 40_000, False),
        (422, None, False),
    ]:  # fmt: skip
        assert await page.evaluate(script, [status, seconds]) is passes


async def test_a_transcript_is_annotated_and_its_structure_drawn(open_page: OpenPage) -> None:
    page = await open_page("dialogue")
    await page.fill("#transcript", TRANSCRIPT)
    roles = page.locator(".names select")
    assert [await roles.nth(index).input_value() for index in (0, 1)] == ["teacher", "student"]
    await page.click("button.primary[type=submit]")
    await expect(page.locator(".turn")).to_have_count(3)
    await expect(page.locator(".turn").nth(2)).to_contain_text("继续努力")
    await expect(page.locator(".turn").first).to_contain_text("Questioning")
    await expect(page.locator(".exchanges li")).to_have_count(1)
    figures = page.locator("svg[role=img]")
    await expect(figures).to_have_count(2)
    assert "Response after Initiation: 1." in await figures.nth(1).locator("desc").text_content()
    await expect(page.locator(".result")).to_contain_text("67%")


async def test_a_dialogue_can_be_corrected_and_taken_away_as_a_file(open_page: OpenPage) -> None:
    page = await open_page("dialogue")
    await page.fill("#transcript", '李老师：他说"三"，对吗？\n小明：对,是三。')
    await page.click("button.primary[type=submit]")
    await page.click("#to-file")
    await expect(page.locator("#start")).to_have_text("Label 2 rows")
    await expect(page.locator("#file-speaker")).to_have_value("speaker")
    cells = page.locator("tbody td")
    assert await cells.all_inner_texts() == ["李老师", '他说"三"，对吗？', "小明", "对,是三。"]


async def test_names_can_be_given_other_roles(open_page: OpenPage) -> None:
    page = await open_page("dialogue")
    await page.fill("#transcript", "甲：三加四等于几？\n乙：七。")
    await page.locator(".names select").first.select_option("student")
    async with page.expect_request("**/classify/dialogue?*") as asked:
        await page.click("button.primary[type=submit]")
    speakers = [turn["speaker"] for turn in (await asked.value).post_data_json["turns"]]
    assert speakers == ["student", "student"]


async def test_a_live_label_is_provisional_and_becomes_final(open_page: OpenPage) -> None:
    page = await open_page("dialogue")
    await page.click("#way-live")
    turns = page.locator("form .turn")
    await page.fill("#live-text", "八分之六怎么约分？")
    await page.keyboard.press("Enter")
    await expect(turns.first).to_contain_text("provisional")
    await page.fill("#live-text", "等于四分之三。")
    await page.keyboard.press("Enter")
    await expect(turns.first).not_to_contain_text("provisional")
    await expect(turns.first).to_contain_text("Questioning")
    await expect(turns.nth(1)).to_contain_text("provisional")
    await page.click("#live-end")
    await expect(page.locator(".result .turn")).to_have_count(2)
    await expect(page.locator(".result")).not_to_contain_text("provisional")


async def test_a_live_turn_that_is_refused_costs_no_other_its_label(open_page: OpenPage) -> None:
    page = await open_page("dialogue")
    await page.click("#way-live")
    turns = page.locator("form .turn")
    for text in ("长" * 20_001, "八分之六怎么约分？", "等于四分之三。"):
        await page.fill("#live-text", text)
        await page.keyboard.press("Enter")
    await expect(turns.nth(2)).to_contain_text("provisional")
    await expect(turns.nth(1)).not_to_contain_text("provisional")
    await expect(turns.nth(1).locator(".tag")).to_have_count(1)
    await expect(turns.first).to_contain_text("no label")
    await expect(turns.first.locator(".tag")).to_have_count(0)


async def test_another_task_of_turns_can_be_chosen(open_page: OpenPage) -> None:
    """With moves and no questions, and with neither."""
    talk = IRF.model_copy(update={"task": "talk", "question_labels": ()})
    none = {"task": "plain", "labels": IRF.labels[1:], "moves": {}, "question_labels": ()}
    plain = IRF.model_copy(update=none)
    tasks = [make_task(IRF), make_task(talk, 8), make_task(plain, 16)]
    async with run_fake_service(make_manifest(tasks=tasks)) as service, serve(service.app) as host:
        page = await open_page("dialogue", url=f"http://{host}")
        result, exchanges = page.locator(".result"), page.locator(".exchanges")
        for task, has_structure, has_questions in (
            ("irf", True, True), ("talk", True, False), ("plain", False, False),
        ):  # fmt: skip
            await page.select_option("#dialogue-task", task)
            await expect(result.locator(".turn")).to_have_count(0)
            async with page.expect_request(f"**/v1/classify/dialogue?task={task}&*"):
                await page.locator("form .actions button").nth(1).click()
            await expect(result.locator(".turn")).to_have_count(10)
            await expect(exchanges).to_have_count(int(has_structure))
            questions = result.get_by_text("Own turns that are questions")
            await expect(questions).to_have_count(int(has_questions))
        await page.click("#way-live")
        await page.fill("#live-text", "三加四等于几？")
        await page.keyboard.press("Enter")
        await expect(page.locator("form .turn")).to_contain_text("provisional")
        await page.close()


async def test_the_model_view_tells_quality_and_limits(open_page: OpenPage) -> None:
    page = await open_page("model")
    await expect(page.locator("tbody tr")).to_have_count(15)
    manifest = read_manifest(BUNDLED_CHECKPOINT, verify_weights=False)
    evaluation = manifest.task("irf").evaluation["retrospective"]
    hints = page.locator("tbody tr", has_text="Hints")
    await expect(hints).to_contain_text(f"{evaluation['per_class']['I-H']['precision']:.2f}")
    await expect(page.locator("svg[role=img]")).to_have_count(4)
    await expect(page.locator("main")).to_contain_text("To grade, rank or select pupils")
    before = await page.locator(".figures").nth(1).inner_text()
    await page.select_option("#model-prior-timss", "training")
    await expect(page.locator(".figures").nth(1)).not_to_have_text(before)


async def test_html_in_a_text_stays_text(open_page: OpenPage) -> None:
    page = await open_page("dialogue")
    await page.fill("#transcript", f"师：{HTML}\n<i>生</i>：{HTML}")
    await page.click("button.primary[type=submit]")
    await expect(page.locator(".turn .said").first).to_have_text(HTML)
    assert await page.locator("main img, main b, main i").count() == 0
    assert await page.title() != "1"


async def test_language_and_theme_are_remembered(open_page: OpenPage) -> None:
    page = await open_page("problem", locale="zh-CN", color_scheme="dark")
    await expect(page.locator("h1")).to_have_text("这道题考查什么？")
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
    await page.click("#language")
    await page.click("#theme")
    await page.reload()
    await expect(page.locator("h1")).to_have_text("What does this problem test?")
    assert await page.evaluate("document.documentElement.dataset.theme") == "light"
    assert await page.evaluate("document.documentElement.lang") == "en"


async def test_the_keyboard_alone_is_enough(open_page: OpenPage) -> None:
    page = await open_page("model")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")  # the way past the bar
    assert await page.evaluate("document.activeElement.id") == "main"
    for _ in range(20):
        await page.keyboard.press("Shift+Tab")
        if await page.evaluate("document.activeElement.textContent") == "Problem":
            break
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.type("解方程 3x + 5 = 20")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#label")).to_have_text("Implement")


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_and_nothing_runs_off_a_phone(
    open_page: OpenPage, locale: str, scheme: str
) -> None:
    page = await open_page(
        "problem", locale=locale, color_scheme=scheme, viewport={"width": 360, "height": 740}
    )
    await label_example(page)
    assert await find_faults(page) == []
    for view in ("dialogue", "model"):
        await page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
        if view == "dialogue":
            await page.locator("form .actions button").nth(1).click()
            await expect(page.locator(".exchanges")).to_be_visible()
        else:
            await expect(page.locator("tbody tr")).to_have_count(15)
        assert await find_faults(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_with_keys_the_page_asks_once_and_keeps_it_for_the_tab(
    open_page: OpenPage, tmp_path: Path
) -> None:
    key, digest = make_key()
    assert digest == hashlib.sha256(key.encode()).hexdigest()
    with start_service(tmp_path, *PATIENT, "--api-key-hashes", f"school:{digest}") as service:
        page = await open_page("problem", url=service.url, wait_for="dialog")
        await page.fill("#api-key", "wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("dialog")).to_contain_text("not known here")
        assert await find_faults(page) == []
        await page.fill("#api-key", key)
        await page.keyboard.press("Enter")
        await label_example(page)
        await page.reload()
        await label_example(page)
        await page.goto(f"{service.url}/#/dialogue")
        await page.click("#way-live")
        await page.fill("#live-text", "三加四等于几？")
        await page.keyboard.press("Enter")
        await expect(page.locator("form .turn")).to_contain_text("provisional")
        await page.goto(f"{service.url}/docs")
        await expect(page.locator(".opblock").first).to_be_visible(timeout=20_000)
        assert key not in service.read_log()

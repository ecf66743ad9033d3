"""`ncal ask` against the real server around a fake engine."""

import asyncio
import io
import json
import sys

import pytest

from labelling.ask import main
from tests.labelling.runs import served


async def ask(monkeypatch: pytest.MonkeyPatch, lines: str, *arguments: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    return await asyncio.to_thread(main, list(arguments))


async def test_problems_and_dialogues_are_answered_as_the_service_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "一加一等于多少？\nT: 八分之六怎么约分？\nS: 四分之三。\n"
    async with served() as (service, url):
        assert await ask(monkeypatch, lines, "--url", url, "--json") == 0
        problem = await service.client.post(
            "/classify/problem?prior=uniform", json={"text": "一加一等于多少？"}
        )
        turns = [
            {"speaker": "teacher", "text": "八分之六怎么约分？"},
            {"speaker": "student", "text": "四分之三。"},
        ]
        live, final = [
            (
                await service.client.post(
                    "/classify/dialogue?prior=uniform", json={"turns": turns, "mode": mode}
                )
            ).json()["turns"]
            for mode in ("live", "retrospective")
        ]
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [answer["label"] for answer in answers if "is_turn_before" not in answer]
    assert told == [problem.json()["label"], *(turn["prediction"]["label"] for turn in live)]
    assert answers[0]["probabilities"] == pytest.approx(problem.json()["probabilities"])
    changed = [answer["label"] for answer in answers if "is_turn_before" in answer]
    first = [each[0]["prediction"]["label"] for each in (live, final)]
    assert changed == ([first[1]] if first[0] != first[1] else [])


async def test_lines_of_the_command_itself_and_what_people_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(max_text_characters=20) as (service, url):
        arguments = ("一加一等于多少？", "二" * 30, "--url", url, "--prior", "training")
        assert await ask(monkeypatch, "never read\n", *arguments) == 0
        answer = await service.client.post(
            "/classify/problem?prior=training", json={"text": "一加一等于多少？"}
        )
    one, two = capsys.readouterr().out.splitlines()
    expected = answer.json()
    names = f"{expected['label']}  {expected['name_en']} {expected['name_zh']}"
    assert one.strip().startswith(f"{names}  {expected['confidence']:.0%}")
    assert two.strip() == "no label: has more than 20 characters"


async def test_a_task_can_be_named_and_wrong_options_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served() as (_, url):
        assert await ask(monkeypatch, "一加一\nT:\nT: 好\n", "--url", url, "--task", "irf") == 0
        said = capsys.readouterr()
        assert "say who speaks" in said.err and "T says nothing" in said.err
        assert len(said.out.splitlines()) == 1
        for options, message in [
            (["--task", "x"], "--task x: is not served; one of timss, irf"),
            (["--prior", "estimate"], "--prior estimate: needs a whole file"),
            (["--prior", "x"], "--prior must be uniform"),
        ]:
            assert await ask(monkeypatch, "", "--url", url, *options) == 2
            assert message in capsys.readouterr().err
    assert await ask(monkeypatch, "", "--url", "http://127.0.0.1:9") == 1
    assert "cannot be reached" in capsys.readouterr().err

"""Context windows, IRF structure by hand-worked examples and invariants, and the route."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.inputs import DialogueTurn, Speaker, Turn
from contract.interaction import (
    MOVES,
    LabelledTurn,
    count_transitions,
    cut_windows,
    describe_structure,
    find_exchanges,
    read_scheme,
)
from contract.labels import IRF, LabelSet
from contract.prompts import ContextWindow
from engine.errors import EngineFailed
from tests.contract.examples import make_manifest, make_task
from tests.service.fake_service import FakeService, run_fake_service

SPOKEN = ["一加一等于几？", "二。", "对！", "我想喝水。", "二加二呢？", "想一想手指。", "四。"]
SCHEME = read_scheme(IRF)
assert SCHEME is not None
LETTERS = {"I": "initiation", "R": "response", "F": "feedback", "U": "none"}


def read_moves(letters: str) -> list[str]:
    return [LETTERS[letter] for letter in letters]


def make_turns(count: int) -> list[Turn]:
    return [Turn(speaker="teacher", text=str(number)) for number in range(count)]


def test_windows_are_cut_from_the_turns_around() -> None:
    turns = make_turns(4)
    windows = cut_windows(turns, ContextWindow(previous=2, following=1), "retrospective")
    assert [[turn.text for turn in window.previous] for window in windows] == [
        [], ["0"], ["0", "1"], ["1", "2"],
    ]  # fmt: skip
    assert [[turn.text for turn in window.following] for window in windows] == [
        ["1"], ["2"], ["3"], [],
    ]  # fmt: skip
    assert [window.text for window in windows] == ["0", "1", "2", "3"]


def test_live_windows_know_nothing_of_the_future() -> None:
    windows = cut_windows(make_turns(3), ContextWindow(previous=1, following=2), "live")
    assert all(window.following == () for window in windows)
    assert [len(window.previous) for window in windows] == [0, 1, 1]


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_windows_are_valid_inputs(count: int, previous: int, following: int) -> None:
    window = ContextWindow(previous, following)
    for cut in cut_windows(make_turns(count), window, "retrospective"):
        assert DialogueTurn.model_validate(cut.model_dump()) == cut


@pytest.mark.parametrize(
    ("moves", "patterns", "complete"),
    [
        ("IRF", ["I-R-F"], [True]),
        ("IRFIRF", ["I-R-F", "I-R-F"], [True, True]),
        ("IIRRFF", ["I-R-F"], [True]),
        ("IRFRF", ["I-R-F-R-F"], [True]),
        ("IRI", ["I-R", "I"], [False, False]),
        ("IFI", ["I-F", "I"], [False, False]),
        ("RFIR", ["R-F", "I-R"], [False, False]),
        ("IURUF", ["I-R-F"], [True]),
        ("IUIR", ["I-R"], [False]),
        ("UU", [], []),
        ("", [], []),
    ],
)
def test_exchanges_of_known_sequences(
    moves: str, patterns: list[str], complete: list[bool]
) -> None:
    exchanges = find_exchanges(read_moves(moves))
    assert [exchange.pattern for exchange in exchanges] == patterns
    assert [exchange.complete for exchange in exchanges] == complete


def test_an_exchange_names_its_turns() -> None:
    first, second = find_exchanges(read_moves("UIURFIR"))
    assert (first.first, first.last, first.turns) == (1, 4, [1, 3, 4])
    assert (second.first, second.last, second.turns) == (5, 6, [5, 6])


@settings(deadline=None)
@given(st.text(alphabet="IRFU", max_size=30))
def test_every_related_turn_is_in_one_exchange(moves: str) -> None:
    exchanges = find_exchanges(read_moves(moves))
    turns = [turn for exchange in exchanges for turn in exchange.turns]
    assert turns == [index for index, letter in enumerate(moves) if letter != "U"]
    for exchange in exchanges[1:]:
        assert exchange.pattern.startswith("I")
    for exchange in exchanges:
        assert "R-I" not in exchange.pattern and "F-I" not in exchange.pattern


def test_transitions_count_what_follows_what() -> None:
    transitions = count_transitions(read_moves("IRFIRU"))
    assert transitions.moves == list(MOVES)
    assert transitions.counts == [[0, 2, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


@settings(deadline=None)
@given(st.text(alphabet="IRFU", max_size=30))
def test_there_is_a_transition_between_any_two_turns(moves: str) -> None:
    counts = count_transitions(read_moves(moves)).counts
    assert sum(map(sum, counts)) == max(0, len(moves) - 1)


def test_structure_of_a_short_dialogue() -> None:
    spoken: list[tuple[Speaker, str, str]] = [
        ("teacher", "一加一等于几？", "I-Q"),
        ("student", "二。", "R-FR"),
        ("teacher", "对！", "F-F"),
        ("student", "为什么？", "I-Q"),
    ]
    structure = describe_structure([LabelledTurn(*turn) for turn in spoken], SCHEME)
    teacher, student = structure.speakers["teacher"], structure.speakers["student"]
    assert (teacher.turns, teacher.characters, teacher.turn_share) == (2, 9, 0.5)
    assert (student.turns, student.characters) == (2, 6)
    assert teacher.character_share == pytest.approx(9 / 15)
    assert teacher.question_share == student.question_share == structure.question_share == 0.5
    assert structure.complete_exchange_share == 0.5


TALK = LabelSet.model_validate(
    {
        "task": "talk",
        "kind": "dialogue-turn",
        "name": "Talk moves",
        "labels": [
            {"id": name, "data_label": name, "name_en": name, "name_zh": name, "group": group,
             "definition": name}
            for name, group in (("ask", "opening"), ("hint", "opening"), ("reply", "pupil"),
                                ("praise", "closing"), ("chat", "closing"))
        ],
        "moves": {"opening": "initiation", "pupil": "response", "closing": "feedback",
                  "chat": "none"},
        "question_labels": ["ask"],
    }
)  # fmt: skip
"""A taxonomy of turns of somebody's own."""


def test_a_taxonomy_names_its_own_moves_and_questions() -> None:
    scheme = read_scheme(TALK)
    assert scheme is not None
    assert [scheme.moves[label] for label in TALK.ids] == [
        "initiation", "initiation", "response", "feedback", "none",
    ]  # fmt: skip
    spoken = [LabelledTurn("teacher", "好", label) for label in TALK.ids]
    structure = describe_structure(spoken, scheme)
    assert [each.pattern for each in structure.exchanges] == ["I-R-F"]
    assert structure.exchanges[0].turns == [0, 1, 2, 3]
    assert structure.question_share == 0.2


def test_without_question_labels_there_is_no_share_of_questions() -> None:
    scheme = read_scheme(TALK.model_copy(update={"question_labels": ()}))
    assert scheme is not None
    structure = describe_structure([LabelledTurn("teacher", "好", "ask")], scheme)
    assert structure.question_share is None
    assert structure.speakers["teacher"].question_share is None
    assert structure.complete_exchange_share == 0.0 and len(structure.exchanges) == 1


def test_without_moves_there_is_no_scheme() -> None:
    assert read_scheme(TALK.model_copy(update={"moves": {}})) is None


def test_a_monologue_has_shares_for_both() -> None:
    structure = describe_structure([LabelledTurn("teacher", "好", "U")], SCHEME)
    assert structure.speakers["student"].turn_share == 0.0
    assert structure.complete_exchange_share == 0.0


def make_dialogue(**changes: Any) -> dict[str, Any]:
    speakers = ["teacher", "student"] * len(SPOKEN)
    turns = [
        {"speaker": speaker, "text": text} for speaker, text in zip(speakers, SPOKEN, strict=False)
    ]
    return {"turns": turns, **changes}


async def label_one_by_one(service: FakeService, mode: str) -> list[dict[str, Any]]:
    turns = make_dialogue()["turns"]
    items = [
        {
            **turn,
            "previous": turns[max(0, index - 1) : index],
            "following": turns[index + 1 : index + 2] if mode == "retrospective" else [],
        }
        for index, turn in enumerate(turns)
    ]
    answers = [await service.client.post("/classify/dialogue-turn", json=item) for item in items]
    return [answer.json() for answer in answers]


@pytest.mark.parametrize("mode", ["live", "retrospective"])
async def test_turns_are_labelled_as_if_sent_with_their_context(mode: str) -> None:
    async with run_fake_service() as service:
        response = await service.client.post("/classify/dialogue", json=make_dialogue(mode=mode))
        assert response.status_code == 200, response.text
        body = response.json()
        assert [turn["prediction"] for turn in body["turns"]] == await label_one_by_one(
            service, mode
        )
        assert (body["mode"], body["ok"], body["failed"]) == (mode, 7, 0)


async def test_retrospective_is_the_default_and_differs_from_live() -> None:
    async with run_fake_service() as service:
        default, live = [
            (await service.client.post("/classify/dialogue", json=dialogue)).json()
            for dialogue in (make_dialogue(), make_dialogue(mode="live"))
        ]
    assert default["mode"] == "retrospective"
    assert default["turns"][0] != live["turns"][0]
    assert default["turns"][-1] == live["turns"][-1]


async def test_structure_follows_the_labels_of_the_answer() -> None:
    async with run_fake_service() as service:
        url = "/classify/dialogue?prior=training&raw_logits=true"
        body = (await service.client.post(url, json=make_dialogue())).json()
    predictions = [turn["prediction"] for turn in body["turns"]]
    expected = describe_structure(
        [
            LabelledTurn(turn["speaker"], turn["text"], answer["label"])
            for turn, answer in zip(make_dialogue()["turns"], predictions, strict=True)
        ],
        SCHEME,
    )
    assert body["structure"] == expected.model_dump()
    assert all(answer["prior"] == "training" and answer["logits"] for answer in predictions)


async def test_ids_come_back() -> None:
    dialogue = make_dialogue()
    dialogue["turns"][2]["id"] = "third"
    dialogue["turns"][3]["id"] = 4
    async with run_fake_service() as service:
        body = (await service.client.post("/classify/dialogue", json=dialogue)).json()
    assert [turn.get("id") for turn in body["turns"][:4]] == [None, None, "third", 4]
    assert [turn["index"] for turn in body["turns"]] == list(range(7))


async def test_a_turn_without_label_leaves_no_structure() -> None:
    async with run_fake_service() as service:
        marked = ord("喝")
        service.engine.fail = lambda ids: EngineFailed("no") if marked in ids[-6:] else None
        body = (await service.client.post("/classify/dialogue?", json=make_dialogue())).json()
    assert (body["ok"], body["failed"], body["structure"]) == (6, 1, None)
    assert body["turns"][3]["error"]["type"] == "urn:ncal-serve:error:engine-failed"


@pytest.mark.parametrize(
    ("dialogue", "field"),
    [
        ({"turns": []}, "turns"),
        ({}, "turns"),
        (make_dialogue(mode="later"), "mode"),
        (make_dialogue(extra=1), "body"),
        ({"turns": [{"speaker": "parent", "text": "x"}]}, "turns.0.speaker"),
        ({"turns": [{"speaker": "teacher", "text": " "}]}, "turns.0.text"),
        ({"turns": [{"speaker": "teacher", "text": "x" * 101}]}, "turns.0.text"),
        ({"turns": [{"speaker": "teacher", "text": "x"}] * 9}, "turns"),
    ],
)
async def test_a_wrong_dialogue_is_refused_and_not_quoted(
    dialogue: dict[str, Any], field: str
) -> None:
    async with run_fake_service(max_text_characters=100, max_dialogue_turns=8) as service:
        response = await service.client.post("/classify/dialogue", json=dialogue)
        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == [field]
        assert "parent" not in response.text
        assert not service.engine.scored


async def test_without_the_task_there_is_nothing_here() -> None:
    async with run_fake_service(make_manifest(tasks=[make_task()])) as service:
        response = await service.client.post("/classify/dialogue", json=make_dialogue())
        assert response.status_code == 404


PLAIN = TALK.model_copy(update={"task": "plain", "moves": {}, "question_labels": ()})


async def test_a_dialogue_is_labelled_by_any_task_of_turns() -> None:
    tasks = [make_task(), make_task(IRF, 7), make_task(TALK, 15), make_task(PLAIN, 20)]
    async with run_fake_service(make_manifest(tasks=tasks)) as service:

        async def ask(query: str) -> dict[str, Any]:
            url = f"/v1/classify/dialogue{query}"
            answer = await service.client.post(url, json=make_dialogue())
            assert answer.status_code == 200, answer.text
            body: dict[str, Any] = answer.json()
            assert body["ok"] == 7
            return body

        default, talk, plain = await ask(""), await ask("?task=talk"), await ask("?task=plain")
        labels = (await service.client.get("/labels")).json()["tasks"]
    assert default["turns"][0]["prediction"]["task"] == "irf"
    assert plain["structure"] is None
    scheme = read_scheme(TALK)
    assert scheme is not None
    spoken = [
        LabelledTurn(turn["speaker"], turn["text"], result["prediction"]["label"])
        for turn, result in zip(make_dialogue()["turns"], talk["turns"], strict=True)
    ]
    assert {turn.label for turn in spoken} <= set(TALK.ids)
    assert talk["structure"] == describe_structure(spoken, scheme).model_dump()
    told = {each["task"]: (each["moves"], each["question_labels"]) for each in labels}
    assert told["irf"] == (IRF.moves, ["I-Q"]) and told["talk"] == (TALK.moves, ["ask"])
    assert told["plain"] == told["timss"] == ({}, [])


async def test_the_only_task_of_turns_needs_no_name() -> None:
    tasks = [make_task(), make_task(TALK, 7)]
    async with run_fake_service(make_manifest(tasks=tasks)) as service:
        answer = await service.client.post("/classify/dialogue", json=make_dialogue())
    assert answer.json()["turns"][0]["prediction"]["task"] == "talk"


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("", 422, "say which task labels the turns: talk, plain"),
        ("?task=timss", 422, "labels no turns; those that do: talk, plain"),
        ("?task=irf", 404, "loaded: timss, talk, plain"),
    ],
)
async def test_a_task_that_labels_no_turns_is_refused(query: str, status: int, says: str) -> None:
    tasks = [make_task(), make_task(TALK, 7), make_task(PLAIN, 12)]
    async with run_fake_service(make_manifest(tasks=tasks)) as service:
        answer = await service.client.post(f"/classify/dialogue{query}", json=make_dialogue())
    assert answer.status_code == status
    assert says in answer.text


async def test_the_mode_is_an_option_and_may_stand_in_the_body() -> None:
    async with run_fake_service() as service:
        asked = [
            await service.client.post(f"/classify/dialogue{query}", json=body)
            for query, body in (
                ("?mode=live", make_dialogue()),
                ("", make_dialogue(mode="live")),
                ("?mode=live", make_dialogue(mode="live")),
                ("?mode=live", make_dialogue(mode="retrospective")),
                ("?mode=later", make_dialogue()),
            )
        ]
    assert [answer.status_code for answer in asked] == [200, 200, 200, 422, 422]
    assert asked[0].json() == asked[1].json() == asked[2].json()
    assert [answer.json()["errors"][0]["field"] for answer in asked[3:]] == ["mode", "query.mode"]

"""`python -m labelling` against the real server around a fake engine."""

import asyncio
import json
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from starlette.types import Receive, Scope, Send

from contract.labels import TIMSS
from labelling import job, mixes, own_service
from labelling.command import main
from labelling.own_service import OwnService
from labelling.results.agreement import measure_agreement
from service.access.api_keys import ApiKeys, make_key
from tests.contract.examples import make_manifest
from tests.labelling.runs import label, read_csv, served, write_csv
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

TURNS = [
    ("1", "teacher", "八分之六怎么约分？"),
    ("1", "student", "同时除以二，"),
    ("1", "student", "等于四分之三。"),
    ("1", "teacher", ""),
    ("1", "teacher", "没错，很好。"),
    ("2", "teacher", "三加四等于多少？"),
    ("2", "student", "七。"),
]
GIVEN = ",".join([f"{TIMSS.ids[0]}:0.4", *(f"{label}:0.1" for label in TIMSS.ids[1:])])


def write_problems(folder: Path, count: int = 7) -> Path:
    rows = [(f"{number}加上{number + 1}等于多少？",) for number in range(count)]
    return write_csv(folder / "problems.csv", "text", *rows)


@pytest.mark.parametrize("prior", ["estimate", "training", "uniform", GIVEN])
async def test_a_problem_is_labelled_as_the_service_labels_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prior: str
) -> None:
    """Also the mix that is estimated is that of the batch, whatever the operator's default is."""
    path = write_problems(tmp_path)
    async with served(default_prior="training") as (service, url):
        chosen = [] if prior == "estimate" else ["--prior", prior]  # it is the default
        assert await label(path, "--url", url, *chosen) == 0
        items = [{"text": row["text"]} for row in read_csv(path)]
        query = f"prior={prior}&prediction_set=true"
        answer = await service.client.post(
            f"/classify/problem/batch?{query}", json={"items": items}
        )
    rows = read_csv(tmp_path / "problems.labelled.csv")
    assert [row["text"] for row in rows] == [item["text"] for item in items]
    for row, result in zip(rows, answer.json()["results"], strict=True):
        prediction = result["prediction"]
        assert row["ncal_label"] == prediction["label"]
        assert float(row["ncal_confidence"]) == pytest.approx(prediction["confidence"], abs=1e-6)
        assert row["ncal_needs_review"] == str(prediction["needs_review"]).lower()
        assert row["ncal_prediction_set"] == "|".join(prediction["prediction_set"])
        assert row["ncal_model"] == " ".join(prediction["model"].values())
        assert row["ncal_error"] == ""
        for name, probability in prediction["probabilities"].items():
            assert float(row[f"ncal_p_{name}"]) == pytest.approx(probability, abs=1e-6)
    assert not (tmp_path / "problems.labelled.csv.partial").exists()
    told, mix = capsys.readouterr().out, answer.json()["prior"]
    if prior == "estimate":
        assert "for the class mix estimated from 7 rows" in told
        low, high = mix["intervals"]["infer"]
        assert f"infer {mix['shares']['infer']:.1%} [{low:.1%}, {high:.1%}]" in told
    else:
        assert f"for the class mix: {mix['kind']}" in told


async def test_more_rows_than_are_needed_are_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mixes, "MOST_ITEMS", 5)
    path = write_problems(tmp_path, 30)
    outputs = []
    async with served() as (_, url):
        for _ in range(2):
            assert await label(path, "--url", url, "--overwrite") == 0
            assert "estimated from 5 rows" in capsys.readouterr().out
            outputs.append((tmp_path / "problems.labelled.csv").read_bytes())
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("prior", "reason"),
    [("natural", "must be uniform, training"), ("recall:1", "must name each label of the task")],
)
async def test_a_prior_that_cannot_be_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prior: str, reason: str
) -> None:
    async with served() as (service, url):
        assert await label(write_problems(tmp_path), "--url", url, "--prior", prior) == 2
        assert not service.engine.scored
    assert f"label: --prior {reason}" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["live", "retrospective"])
async def test_turns_are_read_in_their_dialogue_and_no_other(tmp_path: Path, mode: str) -> None:
    path = write_csv(tmp_path / "talk.csv", "dialogue,speaker,text", *TURNS)
    structure = tmp_path / "structure.jsonl"
    async with served() as (service, url):
        query = ("--mode", mode, "--structure", structure, "--prior", "uniform")
        assert await label(path, "--url", url, *query) == 0
        expected = []
        for name in ("1", "2"):
            turns = [{"speaker": s, "text": t} for d, s, t in TURNS if d == name and t]
            body = {"turns": turns, "mode": mode}
            expected.append((await service.client.post("/classify/dialogue", json=body)).json())
    rows = [row for row in read_csv(tmp_path / "talk.labelled.csv") if row["text"]]
    results = [turn["prediction"] for each in expected for turn in each["turns"]]
    assert [row["ncal_label"] for row in rows] == [result["label"] for result in results]
    for row, result in zip(rows, results, strict=True):
        assert float(row["ncal_confidence"]) == pytest.approx(result["confidence"], abs=1e-6)
    lines = [json.loads(line) for line in structure.read_text(encoding="utf-8").splitlines()]
    assert [line["structure"] for line in lines] == [each["structure"] for each in expected]
    assert [(line["dialogue"], line["turns"]) for line in lines] == [("1", 4), ("2", 2)]


async def test_a_row_without_text_says_so_and_costs_no_other(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "talk.csv", "dialogue,speaker,text", *TURNS)
    async with served() as (_, url):
        assert await label(path, "--url", url) == 0
    rows = read_csv(tmp_path / "talk.labelled.csv")
    assert [row["ncal_error"] for row in rows] == ["", "", "", job.NO_TEXT, "", "", ""]
    assert [bool(row["ncal_label"]) for row in rows] == [bool(text) for _, _, text in TURNS]


async def test_names_and_columns_are_the_files_own(tmp_path: Path) -> None:
    turns = [("T", "三加四等于多少？"), ("SS", "七。"), ("助教", "对。"), ("小明", "嗯。")]
    path = write_csv(tmp_path / "talk.csv", "Speaker,Sentence", *turns)
    names = ("--speaker", "Speaker", "--text", "Sentence", "--teacher", "助教", "--student", "小明")
    async with served() as (service, url):
        assert await label(path, "--url", url, *names, "--prefix", "m_", "--prior", "uniform") == 0
        speakers = ("teacher", "student", "teacher", "student")
        body = {
            "turns": [{"speaker": s, "text": t} for s, (_, t) in zip(speakers, turns, strict=True)]
        }
        answer = (await service.client.post("/classify/dialogue", json=body)).json()
    rows = read_csv(tmp_path / "talk.labelled.csv")
    assert [row["m_label"] for row in rows] == [
        turn["prediction"]["label"] for turn in answer["turns"]
    ]


async def test_agreement_with_labels_that_people_gave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_problems(tmp_path, 12)
    async with served() as (_, url):
        assert await label(path, "--url", url) == 0
        found = [row["ncal_label"] for row in read_csv(tmp_path / "problems.labelled.csv")]
        names = {each.id: each.name_zh for each in TIMSS.labels}
        given = ["recall", *map(names.__getitem__, found[1:9]), "", "?", found[11].upper()]
        texts = [row["text"] for row in read_csv(path)]
        path = write_csv(tmp_path / "given.csv", "text,mine", *zip(texts, given, strict=True))
        assert await label(path, "--url", url, "--compare", "mine") == 0
    given = ["recall", *found[1:9], "", "?", found[11]]
    pairs = [(g, f) for g, f in zip(given, found, strict=True) if g not in ("", "?")]
    equal = sum(g == f for g, f in pairs)
    ours, theirs = (Counter(each) for each in zip(*pairs, strict=True))
    by_chance = sum(ours[label] * theirs[label] for label in ours) / 10**2
    kappa = (equal / 10 - by_chance) / (1 - by_chance)
    expected = f"as the given label: {equal} of 10 ({equal / 10:.1%}), kappa {kappa:.3f}"
    assert expected in capsys.readouterr().out
    assert equal == 9 and len(set(found)) > 2  # or the test would show nothing


async def test_what_was_broken_off_goes_on_with_the_next_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "_BATCH_ITEMS", 2)
    monkeypatch.setattr(job, "_IN_FLIGHT", 1)
    path, output = write_problems(tmp_path), tmp_path / "problems.labelled.csv"
    partial = tmp_path / "problems.labelled.csv.partial"
    async with served() as (service, url):
        assert await label(path, "--url", url, "--output", tmp_path / "unbroken.csv") == 0
        unbroken = list(service.engine.scored)

    async with served() as (service, url):
        service.engine.fail = lambda token_ids: (
            service.engine.die() if len(service.engine.scored) >= 4 else None
        )
        assert await label(path, "--url", url, "--patience", "0") == 1
    assert "run the same command to go on" in capsys.readouterr().err
    assert len(partial.read_text(encoding="utf-8").splitlines()) == 1 + 4
    assert not output.exists()
    with partial.open("a") as file:
        file.write('{"label": "rec')  # torn by a crash

    async with served() as (service, url):
        assert await label(path, "--url", url) == 0
        assert service.engine.scored == unbroken[4:]
    assert output.read_bytes() == (tmp_path / "unbroken.csv").read_bytes()
    assert not partial.exists()


async def test_a_full_disk_is_told_and_what_was_kept_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "_BATCH_ITEMS", 5)
    path, partial = write_problems(tmp_path, 40), tmp_path / "problems.labelled.csv.partial"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with served() as (_, url):
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
        try:
            assert await label(path, "--url", url) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert f"{partial}: cannot be written: File too large" in capsys.readouterr().err
        kept = partial.read_text(encoding="utf-8").count("\n") - 1
        assert 0 < kept < 40
        assert await label(path, "--url", url) == 0
    assert f"{kept} of 40 rows are labelled already" in capsys.readouterr().err
    assert all(row["ncal_label"] for row in read_csv(tmp_path / "problems.labelled.csv"))


async def test_a_journal_of_something_else_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "_BATCH_ITEMS", 2)
    path = write_problems(tmp_path)
    async with served() as (service, url):
        service.engine.fail = lambda token_ids: (
            service.engine.die() if len(service.engine.scored) >= 4 else None
        )
        await label(path, "--url", url, "--patience", "0")
    async with served() as (_, url):
        for changed in (["--mode", "live"], ["--text", "text", "--dialogue", "text"]):
            assert await label(path, "--url", url, *changed) == 2
        assert "begun with another columns" in capsys.readouterr().err
        path.write_text(path.read_text(encoding="utf-8") + "又一题\n", encoding="utf-8")
        assert await label(path, "--url", url) == 2
        assert "begun with another file; " in capsys.readouterr().err
        assert await label(path, "--url", url, "--restart") == 0
    assert len(read_csv(tmp_path / "problems.labelled.csv")) == 8
    other = make_manifest().model_copy(update={"weights_sha256": "f" * 64})
    output = tmp_path / "problems.labelled.csv"
    output.rename(tmp_path / "problems.labelled.csv.partial")
    async with run_fake_service(other) as service, serve(service.app) as address:
        assert await label(path, "--url", f"http://{address}") == 2
    assert "is no journal of this command" in capsys.readouterr().err


async def test_another_model_in_the_middle_stops_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "_BATCH_ITEMS", 2)
    other = make_manifest().model_copy(update={"weights_sha256": "f" * 64})
    async with run_fake_service() as old, run_fake_service(other) as new:
        calls = 0

        async def rollout(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal calls
            calls += 1
            await (old if calls <= 4 else new).app(scope, receive, send)

        async with serve(rollout) as address:
            assert await label(write_problems(tmp_path), "--url", f"http://{address}") == 1
    assert " now, and began with example " in capsys.readouterr().err
    assert not (tmp_path / "problems.labelled.csv").exists()


async def test_one_of_several_checkpoints_is_chosen_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_problems(tmp_path)
    models = [make_manifest(name="old"), make_manifest(name="new")]
    async with run_fake_service(*models) as service, serve(service.app) as address:
        url = f"http://{address}"
        found = []
        for number, chosen in enumerate(([], ["--model", "new"])):
            output = tmp_path / f"{number}.csv"
            assert await label(path, "--url", url, "--output", output, *chosen) == 0
            found.append({row["ncal_model"] for row in read_csv(output)})
        assert await label(path, "--url", url, "--model", "newer") == 2
    assert found == [{f"{each.name} {each.fingerprint}"} for each in models]
    assert "has no such model, but old, new" in capsys.readouterr().err


async def test_a_busy_service_is_asked_again_when_it_says(tmp_path: Path) -> None:
    async with run_fake_service() as service:
        refusals = 2

        async def busy(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal refusals
            if scope["path"].endswith("/batch") and refusals:
                refusals -= 1
                headers = [(b"retry-after", b"1"), (b"content-type", b"application/problem+json")]
                await send({"type": "http.response.start", "status": 503, "headers": headers})
                await send({"type": "http.response.body", "body": b'{"detail": "busy"}'})
                return
            await service.app(scope, receive, send)

        async with serve(busy) as address:
            assert await label(write_problems(tmp_path), "--url", f"http://{address}") == 0
    assert refusals == 0
    assert all(row["ncal_label"] for row in read_csv(tmp_path / "problems.labelled.csv"))


async def test_patience_with_a_service_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it the command would wait its 300 seconds, and this test fail for its time."""

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b'{"detail": "busy"}'})

    async with serve(busy) as address:

        @contextmanager
        def run_service(checkpoint: Path) -> Iterator[OwnService]:
            yield OwnService(f"http://{address}", Event())

        monkeypatch.setattr(own_service, "run_service", run_service)
        async with asyncio.timeout(60):
            assert await label(write_problems(tmp_path), "--patience", "0") == 1
    assert "answers 503: busy; run the same command to go on" in capsys.readouterr().err


async def test_an_item_that_is_refused_costs_no_other_its_label(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    texts = ["一加一等于多少？", "\ud800", "二" * 30, "三加三等于多少？", "四"]  # no text; too long
    lines = [json.dumps({"id": number, "text": text}) for number, text in enumerate(texts)]
    path.write_text("\n".join(lines), encoding="utf-8")
    async with served(max_text_characters=20) as (_, url):
        assert await label(path, "--url", url) == 0
    written = (tmp_path / "problems.labelled.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in written]
    assert [row["text"] for row in rows] == texts
    assert [row["id"] for row in rows] == list(range(5))
    assert [bool(row["ncal_label"]) for row in rows] == [True, False, False, True, True]
    assert all(rows[place]["ncal_error"] for place in (1, 2))
    assert rows[0]["ncal_needs_review"] in (True, False)
    assert isinstance(rows[0]["ncal_prediction_set"], list)


async def test_a_key_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_problems(tmp_path)
    key, digest = make_key()
    async with served(keys=ApiKeys.read(f"school:{digest}", None)) as (_, url):
        assert await label(path, "--url", url) == 1
        assert "NCAL_API_KEY" in capsys.readouterr().err
        monkeypatch.setenv("NCAL_API_KEY", key)
        assert await label(path, "--url", url) == 0
    assert key not in capsys.readouterr().err


async def test_a_connection_that_breaks_is_made_again_and_by_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with run_fake_service() as service:
        broken = 0

        async def fragile(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal broken
            if scope["path"].endswith("/batch") and broken < 2:
                broken += 1
                headers = [(b"content-length", b"1000")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"{", "more_body": True})
                raise ConnectionAbortedError
            await service.app(scope, receive, send)

        async with serve(fragile) as address:
            assert await label(write_problems(tmp_path), "--url", f"http://{address}") == 0
    assert broken == 2
    assert all(row["ncal_label"] for row in read_csv(tmp_path / "problems.labelled.csv"))


async def test_a_wrong_address_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_problems(tmp_path)
    assert await label(path, "--url", "http://127.0.0.1:9") == 1
    assert "cannot be reached" in capsys.readouterr().err
    assert await label(path, "--url", "localhost:8000") == 2

    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"hello": "world"}'})

    async with serve(other) as address:
        assert await label(path, "--url", f"http://{address}") == 2
    assert "is no NCAL Serve" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", "", [], "a.csv: is empty"),
        ("a.csv", "text\n", [], "a.csv: has no rows"),
        (
            "a.csv",
            "frage\n一\n",
            [],
            "a.csv:1: no column text; name one of these with --text: frage",
        ),
        ("a.csv", "text\n一,二\n", [], "a.csv:2: has 2 cells and the header 1"),
        ("a.csv", 'text\n"一"二\n', [], "a.csv:2: not CSV"),
        ("a.csv", "text\né\n".encode("latin-1"), [], "a.csv: not utf-8 (near line 2)"),
        ("a.csv", "text\n一\n", ["--encoding", "klingon"], "--encoding klingon: unknown"),
        ("a.csv", "text\n一\n", ["--delimiter", ";;"], "must be one character"),
        ("a.csv", "text\n  \n", [], "no row has a text in text"),
        ("a.csv", "text,ncal_label\n一,x\n", [], "has a column ncal_label already"),
        ("a.csv", "text\n一\n", ["--task", "x"], "--task x: is not served; one of timss, irf"),
        ("a.csv", "text,x\n一,y\n", ["--compare", "x"], "no row has a label of timss in x"),
        ("a.csv", "text\n一\n", ["--structure", "s"], "--structure: timss labels problems"),
        ("a.csv", "text\n一\n", ["--output", "a.csv"], "is the file that is read"),
        ("a.csv", "text\n一\n", ["--output", "no/b.csv"], "cannot be written"),
        (
            "a.csv",
            "speaker,text\nX,一\n",
            [],
            "column speaker says who speaks, and has 'X' (line 2)",
        ),
        ("a.csv", "speaker,text\nT,一\n", ["--dialogue", "d"], "name one of these with --dialogue"),
        ("a.doc", "text\n", [], ".doc is none of .csv, .tsv, .jsonl"),
        ("a.xlsx", "text\n", [], "a.xlsx: is broken or no workbook"),
        ("a.jsonl", '{"text": "一"}\n{"text"\n', [], "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", [], "a.jsonl:1: must be a JSON object"),
        ("a.jsonl", '{"text": 7}\n', [], "a.jsonl:1: text must be a text"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str | bytes,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main([name, *options]) == 2  # with the checkpoint's own tasks: no service is started
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_agreement_by_hand() -> None:
    # 20 of 50 and 15 of 50 agree: 0.7 where chance gives 0.5.
    pairs = Counter({("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15})
    assert measure_agreement(pairs) == (50, 35, pytest.approx(0.4))
    assert measure_agreement(Counter({("a", "a"): 3})) == (3, 3, None)


def test_an_output_that_exists_is_replaced_only_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_problems(tmp_path)
    (tmp_path / "problems.labelled.csv").write_text("mine")
    assert main([str(path)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "problems.labelled.csv").read_text() == "mine"

"""`/files/read` and `/files/write`: uploads to rows and back, in processes of their own."""

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from openpyxl import Workbook, load_workbook

from service.access.api_keys import ApiKeys, make_key
from service.files import jobs
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve

DOUBTFUL = "小红说了一句不该传出去的话"


def make_talk() -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Turn", "Speaker", "Sentence"], [1, "T", "三加四？"], [2, "Maya", "=七"]):
        sheet.append(row)
    sheet["C3"].data_type = "s"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


async def test_a_file_becomes_rows_and_comes_back_with_columns() -> None:
    async with run_fake_service() as service:
        file = {"file": ("第3课.xlsx", make_talk())}
        answer = await service.client.post("/files/read", files=file)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "format": "xlsx", "sheets": ["Sheet"], "sheet": "Sheet",
            "columns": ["Turn", "Speaker", "Sentence"],
            "rows": [["1", "T", "三加四？"], ["2", "Maya", "=七"]],
            "row_count": 2,
            "mapping": {
                "kind": "turns", "text": "Sentence", "speaker": "Speaker", "dialogue": None,
                "label": None, "layout": None, "speakers": {"T": "teacher", "Maya": "student"},
            },
            "warnings": [],
        }  # fmt: skip
        columns = {"names": ["label", "p"], "rows": [["I-Q", 0.75], ["=R", None]]}
        answer = await service.client.post(
            "/files/write", files=file, data={"columns": json.dumps(columns)}
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-disposition"] == (
            'attachment; filename="_3_.labelled.xlsx"; '
            "filename*=UTF-8''%E7%AC%AC3%E8%AF%BE.labelled.xlsx"
        )
        sheet: Any = load_workbook(io.BytesIO(answer.content)).active
        assert [list(row) for row in sheet.iter_rows(values_only=True)] == [
            ["Turn", "Speaker", "Sentence", "label", "p"],
            [1, "T", "三加四？", "I-Q", 0.75],
            [2, "Maya", "=七", "=R", None],
        ]
        assert sheet["D3"].data_type == "s"
        answer = await service.client.post(
            "/files/write", files=file, data={"columns": json.dumps(columns), "format": "csv"}
        )
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.content.decode("utf-8-sig") == (
            "Turn,Speaker,Sentence,label,p\n1,T,三加四？,I-Q,0.75\n2,Maya,'=七,'=R,\n"
        )


async def test_rows_without_a_file_become_one() -> None:
    form = {
        "base": (None, json.dumps({"columns": ["speaker", "text"], "rows": [["T", "好"]]})),
        "columns": (None, json.dumps({"names": ["label"], "rows": [["F-F"]]})),
        "format": (None, "jsonl"),
    }
    async with run_fake_service() as service:
        answer = await service.client.post("/files/write", files=form)
        assert answer.json() == {"speaker": "T", "text": "好", "label": "F-F"}
        assert 'filename="labelled.jsonl"' in answer.headers["content-disposition"]


async def test_dialogues_in_a_cell_have_a_row_a_turn() -> None:
    content = 'qid,conversation\n7,"Teacher: (probing)Why?|EOM|Steven: 12"\n'
    file = {"file": ("m.csv", content)}
    async with run_fake_service() as service:
        read = (await service.client.post("/files/read", files=file)).json()
        columns = json.dumps({"names": ["label"], "rows": [["I-Q"], ["R-SR"]]})
        written = await service.client.post("/files/write", files=file, data={"columns": columns})
    assert read["rows"] == [["1", "Teacher", "Why?", "7"], ["1", "Steven", "12", "7"]]
    assert read["mapping"]["layout"] == "mathdial"
    assert read["mapping"]["speakers"] == {"Teacher": "teacher", "Steven": "student"}
    assert any("rows of their own" in warning for warning in read["warnings"])
    assert "1,Steven,12,7,R-SR\n" in written.text


def make_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("xl/worksheets/sheet1.xml", b" " * (300 << 20))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("path", "file", "data", "field", "reason"),
    [
        ("read", None, {"sheet": "x"}, "file", "is missing; send it with its name"),
        ("read", ("a.exe", b"x"), {}, "file", "its name must end in one of .csv"),
        ("read", ("a.csv", b""), {}, "file", "upload.csv: is empty"),
        ("read", ("a.csv", f"text\n{DOUBTFUL},2\n".encode()), {}, "file", "upload.csv:2: has 2"),
        ("read", ("a.xlsx", b"PK" + DOUBTFUL.encode()), {}, "file", "upload.xlsx: is broken"),
        ("read", ("a.xlsx", make_bomb()), {}, "file", "upload.xlsx: unpacks to 314,572,800 bytes"),
        ("read", ("a.xlsx", make_talk()), {"sheet": "x"}, "file", "has no such sheet"),
        ("read", ("a.csv", b"a\n"), {"sheet": "x"}, "file", "has no sheets"),
        ("write", None, {"format": "csv"}, "file", "send one of them"),
        ("write", ("a.csv", b"a\n1\n"), {"columns": "{"}, "columns", "is not valid JSON"),
        ("write", ("a.csv", b"a\n1\n"), {"format": "doc"}, "format", "must be one of csv, tsv"),
        (
            "write", ("a.csv", b"a\n1\n"), {"columns": '{"names": ["b"], "rows": [[1], [2]]}'},
            "columns.rows", "has 2 rows and the file 1",
        ),
        (
            "write", ("a.csv", b"a\n1\n"), {"columns": '{"names": ["a"], "rows": [[1]]}'},
            "columns.names", "has a column that the file has already",
        ),
        (
            "write", ("a.csv", b"a\n1\n"), {"columns": '{"names": ["b"], "rows": [[[1]]]}'},
            "columns.rows.0", "has a cell that is no text",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_used_is_refused_and_never_quoted(
    path: str, file: Any, data: dict[str, str], field: str, reason: str
) -> None:
    form: dict[str, Any] = {name: (None, value) for name, value in data.items()}
    if file is not None:
        form["file"] = file
    async with run_fake_service() as service:
        answer = await service.client.post(f"/files/{path}", files=form)
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert reason in error["reason"]
    assert DOUBTFUL not in answer.text


async def test_uploads_are_bounded_in_size_number_and_time() -> None:
    file = {"file": ("a.csv", "text\n" + "一加一\n" * 1000)}
    async with run_fake_service(
        max_upload_bytes=1024, max_uploads=1, max_client_uploads=1
    ) as service:
        answer = await service.client.post("/files/read", files=file)
        assert answer.status_code == 413
        with service.app.state.file_jobs.open("another client"):
            answer = await service.client.post("/files/read", files={"file": ("a.csv", "a\n1\n")})
        assert (answer.status_code, answer.json()["retry_after_s"]) == (503, 10.0)
        with service.app.state.file_jobs.open("127.0.0.1"):
            answer = await service.client.post("/files/read", files={"file": ("a.csv", "a\n1\n")})
        assert (answer.status_code, answer.json()["retry_after_s"]) == (429, 10.0)
    long = {"file": ("a.csv", "text\n" + "一加一\n" * 200_000)}  # no machine reads it in 0.1 s
    async with run_fake_service() as service:
        answer = await service.client.post(
            "/files/read", files=long, headers={"x-request-timeout": "0.1"}
        )
        assert answer.status_code == 504
        answer = await service.client.post("/files/read", json={})
        assert answer.status_code == 415


async def test_one_client_leaves_places_for_others() -> None:
    file = {"file": ("a.csv", "text\n一\n")}
    async with run_fake_service(max_uploads=3, max_client_uploads=2) as service:
        jobs = service.app.state.file_jobs
        with jobs.open("127.0.0.1"), jobs.open("127.0.0.1"):
            answer = await service.client.post("/files/read", files=file)
            assert (answer.status_code, answer.json()["type"][-12:]) == (429, "rate-limited")
        with jobs.open("greedy"), jobs.open("greedy"):
            assert (await service.client.post("/files/read", files=file)).status_code == 200


async def test_files_ask_for_a_key_and_count_against_the_rate(tmp_path: Path) -> None:
    key, digest = make_key()
    file = {"file": ("a.csv", "text\n一\n")}
    keys = ApiKeys.read(f"school:{digest}", None)
    async with run_fake_service(
        keys=keys, rate_limit_items_per_s=0.001, rate_limit_burst_items=1
    ) as service:
        assert (await service.client.post("/files/read", files=file)).status_code == 401
        headers = {"authorization": f"Bearer {key}"}
        answers = [
            await service.client.post("/files/read", files=file, headers=headers) for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [200, 429]


async def test_a_client_that_leaves_takes_its_process_and_folder_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.tempfile, "tempdir", str(tmp_path))
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def note(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(jobs.asyncio, "create_subprocess_exec", note)
    rows = "text\n" + "一加一等于多少？\n" * 190_000
    async with run_fake_service() as service, serve(service.app) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            call = asyncio.create_task(client.post("/files/read", files={"file": ("a.csv", rows)}))
            while not started:
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.wait([call])
        await started[0].wait()
        while list(tmp_path.iterdir()):
            await asyncio.sleep(0.01)
    assert started[0].returncode == -9


async def test_a_worker_that_is_killed_is_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "_MEMORY_BYTES", 1 << 20)
    async with run_fake_service() as service:
        answer = await service.client.post(
            "/files/read", files={"file": ("a.csv", f"text\n{DOUBTFUL}\n" * 1000)}
        )
    assert answer.status_code in (422, 500)
    assert DOUBTFUL not in answer.text + caplog.text

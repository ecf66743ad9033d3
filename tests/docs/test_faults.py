"""The checks find what was wrong with earlier pages, and the like of it."""

import pytest

from tests.docs.commands import find_faults
from tests.docs.pages import Page
from tests.docs.prose import check_links, check_names, check_recall


def make_page(*lines: str) -> Page:
    return Page("README.md", "\n".join(lines))


def make_block(*lines: str) -> Page:
    return make_page("# A page", "", "```sh", *lines, "```")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            ".venv/bin/python -m training train --recipe training/recipes/qwen2.5-7b.yaml",
            "would train on the CPU",
        ),
        (
            "docker compose -f docker-compose.yml -f deploy/docker-compose.gpu.yml up",
            "serves the bundled checkpoint",
        ),
        ("python -m training crossvalidate --recipe training/recipes/bundled.yaml", "environment"),
        ("make serv", "no such target"),
        ("make serve CHECKPONT=path/to/checkpoint", "no such variable"),
        ("make serve CHECKPOINT=build/checkpoints/nothing", "no such file"),
        ("make serve ACCELERATOR=tpu", "neither cpu nor gpu"),
        ('make label FILE=problems.csv LABEL_ARGS="--speakers who"', "--speakers"),
        ('make soak SOAK_ARGS="--hours 2"', "--hours"),
        ("make benchmark BENCHMARK_ARGS=--fast", "--fast"),
        (".venv/bin/python -m training trian --recipe my.yaml", "trian"),
        (".venv/bin/python -m training train --recipe training/recipes/none.yaml", "no such file"),
        (
            ".venv/bin/python -m training train --recipe training/recipes/bundled.yaml loss.tau=x",
            "loss.tau",
        ),
        (".venv/bin/python -m labelling problems.csv --mode dead", "dead"),
        (".venv/bin/python -m service --port many", "--port"),
        (".venv/bin/python -m service.security NAME", "no such program"),
        ("uv tool install '.[trainig]'", "no extra trainig"),
        ("pipx install ncal", "not the folder"),
        ("pip install ncal-client", "installs no folder"),
        ("uv sync", "installs no application"),
        ("ncal sevre", "no such command"),
        ("ncal serve --prot 9000", "--prot"),
        ("ncal label problems.csv --mode dead", "dead"),
        ("ncal key two names", "names"),
        ("ncal models --tasks", "--tasks"),
        ("ncal train --recipe training/recipes/none.yaml", "no such file"),
        ("NCAL_DTYP=bfloat16 make serve", "nothing reads"),
        ("docker compose -f deploy/docker-compose.tpu.yml up", "no such file"),
        ("docker build --target tpu .", "no such stage"),
        ("kubectl apply -k deploy/kubernetes/overlays/tpu", "no such file"),
        ("curl -s localhost:8000/classify/problems -d '{}'", "no such route"),
        ("curl -s localhost:8000/classify/problem", "no such route"),
        ('curl -s localhost:8000/classify/problem -d \'{"text": "好"}\'', "unsupported-media-type"),
        ("frobnicate --all", "no check knows"),
        ("make serve 'PORT=", "no end"),
    ],
)
async def test_a_wrong_command_is_found(line: str, reason: str) -> None:
    (fault,) = await find_faults(make_block(line))
    assert reason in fault


_JSON = "-H 'content-type: application/json'"


@pytest.mark.parametrize(
    ("request_line", "reason"),
    [
        (f'curl -s localhost:8000/classify/problem {_JSON} -d \'{{"txt": "好"}}\'', "'text'"),
        (
            f"curl -s 'localhost:8000/classify/problem?topk=2' {_JSON} -d '{{\"text\": \"好\"}}'",
            "topk",
        ),
        (f"curl -s localhost:8000/classify/dialogue {_JSON} -d '{{\"turns\": []}}'", "turns"),
    ],
)
async def test_a_request_that_would_be_refused_is_found(request_line: str, reason: str) -> None:
    (fault,) = await find_faults(make_block(request_line))
    assert "invalid-input" in fault and reason in fault


async def test_an_error_that_a_page_shows_must_come() -> None:
    shown = '# {"type":"urn:ncal-serve:error:invalid-input","title":"Invalid input"}'
    good = f'curl -s localhost:8000/classify/problem {_JSON} -d \'{{"text": "好"}}\''
    bad = good.replace("text", "txt")
    assert await find_faults(make_block(bad, shown)) == []
    (fault,) = await find_faults(make_block(good, shown))
    assert "the page shows the error" in fault


@pytest.mark.parametrize(
    "code", ["python -m training report", "python -m service.security NAME", "make serve PRT=9000"]
)
async def test_a_wrong_command_within_the_text_is_found(code: str) -> None:
    assert len(await find_faults(make_page(f"Then `{code}` does it."))) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ("| task | macro recall | accuracy |", "|---|---|---|", "| problems | 0.768 | 0.774 |"),
        ("Rare classes are weak: a hint (I-H, recall 0.44) is hard to tell from a question.",),
        ("| | 宏平均召回率 |", "|---|---|", "| 题目 | 0.768 |"),
    ],
)
def test_recall_without_precision_is_found(lines: tuple[str, ...]) -> None:
    assert len(check_recall(make_page(*lines))) == 1
    assert check_recall(make_page(*lines[:-1], f"{lines[-1]} precision 精确率")) == []


def test_the_label_recall_is_no_figure() -> None:
    assert check_recall(make_page("Six in ten are *recall*.", "", "| `recall` | Recall |")) == []


def test_a_dead_link_is_found() -> None:
    page = make_page("[a](docs/none.md), [b](README.md#no-such-heading), [c](https://example.org)")
    assert [fault.rpartition(": ")[2] for fault in check_links(page)] == [
        "there is no such file",
        "there is no such heading",
    ]


def test_a_name_that_is_gone_is_found() -> None:
    page = make_page("`service/label/table.py` is set by `NCAL_MAX_WAITING`.")
    assert len(check_names(page)) == 2

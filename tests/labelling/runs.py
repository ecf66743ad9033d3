"""Runs of the command against the real server around a fake engine."""

import asyncio
import csv
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from labelling.command import main
from tests.service.fake_service import run_fake_service
from tests.service.uvicorn_server import serve


@asynccontextmanager
async def served(**changes: Any) -> Any:
    """A service and its address."""
    async with run_fake_service(**changes) as service, serve(service.app) as address:
        yield service, f"http://{address}"


async def label(*arguments: object) -> int:
    return await asyncio.to_thread(main, [str(each) for each in arguments])


def write_csv(path: Path, header: str, *rows: tuple[str, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def read_csv(path: Path, **options: Any) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, **options))

"""One service with the real engine for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.e2e.service_process import ServiceProcess, start_service


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with start_service(tmp_path_factory.mktemp("shared-service")) as process:
        yield process

"""One service with the real engine for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.e2e.service_process import PATIENT, ServiceProcess, start_service


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("shared-service")
    with start_service(folder, *PATIENT) as process:
        yield process

"""An object store that speaks S3, over loopback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

BUCKET = "lessons"
KEYS = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip


@contextmanager
def run_object_store() -> Iterator[str]:
    """Yield the query that leads an address to it; the bucket is there, and the keys are set."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server: Any = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"{host}:{port}"
        with patch.dict(os.environ, KEYS):
            fs.S3FileSystem(
                endpoint_override=endpoint, scheme="http", allow_bucket_creation=True
            ).create_dir(BUCKET)
            yield f"?endpoint_override={endpoint}&scheme=http&region=us-east-1"
    finally:
        server.stop()

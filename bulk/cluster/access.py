"""Whether the nodes of a cluster ask for Ray's token: the cluster is asked, not the home.

From `~/.ray/auth_token`, which every cluster that was ever started on this machine may have left
there, Ray concludes that the one of today asks for it. A driver that does so in a cluster without
tokens refuses the nodes' questions, and they take it for dead ("owner died").
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import ray
from ray._private.services import canonicalize_bootstrap_address

from tables.errors import FileError

_MODE, _TOKEN, _TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_QUESTION = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_ANSWER_S = 10.0


@contextmanager
def keep_access() -> Iterator[None]:
    """Undo at the end what is said of tokens meanwhile: a child of this process may join another
    cluster."""
    before = {name: os.environ.get(name) for name in (_MODE, _TOKEN)}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def join(where: str, options: dict[str, Any]) -> None:
    """Begin a cluster here (`local`) or join one, with a token where it asks for one.

    FileError if none answers, or asks for another token than we have.
    """
    if where.startswith("ray://"):
        # Its maintainers say so: https://github.com/ray-project/ray/issues/48682
        raise FileError(
            f"--ray {where}: Ray Data cannot be driven through Ray's client; say --ray auto on a "
            "node of the cluster, or send the command there with `ray job submit`"
        )
    try:
        _agree(where)
        ray.init(address=where, **options)
    except FileError:
        raise
    except Exception as error:  # Ray's own reasons have no common base
        reason = " ".join(str(error).split())[:200]
        remedy = "try again, or join a cluster" if where == "local" else "or say --ray local"
        raise FileError(f"--ray {where}: no cluster answers ({reason}); {remedy}") from error


def _agree(where: str) -> None:
    """Say to Ray what the cluster asks for."""
    if where == "local":
        # Ray would write a token into the home, and the next command would take it for that of
        # another cluster.
        if not {_TOKEN, _TOKEN_FILE} & os.environ.keys():
            os.environ[_TOKEN] = secrets.token_hex(32)
        return
    asks = _asks_for_token(where)
    said = os.environ.get(_MODE, "").lower()
    if asks is False and said == "token":
        raise FileError(
            f"--ray {where}: the cluster asks for no token and would take a driver that does for "
            f"dead; say {_MODE}=disabled, or start its nodes with {_MODE}=token"
        )
    # Of the cluster of this machine Ray finds the token itself, unless it is named by its address.
    named = where != "auto" or "RAY_ADDRESS" in os.environ
    if asks and said != "token" and (named or said or not _has_token()):
        raise FileError(
            f"--ray {where}: the cluster asks for a token; say {_MODE}=token, and in {_TOKEN} what "
            "`ray get-auth-token` says on its head node"
        )
    if asks is False:
        os.environ[_MODE] = "disabled"


def _asks_for_token(where: str) -> bool | None:
    """Whether the head refuses a question that comes without one; None if it cannot be asked."""
    address = canonicalize_bootstrap_address(where)
    if address is None:
        return None
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_QUESTION)(b"", timeout=_ANSWER_S)
        except grpc.RpcError as error:
            return True if error.code() is grpc.StatusCode.UNAUTHENTICATED else None
    return False


def _has_token() -> bool:
    """Where Ray looks for the token of the cluster of this machine."""
    said = {_TOKEN, _TOKEN_FILE} & os.environ.keys()
    return bool(said) or (Path.home() / ".ray/auth_token").is_file()

"""How many engines the nodes have room for; a pool that could never begin is refused."""

import pytest

from tables.errors import FileError

pytest.importorskip("ray", reason="Ray is not installed (make setup EXTRA=dev)")
from bulk.cluster.connection import Node, Share, count_engines


@pytest.mark.parametrize(
    ("nodes", "share", "room"),
    [
        ([Node(0, 0), Node(2, 0), Node(5, 0)], Share(2, 0.0), 3),
        ([Node(8, 0), Node(8, 2)], Share(2, 1.0), 2),
        ([Node(4, 1)], Share(1, 0.25), 4),
        ([Node(1, 0), Node(1, 0)], Share(1, 0.0), 2),
    ],
)
def test_engines_are_counted_node_by_node(nodes: list[Node], share: Share, room: int) -> None:
    assert count_engines(nodes, share) == room


@pytest.mark.parametrize(
    ("nodes", "share", "reason"),
    [
        ([Node(1, 0), Node(1, 0)], Share(2, 0.0), "no node has 2 cores for an engine, the largest"),
        ([Node(8, 0), Node(2, 1)], Share(4, 1.0), "no node has 4 cores and 1 GPUs"),
        ([], Share(2, 0.0), "no node has 2 cores"),
    ],
)
def test_a_pool_that_would_wait_for_ever_is_refused(
    nodes: list[Node], share: Share, reason: str
) -> None:
    """Two nodes of one core have two cores, and no engine of two fits on either."""
    with pytest.raises(FileError, match=reason):
        count_engines(nodes, share)

"""Ray: which cluster, the pool of engines on its nodes, dialogues gathered, what it counts."""

"""Programs that measure; nothing of the product imports them.

Programs of several files are folders (`serving`, `training`, `replicas`, `scaling`, `chaos`);
`load` and `systems` are what they share.
"""

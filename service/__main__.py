"""`python -m service`, as `ncal serve`."""

import runpy

# A spawned process imports its parent's main module again, unless that is a `__main__.py`.
# The engine's process needs `service.command`: it prepares itself there.
runpy.run_module("service.command", run_name="__main__", alter_sys=True)

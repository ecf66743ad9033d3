"""The commands of training, `ncal train` and its sisters: what each is asked, and what it runs.

What a command needs is imported when it runs: `--help` must not wait for torch.
"""

"""Labels any number of files on a cluster of Ray, `ncal label --ray`.

Each part of the input (a file, or so many of its rows) becomes one file of the output, whole or
not at all, named after the part and the model: what lies there is done, and nothing else has to
be remembered. `rows` is the heart; `cluster` alone knows Ray.
"""

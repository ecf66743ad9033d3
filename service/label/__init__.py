"""Labels whole files through the service: `python -m service.label FILE`.

The way of the data: `table` reads rows, `items` makes items of them, `client` has the service
classify them, `journal` keeps each answer at once, and `output` writes the labelled file.
"""

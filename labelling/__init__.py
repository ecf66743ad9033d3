"""Labels whole files through the service, `ncal label FILE`, and what is typed, `ncal ask`.

The way of the data: `tables` reads rows, `items` makes items of them, `client` has the service
classify them, `journal` keeps each answer at once, and `results` has what is written of them.
"""

"""The page at `/` for people without a terminal: files for a browser, a client of the API."""

"""The pictures of the pages: `make pictures` draws them anew."""

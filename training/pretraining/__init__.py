"""A small decoder and its tokenizer, made from nothing."""

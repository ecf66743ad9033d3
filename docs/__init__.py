"""Pages for people, and the program that draws their pictures."""

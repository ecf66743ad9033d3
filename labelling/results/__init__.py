"""What is made of the answers: the labelled file, structures, a summary, files for
reviewers: what to look at, and what to label next."""

"""What is made of the answers: the labelled file, structures, a summary, a file for reviewers."""

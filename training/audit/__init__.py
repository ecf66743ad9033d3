"""Which labels of a data set look wrong: doubts of a model that never saw them, duplicates that
disagree, classes that are mixed up; a ranked file for review."""

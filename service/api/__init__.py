"""The endpoints: what each takes, asks the classifier, and answers."""

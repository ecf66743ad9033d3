"""The command `ncal`: starts the program that is asked for, and only then imports it."""

"""The command line: each command parses, calls one function, turns the answer into an exit code."""

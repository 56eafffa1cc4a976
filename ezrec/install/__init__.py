"""Installation, upgrade and removal: plans of steps, executed by one small runner.

Nothing here needs more than Python's standard library: `install.sh` runs it from a clone, before there
is anything else. It writes programs, units and settings, and never touches a recording.
"""

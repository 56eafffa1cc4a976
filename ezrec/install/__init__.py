"""Installs, upgrades and removes EZREC: plans of steps, and one small runner.

Needs Python's standard library only: `install.sh` runs it from a clone, before anything is installed. It
writes programs, units and settings, and never touches a recording.
"""

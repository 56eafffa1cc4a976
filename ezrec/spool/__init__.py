"""The spool: jobs as directories, moved by atomic renames. The only package that moves, builds or removes
entries.
"""

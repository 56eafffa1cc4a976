"""ezrec/diagnostics"""

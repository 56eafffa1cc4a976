"""ezrec/runtime"""

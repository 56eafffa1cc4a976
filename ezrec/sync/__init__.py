"""ezrec/sync"""

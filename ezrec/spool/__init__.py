"""ezrec/spool"""

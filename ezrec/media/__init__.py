"""ezrec/media"""

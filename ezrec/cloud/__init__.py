"""ezrec/cloud"""

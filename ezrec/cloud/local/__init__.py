"""ezrec/cloud/local"""

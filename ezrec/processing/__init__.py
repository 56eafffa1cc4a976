"""ezrec/processing"""

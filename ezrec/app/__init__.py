"""ezrec/app"""

"""ezrec/publishing"""

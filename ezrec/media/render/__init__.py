"""ezrec/media/render"""

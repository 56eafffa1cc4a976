"""ezrec/media/mp4"""

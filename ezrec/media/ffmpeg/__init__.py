"""ezrec/media/ffmpeg"""

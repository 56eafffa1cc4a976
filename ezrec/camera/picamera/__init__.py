"""ezrec/camera/picamera"""

"""ezrec/camera/overlay"""

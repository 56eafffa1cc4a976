"""ezrec/system"""

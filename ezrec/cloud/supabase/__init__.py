"""ezrec/cloud/supabase"""

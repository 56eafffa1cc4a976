"""The port `Backend`: a Supabase project in `supabase/`, this machine's own disk in `local/`."""

"""The Supabase backend: REST, sign-in, storage and resumable uploads (TUS), and what its answers mean."""

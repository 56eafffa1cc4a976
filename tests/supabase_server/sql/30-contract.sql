-- The tables of docs/contract.md as an existing installation has them: text ids, no unique constraints to lean on.
create table bookings (
  id text primary key,
  user_id text not null,
  camera_id text default '0',
  date date,
  start_time text,
  end_time text,
  status text default 'confirmed'
);
create table videos (
  id uuid primary key default gen_random_uuid(),
  user_id text not null,
  filename text not null,
  storage_path text,
  file_url text,
  file_size bigint,
  created_at timestamptz default now(),
  upload_timestamp timestamptz,
  duration_seconds numeric,
  booking_id text,
  camera_id text,
  recording_date date,
  recording_start_time text,
  recording_end_time text
);
create table user_settings (
  user_id text primary key,
  intro_video_path text,
  logo_path text,
  sponsor_logo1_path text,
  sponsor_logo2_path text,
  sponsor_logo3_path text
);
create table system_status (
  id bigserial primary key,
  user_id text not null,
  camera_id text not null,
  pi_active boolean,
  last_heartbeat timestamptz,
  cpu_usage_percent numeric,
  memory_usage_percent numeric,
  disk_usage_percent numeric,
  temperature_celsius numeric,
  memory_total_gb numeric,
  memory_available_gb numeric,
  disk_total_gb numeric,
  disk_free_gb numeric,
  updated_at timestamptz
);
create table cameras (
  id text primary key,
  user_id text,
  name text,
  is_recording boolean,
  last_seen timestamptz,
  status text
);
-- Tables under row-level security without a policy: what a device without rights meets.
create table locked (id text primary key, note text);
alter table locked enable row level security;

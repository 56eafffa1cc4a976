-- Where Realtime reads the write-ahead log, the test project hears of changed bookings by a notification:
-- the keys alone, because a notification holds 8,000 bytes. Who listens fetches the row with his own rights.
create function notify_realtime() returns trigger language plpgsql security definer as $$
declare
  changed bookings := case when tg_op = 'DELETE' then old else new end;
begin
  perform pg_notify('realtime', json_build_object(
    'type', tg_op, 'table', tg_table_name, 'id', changed.id, 'user_id', changed.user_id)::text);
  return null;
end
$$;
create trigger realtime after insert or update or delete on bookings
  for each row execute function notify_realtime();

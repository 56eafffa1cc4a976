// What PostgREST calls its schema cache: tables, columns, defaults and primary keys.

const COLUMNS = `
  select c.relname as table, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
         pg_get_expr(d.adbin, d.adrelid) as default
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f')
  order by a.attnum`

const PRIMARY_KEYS = `
  select c.relname as table, array_agg(a.attname::text order by k.place) as columns
  from pg_constraint x
  join pg_class c on c.oid = x.conrelid
  join pg_namespace n on n.oid = c.relnamespace
  cross join unnest(x.conkey) with ordinality k(number, place)
  join pg_attribute a on a.attrelid = x.conrelid and a.attnum = k.number
  where x.contype = 'p' and n.nspname = $1
  group by 1`

/** @returns {Promise<Map<string, {name: string, columns: Map<string, object>, key: string[]}>>} */
export async function loadTables(pool, schema) {
  const tables = new Map()
  for (const column of (await pool.query(COLUMNS, [schema])).rows) {
    if (!tables.has(column.table)) {
      tables.set(column.table, { name: column.table, columns: new Map(), key: [] })
    }
    tables.get(column.table).columns.set(column.name, column)
  }
  for (const { table, columns } of (await pool.query(PRIMARY_KEYS, [schema])).rows) {
    tables.get(table).key = columns
  }
  return tables
}

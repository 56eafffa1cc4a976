// PostgREST over a real PostgreSQL: roles, row-level security and constraints are the real thing.
// Left out: embedding, functions, CSV, full text. What is here answers as PostgREST 13 does.
import { RestError } from './errors.mjs'
import { columnsOf, literal, orderBy, quoted, sortParameters, splitList, unquoted, where } from './rest_query.mjs'
import { loadTables } from './rest_schema.mjs'

const SCHEMA = 'public'
const SINGLE = 'application/vnd.pgrst.object+json'

export class Rest {
  constructor({ pool, maxRows }) {
    this.pool = pool
    this.maxRows = maxRows
    this.tables = new Map()
  }

  async reload() {
    this.tables = await loadTables(this.pool, SCHEMA)
  }

  /** request: {method, path, parameters, headers, body, caller} → {status, headers, body} */
  async handle(request) {
    const name = request.path.slice(1)
    const table = this.tables.get(name)
    if (!table) {
      throw new RestError(404, 'PGRST205', `Could not find the table '${SCHEMA}.${name}' in the schema cache`)
    }
    const context = {
      request,
      table,
      query: sortParameters(request.parameters),
      prefer: preferences(request.headers.prefer),
      isSingle: (request.headers.accept || '').includes(SINGLE),
    }
    switch (request.method) {
      case 'GET':
      case 'HEAD':
        return this.read(context)
      case 'POST':
        return this.insert(context)
      case 'PATCH':
        return this.update(context)
      case 'DELETE':
        return this.delete(context)
      default:
        throw new RestError(405, 'PGRST117', `Unsupported HTTP method: ${request.method}`)
    }
  }

  async read(context) {
    const { table, query, prefer, request } = context
    const values = []
    const offset = amount(query.offset, 0, 'Offset')
    const limit = Math.min(amount(query.limit, Infinity, 'Limit'), this.maxRows)
    const from = `from ${fullName(table)}${where(table, query, values)}`
    const rows = `select ${columnsOf(table, query.select)} ${from}${orderBy(table, query.order)} limit ${limit} offset ${offset}`
    const total = prefer.count ? `(select count(*) ${from})` : 'null::bigint'
    const sql = `with rows as (${rows}) select ${total} as total, count(row) as n, ${asJson(context, 'row')} as body from (select * from rows) row`
    const found = await this.run(context, true, sql, values)
    const n = Number(found.n)
    const count = found.total === null ? null : Number(found.total)
    if (count !== null && offset > count) {
      throw new RestError(416, 'PGRST103', 'Requested range not satisfiable', {
        details: `An offset of ${offset} was requested, but there are only ${count} rows.`,
        headers: { 'content-range': `*/${count}` },
      })
    }
    mustBeOne(context, n)
    return {
      status: count !== null && n < count ? 206 : 200,
      headers: headersOf(context, range(n, offset, count)),
      body: request.method === 'HEAD' ? '' : found.body,
    }
  }

  async insert(context) {
    const { table, query, prefer } = context
    const { rows, columns } = this.payload(context)
    const record = columns.map((name) => `${quoted(name)} ${table.columns.get(name).type}`).join(', ')
    const defaults = columns
      .filter((name) => prefer.missing === 'default' && table.columns.get(name).default)
      .map((name) => `${literal(name)}, ${table.columns.get(name).default}`)
    const element = defaults.length ? `jsonb_build_object(${defaults.join(', ')}) || element` : 'element'
    if (!columns.length) return this.answerWrite(context, { n: 0, body: '[]' }, 201)
    const names = columns.map(quoted).join(', ')
    const conflict = onConflict(context, columns)
    const sql = `insert into ${fullName(table)}(${names}) select ${columns.map((name) => `given.${quoted(name)}`).join(', ')}
      from jsonb_array_elements($1::jsonb) element, jsonb_to_record(${element}) as given(${record})${conflict}
      returning ${fullName(table)}.*, (xmax::text::bigint = 0) as _inserted`
    const written = await this.write(context, sql, [JSON.stringify(rows)], '(select count(*) from rows where _inserted)')
    const onlyUpdated = conflict && written.n && !written.inserted
    return this.answerWrite(context, written, onlyUpdated ? 200 : 201, query)
  }

  async update(context) {
    const { table, query, prefer } = context
    const { rows, columns } = this.payload(context)
    if (!columns.length) {
      return this.answerWrite(context, { n: 0, body: '[]' }, prefer.return === 'representation' ? 200 : 204)
    }
    const values = [JSON.stringify(rows[0] ?? {})]
    const record = columns.map((name) => `${quoted(name)} ${table.columns.get(name).type}`).join(', ')
    const sets = columns.map((name) => `${quoted(name)} = given.${quoted(name)}`).join(', ')
    const filters = where(table, query, values)
    const sql = `update ${fullName(table)} set ${sets} from jsonb_to_record($1::jsonb) as given(${record})${filters} returning ${fullName(table)}.*`
    const written = await this.write(context, sql, values)
    return this.answerWrite(context, written, prefer.return === 'representation' ? 200 : 204)
  }

  async delete(context) {
    const { table, query, prefer } = context
    const values = []
    const filters = where(table, query, values)
    const written = await this.write(context, `delete from ${fullName(table)}${filters} returning *`, values)
    return this.answerWrite(context, written, prefer.return === 'representation' ? 200 : 204)
  }

  /** The rows of a body and their common columns; PostgREST takes no ragged rows. */
  payload({ request, table, query }) {
    let body
    try {
      body = JSON.parse(request.body.toString())
    } catch {
      throw new RestError(400, 'PGRST102', 'Empty or invalid json')
    }
    const rows = Array.isArray(body) ? body : [body]
    const columns = query.columns ? splitList(query.columns).map(unquoted) : Object.keys(rows[0] ?? {})
    const isRagged = (row) =>
      Object.keys(row).length !== columns.length || columns.some((name) => !(name in row))
    if (!query.columns && rows.some(isRagged)) {
      throw new RestError(400, 'PGRST102', 'All object keys must match')
    }
    for (const name of columns) {
      if (!table.columns.has(name)) {
        const message = `Could not find the '${name}' column of '${table.name}' in the schema cache`
        throw new RestError(400, 'PGRST204', message)
      }
    }
    return { rows, columns }
  }

  async write(context, sql, values, inserted = '0') {
    const { table, query, prefer } = context
    const wanted = prefer.return === 'representation'
    const columns =
      query.select && query.select !== '*'
        ? columnsOf(table, query.select)
        : [...table.columns.keys()].map((name) => `${quoted(table.name)}.${quoted(name)}`).join(', ')
    const body = wanted
      ? `(select ${asJson(context, 'row')} from (select ${columns} from rows as ${quoted(table.name)}) row)`
      : `''`
    const written = await this.run(
      context,
      false,
      `with rows as (${sql}) select (select count(*) from rows) as n, ${inserted} as inserted, ${body} as body`,
      values,
      (row) => wanted && mustBeOne(context, Number(row.n)),
    )
    return { n: Number(written.n), inserted: Number(written.inserted), body: written.body }
  }

  answerWrite(context, written, status) {
    const { prefer, request } = context
    const count = prefer.count ? written.n : null
    const contentRange = request.method === 'PATCH' ? range(written.n, 0, count) : `*/${count ?? '*'}`
    const hasBody = prefer.return === 'representation'
    const headers = headersOf(context, contentRange)
    if (!hasBody) delete headers['content-type']
    return { status, headers, body: hasBody ? written.body : '' }
  }

  /** One statement in one transaction, under the caller's role and limits. `check` may still undo it. */
  async run({ request }, readOnly, sql, values, check = () => {}) {
    const { caller } = request
    const client = await this.pool.connect()
    let broken = false
    try {
      await client.query(readOnly ? 'begin read only' : 'begin')
      await this.become(client, caller)
      const { rows } = await client.query(sql, values)
      check(rows[0])
      await client.query('commit')
      return rows[0]
    } catch (fault) {
      await client.query('rollback').catch(() => (broken = true))
      throw fault instanceof RestError || !fault.code ? fault : fromPostgres(fault, caller.role === 'anon')
    } finally {
      client.release(broken)
    }
  }

  async become(client, { role, claims }) {
    try {
      await client.query(
        `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true),
                set_config('search_path', 'public, extensions', true)`,
        [role, JSON.stringify(claims)],
      )
    } catch (fault) {
      if (fault.code !== '22023') throw fault
      throw new RestError(401, '22023', fault.message, { headers: { 'www-authenticate': 'Bearer' } })
    }
    await client.query(
      `select set_config('statement_timeout', split_part(setting, '=', 2), true)
       from pg_db_role_setting s join pg_roles r on r.oid = s.setrole, unnest(setconfig) setting
       where r.rolname = $1 and setting like 'statement_timeout=%'`,
      [role],
    )
  }
}

const fullName = (table) => `${SCHEMA}.${quoted(table.name)}`

function preferences(header = '') {
  return Object.fromEntries(header.split(',').map((item) => item.trim().split('=')))
}

function amount(text, otherwise, what) {
  const number = text === undefined ? otherwise : Number(text)
  if (number >= 0) return number
  throw new RestError(416, 'PGRST103', 'Requested range not satisfiable', {
    details: `${what} should be greater than or equal to zero.`,
  })
}

function onConflict({ table, query, prefer }, columns) {
  const target = query.on_conflict ? splitList(query.on_conflict).map(unquoted) : table.key
  if (!target.length || !/^(merge|ignore)-duplicates$/.test(prefer.resolution ?? '')) return ''
  const sets = columns.map((name) => `${quoted(name)} = excluded.${quoted(name)}`).join(', ')
  const action = prefer.resolution === 'ignore-duplicates' ? 'nothing' : `update set ${sets}`
  return ` on conflict(${target.map(quoted).join(', ')}) do ${action}`
}

function asJson({ isSingle }, row) {
  return isSingle ? `coalesce(json_agg(${row})->0, 'null')::text` : `coalesce(json_agg(${row}), '[]')::text`
}

function mustBeOne({ isSingle }, n) {
  if (!isSingle || n === 1) return
  throw new RestError(406, 'PGRST116', 'Cannot coerce the result to a single JSON object', {
    details: `The result contains ${n} rows`,
  })
}

const range = (n, offset, total) => (n ? `${offset}-${offset + n - 1}` : '*') + `/${total ?? '*'}`

function headersOf({ isSingle }, contentRange) {
  const type = isSingle ? SINGLE : 'application/json'
  return { 'content-type': `${type}; charset=utf-8`, 'content-range': contentRange }
}

const BY_CODE = { 23503: 409, 23505: 409, 25006: 405, '42P01': 404, 53400: 500, '57P01': 503, P0001: 400 }
const BY_CLASS = { '08': 503, 25: 500, 28: 403, 40: 500, 53: 503, 54: 500, 55: 500, 57: 500, 58: 500, XX: 500 }

function fromPostgres(fault, isAnonymous) {
  const refused = isAnonymous ? 401 : 403
  const status = fault.code === '42501' ? refused : (BY_CODE[fault.code] ?? BY_CLASS[fault.code.slice(0, 2)] ?? 400)
  return new RestError(status, fault.code, fault.message, { details: fault.detail ?? null, hint: fault.hint ?? null })
}

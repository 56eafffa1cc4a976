// Objects: rows of storage.objects under the caller's role, bytes on disk under a version of their own.
import crypto from 'node:crypto'
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import path from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { badKey, databaseError, denied, duplicate, noBucket, noObject, StorageError, tooLarge, wrongType } from './errors.mjs'

const KEY = /^[\w/!\-.*'() &$@=;:+,?]+$/

export class Storage {
  constructor({ pool, directory, sizeLimit }) {
    this.pool = pool
    this.directory = directory
    this.sizeLimit = sizeLimit
    for (const name of ['objects', 'incoming', 'tus']) fs.mkdirSync(path.join(directory, name), { recursive: true })
  }

  file(version) {
    return path.join(this.directory, 'objects', version)
  }

  /** Run `work` in a transaction as `caller` (null: as the service), and undo it when `rehearse` is set. */
  async as(caller, work, { rehearse = false } = {}) {
    const client = await this.pool.connect()
    try {
      await client.query('begin')
      if (caller) {
        await client.query(`select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`, [
          caller.role,
          JSON.stringify(caller.claims),
        ])
      }
      const result = await work(client)
      await client.query(rehearse ? 'rollback' : 'commit')
      return result
    } catch (fault) {
      await client.query('rollback').catch(() => {})
      throw translated(fault)
    } finally {
      client.release()
    }
  }

  async bucket(id) {
    const { rows } = await this.pool.query('select * from storage.buckets where id = $1', [id])
    if (!rows[0]) throw noBucket()
    return rows[0]
  }

  limitOf(bucket) {
    return Math.min(Number(bucket.file_size_limit ?? this.sizeLimit), this.sizeLimit)
  }

  /** Would this caller be allowed to write this object? Row-level security and uniqueness decide. */
  async rehearseUpload(caller, bucket, name, { upsert, type, size }) {
    if (!isKey(name)) throw badKey(name)
    if (size !== undefined && size > this.limitOf(bucket)) throw tooLarge()
    const allowed = bucket.allowed_mime_types
    if (type && allowed && !allowed.some((pattern) => matchesType(type, pattern))) throw wrongType(type)
    const onConflict = upsert ? ' on conflict (bucket_id, name) do update set version = excluded.version' : ''
    const sql = `insert into storage.objects(bucket_id, name, owner_id, version) values ($1, $2, $3, 'rehearsal')${onConflict}`
    const values = [bucket.id, name, caller.claims.sub ?? null]
    await this.as(caller, (client) => client.query(sql, values), { rehearse: true })
  }

  /** Make stored bytes the object's content, and drop the version it had. */
  async complete(caller, bucket, name, { upsert, version, size, etag, type, cacheControl, userMetadata = null }) {
    const metadata = {
      eTag: `"${etag}"`,
      size,
      mimetype: type,
      cacheControl,
      lastModified: new Date().toISOString(),
      contentLength: size,
      httpStatusCode: 200,
    }
    const { former, id } = await this.as(null, async (client) => {
      const { rows: found } = await client.query(
        'select version from storage.objects where bucket_id = $1 and name = $2 for update',
        [bucket.id, name],
      )
      if (found[0] && !upsert) throw duplicate()
      const { rows } = await client.query(
        `insert into storage.objects(bucket_id, name, owner_id, metadata, version, user_metadata)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (bucket_id, name) do update
         set metadata = excluded.metadata, version = excluded.version, owner_id = excluded.owner_id,
             user_metadata = excluded.user_metadata, updated_at = now()
         returning id`,
        [bucket.id, name, caller.claims.sub ?? null, metadata, version, userMetadata],
      )
      return { former: found[0]?.version, id: rows[0].id }
    })
    if (former && former !== version) await fsp.rm(this.file(former), { force: true })
    return id
  }

  async keep(stream, limit) {
    const version = crypto.randomUUID()
    const incoming = path.join(this.directory, 'incoming', version)
    const hash = crypto.createHash('md5')
    let size = 0
    const measure = new Transform({
      transform(chunk, _encoding, done) {
        size += chunk.length
        hash.update(chunk)
        done(size > limit ? tooLarge() : null, chunk)
      },
    })
    try {
      await pipeline(stream, measure, fs.createWriteStream(incoming))
    } catch (fault) {
      await fsp.rm(incoming, { force: true })
      throw fault
    }
    await fsp.rename(incoming, this.file(version))
    return { version, size, etag: hash.digest('hex') }
  }

  async find(caller, bucket, name) {
    const sql = 'select * from storage.objects where bucket_id = $1 and name = $2'
    const { rows } = await this.as(caller, (client) => client.query(sql, [bucket, name]))
    if (!rows[0]) throw noObject()
    return rows[0]
  }

  /** Another name, if the caller may update the object; whoever moves it becomes its owner. */
  async move(caller, bucket, from, to) {
    if (!isKey(to)) throw badKey(to)
    const sql = 'update storage.objects set name = $3, owner_id = $4 where bucket_id = $1 and name = $2 returning id'
    const values = [bucket, from, to, caller.claims.sub ?? null]
    const { rowCount } = await this.as(caller, (client) => client.query(sql, values))
    if (!rowCount) throw noObject()
  }

  async remove(caller, bucket, names) {
    const sql = 'delete from storage.objects where bucket_id = $1 and name = any($2) returning *'
    const { rows } = await this.as(caller, (client) => client.query(sql, [bucket, names]))
    for (const row of rows) await fsp.rm(this.file(row.version), { force: true })
    return rows
  }

  /** One folder level, folders first, as the service lists it. */
  async list(caller, bucket, { prefix = '', search = '', limit = 100, offset = 0, sortBy = {} }) {
    const folder = prefix ? prefix.replace(/\/?$/, '/') : ''
    const column = ['name', 'created_at', 'updated_at'].includes(sortBy.column) ? sortBy.column : 'name'
    const direction = sortBy.order === 'desc' ? 'desc' : 'asc'
    const sql = `
      with below as (
        select *, substr(name, length($2) + 1) as rest from storage.objects
        where bucket_id = $1 and starts_with(name, $2) and substr(name, length($2) + 1) ilike $3
      ), level as (
        select distinct split_part(rest, '/', 1) as name, null::uuid as id, null::timestamptz as updated_at,
               null::timestamptz as created_at, null::timestamptz as last_accessed_at, null::jsonb as metadata
        from below where position('/' in rest) > 0
        union all
        select rest, id, updated_at, created_at, last_accessed_at, metadata from below where position('/' in rest) = 0
      )
      select * from level order by id is not null, ${column} ${direction} limit $4 offset $5`
    const values = [bucket, folder, `${search}%`, limit, offset]
    return (await this.as(caller, (client) => client.query(sql, values))).rows
  }

  /** The object as an HTTP answer, with ranges, so that a player may seek. */
  async send({ method, headers }, object) {
    const { size } = await fsp.stat(this.file(object.version)).catch(() => ({ size: -1 }))
    if (size < 0) throw noObject()
    const { mimetype, eTag, cacheControl } = object.metadata
    const answer = { 'content-type': mimetype, etag: eTag, 'cache-control': cacheControl, 'accept-ranges': 'bytes' }
    let [start, end, status] = [0, size - 1, 200]
    const range = headers.range?.match(/^bytes=(\d*)-(\d*)$/)
    if (range && (range[1] || range[2])) {
      start = range[1] ? Number(range[1]) : Math.max(0, size - Number(range[2]))
      if (range[1] && range[2]) end = Math.min(Number(range[2]), end)
      if (start >= size) throw new StorageError('InvalidRange', 416, 'InvalidRange', 'Range Not Satisfiable', 416)
      status = 206
      answer['content-range'] = `bytes ${start}-${end}/${size}`
    }
    answer['content-length'] = size ? end - start + 1 : 0
    const isEmpty = method === 'HEAD' || !size
    return { status, headers: answer, body: isEmpty ? '' : fs.createReadStream(this.file(object.version), { start, end }) }
  }
}

export const isKey = (name) => KEY.test(name)

function matchesType(type, pattern) {
  return pattern === '*/*' || pattern === type || (pattern.endsWith('/*') && type.startsWith(pattern.slice(0, -1)))
}

function translated(fault) {
  if (fault instanceof StorageError || !fault.code) return fault
  if (fault.code === '42501') return denied()
  if (fault.code === '23505') return duplicate()
  if (fault.code === '23503') return noBucket()
  return /^[0-9A-Z]{5}$/.test(fault.code) && !fault.code.startsWith('57P') ? databaseError(fault.code) : fault
}

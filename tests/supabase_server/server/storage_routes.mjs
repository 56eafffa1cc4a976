// Which path of /storage/v1 does what. The routes are one table, tried in order.
import { SignJWT, jwtVerify } from 'jose'
import { badRequest, denied, noBucket, noObject, StorageError } from './errors.mjs'

export class StorageRoutes {
  constructor({ storage, tus, auth, secret }) {
    this.storage = storage
    this.tus = tus
    this.auth = auth
    this.key = new TextEncoder().encode(secret)
  }

  /** → {status, headers, body}, or null when the answer has been sent already. */
  async handle(request) {
    try {
      if (request.path.startsWith('/upload/resumable')) return await this.tus.handle(request)
      return await this.route(request)
    } catch (fault) {
      if (!(fault instanceof StorageError)) throw fault
      const body = request.method === 'HEAD' ? '' : fault.json()
      const close = fault.code === 'EntityTooLarge' // the service does not read the rest of such a body
      return { status: fault.http, headers: { 'content-type': 'application/json; charset=utf-8' }, body, close }
    }
  }

  async route(request) {
    for (const [methods, pattern, isOpen, action] of ROUTES) {
      const match = methods.includes(request.method) && request.path.match(pattern)
      if (!match) continue
      if (!isOpen && !request.headers.authorization) {
        throw badRequest("headers must have required property 'authorization'")
      }
      const caller = isOpen ? null : await this.auth.storageCaller(request.headers)
      return this[action](request, caller, ...match.slice(1))
    }
    const message = `Route ${request.method}:${request.path} not found`
    return json({ message, error: 'Not Found', statusCode: 404 }, 404)
  }

  async listBuckets(_request, caller) {
    const work = (client) => client.query('select * from storage.buckets order by name')
    return json((await this.storage.as(caller, work)).rows)
  }

  async createBucket(request, caller) {
    const { id, name, public: isPublic, file_size_limit: limit, allowed_mime_types: types } = await bodyOf(request)
    if (!name) throw badRequest("body must have required property 'name'")
    const sql = `insert into storage.buckets(id, name, public, file_size_limit, allowed_mime_types) values ($1, $2, $3, $4, $5)`
    const values = [id || name, name, Boolean(isPublic), limit ?? null, types ?? null]
    await this.storage.as(caller, (client) => client.query(sql, values)).catch((fault) => {
      if (fault.code !== 'KeyAlreadyExists') throw fault
      throw new StorageError('BucketAlreadyExists', 409, 'Duplicate', 'The resource already exists')
    })
    return json({ name })
  }

  async showBucket(_request, caller, id) {
    const sql = 'select * from storage.buckets where id = $1'
    const { rows } = await this.storage.as(caller, (client) => client.query(sql, [id]))
    if (!rows[0]) throw noBucket()
    return json(rows[0])
  }

  async upload(request, caller, bucketId, name) {
    const { headers, method, raw } = request
    const bucket = await this.storage.bucket(bucketId)
    const upsert = method === 'PUT' || headers['x-upsert'] === 'true'
    let stream = raw
    let type = headers['content-type'] || 'application/octet-stream'
    let size = headers['content-length'] ? Number(headers['content-length']) : undefined
    if (type.startsWith('multipart/form-data')) {
      const file = await fileOfForm(request)
      stream = file.stream()
      type = file.type || 'application/octet-stream'
      size = file.size
    }
    type = type.split(';')[0]
    await this.storage.rehearseUpload(caller, bucket, name, { upsert, type, size })
    const kept = await this.storage.keep(stream, this.storage.limitOf(bucket))
    const cacheControl = headers['cache-control'] || 'no-cache'
    const id = await this.storage.complete(caller, bucket, name, { upsert, type, cacheControl, ...kept })
    return json({ Key: `${bucketId}/${name}`, Id: id })
  }

  async download(request, caller, bucketId, name) {
    await this.storage.bucket(bucketId)
    return this.storage.send(request, await this.storage.find(caller, bucketId, name))
  }

  async downloadPublic(request, _caller, bucketId, name) {
    if (!(await this.storage.bucket(bucketId)).public) throw noBucket()
    return this.storage.send(request, await this.storage.find(null, bucketId, name))
  }

  async downloadSigned(request, _caller, bucketId, name) {
    let claims
    try {
      claims = (await jwtVerify(request.query.get('token') || '', this.key)).payload
    } catch (fault) {
      throw new StorageError('InvalidJWT', 400, 'InvalidJWT', fault.message)
    }
    if (claims.url !== `${bucketId}/${name}`) {
      throw new StorageError('InvalidSignature', 400, 'InvalidSignature', 'The url do not match the signature')
    }
    return this.storage.send(request, await this.storage.find(null, bucketId, name))
  }

  async sign(request, caller, bucketId, name) {
    const { expiresIn } = await bodyOf(request)
    await this.storage.find(caller, bucketId, name)
    const token = await new SignJWT({ url: `${bucketId}/${name}` })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1000) + expiresIn)
      .sign(this.key)
    return json({ signedURL: `/object/sign/${bucketId}/${name}?token=${token}` })
  }

  async info(_request, caller, bucketId, name) {
    const object = await this.storage.find(caller, bucketId, name)
    const { size, mimetype, cacheControl, eTag, lastModified } = object.metadata
    return json({
      id: object.id,
      name: object.name,
      version: object.version,
      bucket_id: object.bucket_id,
      size,
      content_type: mimetype,
      cache_control: cacheControl,
      etag: eTag,
      metadata: object.user_metadata ?? {},
      last_modified: lastModified,
      created_at: object.created_at,
    })
  }

  async list(request, caller, bucketId) {
    return json(await this.storage.list(caller, bucketId, await bodyOf(request)))
  }

  async move(request, caller) {
    const { bucketId, sourceKey, destinationKey } = await bodyOf(request)
    await this.storage.bucket(bucketId)
    await this.storage.move(caller, bucketId, sourceKey, destinationKey)
    return json({ message: 'Successfully moved' })
  }

  async removeMany(request, caller, bucketId) {
    await this.storage.bucket(bucketId)
    return json(await this.storage.remove(caller, bucketId, (await bodyOf(request)).prefixes))
  }

  async removeOne(_request, caller, bucketId, name) {
    await this.storage.bucket(bucketId)
    const sql = 'select from storage.objects where bucket_id = $1 and name = $2'
    const { rowCount } = await this.storage.pool.query(sql, [bucketId, name])
    if (!rowCount) throw noObject()
    if (!(await this.storage.remove(caller, bucketId, [name])).length) throw denied('Access denied')
    return json({ message: 'Successfully deleted' })
  }
}

const OPEN = true
const CLOSED = false
const ROUTES = [
  [['GET', 'HEAD'], /^\/object\/public\/([^/]+)\/(.+)$/, OPEN, 'downloadPublic'],
  [['GET', 'HEAD'], /^\/object\/sign\/([^/]+)\/(.+)$/, OPEN, 'downloadSigned'],
  [['GET'], /^\/bucket$/, CLOSED, 'listBuckets'],
  [['POST'], /^\/bucket$/, CLOSED, 'createBucket'],
  [['GET'], /^\/bucket\/([^/]+)$/, CLOSED, 'showBucket'],
  [['POST'], /^\/object\/list\/([^/]+)$/, CLOSED, 'list'],
  [['POST'], /^\/object\/sign\/([^/]+)\/(.+)$/, CLOSED, 'sign'],
  [['GET', 'HEAD'], /^\/object\/info\/(?:authenticated\/)?([^/]+)\/(.+)$/, CLOSED, 'info'],
  [['POST'], /^\/object\/move$/, CLOSED, 'move'],
  [['DELETE'], /^\/object\/([^/]+)$/, CLOSED, 'removeMany'],
  [['GET', 'HEAD'], /^\/object\/(?:authenticated\/)?([^/]+)\/(.+)$/, CLOSED, 'download'],
  [['POST', 'PUT'], /^\/object\/([^/]+)\/(.+)$/, CLOSED, 'upload'],
  [['DELETE'], /^\/object\/([^/]+)\/(.+)$/, CLOSED, 'removeOne'],
]

async function bodyOf({ raw }) {
  const chunks = []
  for await (const chunk of raw) chunks.push(chunk)
  try {
    return JSON.parse(Buffer.concat(chunks).toString() || '{}')
  } catch {
    throw badRequest('body must be object')
  }
}

async function fileOfForm({ raw, headers }) {
  const body = new Response(raw, { headers: { 'content-type': headers['content-type'] } })
  for (const [, value] of await body.formData()) if (typeof value === 'object') return value
  throw badRequest('No file provided')
}

function json(value, status = 200) {
  return { status, headers: { 'content-type': 'application/json; charset=utf-8' }, body: JSON.stringify(value) }
}

// Resumable uploads by the library and version that Supabase's storage runs, with its checks around it.
import crypto from 'node:crypto'
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import path from 'node:path'
import { FileConfigstore, FileStore } from '@tus/file-store'
import { Server } from '@tus/server'
import { badKey, StorageError, tooLarge } from './errors.mjs'
import { isKey } from './storage.mjs'

const MOUNT = '/storage/v1/upload/resumable'

export class Tus {
  constructor({ storage, auth, expiryMs }) {
    this.storage = storage
    this.auth = auth
    this.directory = path.join(storage.directory, 'tus')
    this.store = new FileStore({
      directory: this.directory,
      configstore: new FileConfigstore(this.directory),
      expirationPeriodInMilliseconds: expiryMs,
    })
    this.server = new Server({
      path: MOUNT,
      datastore: this.store,
      respectForwardedHeaders: true,
      disableTerminationForFinishedUploads: true,
      allowedHeaders: ['Authorization', 'X-Upsert', 'Upload-Expires', 'ApiKey'],
      namingFunction: (_request, metadata) => newId(metadata),
      generateUrl: (request, { proto, host, path: mount, id }) => {
        const { bucketName, objectName } = metadataOf(nodeRequest(request))
        return `${proto}://${host}${mount}/${encoded(`${bucketName}/${objectName}/${id}`)}`
      },
      getFileIdFromRequest: (request) => {
        const last = new URL(request.url).pathname.split('/').pop()
        return last === 'resumable' || last === '' ? undefined : decoded(last).split('/').pop()
      },
      maxSize: (request, id) => this.maxSize(nodeRequest(request), id),
      onIncomingRequest: (request, id) => this.check(nodeRequest(request), id).catch(rethrow),
      onUploadCreate: async (_request, upload) => ({
        metadata: { ...upload.metadata, cacheControl: cacheControl(upload.metadata) },
      }),
      onUploadFinish: (request, upload) => this.finish(nodeRequest(request), upload).catch(rethrow),
      onResponseError: (_request, fault) =>
        fault instanceof StorageError ? { status_code: fault.status, body: fault.message } : undefined,
    })
  }

  async handle({ method, headers, raw, response }) {
    raw.ezrec = { caller: method === 'OPTIONS' ? null : await this.auth.storageCaller(headers) }
    await this.server.handle(raw, response)
    return null
  }

  async metadata(request, id) {
    return request.method === 'POST' ? metadataOf(request) : (await this.store.getUpload(id)).metadata
  }

  async maxSize(request, id) {
    try {
      const { bucketName } = await this.metadata(request, id)
      return this.storage.limitOf(await this.storage.bucket(bucketName))
    } catch {
      return this.storage.sizeLimit
    }
  }

  /** Row-level security is asked on every POST and PATCH; HEAD needs any valid token. */
  async check(request, id) {
    if (!/^[0-9a-f-]{36}$/.test(id)) throw new StorageError('InvalidUploadId', 400, '', 'Invalid upload id')
    if (request.method === 'HEAD' || request.method === 'OPTIONS') return
    const metadata = await this.metadata(request, id)
    const bucket = await this.storage.bucket(metadata.bucketName)
    const length = request.method === 'POST' ? request.headers['upload-length'] : undefined
    if (length !== undefined && Number(length) > this.storage.limitOf(bucket)) throw tooLarge('Maximum size exceeded\n')
    const upsert = request.headers['x-upsert'] === 'true'
    const { caller } = request.ezrec
    await this.storage.rehearseUpload(caller, bucket, metadata.objectName, { upsert, type: metadata.contentType })
  }

  /** The last byte has come: link the upload as a version of the object. */
  async finish(request, upload) {
    const { bucketName, objectName, contentType } = upload.metadata
    const source = path.join(this.directory, upload.id)
    const bucket = await this.storage.bucket(bucketName)
    const version = upload.id // as the service does it: an object's version is the upload that it was
    const hash = crypto.createHash('md5')
    let size = 0
    for await (const chunk of fs.createReadStream(source)) {
      hash.update(chunk)
      size += chunk.length
    }
    await fsp.link(source, this.storage.file(version))
    try {
      await this.storage.complete(request.ezrec.caller, bucket, objectName, {
        upsert: request.headers['x-upsert'] === 'true',
        version,
        size,
        etag: hash.digest('hex'),
        type: contentType,
        cacheControl: upload.metadata.cacheControl,
        userMetadata: parsed(upload.metadata.metadata),
      })
    } catch (fault) {
      await fsp.rm(this.storage.file(version), { force: true })
      throw fault
    }
    return { headers: { 'Tus-Complete': '1' } }
  }
}

const nodeRequest = (request) => request.runtime.node.req
const encoded = (text) => Buffer.from(text).toString('base64url')
const decoded = (text) => Buffer.from(text, 'base64url').toString()

function metadataOf(request) {
  const pairs = String(request.headers['upload-metadata'] || '')
    .split(',')
    .filter(Boolean)
    .map((pair) => pair.trim().split(' '))
  return Object.fromEntries(pairs.map(([name, value]) => [name, Buffer.from(value || '', 'base64').toString()]))
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function newId(metadata) {
  const refuse = (code, message) => rethrow(new StorageError(code, 400, '', message))
  if (!metadata) refuse('MetadataRequired', 'Metadata header is required')
  if (!metadata.bucketName) refuse('InvalidBucketName', 'Bucket name invalid')
  if (!isKey(metadata.objectName || '')) rethrow(badKey(metadata.objectName || ''))
  return crypto.randomUUID()
}

function cacheControl({ cacheControl: seconds }) {
  return /^-?\d+$/.test(seconds || '') ? `max-age=${seconds}` : 'no-cache'
}

/** The library answers with `status_code` and `body` of what is thrown. */
function rethrow(fault) {
  throw fault instanceof StorageError ? Object.assign(fault, { status_code: fault.status, body: fault.message }) : fault
}

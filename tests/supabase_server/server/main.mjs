// One URL as a Supabase project has it: /rest/v1, /storage/v1, /auth/v1. Loopback only, settings by environment.
import http from 'node:http'
import zlib from 'node:zlib'
import pg from 'pg'
import { Auth } from './auth.mjs'
import { isDatabaseDown, RestError } from './errors.mjs'
import { Rest } from './rest.mjs'
import { Storage } from './storage.mjs'
import { StorageRoutes } from './storage_routes.mjs'
import { Tus } from './tus.mjs'

const { env } = process
const secret = env.JWT_SECRET
const restPool = new pg.Pool({ connectionString: env.DATABASE_URL, max: 5 })
const servicePool = new pg.Pool({ connectionString: env.ADMIN_DATABASE_URL, max: 5 })
for (const pool of [restPool, servicePool]) pool.on('error', () => {}) // a lost idle connection is no reason to end

const auth = new Auth({ pool: servicePool, secret, tokenSeconds: Number(env.TOKEN_SECONDS || 3600) })
const rest = new Rest({ pool: restPool, maxRows: Number(env.MAX_ROWS || 1000) })
const storage = new Storage({
  pool: servicePool,
  directory: env.DATA_DIR,
  sizeLimit: Number(env.FILE_SIZE_LIMIT || 2 ** 31),
})
const tus = new Tus({ storage, auth, expiryMs: Number(env.TUS_EXPIRY_MS || 86400000) })
const storageRoutes = new StorageRoutes({ storage, tus, auth, secret })
await rest.reload()

/** PostgREST reloads its cache on `notify pgrst`. */
async function listenForSchemaChanges() {
  const again = () => setTimeout(listenForSchemaChanges, 500).unref()
  const client = new pg.Client({ connectionString: env.ADMIN_DATABASE_URL })
  client.on('error', () => {})
  client.on('notification', () => rest.reload().catch(() => {}))
  try {
    await client.connect()
    client.on('end', again)
    await client.query('listen pgrst')
    await rest.reload()
  } catch {
    again()
  }
}
await listenForSchemaChanges()

async function answerRest(request) {
  try {
    const body = await bytesOf(request.raw)
    const caller = await auth.restCaller(request.headers)
    return await rest.handle({ ...request, body, caller, parameters: [...request.query] })
  } catch (fault) {
    const said = isDatabaseDown(fault) && !(fault instanceof RestError) ? databaseIsDown(fault) : fault
    if (!(said instanceof RestError)) throw said
    const headers = { 'content-type': 'application/json; charset=utf-8', ...said.headers }
    headers['proxy-status'] = `PostgREST; error=${said.code}`
    return { status: said.status, headers, body: JSON.stringify(said.body) }
  }
}

function databaseIsDown(fault) {
  const message = 'Database connection error. Retrying the connection.'
  return new RestError(503, 'PGRST000', message, { details: fault.message, headers: { 'retry-after': '0' } })
}

async function answerStorage(request) {
  try {
    return await storageRoutes.handle(request)
  } catch (fault) {
    if (!isDatabaseDown(fault)) throw fault
    const body = { statusCode: '500', error: 'Internal', message: 'Internal Server Error', code: 'InternalError' }
    return json(500, body)
  }
}

async function answerAuth(request) {
  return auth.handle({ ...request, body: await bytesOf(request.raw) })
}

const PREFIXES = { '/rest/v1': answerRest, '/storage/v1': answerStorage, '/auth/v1': answerAuth }

async function answer(raw, response) {
  const url = new URL(raw.url, 'http://localhost')
  const path = decodeURIComponent(url.pathname)
  if (path === '/health') return json(200, {})
  const isSigned = /^\/storage\/v1\/object\/(public|sign)\//.test(path) && raw.method === 'GET'
  if (Number(raw.headers['content-length']) > proxyLimit) return tooLargeForTheProxy
  if (!raw.headers.apikey && !isSigned) return json(401, { message: 'No API key found in request' })
  const prefix = Object.keys(PREFIXES).find((start) => path.startsWith(start))
  if (!prefix) return json(404, { message: 'no Route matched with those values' })
  const rest = path.slice(prefix.length)
  const { method, headers } = raw
  return PREFIXES[prefix]({ method, headers, path: rest, query: url.searchParams, raw, response })
}

/** As a proxy in front of a server of one's own may do: `PROXY_BODY_LIMIT` in bytes. */
const proxyLimit = Number(env.PROXY_BODY_LIMIT || Infinity)
const tooLargeForTheProxy = {
  status: 413,
  headers: { 'content-type': 'text/html' },
  body: '<html><h1>413 Request Entity Too Large</h1></html>',
  close: true,
}

/** As the network in front of a hosted project does: `GZIP=1`. */
function packed(request, result) {
  const isJson = typeof result?.body === 'string' && result.body.length > 150
  if (!env.GZIP || !isJson || !/gzip/.test(request.headers['accept-encoding'] || '')) return result
  return { ...result, headers: { ...result.headers, 'content-encoding': 'gzip' }, body: zlib.gzipSync(result.body) }
}

function send(response, result) {
  if (!result) return
  for (const [name, value] of Object.entries(result.headers)) if (value !== undefined) response.setHeader(name, value)
  if (result.close) response.setHeader('connection', 'close')
  response.statusCode = result.status
  if (typeof result.body?.pipe !== 'function') return response.end(result.body)
  result.body.on('error', () => response.destroy())
  result.body.pipe(response)
}

const server = http.createServer(async (raw, response) => {
  try {
    if (env.GATEWAY_HEADER) response.setHeader(env.GATEWAY_HEADER, 'x')
    const result = await answer(raw, response)
    if (result && !raw.complete) raw.resume()
    send(response, packed(raw, result))
  } catch (fault) {
    console.error(fault)
    if (response.headersSent) response.destroy()
    else send(response, json(500, { message: String(fault.message) }))
  }
})
server.keepAliveTimeout = 65000
server.listen(Number(env.PORT || 0), '127.0.0.1', () => console.log(`port ${server.address().port}`))

async function bytesOf(stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function json(status, value) {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) }
}

process.on('SIGTERM', () => process.exit(0))

// Realtime, as far as a listener of one table needs it: the Phoenix protocol, join, heartbeat, token, changes.
import { jwtVerify } from 'jose'
import pg from 'pg'
import { WebSocketServer } from 'ws'

const PATH = '/realtime/v1/websocket'

export class Realtime {
  constructor({ secret, databaseUrl, pool }) {
    this.key = new TextEncoder().encode(secret)
    this.databaseUrl = databaseUrl
    this.pool = pool
    this.channels = new Set()
    this.nextId = 1000
  }

  async attach(server) {
    const sockets = new WebSocketServer({ noServer: true })
    server.on('upgrade', (request, socket, head) => {
      const url = new URL(request.url, 'http://localhost')
      if (url.pathname !== PATH) return socket.destroy()
      const key = url.searchParams.get('apikey')
      if (!key) return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
      sockets.handleUpgrade(request, socket, head, (websocket) => this.serve(websocket, key))
    })
    const client = new pg.Client({ connectionString: this.databaseUrl })
    client.on('error', () => {})
    client.on('notification', ({ payload }) => this.publish(JSON.parse(payload)).catch(console.error))
    await client.connect()
    await client.query('listen realtime')
  }

  serve(websocket, key) {
    const own = new Map()
    const send = (topic, event, payload, ref = null) =>
      websocket.readyState === 1 && websocket.send(JSON.stringify({ topic, event, payload, ref }))
    websocket.on('message', async (bytes) => {
      const { topic, event, payload, ref } = JSON.parse(bytes)
      const reply = (status, response = {}) => send(topic, 'phx_reply', { status, response }, ref)
      if (event === 'heartbeat') return reply('ok')
      if (event === 'phx_join') {
        const claims = await this.claims(payload.access_token || key)
        if (!claims) return reply('error', { reason: 'InvalidJWTToken: Invalid token' })
        const wanted = payload.config?.postgres_changes || []
        const channel = { topic, send, claims, changes: wanted.map((each) => ({ ...each, id: this.nextId++ })) }
        own.set(topic, channel)
        this.channels.add(channel)
        return reply('ok', { postgres_changes: channel.changes })
      }
      if (event === 'access_token' && own.has(topic)) {
        own.get(topic).claims = (await this.claims(payload.access_token)) || own.get(topic).claims
      }
      if (event === 'phx_leave') {
        this.channels.delete(own.get(topic))
        reply('ok')
        send(topic, 'phx_close', {}, ref)
      }
    })
    websocket.on('close', () => own.forEach((channel) => this.channels.delete(channel)))
  }

  async claims(token) {
    try {
      return (await jwtVerify(token, this.key)).payload
    } catch {
      return null
    }
  }

  async publish({ type, table, id, user_id: user }) {
    for (const channel of this.channels) {
      const ids = channel.changes
        .filter((wanted) => wanted.table === table && ['*', type].includes(wanted.event))
        .filter((wanted) => !wanted.filter || (type !== 'DELETE' && wanted.filter === `user_id=eq.${user}`))
        .map((wanted) => wanted.id)
      if (!ids.length) continue
      const record = type === 'DELETE' ? undefined : await this.visible(channel.claims, table, id)
      if (type !== 'DELETE' && !record) continue
      const data = { schema: 'public', table, type, columns: [], errors: null, record, old_record: { id } }
      data.commit_timestamp = new Date().toISOString()
      channel.send(channel.topic, 'postgres_changes', { ids, data })
    }
  }

  /** The row as the listener may see it, or undefined. */
  async visible(claims, table, id) {
    const client = await this.pool.connect()
    try {
      await client.query('begin')
      await client.query(`select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`, [
        claims.role,
        JSON.stringify(claims),
      ])
      const { rows } = await client.query(`select * from "${table}" where id = $1`, [id])
      return rows[0]
    } finally {
      await client.query('rollback')
      client.release()
    }
  }
}

// Who is asking: JWTs as the services check them, and the password and refresh grants of Auth.
import crypto from 'node:crypto'
import { SignJWT, jwtVerify } from 'jose'
import { RestError, StorageError } from './errors.mjs'

const REUSE_SECONDS = 10 // the real service answers a refresh token twice within this time

export class Auth {
  constructor({ pool, secret, tokenSeconds }) {
    this.pool = pool
    this.key = new TextEncoder().encode(secret)
    this.tokenSeconds = tokenSeconds
  }

  /** The caller of a REST request; PostgREST forgives 30 s of clock skew. */
  async restCaller(headers) {
    const token = (headers.authorization || '').match(/^bearer\s+(.*)$/i)?.[1]
    if (!token) return { role: 'anon', claims: {} }
    const parts = token.split('.').length
    if (parts !== 3) throw refused('PGRST301', `Expected 3 parts in JWT; got ${parts}`)
    try {
      return caller((await jwtVerify(token, this.key, { clockTolerance: 30 })).payload)
    } catch (fault) {
      if (fault.code === 'ERR_JWT_EXPIRED') throw refused('PGRST303', 'JWT expired')
      throw refused('PGRST301', 'No suitable key or wrong key type')
    }
  }

  /** The caller of a storage request; storage forgives no skew. */
  async storageCaller(headers) {
    const token = (headers.authorization || '').replace(/^Bearer /i, '')
    try {
      return caller((await jwtVerify(token, this.key)).payload)
    } catch (fault) {
      throw new StorageError('AccessDenied', 403, 'Unauthorized', fault.message)
    }
  }

  async handle({ method, path, query, body }) {
    if (path !== '/token' || method !== 'POST') return json(404, { msg: 'not found' })
    const grant = query.get('grant_type')
    const given = JSON.parse(body.toString() || '{}')
    if (grant === 'password') return this.byPassword(given)
    if (grant === 'refresh_token') return this.byRefreshToken(given)
    return fail('unsupported_grant_type', 'unsupported_grant_type')
  }

  async byPassword({ email, password }) {
    const { rows } = await this.pool.query(
      'select * from auth.users where email = $1 and encrypted_password = extensions.crypt($2, encrypted_password)',
      [email ?? '', password ?? ''],
    )
    if (!rows[0]) return fail('invalid_credentials', 'Invalid login credentials')
    return this.session(rows[0])
  }

  async byRefreshToken({ refresh_token: token }) {
    const { rows } = await this.pool.query(
      `update auth.refresh_tokens t set used_at = coalesce(used_at, now()) from auth.users u
       where t.token = $1 and u.id = t.user_id and not t.revoked
         and (used_at is null or used_at > now() - make_interval(secs => $2)) returning u.*`,
      [token ?? '', REUSE_SECONDS],
    )
    if (!rows[0]) {
      return fail('refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')
    }
    return this.session(rows[0])
  }

  async session(user) {
    const seconds = user.token_seconds ?? this.tokenSeconds
    const expiresAt = Math.floor(Date.now() / 1000) + seconds
    const accessToken = await new SignJWT({ role: 'authenticated', email: user.email })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(user.id)
      .setAudience('authenticated')
      .setIssuedAt()
      .setJti(crypto.randomUUID())
      .setExpirationTime(expiresAt)
      .sign(this.key)
    const refreshToken = crypto.randomBytes(9).toString('base64url')
    await this.pool.query('insert into auth.refresh_tokens(token, user_id) values ($1, $2)', [
      refreshToken,
      user.id,
    ])
    return json(200, {
      access_token: accessToken,
      token_type: 'bearer',
      expires_in: seconds,
      expires_at: expiresAt,
      refresh_token: refreshToken,
      user: {
        id: user.id,
        aud: 'authenticated',
        role: 'authenticated',
        email: user.email,
        app_metadata: { provider: 'email', providers: ['email'] },
        user_metadata: {},
        created_at: user.created_at,
      },
    })
  }
}

const caller = (claims) => ({ role: claims.role || 'anon', claims })

function refused(code, message) {
  const challenge = `Bearer error="invalid_token", error_description="${message}"`
  return new RestError(401, code, message, { headers: { 'www-authenticate': challenge } })
}

const fail = (name, message) => json(400, { code: 400, error_code: name, msg: message })

function json(status, value) {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) }
}

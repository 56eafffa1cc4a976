// The two shapes in which the real services say no.

/** PostgREST: the HTTP status is the truth, the body names the code of PostgREST or PostgreSQL. */
export class RestError extends Error {
  constructor(status, code, message, { details = null, hint = null, headers = {} } = {}) {
    super(message)
    this.status = status
    this.code = code
    this.body = { code, details, hint, message }
    this.headers = headers
  }
}

/** Storage: HTTP 400 for nearly everything, with the real status as text in the body. */
export class StorageError extends Error {
  constructor(code, status, error, message, http = status === 500 ? 500 : 400) {
    super(message)
    this.code = code
    this.status = status
    this.error = error
    this.http = http
  }

  json() {
    const { code, status, error, message } = this
    return JSON.stringify({ statusCode: String(status), error, message, code })
  }
}

export const noBucket = () =>
  new StorageError('NoSuchBucket', 404, 'Bucket not found', 'Bucket not found')
export const noObject = () => new StorageError('NoSuchKey', 404, 'not_found', 'Object not found')
export const duplicate = () =>
  new StorageError('KeyAlreadyExists', 409, 'Duplicate', 'The resource already exists')
export const denied = (message = 'new row violates row-level security policy') =>
  new StorageError('AccessDenied', 403, 'Unauthorized', message)
export const tooLarge = (message = 'The object exceeded the maximum allowed size') =>
  new StorageError('EntityTooLarge', 413, 'Payload too large', message)
export const wrongType = (type) =>
  new StorageError('InvalidMimeType', 415, 'invalid_mime_type', `mime type ${type} is not supported`)
export const badKey = (key) => new StorageError('InvalidKey', 400, 'InvalidKey', `Invalid key: ${key}`)
export const badRequest = (message) => new StorageError('InvalidRequest', 400, 'Error', message)
export const databaseError = (code) =>
  new StorageError('DatabaseError', 500, 'DatabaseError', `database error, code: ${code}`)

/** True when PostgreSQL cannot be reached, as opposed to having refused. */
export function isDatabaseDown(fault) {
  return (
    ['ECONNREFUSED', 'ECONNRESET', '57P01', '57P03', '08006'].includes(fault.code) ||
    /terminated|ended|timeout exceeded/i.test(fault.message || '')
  )
}

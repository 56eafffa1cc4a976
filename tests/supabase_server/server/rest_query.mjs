// The query string of PostgREST as SQL: filters, logic trees, order, columns.
// `values` collects the bound parameters; nothing from outside is ever pasted into SQL unquoted.
import { RestError } from './errors.mjs'

export const quoted = (name) => '"' + String(name).replaceAll('"', '""') + '"'
export const literal = (text) => "'" + String(text).replaceAll("'", "''") + "'"

const COMPARISONS = {
  eq: '=',
  neq: '<>',
  gt: '>',
  gte: '>=',
  lt: '<',
  lte: '<=',
  like: 'like',
  ilike: 'ilike',
}
const RESERVED = new Set(['select', 'order', 'limit', 'offset', 'columns', 'on_conflict'])

/** Split the parameters into the reserved words and the filters. */
export function sortParameters(parameters) {
  const query = { filters: [] }
  for (const [name, value] of parameters) {
    if (RESERVED.has(name)) query[name] = value
    else query.filters.push([name, value])
  }
  return query
}

/** Split on commas that stand outside brackets and quotes. */
export function splitList(text) {
  const parts = []
  let depth = 0
  let inQuotes = false
  let part = ''
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (inQuotes && char === '\\') {
      part += char + (text[++i] ?? '')
      continue
    }
    if (char === '"') inQuotes = !inQuotes
    if (!inQuotes && char === '(') depth++
    if (!inQuotes && char === ')') depth--
    if (char === ',' && depth === 0 && !inQuotes) {
      parts.push(part)
      part = ''
    } else {
      part += char
    }
  }
  if (part !== '' || parts.length) parts.push(part)
  return parts
}

export function unquoted(text) {
  const isQuoted = text.length > 1 && text.startsWith('"') && text.endsWith('"')
  return isQuoted ? text.slice(1, -1).replace(/\\(.)/g, '$1') : text
}

export function columnsOf(table, select = '*') {
  return splitList(select)
    .map((name) => (name === '*' ? `${quoted(table.name)}.*` : column(table, name)))
    .join(', ')
}

export function orderBy(table, order) {
  if (!order) return ''
  const terms = splitList(order).map((term) => {
    const match = term.match(/^([^.]+)(?:\.(asc|desc))?(?:\.(nullsfirst|nullslast))?$/)
    if (!match) throw unreadable(`failed to parse order (${order})`)
    const nulls = { nullsfirst: ' nulls first', nullslast: ' nulls last' }[match[3]] ?? ''
    return `${column(table, match[1])} ${match[2] ?? 'asc'}${nulls}`
  })
  return ` order by ${terms.join(', ')}`
}

export function where(table, query, values) {
  const terms = query.filters.map(([name, value]) => {
    const logic = name.match(/^(not\.)?(and|or)$/)
    if (logic) return negated(logic[1], logicTree(table, logic[2], value, values))
    return filter(table, name, value, values)
  })
  return terms.length ? ` where ${terms.join(' and ')}` : ''
}

function logicTree(table, word, text, values) {
  const inner = text.match(/^\((.*)\)$/s)?.[1]
  if (inner === undefined) throw unreadable(`failed to parse logic tree (${text})`)
  const terms = splitList(inner).map((item) => {
    const nested = item.match(/^(not\.)?(and|or)(\(.*\))$/s)
    if (nested) return negated(nested[1], logicTree(table, nested[2], nested[3], values))
    const [, name, rest] = item.match(/^([^.]+)\.(.*)$/s) ?? []
    if (!name) throw unreadable(`failed to parse logic tree (${text})`)
    return filter(table, name, rest.replace(/^((?:not\.)?\w+)\.(".*")$/s, (_, op, v) => `${op}.${unquoted(v)}`), values)
  })
  return `(${terms.join(` ${word} `)})`
}

function filter(table, name, text, values) {
  const match = text.match(/^(not\.)?(\w+)\.(.*)$/s)
  if (!match) throw unreadable(`failed to parse filter (${text})`)
  const [, not, operator, value] = match
  const left = column(table, name)
  if (operator === 'is') {
    if (!/^(null|true|false|unknown)$/i.test(value)) throw unreadable(`failed to parse filter (${text})`)
    return negated(not, `${left} is ${value}`)
  }
  if (operator === 'in') {
    const list = value.match(/^\((.*)\)$/s)
    if (!list) throw unreadable(`failed to parse filter (${text})`)
    values.push(splitList(list[1]).map(unquoted))
    return negated(not, `${left}::text = any ($${values.length}::text[])`)
  }
  if (!COMPARISONS[operator]) throw unreadable(`failed to parse filter (${text})`)
  values.push(operator.endsWith('like') ? value.replaceAll('*', '%') : value)
  return negated(not, `${left} ${COMPARISONS[operator]} $${values.length}`)
}

const negated = (not, sql) => (not ? `not (${sql})` : sql)
const column = (table, name) => `${quoted(table.name)}.${quoted(unquoted(name))}`
const unreadable = (message) => new RestError(400, 'PGRST100', `"${message}" (line 1, column 1)`)

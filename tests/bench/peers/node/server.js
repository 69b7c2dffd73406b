// The contract of weir's ingest on Node, as an experienced team would write it:
// Fastify with a raw body, Ajv with compiled schemas, a Kafka producer that
// gathers the requests of a few milliseconds into one send. (It checks no
// duplicate JSON keys, and parses and re-reads nothing twice; the bytes on
// Kafka are those of JSON.stringify, not those that were sent.)
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const Ajv = require('ajv/dist/2020').default
const formats = require('ajv-formats').default
const fastify = require('fastify')
const { Kafka, Partitioners, logLevel } = require('kafkajs')

const [host, port] = process.env.PEER_ADDRESS.split(':')
const key = process.env.PEER_KEY

const ajv = new Ajv({ strict: false, allErrors: false })
formats(ajv, { mode: 'fast' })
const validators = {}
for (const major of ['1', '2', '3']) {
  const schema = JSON.parse(fs.readFileSync(path.join(process.env.PEER_SCHEMAS, `v${major}.json`), 'utf8'))
  validators[major] = ajv.compile(schema)
}

const kafka = new Kafka({
  brokers: [process.env.WEIR_BROKERS],
  clientId: 'peer',
  logLevel: logLevel.ERROR,
  sasl: {
    mechanism: process.env.WEIR_KAFKA_SASL.toLowerCase(),
    username: process.env.WEIR_KAFKA_USER,
    password: process.env.WEIR_KAFKA_PASSWORD
  }
})
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, maxInFlightRequests: 16 })

// What waits for the next send, and who waits for it.
let raw = [], dead = [], waiting = [], timer = null

function enqueue () {
  return new Promise((resolve, reject) => {
    waiting.push({ resolve, reject })
    if (!timer) timer = setTimeout(flush, 2)
  })
}

function flush () {
  timer = null
  const topicMessages = []
  if (raw.length) topicMessages.push({ topic: 'raw-events', messages: raw })
  if (dead.length) topicMessages.push({ topic: 'dead-letter', messages: dead })
  const all = waiting
  raw = []; dead = []; waiting = []
  producer.sendBatch({ acks: -1, topicMessages }).then(
    () => all.forEach(w => w.resolve()),
    err => all.forEach(w => w.reject(err)))
}

function judge (event) {
  const version = event && event.device_firmware_version
  const validate = typeof version === 'string' && version[1] === '.' && validators[version[0]]
  if (!validate) return { code: 'unknown_firmware', errors: [{ pointer: '/device_firmware_version', message: 'no schema' }] }
  if (validate(event)) return null
  return { code: 'schema_violation', errors: validate.errors.map(e => ({ pointer: e.instancePath, message: e.message })) }
}

const app = fastify({ logger: false, bodyLimit: 1 << 20 })

app.post('/v1/events', async (request, reply) => {
  if (request.headers['x-api-key'] !== key) return reply.code(401).type('application/problem+json').send({ type: 'about:blank', status: 401 })
  const body = Array.isArray(request.body) ? request.body : [request.body]
  const receivedAt = new Date().toISOString()
  const headers = { weir_fleet: 'bench', weir_received_at: receivedAt }
  const events = new Array(body.length)
  let rejected = 0
  for (let i = 0; i < body.length; i++) {
    const event = body[i]
    const bad = judge(event)
    if (bad) {
      rejected++
      dead.push({ key: String(event && event.device_id), value: JSON.stringify({ ...bad, original: JSON.stringify(event), failed_at: receivedAt }), headers })
      events[i] = { index: i, event_id: event && event.event_id, status: 400, ...bad }
    } else {
      raw.push({ key: event.device_id, value: JSON.stringify(event), headers: { ...headers, weir_schema: 'telemetry/' + event.device_firmware_version[0] } })
      events[i] = { index: i, event_id: event.event_id, status: 202 }
    }
  }
  try {
    await enqueue()
  } catch (err) {
    return reply.code(503).header('Retry-After', '1').type('application/problem+json').send({ type: 'about:blank', status: 503 })
  }
  const accepted = body.length - rejected
  return reply.code(rejected === 0 ? 202 : accepted === 0 ? 400 : 207).send({ accepted, rejected, events })
})

producer.connect()
  .then(() => app.listen({ host, port: Number(port) }))
  .catch(err => { console.error(err); process.exit(1) })
process.on('SIGTERM', () => app.close().then(() => producer.disconnect()).then(() => process.exit(0)))

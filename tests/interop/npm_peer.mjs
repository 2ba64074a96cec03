// A libzmq peer in node, for the draft types that pyzmq's wheels lack: the npm package zeromq (libzmq 4.3.5 with drafts).
//
// Reads commands, one JSON text a line, and answers each with one: {"value": ...} or {"error": "..."}. Frames travel as
// hexadecimal text. The package is looked for in the folder that NPM_ZEROMQ names.

import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { join } from 'node:path'

const require = createRequire(join(process.env.NPM_ZEROMQ, 'index.js'))
process.removeAllListeners('warning') // that drafts are drafts
process.on('warning', () => {})
const draft = require('zeromq/draft')

const sockets = []
const bytes = (text) => Buffer.from(text, 'hex')
const text = (value) => Buffer.from(value).toString('hex')
const told = (value) =>
  Buffer.isBuffer(value) ? text(value)
  : value && value.group !== undefined ? { group: text(value.group) }
  : value

const operations = {
  socket: ({ type, options }) => sockets.push(new draft[type]({ linger: 0, ...options })) - 1,
  bind: async ({ socket, endpoint }) => {
    await sockets[socket].bind(endpoint)
    return sockets[socket].lastEndpoint
  },
  connect: ({ socket, endpoint }) => sockets[socket].connect(endpoint),
  join: ({ socket, group }) => sockets[socket].join(bytes(group)),
  leave: ({ socket, group }) => sockets[socket].leave(bytes(group)),
  send: ({ socket, frames, options }) => {
    const message = frames.length === 1 ? bytes(frames[0]) : frames.map(bytes)
    const where = options?.group === undefined ? options : { group: bytes(options.group) }
    return where ? sockets[socket].send(message, where) : sockets[socket].send(message)
  },
  receive: async ({ socket }) => (await sockets[socket].receive()).map(told),
  // libzmq's thread-safe sockets see a connection that has come in only when they are asked for something.
  poke: async ({ socket }) => {
    sockets[socket].receiveTimeout = 0
    try {
      await sockets[socket].receive()
    } catch {
    } finally {
      sockets[socket].receiveTimeout = -1
    }
  },
  close: ({ socket }) => sockets[socket].close(),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...rest } = JSON.parse(line)
  try {
    const value = await operations[op](rest)
    process.stdout.write(JSON.stringify({ value: value ?? null }) + '\n')
  } catch (error) {
    process.stdout.write(JSON.stringify({ error: String(error) }) + '\n')
  }
}
process.exit(0)

// The ends of benchmarks that are the npm package zeromq (libzmq 4.3.5 with drafts) in node: `node npm_ends.mjs END ENDPOINT OPTIONS`.
//
// They say what ends in Python say (harness.py), and check what those check. The package is looked for in the folder
// that NPM_ZEROMQ names. CPU time is that of the whole process, libzmq's threads included.

import { createRequire } from 'node:module'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'

const require = createRequire(join(process.env.NPM_ZEROMQ, 'index.js'))
process.removeAllListeners('warning') // that drafts are drafts
process.on('warning', () => {})
const draft = require('zeromq/draft')

const XPUB_NODROP = 69 // of Radio, too, though the package has no name for it there
const SIZE = 64
const [end, endpoint, text] = process.argv.slice(2)
const options = JSON.parse(text)
const say = (value) => process.stdout.write(JSON.stringify(value) + '\n')
const wrong = (what) => {
  process.stderr.write(`wrong: ${what}\n`)
  process.exit(1)
}
const payload = (number) => Buffer.from(String(number).padStart(SIZE, '0'))
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

class Clock {
  constructor() {
    this.cpu = process.cpuUsage()
    this.wall = process.hrtime.bigint()
  }

  stop() {
    const wall = process.hrtime.bigint()
    const { user, system } = process.cpuUsage(this.cpu)
    return { wall: Number(wall - this.wall) / 1e9, cpu: (user + system) / 1e6 }
  }
}

const WATER = { sendHighWaterMark: options.hwm, receiveHighWaterMark: options.hwm }

// radio_dish.py

const ends = {
  async dish() {
    const dish = new draft.Dish({ receiveHighWaterMark: options.hwm })
    dish.join(Buffer.from('g'))
    await dish.bind(endpoint)
    let sender
    const server = createServer((line) => (sender = line))
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    say({ endpoint: `${endpoint.startsWith('udp') ? endpoint : dish.lastEndpoint} ${server.address().port}` })
    await dish.receive()
    while (sender === undefined) await pause(1)
    sender.write('!')
    let message = await dish.receive()
    while (message[0].length !== SIZE) message = await dish.receive()
    const received = [message]
    const clock = new Clock()
    while ((message = await dish.receive())[0].length === SIZE) received.push(message)
    const figures = clock.stop()
    sender.end()
    server.close()
    const arrived = received.length
    say({ ...figures, arrived, lost_percent: 100 * (1 - arrived / options.count) })
    let before = -1
    for (const [body, { group }] of received) {
      const number = Number(body.toString())
      if (!body.equals(payload(number)) || number <= before || number >= options.count || String(group) !== 'g') {
        wrong('a message is not one that was sent, or not after the one before it')
      }
      before = number
    }
    if (endpoint.startsWith('tcp') && arrived !== options.count) wrong(`${arrived} arrived`)
  },

  async radio() {
    const radio = new draft.Radio({ sendHighWaterMark: options.hwm })
    radio.setBoolOption(XPUB_NODROP, true)
    const [where, port] = endpoint.split(' ')
    const messages = Array.from({ length: options.count }, (_, number) => payload(number))
    const line = connect(Number(port), '127.0.0.1')
    let heard = false, over = false
    line.on('data', () => (heard = true))
    line.on('end', () => (over = true))
    radio.connect(where)
    const group = { group: Buffer.from('g') }
    while (!heard) {
      await radio.send('BEGIN', group)
      await pause(2)
    }
    const clock = new Clock()
    for (const message of messages) {
      for (;;) {
        try {
          await radio.send(message, group)
          break
        } catch (error) {
          if (error.code !== 'EAGAIN') throw error
          await pause(1) // no room, and a thread-safe socket of libzmq does not tell node when there is
        }
      }
    }
    const { cpu } = clock.stop()
    while (!over) {
      await radio.send('END', group)
      await pause(2)
    }
    say({ cpu })
    line.destroy()
  },

  // client_server.py

  async server() {
    const server = new draft.Server(WATER)
    await server.bind(endpoint)
    say({ endpoint: server.lastEndpoint })
    const received = []
    const answer = async (count) => {
      for (let n = 0; n < count; n++) {
        const [question, who] = await server.receive()
        received.push(question)
        await server.send(question, who)
      }
    }
    await answer(options.warm_up)
    const clock = new Clock()
    await answer(options.count)
    const { cpu } = clock.stop()
    say({ cpu })
    if (!received.every((question, number) => question.equals(payload(number)))) wrong('these are not the questions')
    await pause(200) // for the last answer: to close a thread-safe socket of libzmq is to drop what it has not written
  },

  async client() {
    const client = new draft.Client(WATER)
    client.connect(endpoint)
    const questions = Array.from({ length: options.warm_up + options.count }, (_, number) => payload(number))
    const answers = []
    const stamps = []
    const ask = async (batch) => {
      for (const question of batch) {
        await client.send(question)
        answers.push((await client.receive())[0])
        stamps.push(process.hrtime.bigint())
      }
    }
    await ask(questions.slice(0, options.warm_up))
    stamps.splice(0, stamps.length, process.hrtime.bigint())
    const clock = new Clock()
    await ask(questions.slice(options.warm_up))
    const figures = clock.stop()
    const trips = stamps.slice(1).map((stamp, n) => Number(stamp - stamps[n]) / 1e3).sort((a, b) => a - b)
    const part = (share) => trips[Math.floor(share * trips.length)]
    say({ ...figures, p50_us: part(0.5), p99_us: part(0.99) })
    if (answers.length !== questions.length || !answers.every((answer, n) => answer.equals(questions[n]))) {
      wrong('the answers are not those to the questions')
    }
  },
}

await ends[end]()
process.exit(0)

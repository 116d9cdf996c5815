// Whoever knocks without being welcome is told of, however many they are, and never often.
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'

import t from 'tap'

import type { Refused } from '../../lib/session/events.js'
import { receive } from '../../lib/index.js'
import { temporary } from '../../testbed/support/images.js'

const kStrangers = 10_000
const kAtOnce = 50
const kWrongPort = 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nUser-Agent: none\r\n\r\n'

/** Says something, and is turned away. */
async function knock (port: number, words: string | Buffer): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.end(words)
  socket.resume()
  await once(socket, 'close')
}

t.test('a flood', async (t) => {
  const receiver = await receive({ disks: [{ destination: join(temporary(t), 'web'), name: 'web' }] })
  t.teardown(() => receiver.close())
  const told: Refused[] = []
  receiver.on('refused', (event) => told.push(event))
  let next = 0
  const { port } = receiver.address
  const worker = async () => { while (next++ < kStrangers) await knock(port, kWrongPort) }
  await Promise.all(Array.from({ length: kAtOnce }, worker))
  await knock(port, '') // when it is over those before were heard of
  await receiver.close()
  t.ok(told.length > 1 && told.length < 12, `${told.length} events`)
  const totals = told.map(({ total }) => total)
  t.same(totals, totals.toSorted((a, b) => a - b))
  t.ok(totals.at(-1)! >= kStrangers, `${totals.at(-1)} were counted`)
  const error = { code: 'PROTOCOL', owner: null }
  t.match(told[0], { event: 'refused', host: '127.0.0.1', port: Number, error })
  const waiting = []
  for await (const event of receiver) waiting.push(event.event)
  t.same(waiting, ['listening', 'refused'], 'what nobody reads does not pile up')
})

const kOtherVersion = Buffer.alloc(64)
kOtherVersion.write('BFRY')
kOtherVersion[4] = 99

const kCases: Record<string, [words: Buffer, code: string]> = {
  'who hangs up': [Buffer.alloc(0), 'PEER_GONE'],
  'who has another version': [kOtherVersion, 'VERSION'],
  'who means another port': [Buffer.from(kWrongPort), 'PROTOCOL']
}

for (const [name, [words, code]] of Object.entries(kCases)) {
  t.test(name, async (t) => {
    const receiver = await receive({ disks: [{ destination: join(temporary(t), 'web'), name: 'web' }] })
    t.teardown(() => receiver.close())
    const refused = new Promise((resolve) => receiver.on('refused', resolve))
    await knock(receiver.address.port, words)
    t.match(await refused, { host: '127.0.0.1', error: { code }, total: 1 })
  })
}

// The control messages' reader against what a peer could make up: each message is of its form, or
// the session ends with PROTOCOL.
import assert from 'node:assert'

import t from 'tap'

import type { Messages, MessageType } from '../../lib/session/messages.js'
import { decode, encode } from '../../lib/session/messages.js'
import { mutateBytes, mutateValue } from './mutate.js'
import { fuzz } from './runs.js'

const kMessages: Messages = {
  offer: {
    migration: '0b0e7a52-4f7b-4a7a-9d3a-2f6d3b6f7f10',
    disks: [{ name: 'web', size: 2 ** 30, blockSize: 4096, epoch: 1, places: [{ name: 'naa.6001', start: 0, length: 2 ** 30 }] }],
    streams: 2,
    equality: true,
    reuse: true,
    machine: { kind: 'qemu', memory: 2 ** 28 }
  },
  memory: {},
  switchover: {},
  commit: { mark: 7, digests: ['00ff'], run: true },
  bye: {},
  cancel: { keep: true },
  query: { migration: '0b0e7a52-4f7b-4a7a-9d3a-2f6d3b6f7f10' },
  accept: { disks: [{ blank: true, separate: true, inventory: false }] },
  probe: { disk: 0, ranges: [{ offset: 0, length: 4096 }] },
  probed: { hashes: ['0000000000000000'] },
  memoryReady: {},
  durable: { mark: 3 },
  verified: { mark: 3, wrong: [{ disk: 0, first: 1, count: 2 }], tookUs: 1000 },
  committed: { digests: ['00ff'] },
  notEqual: { digests: ['00ff'] },
  outcome: { committed: true, digests: ['00ff'] },
  failed: { code: 'NO_SPACE', message: 'no space is left' },
  ping: { number: 1 },
  pong: { number: 1 }
}
const kTypes = Object.keys(kMessages) as MessageType[]

/** Of the kinds that the example has, all through; a machine may also be null, and say more. */
function fits (value: any, example: any): boolean {
  if (example === kMessages.offer.machine && value === null) return true
  if (Array.isArray(example)) {
    return Array.isArray(value) && value.every((one) => fits(one, example[0]))
  }
  if (typeof example !== 'object') return typeof value === typeof example
  return typeof value === 'object' && value !== null &&
    Object.entries(example).every(([key, part]) => fits(value[key], part))
}

/** It is of its form, or it is refused. */
function check (text: string): 'read' | 'refused' {
  try {
    const message = decode(text)
    assert(fits(message, kMessages[message.type]), text)
    return 'read'
  } catch (error) {
    assert.strictEqual((error as { code?: string }).code, 'PROTOCOL', (error as Error).stack)
    return 'refused'
  }
}

t.test('every message as it is', async (t) => {
  for (const type of kTypes) t.equal(check(encode(type, kMessages[type])), 'read', type)
})

t.test('messages with other things in them', async (t) => {
  const seen = { read: 0, refused: 0 }
  await fuzz(20_000, (random) => {
    const type = random.pick(kTypes)
    const changed = mutateValue({ type, ...kMessages[type] }, random)
    seen[check(JSON.stringify(changed))]++
  })
  t.ok(seen.refused > 0, JSON.stringify(seen))
})

t.test('messages with other bytes', async (t) => {
  const seen = { read: 0, refused: 0 }
  await fuzz(20_000, (random) => {
    const type = random.pick(kTypes)
    seen[check(mutateBytes(Buffer.from(encode(type, kMessages[type])), random).toString())]++
  })
  t.ok(seen.refused > 0, JSON.stringify(seen))
})

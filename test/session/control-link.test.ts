// One end of a control connection: what is answered by itself, and how its end is told.
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import { BlockferryError } from '../../lib/base/errors.js'
import { ControlLink } from '../../lib/session/control-link.js'
import { decode, encode } from '../../lib/session/messages.js'

/** One that is never silent for long enough to be dead. */
function start (t: Test, { mayHearWord = true, post = (_text: string) => {}, linkTimeoutMs = 600_000 } = {}) {
  const seen: string[] = []
  const link = new ControlLink(linkTimeoutMs, {
    post: (text) => {
      post(text)
      seen.push(`sent ${decode(text).type}`)
    },
    onMessage: ({ type }) => { seen.push(type) },
    onNonsense: ({ code }) => { seen.push(`nonsense ${code}`) },
    onLost: ({ code }) => { seen.push(`lost ${code}`) },
    mayHearWord: () => mayHearWord
  })
  t.teardown(() => link.stop())
  return { link, seen }
}

t.test('the heartbeat is answered here, all else is passed on', async (t) => {
  const { link, seen } = start(t)
  link.received(encode('ping', { number: 7 }))
  link.received(encode('pong', { number: 7 }))
  link.received(encode('bye', {}))
  t.same(seen, ['sent pong', 'bye'])
})

t.test('nonsense', async (t) => {
  const { link, seen } = start(t)
  link.received('no message')
  t.same(seen, ['nonsense PROTOCOL'])
  t.notOk(link.isBroken)
})

t.test('a peer that left may have a last word, which comes before its loss is told', async (t) => {
  const { link, seen } = start(t)
  link.broke(new BlockferryError('PEER_GONE', 'made up'))
  t.ok(link.isBroken, 'that is known at once')
  await sleep(0)
  link.received(encode('failed', { code: 'CANCELLED', message: 'made up' }))
  while (seen.length < 2) await sleep(10)
  t.same(seen, ['failed', 'lost PEER_GONE'])
})

t.test('who has no last word is not waited for, nor is what is no loss of the peer', async (t) => {
  for (const [mayHearWord, code] of [[false, 'PEER_GONE'], [true, 'CHECKSUM'], [true, 'IO_ERROR']] as const) {
    const { link, seen } = start(t, { mayHearWord })
    link.broke(new BlockferryError(code, 'made up'))
    t.same(seen, [], 'not within the call')
    await new Promise((resolve) => setTimeout(resolve, 1))
    t.same(seen, [`lost ${code}`])
    t.equal(link.isBroken, code !== 'IO_ERROR')
  }
})

t.test('a connection that takes nothing more', async (t) => {
  const { link, seen } = start(t, {
    post: () => { throw Object.assign(new Error('made up'), { code: 'TIMEOUT', errno: 0 }) }
  })
  link.send('bye', {})
  await new Promise((resolve) => setTimeout(resolve, 1))
  t.same(seen, ['lost TIMEOUT'])
})

t.test('a peer that falls silent', async (t) => {
  const { link, seen } = start(t, { linkTimeoutMs: 40 })
  link.start()
  while (!seen.includes('lost TIMEOUT')) await sleep(10)
  t.ok(link.isBroken)
  t.same(seen.filter((what) => what === 'sent ping').length, 4)
})

// At each step of the way to the switchover: the link is cut, or the user aborts while nothing
// gets through. The source goes on, and the same receiver serves the next attempt.
import t from 'tap'

import type { Migration } from '../../lib/index.js'
import { migrate } from '../../lib/index.js'
import type { Frame } from '../support/frame-proxy.js'
import { FrameProxy, message } from '../support/frame-proxy.js'
import { makePair } from '../support/pair.js'
import { checkUnharmed, failureOf, reach } from '../support/unharmed.js'
import { Writer } from '../../testbed/support/writer.js'

type Fits = (frame: Frame) => boolean

const says = (type: Frame['type'], words: RegExp): Fits =>
  (frame) => frame.type === type && words.test(frame.text)

/** The third welcome is the second stream's. */
function thirdWelcome (): Fits {
  let welcomes = 0
  return ({ type }) => type === 'welcome' && ++welcomes === 3
}

const ready = (migration: Migration) => reach(migration, 'ready')

/** A moment is a frame that is held back; some are looked for only from an event on. */
const moments: Array<[string, () => Fits, ((migration: Migration) => Promise<void>)?]> = [
  ['the greeting', () => says('hello', /^control/)],
  ['the answer to the greeting', () => says('welcome', /./)],
  ['the offer', () => message('offer')],
  ['the answer to the offer', () => message('accept')],
  ['the first stream’s greeting', () => says('hello', /^data \S+ 0 2/)],
  ['the second stream’s greeting', () => says('hello', /^data \S+ 1 2/)],
  ['the answer to the second stream', thirdWelcome],
  ['the bulk copy', () => ({ type }) => type === 'data'],
  ['a mark in the rounds', () => ({ type }) => type === 'mark', ready],
  ['a verification in the rounds', () => message('verified'), ready]
]

for (const [name, fits, from] of moments) {
  for (const deed of ['cut', 'abort'] as const) {
    t.test(`${deed} at ${name}`, async (t) => {
      const pair = await makePair(t)
      const proxy = await FrameProxy.to(pair.receiver.address)
      t.teardown(() => proxy.close())
      const writer = await Writer.start(pair.socket, 'web', 1000)
      const abort = new AbortController()
      let isDue = from === undefined
      const wanted = fits()
      const { held, release } = proxy.hold((frame) => isDue && wanted(frame))
      let started = false
      const migration = migrate({
        disks: [{ source: pair.source }],
        destination: proxy.address,
        switchover: 'manual',
        reconnect: 0,
        signal: abort.signal
      })
      migration.on('started', () => { started = true })
      void from?.(migration).then(() => { isDue = true })
      const failure = failureOf(migration)
      await Promise.race([held, failure])
      t.equal(pair.source.state, 'open', 'no write waits')
      if (deed === 'cut') proxy.cut()
      else abort.abort()
      t.match(await failure, {
        code: deed === 'cut' ? 'PEER_GONE' : 'CANCELLED', owner: 'source', resumable: started
      })
      release()
      proxy.cut()
      await checkUnharmed(t, pair, writer)
    })
  }
}

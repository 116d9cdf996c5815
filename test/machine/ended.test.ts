// Something ends while a machine moves: it goes on where it was, with its connections, and can
// move later.

import t from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import { ask, failureOf, Observed, phases, slowly } from './observed.js'

const skip = (await missingNeed()) ?? false

t.test('ends', { skip }, async (t) => {
  const observed = await Observed.boot(t)
  const { moving } = observed

  for (const [phase, reached] of Object.entries(phases)) {
    t.test(`QEMU at the destination is killed in ${phase}`, async (t) => {
      const move = await observed.begin(...slowly)
      await reached(move)
      await moving.there.guest!.kill()
      t.match(await failureOf(move), { code: 'MACHINE', owner: 'source', message: /destination/ })
      if (phase === 'the disk copy') {
        const waited = move.send.events.some(({ event }) => event === 'memory')
        t.notOk(waited, 'it did not wait for the memory to notice')
      }
      await observed.checkRunsHere(t)
    })
    t.test(`serve at the destination is killed in ${phase}`, async (t) => {
      const move = await observed.begin(...slowly)
      await reached(move)
      await moving.there.serve.kill()
      t.match(await failureOf(move), { code: 'PEER_GONE', owner: 'source' })
      await moving.there.serveAgain(true)
      await observed.checkRunsHere(t)
    })
    t.test(`the user ends receive in ${phase}`, async (t) => {
      const move = await observed.begin(...slowly)
      await reached(move)
      await move.receive.kill('SIGINT')
      t.match(await failureOf(move), { owner: 'source' })
      await observed.checkRunsHere(t)
    })
    t.test(`the user ends send in ${phase}`, async (t) => {
      const move = await observed.begin(...slowly)
      await reached(move)
      await move.send.kill('SIGINT')
      t.match(await failureOf(move), { code: 'CANCELLED', owner: 'source' })
      t.equal(await move.send.ended, 130)
      await observed.checkRunsHere(t)
    })
  }

  t.test('somebody else cancels the transfer of the memory', async (t) => {
    const move = await observed.begin(...slowly)
    await phases["the memory's"](move)
    await ask(moving.here.guest!, 'migrate_cancel')
    const words = /memory (cancelled|failed)/
    t.match(await failureOf(move), { code: 'MACHINE', owner: 'source', message: words })
    await observed.checkRunsHere(t)
  })

  t.test('after all of it', async (t) => {
    await observed.checkMoves(t)
    await observed.checkMoves(t)
    await observed.checkClients(t)
  })
})

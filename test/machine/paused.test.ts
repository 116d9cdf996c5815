// A machine that its user has paused stays paused, wherever it is, until its user lets it run.

import t from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import { ask, failureOf, Observed, phases, slowly, stateOf } from './observed.js'

const skip = (await missingNeed()) ?? false

t.test('paused by its user', { skip }, async (t) => {
  const observed = await Observed.boot(t)
  const { moving } = observed

  async function goOn (): Promise<void> {
    await ask(moving.here.guest!, 'cont')
    t.equal(await stateOf(moving.here.guest), 'running')
  }

  t.test('before the move', async (t) => {
    await ask(moving.here.guest!, 'stop')
    t.equal((await moving.move()).equal, true)
    t.equal(await stateOf(moving.here.guest), 'paused', 'it is paused at the destination')
    await goOn()
    await observed.checkAnswers(t)
  })

  for (const [phase, reached] of Object.entries(phases)) {
    t.test(`in ${phase}`, async (t) => {
      const move = await observed.begin(...slowly)
      await reached(move)
      await ask(moving.here.guest!, 'stop')
      t.equal((await move.done()).equal, true)
      t.equal(await stateOf(moving.here.guest), 'paused', 'it is paused at the destination')
      await goOn()
      await observed.checkAnswers(t)
    })
    t.test(`in ${phase}, and let run again`, async (t) => {
      const move = await observed.begin(...slowly)
      await reached(move)
      await ask(moving.here.guest!, 'stop')
      await ask(moving.here.guest!, 'cont')
      t.equal((await move.done()).equal, true)
      t.equal(await stateOf(moving.here.guest), 'running')
      await observed.checkAnswers(t)
    })
    t.test(`in ${phase} of a move that fails`, async (t) => {
      const move = await observed.begin(...slowly)
      await reached(move)
      await ask(moving.here.guest!, 'stop')
      await move.send.kill('SIGINT')
      t.match(await failureOf(move), { code: 'CANCELLED', owner: 'source' })
      t.equal(await stateOf(moving.here.guest), 'paused', 'it is paused at the source')
      await goOn()
      await observed.checkRunsHere(t)
    })
  }

  t.test('after all of it', (t) => observed.checkClients(t))
})

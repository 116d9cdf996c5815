// Two machines move over one link at the same time; one that fails does not harm the other.

import t from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import { failureOf, Observed, phases } from './observed.js'

const skip = (await missingNeed()) ?? false

t.test('two machines', { skip }, async (t) => {
  const link = { rateBitsPerSecond: 200e6, delayMs: 2 }
  const one = await Observed.boot(t, { hosts: { link } })
  const other = await one.bootSecond(t)
  const both = [one, other]

  t.test('both move', async (t) => {
    const moves = await Promise.all(both.map((observed) => observed.begin()))
    const reports = await Promise.all(moves.map((move) => move.done()))
    for (const { equal } of reports) t.equal(equal, true)
    for (const observed of both) await observed.checkRunsHere(t)
  })

  t.test('one is cancelled, the other moves', async (t) => {
    const [first, second] = await Promise.all(both.map((observed) => observed.begin()))
    await phases["the memory's"](first!)
    await first!.send.kill('SIGINT')
    t.match(await failureOf(first!), { code: 'CANCELLED', owner: 'source' })
    t.equal((await second!.done()).equal, true)
    for (const observed of both) await observed.checkRunsHere(t)
  })

  t.test('after all of it', async (t) => {
    for (const observed of both) await observed.checkClients(t)
  })
})

// Migrations in which the wall clock of either process, or of both, is set, at moments that a seed
// draws; see link.test.ts for how to run more, or one of them again.
import t from 'tap'

import { Rfc2136 } from '../../lib/network/dns/rfc2136.js'
import { kNeedsFaketime, WallClock } from '../support/wall-clock.js'
import { clockFaults } from './clock-faults.js'
import { runProcessTrial } from './process-trial.js'
import { Sides } from './sides.js'
import { runTrials } from './trials.js'
import { makeDisk } from '../../testbed/faults/written-disk.js'

const kHourMs = 3_600_000

t.test('whatever happens to the clock', { skip: kNeedsFaketime }, async (t) => {
  await runTrials(t, (seed) => runProcessTrial(seed, clockFaults), { runs: 8, atOnce: 3 })
})

t.test('a switchover has its date when the clock shows it', { skip: kNeedsFaketime }, async (t) => {
  await using sides = new Sides()
  makeDisk(sides.path('source', 'img'), 1)
  const clock = new WallClock(sides.path('source', 'clock'))
  const [source, destination] = await Promise.all([
    sides.serve('source', clock.start), sides.receive('destination')
  ])
  const events: string[] = []
  const inAnHour = new Date(Date.now() + kHourMs).toISOString()
  const sent = sides.send('source', destination.address, { switchover: inAnHour }, (event) => {
    events.push(event.event)
    if (event.event !== 'ready') return
    t.notOk(events.includes('switchover'), 'it waits')
    clock.set(2 * kHourMs / 1000)
  })
  t.equal(await sent, null, 'it moves')
  t.equal((await destination.ended).code, 0)
  await source.end()
})

t.test('how long resolvers remember an address has nothing to do with it', (t) => {
  const options = { name: 'www.example.org', address: '192.0.2.1', server: '192.0.2.53' }
  const had = [{ family: 4 as const, from: '192.0.2.2', to: '192.0.2.1', ttl: 3600 }]
  const names = new Rfc2136(options, { had, loweredAt: Date.now() })
  const { now } = Date
  t.teardown(() => { Date.now = now })
  Date.now = () => now() + 2 * kHourMs
  t.ok(names.staleMs > kHourMs / 2, `${names.staleMs} ms`)
  t.end()
})

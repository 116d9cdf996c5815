// A destination where the machine's neighbours would not find it is refused before the start.

import t from 'tap'
import { runSync } from '../../testbed/support/command.js'
import { missingNeed } from '../../testbed/support/needs.js'
import { failureOf, Observed } from './observed.js'

const skip = (await missingNeed()) ?? false

t.test('the destination lacks the bridge', { skip }, async (t) => {
  const observed = await Observed.boot(t)
  const { namespace, tapDevice } = observed.hosts.b
  const ip = (...words: string[]) => runSync('ip', '-n', namespace, 'link', 'set', ...words)

  t.test('refused, and the guest runs on', async (t) => {
    ip('dev', tapDevice, 'nomaster')
    const move = await observed.begin()
    const error = await failureOf(move)
    t.match(error, { code: 'MACHINE', owner: 'source', message: /destination's guest0 is on no bridge/ })
    const isStarted = move.send.events.some(({ event }) => event === 'started')
    t.notOk(isStarted, 'before anything was copied')
    await observed.checkRunsHere(t)
  })

  t.test('and with it, it moves', async (t) => {
    ip('dev', tapDevice, 'master', 'access')
    await observed.checkMoves(t)
    await observed.checkClients(t)
  })
})

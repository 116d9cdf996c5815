// The process that serves the guest's disk is killed in a move and started again: the guest never
// sees an error, and the next move does not begin from zero.

import t from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import { Observed, phases, slowly, stateOf } from './observed.js'

const skip = (await missingNeed()) ?? false

for (const [phase, reached] of Object.entries(phases)) {
  t.test(`killed in ${phase}`, { skip }, async (t) => {
    const observed = await Observed.boot(t)
    const { here, there } = observed.moving
    const move = await observed.begin(...slowly)
    await reached(move)
    // Else there may be nothing at the destination yet.
    await move.send.event('progress', ({ sentBytes }) => sentBytes >= 8 << 20)
    await here.serve.kill()
    await move.send.ended
    await move.receive.ended
    await here.serveAgain(false)
    t.equal(await stateOf(here.guest), 'running', 'the guest runs')
    t.not(await stateOf(there.guest), 'running', 'and not at the destination')
    await observed.checkAnswers(t)
    const { equal, bytes } = await observed.moving.move()
    t.equal(equal, true, 'it moves')
    t.ok((bytes.same ?? 0) > 0, `${bytes.same} bytes were there already, ${bytes.sent} were sent`)
    await observed.checkAnswers(t)
    await observed.checkClients(t)
  })
}

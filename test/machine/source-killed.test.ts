// QEMU at the source is killed while its memory moves: the machine is gone, its disk is not, and
// the destination does not run a part of it.

import t from 'tap'
import { missingNeed } from '../../testbed/support/needs.js'
import { failureOf, Observed, phases, slowly, stateOf } from './observed.js'

const skip = (await missingNeed()) ?? false

for (const [phase, reached] of Object.entries(phases)) {
  t.test(`killed in ${phase}`, { skip }, async (t) => {
    const observed = await Observed.boot(t)
    const { here, there } = observed.moving
    const move = await observed.begin(...slowly)
    await reached(move)
    await here.guest!.kill()
    const words = /monitor has closed/
    t.match(await failureOf(move), { code: 'MACHINE', owner: 'source', message: words })
    t.not(await stateOf(there.guest), 'running', 'the destination does not run it')
    await observed.checkWrites(t)
  })
}

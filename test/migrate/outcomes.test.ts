// What is remembered of migrations that ended.
import { join } from 'node:path'

import t from 'tap'

import { Outcomes } from '../../lib/destination/outcomes.js'
import { Journal } from '../../lib/ownership/journal.js'
import { temporary } from '../../testbed/support/images.js'

t.test('any number that came to nothing pushes out no commit', async (t) => {
  const outcomes = new Outcomes(() => null)
  outcomes.remember('moved', 'alice', { committed: true, digests: ['1'] })
  for (let number = 0; number <= 1000; number++) {
    outcomes.remember(`attempt ${number}`, 'bob', { committed: false, digests: [] })
  }
  t.same(outcomes.of('moved'), { committed: true, digests: ['1'] })
  t.equal(outcomes.of('attempt 0'), null, 'the oldest is forgotten')
  t.match(outcomes.of('attempt 1000'), { committed: false })
})

t.test('what was committed stays so', async (t) => {
  const outcomes = new Outcomes(() => null)
  outcomes.remember('moved', '', { committed: true, digests: ['1'] })
  outcomes.remember('moved', '', { committed: false, digests: [] })
  t.same(outcomes.of('moved'), { committed: true, digests: ['1'] })
})

t.test('a migration that went out from here can not come by the same name', async (t) => {
  await using journal = await Journal.open(join(temporary(t), 'journal'))
  const disks = [{ name: 'web', epoch: 1 }]
  await journal.write({ migration: 'gone', role: 'source', state: 'committing', disks })
  const outcomes = new Outcomes(() => journal)
  t.throws(() => outcomes.check('gone', ''), { code: 'REFUSED' })
  t.doesNotThrow(() => outcomes.check('another', ''))
})

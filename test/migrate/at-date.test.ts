// A date is when the wall clock shows it, however that is set.
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import { atDate } from '../../lib/source/switchover-date.js'

const kHourMs = 3_600_000

t.test('set back, and then ahead', async (t) => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  let calls = 0
  const called = new Promise<void>((resolve) => {
    atDate(new Date(now() + 100), () => {
      calls++
      resolve()
    })
  })
  Date.now = () => now() - kHourMs
  await sleep(1500)
  t.equal(calls, 0, 'it is not the date yet')
  Date.now = () => now() + kHourMs
  await called
  t.equal(calls, 1)
})

t.test('one that has passed, and one that nobody waits for any more', async (t) => {
  let forgotten = 0
  const forget = atDate(new Date(Date.now() + 50), () => forgotten++)
  await new Promise<void>((resolve) => { atDate(new Date(0), resolve) })
  forget()
  await sleep(200)
  t.equal(forgotten, 0)
})

// Several migrations in one bandwidth budget: fairly, and together not more than it.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

import t from 'tap'
import type { Test } from 'tap'

import { migrate, receive, SharedBandwidth } from '../../lib/index.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'

const kSize = 16 << 20
const kRate = 16e6
/** Until both have begun, so that none is done before. */
const kSlow = 1e6

/** Starts one; `check` compares both sides. */
async function start (t: Test, bandwidth: SharedBandwidth, seed: number) {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'source.img'), kSize, seed)
  const target = join(dir, 'target.img')
  const receiver = await receive({ disks: [{ destination: target }] })
  t.teardown(async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  })
  const migration = migrate({
    disks: [{ source }], destination: receiver.address, budgets: { bandwidth }, compression: 'off'
  })
  /** Bytes, of a target that was made for it. */
  const arrived = () => 512 * (statSync(target, { throwIfNoEntry: false })?.blocks ?? 0)
  return { migration, arrived, check: async () => t.equal(await hashOf(target), await hashOf(source)) }
}

t.test('two get equal shares', async (t) => {
  const bandwidth = new SharedBandwidth(kSlow)
  const began = performance.now()
  const both = await Promise.all([start(t, bandwidth, 1), start(t, bandwidth, 50)])
  const [one, other] = both
  while (both.some(({ arrived }) => arrived() === 0)) await setTimeout(20)
  const before = both.map(({ arrived }) => arrived())
  bandwidth.set(kRate)
  const shares = Promise.race([one.migration, other.migration])
    .then(() => both.map(({ arrived }, i) => arrived() - before[i]!))
  const reports = await Promise.all([one.migration, other.migration])
  const seconds = (performance.now() - began) / 1000
  // However slow the machine, the budget can't have been exceeded: in any time, not only on average.
  const wire = reports.reduce((sum, { bytes }) => sum + bytes.wire, 0)
  t.ok(wire <= kRate * seconds + 4e6, `${wire} bytes in ${seconds} s`)
  const [less, more] = (await shares).sort((a, b) => a - b) as [number, number]
  t.ok(less > more / 3, `shares when the first was done: ${less}, ${more}`)
  await one.check()
  await other.check()
})

t.test('nonsense', async (t) => {
  for (const rate of [0, -1, 'fast', NaN]) {
    t.throws(() => new SharedBandwidth(rate), { code: 'INVALID' })
  }
  const { migration, check } = await start(t, new SharedBandwidth('1Gbit/s'), 2)
  t.throws(() => migration.setLimits({ bandwidth: new SharedBandwidth(1) }), { code: 'INVALID' })
  await migration
  await check()
})

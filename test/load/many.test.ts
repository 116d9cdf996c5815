// 64 migrations at once through one receiver, in one bandwidth budget.
import { join } from 'node:path'

import t from 'tap'

import { migrate, receive, SharedBandwidth } from '../../lib/index.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'

const kMigrations = 64
const kSize = 4 << 20

t.test('64 at once', async (t) => {
  const dir = temporary(t)
  const names = Array.from({ length: kMigrations }, (_, i) => `disk${i}`)
  const path = (name: string, side: string) => join(dir, `${name}.${side}`)
  const receiver = await receive({
    disks: names.map((name) => ({ name, destination: path(name, 'destination') }))
  })
  // Next to nothing until all have begun.
  const bandwidth = new SharedBandwidth('100kB/s')
  let begun = 0
  const began = performance.now()
  const reports = await Promise.all(names.map(async (name, index) => {
    const migration = migrate({
      disks: [{ source: makeImage(path(name, 'source'), kSize, index), name }],
      destination: receiver.address, budgets: { bandwidth }, compression: 'off', streams: 1
    })
    migration.on('started', () => { if (++begun === kMigrations) bandwidth.set('40MB/s') })
    return await migration
  }))
  const seconds = (performance.now() - began) / 1000
  t.ok(reports.every(({ equal }) => equal === true), 'all are equal')
  const sent = reports.reduce((sum, { bytes }) => sum + bytes.wire, 0)
  t.ok(sent <= 40e6 * seconds + 8e6, `${sent} bytes in ${seconds} s are within the budget`)
  for (const name of names) {
    t.equal(await hashOf(path(name, 'destination')), await hashOf(path(name, 'source')), name)
  }
  await receiver.close()
  for (const tap of receiver.taps.values()) await tap.close()
})
